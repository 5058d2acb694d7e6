# SPDX-License-Identifier: MIT
"""Who may do what, said by the broker and enforced by the kernel."""
import errno
import os

import pytest

import sysv
from wire import F, Refused, as_user


def refused(call, *args, **kwargs):
    with pytest.raises(Refused) as e:
        call(*args, **kwargs)
    assert e.value.text
    return e.value.errno


@pytest.fixture
def alice(broker):
    with broker.connect(uid=10001) as w:
        yield w


@pytest.fixture
def bob(broker):
    with broker.connect(uid=10002) as w:
        yield w


def test_what_create_gives(alice):
    o = alice.create("x", 5000)
    assert o.name == "10001/x" and o.flags & F.OPENED_CREATED
    s = alice.stat("x")
    assert (s.uid, s.gid, s.cuid, s.mode, s.size) == (10001, 10001, 0, 0o600, 5000)
    assert (s.creator_uid, s.creator_pid) == (10001, os.getpid())
    assert (s.nattch, s.flags, s.leases) == (1, F.SEGMENT_PINNED, 0)
    k = sysv.segments()[o.shmid]
    assert (k.key, k.uid, k.gid, k.mode) == (o.key, 10001, 10001, 0o600)
    assert 0x53000000 <= o.key <= 0x53ffffff
    again = alice.create("x", 100)
    assert again.shmid == o.shmid and not again.flags & F.OPENED_CREATED
    assert refused(alice.create, "x", 5001) == errno.EINVAL
    assert refused(alice.create, "x", flags=F.CREATE_EXCLUSIVE) == errno.EEXIST
    assert sysv.read(o.shmid, 5000) == bytes(5000)


def test_namespaces(alice, bob, broker):
    alice.create("x", 4096)
    assert refused(bob.create, "10001/y") == errno.EPERM
    assert refused(bob.create, "shared/y") == errno.EPERM
    assert bob.open("10001/x").name == "10001/x"
    assert refused(bob.open, "x") == errno.ENOENT
    assert bob.create("x").name == "10002/x"
    with broker.connect() as admin:
        assert admin.create("10002/given").name == "10002/given"
        assert admin.create("shared/z").name == "shared/z"


def test_only_the_owner_changes(alice, bob, broker):
    shmid = alice.create("x").shmid
    assert refused(bob.set, "10001/x", mode=0o660) == errno.EPERM
    assert refused(bob.remove, "10001/x") == errno.EPERM
    assert refused(bob.remove, ("id", shmid)) == errno.EPERM
    assert alice.set("x", mode=0o640).mode == 0o640
    assert refused(alice.set, "x", uid=10002) == errno.EPERM
    assert refused(alice.set, "x", gid=10002) == errno.EPERM
    with broker.connect() as admin:
        assert admin.set("10001/x", uid=10002, gid=10002).uid == 10002
    assert refused(alice.set, "x", mode=0o600) == errno.EPERM
    assert bob.set("10001/x", mode=0o600).mode == 0o600
    bob.remove("10001/x")


def test_the_kernel_says_the_same(alice, broker):
    shmid = alice.create("x").shmid
    with as_user(10002):
        for call in (lambda: sysv.shmat(shmid), lambda: sysv.rmid(shmid), lambda: sysv.chmod(shmid, 0o666)):
            with pytest.raises(OSError):
                call()
    alice.set("x", mode=0o640)
    with as_user(10002, groups=[10001]):
        sysv.shmdt(sysv.shmat(shmid, sysv.SHM_RDONLY))
        with pytest.raises(OSError):
            sysv.shmat(shmid)
    with broker.probe(uid=10002) as p:
        assert p.ask("attach 0 10001/x")[:2] == ["error", str(errno.EACCES)]
    with broker.probe(uid=10002, groups=[10001]) as p:
        assert p.ask("attach 0 10001/x")[:2] == ["error", str(errno.EACCES)]
        p.ok("attach-ro 0 10001/x")
        assert p.ok("stat 10001/x")[1].split()[:2] == ["640", "1"]


def test_modes_have_a_cap(alice):
    for mode in (0o666, 0o604, 0o777):
        assert refused(alice.create, "x", mode=mode) == errno.EPERM
    assert refused(alice.create, "x", mode=0o10600) == errno.EINVAL
    alice.create("x", mode=0o660)
    assert refused(alice.set, "x", mode=0o664) == errno.EPERM
    assert refused(alice.set, "x", mode=0o1600) == errno.EINVAL


def test_cap_of_the_administrators(make_broker):
    b = make_broker("[policy]\ndefault_mode = 0640\nmax_mode = 0666\n")
    b.start()
    with b.connect(uid=10001) as w:
        w.create("x")
        assert w.stat("x").mode == 0o640
        w.create("y", mode=0o666)
        assert w.info().max_mode == 0o666


def test_groups(broker):
    with broker.connect(uid=10001, groups=[10050]) as w:
        assert refused(w.create, "x", gid=10051) == errno.EPERM
        w.create("x", gid=10050, mode=0o660)
        assert w.stat("x").gid == 10050
        assert refused(w.set, "x", gid=10051) == errno.EPERM
        assert w.set("x", gid=10001).gid == 10001
    with broker.connect() as admin:
        assert admin.set("10001/x", gid=10051).gid == 10051
        assert refused(admin.set, "10001/x", uid=0xffffffff) == errno.EINVAL
        assert refused(admin.set, "10001/x", gid=65534) == errno.EINVAL


def test_administrators(make_broker):
    b = make_broker("[policy]\nadministrators = 10009 @10070\n")
    b.start()
    with b.connect(uid=10001) as w:
        w.create("x")
        w.create("y")
    with b.connect(uid=10009) as w:
        assert w.set("10001/x", uid=10003).uid == 10003
        w.create("10001/z")
    with b.connect(uid=10010, groups=[10070]) as w:
        w.remove("10001/y")
    with b.connect(uid=10011) as w:
        assert refused(w.remove, "10001/x") == errno.EPERM


def test_fixed_keys(alice, broker, make_broker):
    o = alice.create("x", key=0x1234)
    assert o.key == 0x1234 and sysv.segments()[o.shmid].key == 0x1234
    assert refused(alice.create, "y", key=0x1234) == errno.EADDRINUSE
    foreign = sysv.shmget(0x4321, 4096, sysv.IPC_CREAT | 0o600)
    broker.foreign.add(foreign)
    assert refused(alice.create, "y", key=0x4321) == errno.EADDRINUSE
    for taken in (0x53000001, 0x52000001):  # our own ranges: of segments, and of registries
        assert refused(alice.create, "y", key=taken) == errno.EPERM
    assert refused(alice.create, "y", key=0, flags=F.CREATE_KEY) == errno.EINVAL
    alice.create("negative", key=-5)
    broker.stop()
    broker.write_config("[policy]\nfixed_keys = no\n")
    broker.start()
    with broker.connect(uid=10001) as w:
        assert refused(w.create, "z", key=0x9999) == errno.EPERM
        assert w.open("x").key == 0x1234


def test_limit_of_size(make_broker):
    b = make_broker("[limits]\nmax_size = 1M\n")
    b.start()
    with b.connect() as w:
        w.create("x", 1 << 20)
        assert refused(w.create, "y", (1 << 20) + 1) == errno.EDQUOT


def test_limit_of_all_sizes(make_broker):
    b = make_broker("[limits]\ntotal_size = 1M\n")
    b.start()
    with b.connect() as w:
        w.create("x", 1 << 19)
        w.create("y", 1 << 19)
        assert refused(w.create, "z", 1) == errno.EDQUOT
        w.remove("x")
        w.create("z", 1 << 19)


def test_noreserve(wire):
    wire.create("x", 1 << 33, flags=F.CREATE_NORESERVE)
    assert wire.stat("x").size == 1 << 33


def test_remove_while_attached(broker, alice):
    """The name is free at once, the memory goes with the last attachment."""
    with broker.probe(uid=10001) as p:
        shmid = int(p.ok("create x 4096")[0])
        p.ok("attach 0 x")
        p.ok("put 0 data")
        last = alice.remove("x")
        assert last.nattch == 2
        s = sysv.segments()[shmid]
        assert s.dest and s.nattch == 1
        assert p.ok("get 0") == ["data"]
        assert alice.create("x").shmid != shmid
        assert p.ok("get 0") == ["data"]
        p.ok("detach 0")
        assert shmid not in sysv.segments()


def test_list_in_pages(wire):
    ids = {wire.create("n%d" % i).shmid for i in range(100)}
    assert {s.shmid for s in wire.list()} == ids


def test_info(broker, wire):
    wire.create("x", 5000)
    wire.attach("x")
    i = wire.info()
    assert (i.pid, i.uid, i.segments, i.bytes, i.connections, i.leases) == (broker.pid, 0, 1, 5000, 1, 1)
    assert (i.capacity, i.max_size, i.max_leases, i.max_connections, i.max_connections_user, i.max_mode) == \
        (4096, 1 << 40, 1024, 4096, 1024, 0o660)
    assert (i.key_first, i.key_last, i.registry_shmid) == (0x53000000, 0x53ffffff, broker.registry)
    refused(wire.open, "no")
    j = wire.info()
    assert (j.requests - i.requests, j.refused - i.refused) == (2, 1)
    assert j.uptime > i.uptime > 0


TOTALS = ("segments", "bytes", "requests", "refused", "connections", "leases", "watches")


@pytest.mark.parametrize("public", ["yes", "no"])
def test_totals(make_broker, public):
    """What all have together, who may not see the others does not learn; limits everybody does."""
    b = make_broker("[policy]\nadministrators = 10009\n[registry]\npublic = %s\n" % public)
    b.start()
    b.foreign = set(sysv.segments())  # the registry
    with b.connect(10001) as alice, b.connect(10002) as bob, b.connect(10009) as admin:
        alice.create("x", 5000)
        alice.attach("x")
        alice.watch()
        assert refused(bob.create, "10001/y") == errno.EPERM
        for w, told in ((bob, public == "yes"), (alice, public == "yes"), (admin, True)):
            i = w.info()
            assert [bool(getattr(i, name)) for name in TOTALS] == [told] * len(TOTALS)
            assert i.capacity == 4096 and i.max_user_segments == 1024 and i.user_connections == 1
        assert (alice.info().user_segments, alice.info().user_bytes) == (1, 8192)
