# SPDX-License-Identifier: MIT
"""What shmd tells a service manager, and what it takes from one, word by word."""
import fcntl
import os
import select
import signal
import socket
import subprocess

import pytest

import shmd


class Manager:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)

    def hear(self):
        assert select.select([self.socket], [], [], shmd.LIMIT)[0], "nothing is told"
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))

    def hear_but_alive(self):
        while "WATCHDOG" in (told := self.hear()):
            pass
        return told


@pytest.fixture
def manager(folder):
    m = Manager(folder)
    yield m
    m.socket.close()


def test_ready_reload_stop(make_broker, manager):
    b = make_broker("", env={"NOTIFY_SOCKET": manager.path})
    b.start()
    told = manager.hear()
    assert told == {"READY": "1", "STATUS": "Serving 0 segments (0 bytes), 0 connections, 0 leases"}
    for text, mistake in (("[limits]\nmax_size = 1M\n", False), ("[limits]\nmax_size = x\n", True),
                          ("[limits]\nmax_size = 2M\n", False)):
        b.write_config(text)
        b.process.send_signal(signal.SIGHUP)
        told = manager.hear_but_alive()
        assert told.keys() == {"RELOADING", "MONOTONIC_USEC"} and told["RELOADING"] == "1"
        told = manager.hear_but_alive()
        assert told["READY"] == "1"
        assert ("the configuration has a mistake" in told["STATUS"]) == mistake
    b.stop()
    assert manager.hear_but_alive()["STOPPING"] == "1"


def test_ready_only_when_it_serves(make_broker, manager):
    """What is told first comes when a client is served already; a failed start tells nothing."""
    b = make_broker("[shmd]\ncapacity = nonsense\n", env={"NOTIFY_SOCKET": manager.path})
    assert not b.start(ready=False)
    assert b.ended() == 1
    b.write_config("")
    b.process = b.programs.popen(b.command(), env=b.env)
    assert manager.hear()["READY"] == "1"
    with b.connect() as w:
        w.ping()
    b.process.send_signal(signal.SIGTERM)
    assert b.process.wait(shmd.LIMIT) == 0
    b.process = None


def test_watchdog_and_counts(make_broker, manager):
    b = make_broker("", env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": 100000})
    b.start()
    assert "READY" in manager.hear()
    with b.connect() as w:
        w.create("x", 5000)
        counts = "1 segments (5000 bytes), 1 connections"
        shmd.until(lambda: counts in manager.hear()["STATUS"], "they are counted")
        b.process.send_signal(signal.SIGSTOP)
        # What is on its way; then nothing for ten times as long as it may take.
        while select.select([manager.socket], [], [], 1)[0]:
            assert manager.hear()["WATCHDOG"] == "1"
        b.process.send_signal(signal.SIGCONT)
        assert manager.hear()["WATCHDOG"] == "1"


def pass_on(sockets, command, names=""):
    """A command that gets these as systemd passes them: from 3 on, and LISTEN_PID its own."""
    moves = " ".join("%d<&%d" % (3 + i, s.fileno()) for i, s in enumerate(sockets))
    return ["bash", "-c", 'exec %s; LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=%s exec "$@"' % (
        moves, len(sockets), names), "bash"] + command


def listener(path, kind=socket.SOCK_STREAM, family=socket.AF_UNIX):
    s = socket.socket(family, kind)
    s.bind(path)
    if kind == socket.SOCK_STREAM:
        s.listen()
    # Out of the way of those that it is moved to.
    high = fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 100)
    s.close()
    return socket.socket(fileno=high)


def refused(b, sockets, names):
    p = b.programs.popen(pass_on(sockets, b.command(), names), env=b.env,
                         stderr=subprocess.PIPE, pass_fds=[s.fileno() for s in sockets])
    err = p.communicate(timeout=shmd.LIMIT)[1].decode()
    for s in sockets:
        s.close()
    assert p.returncode == 1, err
    return err


def test_a_second_socket_is_an_error(make_broker, folder):
    sockets = [listener(folder + "/one"), listener(folder + "/two")]
    err = refused(make_broker(""), sockets, "one:two")
    assert "2 sockets were passed (one, two): shmd serves one" in err


@pytest.mark.parametrize("address, kind, family", [
    ("dgram", socket.SOCK_DGRAM, socket.AF_UNIX), ("seq", socket.SOCK_SEQPACKET, socket.AF_UNIX),
    (("127.0.0.1", 0), socket.SOCK_STREAM, socket.AF_INET),
    ("\0abstract", socket.SOCK_STREAM, socket.AF_UNIX)],
    ids=["datagrams", "packets", "network", "abstract"])
def test_a_wrong_socket_is_an_error(make_broker, folder, address, kind, family):
    path = os.path.join(folder, address) if address in ("dgram", "seq") else address
    err = refused(make_broker(""), [listener(path, kind, family)], "odd.socket")
    if address == "\0abstract":
        assert "the socket that was passed has no path" in err
    else:
        assert "what was passed (odd.socket) is no listening Unix stream socket" in err


def test_a_socket_that_was_passed_stays_as_it_is(make_broker, folder):
    """It is served at its own path, whatever the file says, and not made anew, moved or removed."""
    b = make_broker("[shmd]\nsocket = %s/other.sock\nsocket_mode = 0600\n" % folder)
    path = b.socket
    s = listener(path)
    os.chmod(path, 0o666)
    made = os.lstat(path)
    real = b.programs.popen
    b.programs.popen = lambda args, pass_fds=(), **kw: real(
        pass_on([s], [str(a) for a in args], "shmd.socket"),
        pass_fds=[s.fileno()] + list(pass_fds), **kw)
    b.command = lambda: [b.programs.shmd, "--config", b.config]
    try:
        for _ in range(2):
            b.start()
            assert os.path.exists(path + ".lock") and not os.path.exists(folder + "/other.sock")
            with b.connect(uid=10001) as w:
                w.create("x")
            b.stop()
            now = os.lstat(path)
            assert (now.st_ino, now.st_mode, now.st_gid) == (made.st_ino, made.st_mode, made.st_gid)
        # A client that comes meanwhile waits for the next one.
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(path)
        first = b.registry
        b.start()
        assert b.registry == first
        waiting.close()
    finally:
        b.programs.popen = real
        s.close()
