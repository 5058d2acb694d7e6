# SPDX-License-Identifier: MIT
"""shmd killed at every single step of what it does to the registry and to segments."""
import errno

import pytest

import shmd
import sysv
from shmd import entries_at, populate
from wire import F, Closed, Refused

pytestmark = pytest.mark.failpoints
POINTS = 400  # more than any operation has
CAPACITY = 4   # a small registry has fewer steps to adopt
CREATING, LIVE, REMOVING = 1, 2, 3


def small(make_broker):
    b = make_broker("[registry]\ncapacity = %d\n" % CAPACITY, env=shmd.NO_LEAK_CHECK)
    b.start()
    return b


def die_in(broker, op, n, work):
    """Start with a failpoint and work until shmd dies of it. True where it came through alive."""
    if broker.start(ready=False, SHMD_FAILPOINT="%s:%d" % (op, n)):
        try:
            with broker.connect() as w:
                work(w)
            broker.stop()
            return True
        except (Closed, ConnectionError):
            pass
    assert broker.ended() == -9, broker.log()
    return False


@pytest.mark.parametrize("op, work", [
    ("create", lambda w: w.create("new", 4096, request_id=42, mode=0o640)),
    ("create", lambda w: w.create("new", 4096, lifetime=F.LIFETIME_EPHEMERAL)),
    ("create", lambda w: w.channel("new", request_id=42)),
    ("remove", lambda w: w.remove("old")),
    ("set", lambda w: w.set("old", mode=0o660, uid=10003, gid=10003)),
], ids=["create", "ephemeral", "channel", "remove", "set"])
def test_death_at_every_step(make_broker, op, work):
    b = small(make_broker)
    for n in range(1, POINTS):
        with b.connect() as w:
            for s in w.list():
                w.remove(s.name)
            w.create("old", 8192)
        b.stop()
        alive = die_in(b, op, n, work)
        b.start()
        names = b.consistent()
        assert set(names) <= {"root/old", "root/new"} and ("root/old" in names or op == "remove")
        with b.connect() as w:
            if op == "set":
                s = w.stat("old")
                assert (s.mode, s.uid, s.gid) in ((0o600, 0, 0), (0o660, 10003, 10003))
            try:
                work(w)  # what was asked for can be asked for again
            except Refused as e:
                assert op == "remove" and e.errno == errno.ENOENT and not names
        b.consistent()
        if alive:
            break
    assert 3 < n < POINTS - 1, "dies at %d steps" % n
    print("%s: died at %d steps" % (op, n - 1))


def test_death_at_every_step_of_a_join(make_broker):
    """Whoever got no answer is not in its own way, and no number is given twice."""
    b = small(make_broker)
    roles = []

    def join(w):
        w.channel("new")
        w.attach("new")
        roles.append(w.join(F.JOIN_WRITER).role)

    for n in range(1, POINTS):
        b.stop()
        alive = die_in(b, "join", n, join)
        b.start()
        for _ in range(2):  # with the role of the connection before, and after its end
            with b.connect() as w:
                join(w)
        if alive:
            break
    assert 3 <= n < POINTS - 1, "dies at %d steps" % n
    assert len(set(roles)) == len(roles)


def set_word(registry, name, state, shmid):
    """Leave behind what a death in the middle leaves."""
    at = entries_at(CAPACITY)
    data = sysv.read(registry, at + CAPACITY * 256)
    for entry in range(at, len(data), 256):
        if data[entry + 48:].startswith(name.encode() + b"\0"):
            sysv.write(registry, (state << 32 | shmid & 0xffffffff).to_bytes(8, "little"), entry + 8)
            sysv.write(registry, b"\1", entry)  # seq: odd
            return
    raise AssertionError(name)


def test_death_at_every_step_of_adoption(make_broker):
    """Adopting what a death left behind, and dying over it at each step."""
    b = small(make_broker)
    for n in range(1, POINTS):
        with b.connect() as w:
            for s in w.list():
                w.remove(s.name)
            ids = {name: w.create(name).shmid for name in ("keep", "half", "gone", "taken")}
        b.stop()
        set_word(b.registry, "root/half", CREATING, -1)
        set_word(b.registry, "root/gone", REMOVING, ids["gone"])
        sysv.rmid(ids["taken"])
        alive = die_in(b, "adopt", n, lambda w: w.ping())
        b.start()
        assert b.consistent() == {"root/keep": ids["keep"]}
        if alive:
            break
    assert 3 < n < POINTS - 1, "dies at %d steps" % n
    print("adopt: died at %d steps" % (n - 1))


@pytest.mark.parametrize("first", [True, False], ids=["first", "resize"])
def test_death_over_a_new_registry(make_broker, namespace, first):
    """The registry itself is made in steps too, and so is its move to another capacity."""
    if not namespace:
        pytest.skip("needs IPC namespaces of its own (CAP_SYS_ADMIN)")
    b = make_broker(env=shmd.NO_LEAK_CHECK)
    for n in range(1, POINTS, 1 if first else 3):
        sysv.unshare_ipc()
        ids = {}
        if not first:
            b.write_config("[registry]\ncapacity = 3\n")
            b.start()
            ids = populate(b)
            b.stop()
        b.write_config("[registry]\ncapacity = 4\n")
        alive = die_in(b, "adopt", n, lambda w: w.ping())
        b.start()
        assert b.consistent() == ids
        with b.connect() as w:
            w.create("x")
        assert len(b.consistent()) == len(ids) + 1
        b.stop()
        if alive:
            return
    raise AssertionError("it never survived")
