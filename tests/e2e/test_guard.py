# SPDX-License-Identifier: MIT
"""What keeps the broker whole: its registry, its socket, its loop."""
import errno
import os
import signal
import sys

import pytest

import shmd
import sysv
from wire import Closed, F, Refused, as_user, frame, pack, target, unpack


def refused(call, *args, **kwargs):
    with pytest.raises(Refused) as e:
        call(*args, **kwargs)
    return e.value.errno


def registry_keys(broker):
    """Every key that the registry of this socket tries before a random one."""
    keys = []
    for _ in range(16):
        if broker.start():
            keys.append(sysv.segments()[broker.registry].key)
        broker.stop()
        sysv.rmid(broker.registry)
        with as_user(10007):
            broker.foreign.add(sysv.shmget(keys[-1], 4096, sysv.IPC_CREAT | 0o600))
    return keys


def test_registry_under_a_random_key_is_found_again(make_broker):
    b = make_broker("[registry]\ncapacity = 8\n")
    keys = registry_keys(b)
    assert len(set(keys)) == 16
    b.start()
    key = sysv.segments()[b.registry].key & 0xffffffff
    assert 0x52000000 <= key <= 0x52ffffff and key not in {k & 0xffffffff for k in keys}
    with b.connect() as w:
        shmid = w.create("x").shmid
    b.stop()
    for squatter in b.foreign:
        sysv.rmid(squatter)
    b.foreign.clear()
    b.start()
    assert b.consistent() == {"root/x": shmid}
    assert sysv.segments()[b.registry].key & 0xffffffff == key


def test_closed_registry_is_opened_again(make_broker):
    b = make_broker()
    b.start()
    with b.connect() as w:
        shmid = w.create("x").shmid
    b.stop()
    sysv.chmod(b.registry, 0, uid=0, gid=0)
    b.start()
    assert b.consistent() == {"root/x": shmid}


def test_second_daemon_without_the_lock(make_broker, broker, programs):
    os.unlink(broker.socket + ".lock")
    p = programs.run(broker.command(), expect=3)
    assert "works on this registry already" in p.err
    assert broker.consistent() == {}


def test_no_file_is_replaced(make_broker, folder):
    path = os.path.join(folder, "data")
    with open(path, "w") as f:
        f.write("precious")
    b = make_broker(socket=path)
    assert not b.start(ready=False)
    assert b.ended() == 1 and "no socket" in b.log()
    with open(path) as f:
        assert f.read() == "precious"
    for shmid in sysv.segments():
        sysv.rmid(shmid)


def test_list_without_public_view(make_broker):
    b = make_broker("[registry]\npublic = no\n")
    b.start()
    with b.connect(uid=10001) as alice, b.connect(uid=10002) as bob, b.connect() as admin:
        alice.create("x")
        bob.create("y")
        assert alice.welcome.registry_shmid == -1
        assert [s.name for s in alice.list()] == ["10001/x"]
        assert [s.name for s in bob.list()] == ["10002/y"]
        assert sorted(s.name for s in admin.list()) == ["10001/x", "10002/y"]


def test_retired_registry_tells_nothing(make_broker):
    """A client that still has the old one mapped asks the broker."""
    b = make_broker("[registry]\ncapacity = 8\n")
    b.start()
    with b.probe() as p:
        p.ok("create x 4096")
        p.ok("open x")
        b.stop()
        b.write_config("[registry]\ncapacity = 16\n")
        b.start()
        with b.connect() as w:
            w.remove("root/x")
        assert p.ask("open x")[:2] == ["error", str(errno.ENOENT)]


def test_remove_means_one_segment(wire):
    first = wire.create("x")
    wire.remove("x")
    second = wire.create("x")
    body = pack("target", **{**target("x"), "instance": first.instance})
    assert refused(wire.call, "REMOVE", body) == errno.ENOENT
    body = pack("target", **{**target("x"), "instance": second.instance})
    assert unpack("segment", wire.call("REMOVE", body)).instance == second.instance


def test_wait_for_a_name_that_oneself_creates(wire):
    wire.send(frame("OPEN", pack("open", flags=F.OPEN_WAIT, **target("x")), serial=7))
    body = pack("create", name="x", size=4096)
    wire.send(frame("CREATE", body, serial=8))
    replies = {r.serial: r for r in (wire.read(), wire.read())}
    assert {7, 8} == set(replies)
    assert all(r.status == 0 and unpack("opened", r.body).name == "root/x" for r in replies.values())


FLOOD = """
import socket, sys
while True:
    s = socket.socket(socket.AF_UNIX)
    s.setblocking(False)
    try:
        s.connect(sys.argv[1])
    except OSError:
        pass
    s.close()
"""


def test_endless_connecting(broker, programs):
    """Who connects on and on does not keep the others from being served."""
    with broker.connect() as wire:
        floods = [programs.popen([sys.executable, "-c", FLOOD, broker.socket]) for _ in range(2)]
        try:
            shmd.until(lambda: wire.ping() or wire.info().connections > 1, "the flood has begun")
            for _ in range(300):
                wire.ping()
        finally:
            for p in floods:
                p.kill()
                p.wait()


def test_nobody_reads_the_log(programs, folder, make_broker):
    """A full pipe behind stderr costs lines, not service."""
    b = make_broker()
    r, w = os.pipe()
    ready, ready_w = os.pipe()
    p = programs.popen(b.command() + ["--ready-fd", ready_w], pass_fds=[ready_w], stderr=w)
    os.close(ready_w)
    assert os.read(ready, 1) == b"\n"
    os.close(ready)
    with b.connect() as wire:
        for _ in range(1500):
            wire.create("x")
            wire.remove("x")
        wire.ping()
    os.set_blocking(r, False)
    assert len(os.read(r, 1 << 20)) > 4096
    with b.connect() as wire:
        wire.create("x")
        wire.remove("x")
    assert b"were lost" in os.read(r, 1 << 20)
    os.close(r)
    p.send_signal(signal.SIGTERM)
    assert p.wait(shmd.LIMIT) == 0
    os.close(w)
    for shmid in sysv.segments():
        sysv.rmid(shmid)


def test_large_removal(broker, wire):
    """Freed in a thread: gone in the end, and the broker answers at once."""
    shmid = wire.create("x", 256 << 20).shmid
    sysv.write(shmid, b"x" * (64 << 20))
    wire.remove("x")
    wire.ping()
    shmd.until(lambda: shmid not in sysv.segments(), "the segment is freed")


def test_turns_are_short(make_broker):
    """However much one asks for at once, the others come between: in order, and all answered."""
    b = make_broker()
    b.start()
    with b.connect() as w:
        for i in range(64):
            w.create("s%d" % i)
        one = frame("LIST", pack("list"), serial=5)
        w.sock.sendall(one * 300 + frame("PING", serial=6))
        serials = [w.read().serial for _ in range(301)]
        assert serials == [5] * 300 + [6]


def test_mode_of_the_socket(make_broker, folder):
    """The mode of the socket is set on the socket, never through its path."""
    victim = os.path.join(folder, "victim")
    with open(victim, "w"):
        pass
    os.chmod(victim, 0o600)
    path = os.path.join(folder, "shmd.sock")
    os.symlink(victim, path + ".new")
    b = make_broker()
    b.start()
    assert os.stat(victim).st_mode & 0o777 == 0o600
    assert os.stat(b.socket).st_mode & 0o777 == 0o666


def test_foreign_lock(make_broker, folder):
    """A lock that somebody else put there could be taken away again: it is not used."""
    lock = os.path.join(folder, "shmd.sock.lock")
    os.mkfifo(lock)
    b = make_broker()
    assert not b.start(ready=False)
    assert b.ended() == 1 and "not a file of ours" in b.log()
    os.unlink(lock)
    with open(lock, "w"):
        pass
    os.chown(lock, 10007, 10007)
    assert not b.start(ready=False)
    assert b.ended() == 1


def test_few_descriptors(make_broker):
    """One user does not get all that the descriptors allow."""
    b = make_broker(prefix=["prlimit", "--nofile=152:152"])
    b.start()
    b.wait_log("RLIMIT_NOFILE allows 40 connections")
    held = [b.connect(uid=10001) for _ in range(10)]
    with pytest.raises((Refused, ConnectionError, Closed)):
        b.connect(uid=10001)
    with b.connect(uid=10002) as w:
        w.ping()
    for w in held:
        w.close()


def test_forged_registry(make_broker):
    """What clients can write is never taken for the registry, though shmd made it and it looks like one."""
    b = make_broker("[registry]\ncapacity = 8\n")
    b.start()
    size = sysv.segments()[b.registry].size
    with b.connect() as w:
        forged = w.create("forged", size, key=0x1234).shmid
    sysv.write(forged, sysv.read(b.registry, size))
    b.stop()
    sysv.rmid(b.registry)
    b.foreign.add(forged)
    b.start()
    assert b.registry != forged and b.consistent() == {}
    sysv.rmid(forged)


def test_waiting_for_what_becomes_visible(make_broker):
    """`set` lets in who waits for a name that was there all the time, but not for them."""
    b = make_broker("[registry]\npublic = no\n[policy]\nmax_mode = 0666\n")
    b.start()
    b.foreign = set(sysv.segments())  # the registry
    with b.connect(10001) as alice, b.connect(10002) as bob:
        shmid = alice.create("x", mode=0o600).shmid
        bob.send(frame("OPEN", pack("open", flags=F.OPEN_WAIT, **target("10001/x")), serial=70))
        bob.ping()
        alice.set("x", mode=0o602)
        bob.ping()  # what comes before the reply is not the reply
        alice.set("x", mode=0o604)
        reply = bob.read()
        assert (reply.serial, reply.status) == (70, 0)
        assert unpack("opened", reply.body).shmid == shmid
