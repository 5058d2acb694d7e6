# SPDX-License-Identifier: MIT
"""The kernel is the truth: what others do to segments, keys and limits beside the broker."""
import errno
import os

import pytest

import shmd
import sysv
from wire import F, Refused, as_user


def refused(call, *args, **kwargs):
    with pytest.raises(Refused) as e:
        call(*args, **kwargs)
    assert e.value.text
    return e.value.errno


def touches(w):
    """Every request that touches segment x."""
    return {"open": lambda: w.open("x", F.OPEN_VERIFY), "stat": lambda: w.stat("x"), "attach": lambda: w.attach("x"),
            "set": lambda: w.set("x", mode=0o640), "remove": lambda: w.remove("x")}


@pytest.mark.parametrize("op", ["open", "stat", "attach", "set", "remove"])
def test_removed_behind_the_back(broker, wire, programs, op):
    shmid = wire.create("x").shmid
    programs.run(["ipcrm", "-m", shmid])
    assert refused(touches(wire)[op]) == errno.EIDRM
    assert refused(wire.stat, "x") == errno.ENOENT
    assert wire.list() == []
    again = wire.create("x")
    assert again.shmid != shmid
    assert broker.consistent() == {"root/x": again.shmid}


def test_removed_and_listed(broker, wire):
    ids = [wire.create("n%d" % i).shmid for i in range(20)]
    for shmid in ids[::2]:
        sysv.rmid(shmid)
    assert sorted(s.shmid for s in wire.list()) == sorted(ids[1::2])
    assert wire.info().segments <= 20
    assert len(broker.consistent()) == 10


def test_removed_and_created_again(wire):
    """A create finds the entry of a segment that is gone, and makes a new one."""
    old = wire.create("x", 4096)
    sysv.rmid(old.shmid)
    new = wire.create("x", 8192)
    assert (new.size, new.flags & 1) == (8192, 1)
    assert new.instance != old.instance


def test_libshmd_is_told_the_truth(broker):
    """The fast path finds the name, the kernel has no such segment: the library asks the daemon."""
    with broker.probe() as p:
        shmid = int(p.ok("create x 4096")[0])
        p.ok("open x")
        sysv.rmid(shmid)
        answer = p.ask("attach 0 x")
        assert answer[0] == "error" and int(answer[1]) in (errno.EIDRM, errno.ENOENT), answer
        assert p.ask("open x")[:2] == ["error", str(errno.ENOENT)]
        new = p.ok("create x 4096")[0]
        assert p.ok("attach 0 x") == [new]


def test_mode_and_owner_changed_behind_the_back(wire):
    shmid = wire.create("x").shmid
    sysv.chmod(shmid, 0o444, uid=10007, gid=10008)
    s = wire.stat("x")
    assert (s.mode, s.uid, s.gid) == (0o444, 10007, 10008)
    s = wire.set("x", mode=0o640)
    assert (s.mode, s.uid, s.gid) == (0o640, 10007, 10008)
    assert sysv.segments()[shmid].mode == 0o640


@pytest.mark.root
def test_owner_locks_the_broker_out(make_broker):
    """Mode 0000 and a foreign owner: the creator's IPC_STAT is EACCES, and shmd still tells."""
    b = make_broker("[shmd]\nsocket_mode = 0666\nuser = games\n")
    os.chown(b.folder, 5, 60)
    b.env.update(shmd.NO_LEAK_CHECK)
    b.start()
    w = b.connect(uid=10001)
    shmid = w.create("x").shmid
    with as_user(10001):
        sysv.chmod(shmid, 0)
    s = w.stat("x")
    assert (s.mode, s.uid, s.cuid) == (0, 10001, 5)
    assert [s.name for s in w.list()] == ["10001/x"]
    assert w.set("x", mode=0o600).mode == 0o600
    with as_user(10001):
        sysv.chmod(shmid, 0)
    b.kill()
    b.start()
    w = b.connect(uid=10001)
    assert w.stat("x").shmid == shmid
    w.remove("x")


def test_owner_gives_the_owner_slot_away(broker):
    w = broker.connect(uid=10001)
    shmid = w.create("x").shmid
    with as_user(10001):
        sysv.chmod(shmid, 0o600, uid=10002)
    assert refused(w.set, "x", mode=0o666 & 0o660) == errno.EPERM
    other = broker.connect(uid=10002)
    assert other.set("10001/x", mode=0o640).uid == 10002
    other.remove("10001/x")


def test_by_key_and_by_shmid(wire):
    s = wire.create("x")
    for where in (("key", s.key), ("id", s.shmid)):
        assert wire.open(where).name == "root/x"
        assert wire.stat(where).name == "root/x"
    assert wire.set(("id", s.shmid), mode=0o640).mode == 0o640
    wire.remove(("key", s.key))
    assert wire.list() == []


def test_segments_of_others(broker, wire):
    """Not brokered: no name, and nothing of ours to remove; the library tells what the kernel says."""
    shmid = sysv.shmget(0x777, 4096, sysv.IPC_CREAT | 0o600)
    broker.foreign.add(shmid)
    with broker.probe() as p:
        for text, where in (("key:0x777", ("key", 0x777)), ("id:%d" % shmid, ("id", shmid))):
            for call in (wire.stat, wire.open, wire.remove):
                assert refused(call, where) == errno.ENOENT
            assert p.ok("stat " + text)[0] == str(shmid)
            for command in ("open ", "remove ", "attach 0 "):
                assert p.ask(command + text)[:2] == ["error", str(errno.ENOENT)], command
    assert shmid in sysv.segments()
    for where in (("id", 0x7fffffff), ("key", 0x7fffffff), ("id", -1), ("key", 0)):
        assert refused(wire.stat, where) in (errno.ENOENT, errno.EINVAL)


def test_the_registry_is_not_to_be_had(broker, wire):
    """Nobody can have the registry itself removed or changed through the broker."""
    registry = ("id", broker.registry)
    for call in (wire.remove, lambda w: wire.set(w, mode=0o666), lambda w: wire.attach(w)):
        refused(call, registry)
    with as_user(10001):
        with pytest.raises(OSError):
            sysv.shmat(broker.registry)
        with pytest.raises(OSError):
            sysv.rmid(broker.registry)


def test_capacity_is_full(make_broker):
    b = make_broker("[registry]\ncapacity = 8\n")
    b.start()
    with b.connect() as w:
        for i in range(8):
            w.create("n%d" % i)
        assert refused(w.create, "n8") == errno.EXFULL
        assert w.create("n3").flags & 1 == 0  # one that exists is opened as ever
        w.ping()
        w.stat("n7")
        w.remove("n0")
        w.create("n8")
        assert refused(w.create, "n9") == errno.EXFULL
    assert len(b.consistent()) == 8


def kernel_limit(name, value):
    with open("/proc/sys/kernel/" + name, "w") as f:
        f.write(str(value))


def test_kernel_has_no_more_segments(broker, wire, namespace):
    if not namespace:
        pytest.skip("needs an IPC namespace of its own (CAP_SYS_ADMIN)")
    wire.create("a")
    kernel_limit("shmmni", len(sysv.segments()))
    assert refused(wire.create, "b") == errno.ENOSPC
    wire.ping()
    assert set(broker.consistent()) == {"root/a"}
    kernel_limit("shmmni", 4096)
    wire.create("b")


def test_kernel_allows_no_such_size(broker, wire, namespace):
    if not namespace:
        pytest.skip("needs an IPC namespace of its own (CAP_SYS_ADMIN)")
    kernel_limit("shmmax", 8192)
    assert refused(wire.create, "a", 8193) in (errno.EINVAL, errno.EDQUOT)
    wire.create("a", 8192)
    kernel_limit("shmall", 4)
    assert refused(wire.create, "b", 8192 * 1) in (errno.ENOSPC, errno.ENOMEM)
    assert set(broker.consistent()) == {"root/a"}


def test_no_room_for_the_registry(make_broker, namespace):
    if not namespace:
        pytest.skip("needs an IPC namespace of its own (CAP_SYS_ADMIN)")
    kernel_limit("shmmni", 0)
    b = make_broker()
    assert not b.start(ready=False)
    assert b.ended() not in (0, 3)
    assert "registry" in b.log() or "SHMMNI" in b.log()
    assert not os.path.exists(b.socket)


def test_squatted_keys(make_broker):
    """Somebody holds thousands of keys of the smallest range there can be: shmd finds free ones."""
    b = make_broker("[registry]\nkey_range = 0x53000000-0x5300ffff\n")
    with as_user(10009):
        for key in range(0x53000000, 0x53000000 + 0x10000, 20):
            b.foreign.add(sysv.shmget(key, 4096, sysv.IPC_CREAT | 0o666))
    b.start()
    with b.connect() as w:
        for i in range(200):
            assert (w.create("n%d" % i).key - 0x53000000) % 20 != 0
    assert len(b.consistent()) == 200


def test_squatted_registry_key(broker):
    """A segment of another creator under the registry's key does not stop shmd, and is not adopted."""
    key = sysv.segments()[broker.registry].key
    broker.stop()
    sysv.rmid(broker.registry)
    with as_user(10009):
        squat = sysv.shmget(key, 1 << 20, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o666)
    broker.foreign.add(squat)
    broker.start()
    assert broker.registry != squat
    with broker.connect() as w:
        w.create("x")
    broker.kill()
    broker.start()
    assert set(broker.consistent()) == {"root/x"}
    assert squat in sysv.segments()


def test_forged_registry(broker):
    """A copy of a true registry, made by another user under its key: not adopted."""
    with broker.connect() as w:
        w.create("x")
    key = sysv.segments()[broker.registry].key
    size = sysv.segments()[broker.registry].size
    broker.stop()
    data = sysv.read(broker.registry, size)
    sysv.rmid(broker.registry)
    with as_user(10009):
        forged = sysv.shmget(key, size, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o666)
        sysv.write(forged, data)
    broker.foreign = {forged} | (set(sysv.segments()) - {broker.registry})
    broker.start()
    assert broker.registry != forged
    assert broker.names() == {}
    assert forged in sysv.segments()


def test_registry_is_read_only_for_others(broker, wire):
    s = sysv.segments()[broker.registry]
    assert (s.mode, s.uid, s.cuid) == (0o644, 0, 0)


def test_private_view(make_broker):
    """public = no: nobody but shmd's user can read the registry; names are found by asking."""
    b = make_broker("[registry]\npublic = no\n")
    b.start()
    assert [s.mode for s in sysv.segments().values()] == [0o600]
    w = b.connect(uid=10001)
    assert w.welcome.registry_shmid == -1
    made = w.create("x")
    with b.probe(uid=10001) as p:
        assert p.ok("open x")[0] == str(made.shmid)
        p.ok("attach 0 x")
    assert [s.name for s in w.list()] == ["10001/x"]
