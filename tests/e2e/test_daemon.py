# SPDX-License-Identifier: MIT
"""shmd itself: start, end, options, configuration, privileges, private brokers."""
import os
import re
import signal
import stat
import subprocess

import pytest

import shmd
import sysv
from wire import Closed, Refused, Wire

PLAIN_USER, PLAIN_UID, PLAIN_GID = "games", 5, 60  # a user that every Debian has


def test_version_and_help(programs):
    version = programs.run([programs.shmd, "--version"]).out
    assert re.fullmatch(r"shmd \d+\.\d+\.\d+\n", version)
    assert programs.run([programs.shmd, "-V"]).out == version
    help = programs.run([programs.shmd, "--help"]).out
    for option in ("--config", "--socket", "--user", "--check-config", "--log-level", "--idle-exit",
                   "--ready-fd", "--version"):
        assert option in help
    assert programs.run([programs.shmd, "-h"]).out == help


@pytest.mark.parametrize("args", [["--nonsense"], ["word"], ["--log-level", "loud"], ["--socket"],
                                  ["--idle-exit", "soon"], ["--idle-exit", "-1"], ["--ready-fd", "x"],
                                  ["--ready-fd", "987"]])
def test_wrong_usage(programs, args):
    assert programs.run([programs.shmd] + args, expect=2).err


def test_ends_when_told(broker):
    broker.stop(signal.SIGTERM)
    assert not os.path.exists(broker.socket)
    assert set(sysv.segments()) == {broker.registry}
    broker.start()
    broker.stop(signal.SIGINT)
    broker.start()
    with broker.connect() as w:
        broker.process.send_signal(signal.SIGTERM)
        with pytest.raises(Closed):
            w.read()
    assert broker.ended() == 0


def test_second_daemon_on_the_socket(broker, make_broker, folder):
    second = make_broker(None, socket=broker.socket)
    assert not second.start(ready=False)
    assert second.ended() == 3
    assert broker.socket in second.log()
    broker.welcome()
    assert set(sysv.segments()) == {broker.registry}
    other = make_broker(None, socket=os.path.join(folder, "other.sock"))
    other.start()
    assert other.registry != broker.registry
    broker.foreign = {other.registry}
    other.foreign = {broker.registry}


def test_stale_socket(broker):
    broker.kill()
    assert os.path.exists(broker.socket)
    with pytest.raises(ConnectionRefusedError):
        Wire(broker.socket)
    broker.start()
    broker.welcome()


def test_socket_mode(make_broker):
    b = make_broker("[shmd]\nsocket_mode = 0600\n")
    b.start()
    s = os.stat(b.socket)
    assert stat.S_ISSOCK(s.st_mode) and stat.S_IMODE(s.st_mode) == 0o600
    with pytest.raises(PermissionError):
        b.connect(uid=10001)
    b.stop()
    b.write_config("[shmd]\nsocket_mode = 0660\nsocket_group = %s\n" % PLAIN_USER)
    b.start()
    s = os.stat(b.socket)
    assert (stat.S_IMODE(s.st_mode), s.st_gid) == (0o660, PLAIN_GID)
    b.connect(uid=10001, gid=PLAIN_GID).ping()


@pytest.mark.parametrize("path", ["/nonexistent/deep/x.sock", "/", "x" * 200, "/tmp/" + "x" * 105])
def test_impossible_socket(programs, path, folder):
    r = programs.run([programs.shmd, "--config", "/dev/null", "--socket", path], expect=1, cwd=folder)
    assert r.err and not sysv.segments()


BAD_CONFIGS = [
    ("[shmd]\nsokcet = /x\n", 2, "sokcet"), ("[registry]\ncapacity = 0\n", 2, "capacity"),
    ("[registry]\n\ncapacity = many\n", 3, "capacity"), ("[registry]\ncapacity = 1\ncapacity = 2\n", 3, "capacity"),
    ("[nowhere]\nx = 1\n", 1, "nowhere"), ("[policy]\nmax_mode = 0999\n", 2, "max_mode"),
    ("[limits]\nnonsense\n", 2, ""),
]


@pytest.mark.parametrize("text, line, word", BAD_CONFIGS)
def test_check_config_bad(programs, folder, text, line, word):
    path = os.path.join(folder, "bad.conf")
    with open(path, "w") as f:
        f.write(text)
    for more in (["--check-config"], []):
        r = programs.run([programs.shmd, "--config", path] + more, expect=1)
        assert "%s:%d: " % (path, line) in r.err and word in r.err
    assert not sysv.segments()


def test_check_config_good(programs, folder):
    conf = os.path.join(shmd.TOP, "conf", "shmd.conf")
    programs.run([programs.shmd, "--check-config", "--config", conf])
    programs.run([programs.shmd, "--check-config", "--config", "/no/such/file"], expect=1)
    assert not sysv.segments()


def reload(broker):
    since = broker.mark()
    broker.process.send_signal(signal.SIGHUP)
    return since


def test_reload(broker):
    held = broker.connect(uid=10001)
    held.create("x")
    broker.write_config("[shmd]\nsocket_mode = 0666\n[policy]\nmax_mode = 0666\n[limits]\nmax_size = 64K\n")
    broker.wait_log("(?i)config", reload(broker))
    assert held.info().max_size == 65536
    assert held.create("y", mode=0o666).size
    with pytest.raises(Refused):
        held.create("z", 65537)


def test_reload_of_a_bad_config_changes_nothing(broker):
    with broker.connect() as w:
        before = w.info()
        broker.write_config("[shmd]\nsocket_mode = 0666\n[limits]\nmax_size = 64K\nmax_sizes = 1\n")
        line = broker.wait_log(re.escape(broker.config) + ":5: ", reload(broker))
        assert "max_sizes" in line
        after = w.info()
        assert (after.max_size, after.max_connections) == (before.max_size, before.max_connections)
        w.create("x", 1 << 17)
        os.unlink(broker.config)
        broker.wait_log(re.escape(broker.config), reload(broker))
        assert w.info().max_size == before.max_size
        w.ping()
    broker.write_config("")


def test_reload_tells_what_needs_a_restart(broker):
    broker.write_config("[shmd]\nsocket_mode = 0666\n[registry]\ncapacity = 100\n")
    broker.wait_log("capacity", reload(broker))
    with broker.connect() as w:
        assert w.info().capacity == 4096


def status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


@pytest.mark.root
def test_started_as_root_it_drops(make_broker):
    b = make_broker("[shmd]\nsocket_mode = 0666\nuser = %s\n" % PLAIN_USER,
                    env=shmd.NO_LEAK_CHECK)
    os.chown(b.folder, PLAIN_UID, PLAIN_GID)
    b.start()
    s = status(b.pid)
    assert s["Uid"].split() == [str(PLAIN_UID)] * 4
    assert s["Gid"].split() == [str(PLAIN_GID)] * 4
    assert s["Groups"].split() in ([], [str(PLAIN_GID)])
    for caps in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(s[caps], 16) == 0, caps
    assert sysv.segments()[b.registry].cuid == PLAIN_UID
    with b.connect(uid=10001) as w:
        shmid = w.create("x").shmid
        assert sysv.segments()[shmid].uid == 10001
    with b.connect() as w:
        assert w.set("10001/x", uid=10002, mode=0o640).uid == 10002
    b.kill()
    b.start()
    assert b.consistent() == {"10001/x": shmid}


def test_stays_root_and_says_so(broker):
    broker.wait_log("(?i)root")
    assert status(broker.pid)["Uid"].split()[0] == "0"


def test_log_levels(make_broker):
    b = make_broker(args=["--log-level", "error"])
    b.start()
    b.connect().create("x")
    b.stop()
    assert b.log() == ""
    b.args = ["-l", "debug"]
    b.start()
    b.wait_log(".")


def test_journal_prefixes(programs, folder):
    """With stderr the journal's, each line starts with its priority."""
    path = os.path.join(folder, "journal")
    with open(path, "w") as f:
        st = os.fstat(f.fileno())
        p = programs.popen([programs.shmd, "--config", "/no/such"], stderr=f,
                           env={"JOURNAL_STREAM": "%d:%d" % (st.st_dev, st.st_ino)})
        assert p.wait(shmd.LIMIT) == 1
    with open(path) as f:
        assert re.match(r"<3>.*/no/such", f.read())


@pytest.mark.parametrize("where", ["/dev/null", "/dev/full", "a terminal"])
def test_log_that_nobody_reads(programs, make_broker, where):
    """A character device as stderr, under the unit's filters too: no more than lines are lost."""
    b = make_broker()
    master, tty = os.openpty() if where == "a terminal" else (None, os.open(where, os.O_WRONLY))
    ready, w = os.pipe()
    p = programs.popen(b.command() + ["--ready-fd", w], pass_fds=[w], stderr=tty)
    try:
        os.close(w)
        assert os.read(ready, 1) == b"\n"
        with b.connect() as alice:
            alice.create("x")
        p.terminate()
        assert p.wait(shmd.LIMIT) == 0
    finally:
        p.kill()
        p.wait()
        for fd in (ready, tty, master):
            if fd is not None:
                os.close(fd)


# Private brokers.

UID = 20000 + os.getpid() % 10000  # a /tmp/shmd-UID of this run alone


def private(programs, make_broker, uid, runtime=None, args=()):
    b = make_broker(None, uid=uid, args=args, env={"XDG_RUNTIME_DIR": runtime} if runtime else {})
    folder = runtime + "/shmd" if runtime else "/tmp/shmd-%d" % uid
    b.socket = folder + "/shmd.sock"
    b.command = lambda: [programs.shmd, "--user"]
    return b, folder


def test_private_broker(programs, make_broker, folder):
    """Its socket is where all clients of its user look, and nobody else gets in."""
    os.chown(folder, UID, UID)
    b, own = private(programs, make_broker, UID, folder)
    # Connected to by its user: root is as foreign to it as any other.
    b.connect = lambda uid=UID, **kwargs: Wire(b.socket, uid, **kwargs)
    b.start()
    assert stat.S_IMODE(os.stat(own).st_mode) == 0o700
    with b.connect() as w:
        shmid = w.create("x").shmid
        assert w.welcome.daemon_uid == UID
    s = sysv.segments()[shmid]
    assert (s.uid, s.cuid, s.mode) == (UID, UID, 0o600)
    with pytest.raises(PermissionError):
        b.connect(uid=UID + 1)
    env = {"XDG_RUNTIME_DIR": folder}
    assert "x" in programs.run([programs.ctl, "list"], uid=UID, env=env).out
    programs.run([programs.ctl, "rm", "x"], uid=UID, env=env)


def test_private_broker_without_a_runtime_folder(programs, make_broker):
    b, own = private(programs, make_broker, UID)
    b.connect = lambda uid=UID, **kwargs: Wire(b.socket, uid, **kwargs)
    try:
        b.start()
        s = os.stat(own)
        assert (s.st_uid, stat.S_IMODE(s.st_mode)) == (UID, 0o700)
        b.stop()
    finally:
        subprocess.run(["rm", "-rf", own])


@pytest.mark.parametrize("mode, owner", [(0o755, UID), (0o770, UID), (0o700, UID + 1), (0o1777, 0)])
def test_private_folder_of_wrong_owner_or_mode(programs, make_broker, mode, owner):
    b, own = private(programs, make_broker, UID)
    os.mkdir(own)
    try:
        os.chown(own, owner, owner)
        os.chmod(own, mode)
        assert not b.start(ready=False)
        assert b.ended() == 1
        assert own in b.log()
        assert not sysv.segments() and os.listdir(own) == []
    finally:
        subprocess.run(["rm", "-rf", own])


def test_private_folder_is_a_link(programs, make_broker, folder):
    b, own = private(programs, make_broker, UID)
    os.chown(folder, UID, UID)
    os.chmod(folder, 0o700)
    os.symlink(folder, own)
    try:
        assert not b.start(ready=False)
        assert b.ended() == 1
        assert not sysv.segments()
    finally:
        os.unlink(own)


def test_idle_exit(programs, make_broker, folder):
    """Ends with its last client, and leaves nothing; with a segment left, it stays."""
    b, _ = private(programs, make_broker, None, folder, args=["--idle-exit", "0"])
    b.start(ready=False)
    w = b.connect()
    w.create("x")
    w.close()
    w = b.connect()
    assert [s.name for s in w.list()] == ["root/x"]
    w.remove("x")
    w.close()
    assert b.ended() == 0
    assert not sysv.segments() and not os.path.exists(b.socket)


def test_overflow_ids_are_refused(broker):
    """Who shows as 65534 may be anybody of another user namespace."""
    for ids in ({"uid": 65534}, {"uid": 10001, "gid": 65534}):
        with pytest.raises((Refused, Closed, ConnectionError)):
            broker.connect(**ids)
    broker.welcome()


def test_client_in_another_ipc_namespace(broker, programs):
    """No shmid holds there: the library says so."""
    r = programs.run(["unshare", "--ipc", programs.ctl, "--socket", broker.socket, "create", "x",
                      "--size", "4K"], expect=None)
    assert r.code != 0 and "namespace" in r.err, r
