# SPDX-License-Identifier: MIT
"""The registry of an earlier shmd is moved to this one's layout; that of a later one is left alone."""
import pytest

import shmd
import sysv
from layouts import CREATING, ENTRY, REMOVING, make_v1
from shmd import entries_at, populate


def seen(broker):
    with broker.connect() as w:
        return {s.name: (s.shmid, s.mode, s.size, s.uid, s.gid, s.instance, s.key, s.created,
                         s.creator_uid, s.creator_pid) for s in w.list()}


@pytest.mark.parametrize("capacity", [64, 4096])
@pytest.mark.parametrize("new", [3, 64, 4096])
def test_layout_1_is_moved(make_broker, capacity, new):
    b = make_broker("[registry]\ncapacity = %d\n" % capacity)
    b.start()
    ids, before, old = populate(b), seen(b), b.registry
    generation, instance = b.welcome().generation, max(v[5] for v in before.values())
    b.stop()
    make_v1(old, capacity)
    b.write_config("[registry]\ncapacity = %d\n" % new)
    b.start()
    b.wait_log("layout 1")
    assert b.registry != old and old not in sysv.segments()
    assert b.consistent() == ids and seen(b) == before
    assert b.welcome().generation == generation + 1
    with b.connect() as w:
        assert w.info().capacity == new
        if new > 3:
            assert w.create("one-more").instance > instance
    registry = b.registry
    b.kill()
    b.start()  # moved once and for all
    assert b.registry == registry and set(ids) <= set(b.consistent())


def test_layout_1_with_more_than_the_new_capacity(make_broker):
    b = make_broker("[registry]\ncapacity = 8\n")
    b.start()
    ids = populate(b)
    b.stop()
    make_v1(b.registry, 8)
    b.write_config("[registry]\ncapacity = 2\n")
    b.start()
    assert b.consistent() == ids
    with b.connect() as w:
        assert w.info().capacity == 8


def test_layout_1_of_a_dead_daemon(make_broker):
    """What it was just making or removing is brought to its end, by the pid that it had."""
    b = make_broker("[registry]\ncapacity = 8\n")
    b.start()
    ids = populate(b)
    b.kill()
    make_v1(b.registry, 8, {"root/a": (CREATING, -1), "root/b": (REMOVING, ids["root/b"])})
    b.start()
    assert b.consistent() == {"10001/c": ids["10001/c"]}


def test_no_room_to_move(make_broker, namespace):
    """It says why it cannot start, and the old one is as it was."""
    if not namespace:
        pytest.skip("needs an IPC namespace of its own (CAP_SYS_ADMIN)")
    b = make_broker("[registry]\ncapacity = 8\n")
    b.start()
    ids = populate(b)
    b.stop()
    make_v1(b.registry, 8)
    size = entries_at(8) + 8 * ENTRY
    before = sysv.read(b.registry, size)
    limit("shmmni", len(sysv.segments()))
    assert not b.start(ready=False)
    assert b.ended() == 1 and "kernel.shmmni" in b.log()
    assert sysv.read(b.registry, size) == before
    limit("shmmni", 4096)
    b.start()
    assert b.consistent() == ids


def limit(name, value):
    with open("/proc/sys/kernel/" + name, "w") as f:
        f.write(str(value))


@pytest.mark.parametrize("layout", [0, 3, 0xffffffff])
def test_unknown_layout_is_refused(make_broker, layout):
    b = make_broker("[registry]\ncapacity = 8\n")
    b.start()
    ids = populate(b)
    b.stop()
    size = entries_at(8) + 8 * ENTRY
    sysv.write(b.registry, layout.to_bytes(4, "little"), 8)
    before, there = sysv.read(b.registry, size), set(sysv.segments())
    assert not b.start(ready=False)
    assert b.ended() == 1 and "layout %d" % layout in b.log()
    assert sysv.read(b.registry, size) == before and set(sysv.segments()) == there
    sysv.write(b.registry, (2).to_bytes(4, "little"), 8)
    b.start()
    assert b.consistent() == ids


@pytest.mark.failpoints
@pytest.mark.parametrize("squatted", [False, True], ids=["", "random-key"])
def test_death_at_every_step_of_the_move(make_broker, namespace, squatted):
    """The old one or the new one is whole at every step, and in the end only one is left."""
    if not namespace:
        pytest.skip("needs an IPC namespace of its own (CAP_SYS_ADMIN)")
    b = make_broker("[registry]\ncapacity = 3\n", env=shmd.NO_LEAK_CHECK)
    for n in range(1, 400):
        sysv.unshare_ipc()
        b.start()
        if squatted:  # the old one stays where no key leads to
            squat(b)
        ids = populate(b)
        b.stop()
        make_v1(b.registry, 3)
        alive = b.start(ready=False, SHMD_FAILPOINT="adopt:%d" % n)
        b.stop() if alive else b.ended()
        b.start()
        assert b.consistent() == ids
        b.stop()
        if alive:
            assert n > 20
            return
    raise AssertionError("it never survived")


def squat(broker):
    """Start it anew with its registry under another key than those that follow from the socket."""
    key = sysv.segments()[broker.registry].key
    broker.stop()
    size = sysv.segments()[broker.registry].size
    data = sysv.read(broker.registry, size)
    sysv.rmid(broker.registry)
    free = 0x52000001 if key != 0x52000001 else 0x52000002
    moved = sysv.shmget(free, size, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)
    sysv.write(moved, data)
    broker.start()
    assert broker.registry == moved
