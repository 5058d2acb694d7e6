# SPDX-License-Identifier: MIT
"""How long segments live: persistent, ephemeral with leases and linger, ttl."""
import contextlib
import errno
import os
import signal

import pytest

import shmd
import sysv
from bare import Bare, answer, start_as_daemon
from wire import F

EPHEMERAL, TTL, PERSISTENT = F.LIFETIME_EPHEMERAL, F.LIFETIME_TTL, F.LIFETIME_PERSISTENT
ALICE, BOB, CAROL = 10001, 10002, 10003
LAB = 10050
CONFIG = """[shmd]
socket_mode = 0666
sweep = 1
[namespace lab]
users = 10001 10002 10003
group = 10050
default_mode = 0660
"""


@pytest.fixture
def b(make_broker, folder):
    return start_as_daemon(make_broker, folder, CONFIG)


@pytest.fixture
def alice(b):
    with b.connect(ALICE) as w:
        yield w


@pytest.fixture
def people():
    """member(uid): a process of a member of the group LAB."""
    with contextlib.ExitStack() as stack:
        yield lambda uid: stack.enter_context(Bare(uid, groups=[LAB]))


@pytest.fixture
def watch(b):
    with b.connect() as w:
        w.watch()
        yield w


def removed(watch, name, reason=F.REASON_UNUSED):
    """Blocks until that name is told to be gone; who had it attached knows of nothing."""
    while True:
        e = watch.next_event()
        if e.kind == F.EVENT_REMOVED:
            assert (e.name, e.reason) == (name, reason)
            return e


def there(shmid):
    return shmid in sysv.segments()


def test_what_an_ephemeral_one_is(alice):
    o = alice.create("lab/x", 5000, lifetime=EPHEMERAL)
    s = alice.stat("lab/x")
    assert (s.key, s.leases, s.nattch, s.linger, s.ttl, s.expires) == (0, 1, 1, 0, 0, 0)
    assert s.flags == F.SEGMENT_DEST | F.SEGMENT_PINNED | F.SEGMENT_EPHEMERAL
    k = sysv.segments()[o.shmid]
    assert k.dest and (k.key, k.uid, k.gid, k.mode, k.size) == (0, ALICE, LAB, 0o660, 5000)
    assert [(h.pid, h.uid, h.flags) for h in alice.who("lab/x")] == \
        [(os.getpid(), ALICE, F.HOLDER_CREATOR)]
    assert not alice.create("lab/x", 5000).flags & F.OPENED_CREATED
    alice.attach("lab/x", flags=F.ATTACH_READ_ONLY)
    assert [h.flags for h in alice.who("lab/x")] == [F.HOLDER_READ_ONLY]
    assert answer(alice.create, "lab/y", key=0x1234, lifetime=EPHEMERAL) == errno.EINVAL
    assert answer(alice.create, "lab/y", lifetime=EPHEMERAL, ttl=5) == errno.EINVAL
    assert answer(alice.create, "lab/y", lifetime=TTL) == errno.EINVAL
    assert answer(alice.create, "lab/y", lifetime=PERSISTENT, linger=5) == errno.EINVAL
    assert answer(alice.create, "lab/y", lifetime=3) == errno.EINVAL


@pytest.mark.parametrize("end", ["close", "kill", "detach"])
def test_creators_hold(b, alice, watch, people, end):
    """It is held by who made it, from the first moment on, and by nobody else of that user."""
    creator = people(ALICE)
    create = ("create", "lab/x", 4096, None, None, None, 0, None, EPHEMERAL)
    assert creator("ask", b.socket, *create) == 0
    shmid = alice.open("lab/x").shmid
    assert [h.pid for h in alice.who("lab/x")] == [creator.pid]
    if end == "detach":
        assert creator("ask", b.socket, "attach", "lab/x", 7) == 0
        assert there(shmid)
        assert creator("ask", b.socket, "detach", 7) == 0
    elif end == "close":
        assert creator("ask", b.socket, "close") == 0
    else:
        creator.kill()
    removed(watch, "lab/x")
    assert not there(shmid)
    assert answer(alice.open, "lab/x") == errno.ENOENT
    assert alice.create("lab/x", lifetime=EPHEMERAL).flags & F.OPENED_CREATED


def test_several_leases(b, alice, watch, people):
    """The last one decides, however it ends."""
    shmid = alice.create("lab/x", lifetime=EPHEMERAL).shmid
    bob, carol = people(BOB), people(CAROL)
    for p in (bob, carol):
        assert p("ask", b.socket, "attach", "lab/x", 1) == 0
        assert p("ask", b.socket, "attach", "lab/x", 2) == 0
    alice.attach("lab/x")
    assert alice.stat("lab/x").leases == 5
    alice.detach()
    assert bob("ask", b.socket, "detach", 1) == 0
    assert alice.stat("lab/x").leases == 3
    bob.kill()
    for kind in (F.EVENT_CREATED, *[F.EVENT_ATTACHED] * 5, *[F.EVENT_DETACHED] * 2, F.EVENT_DIED):
        assert watch.next_event().kind == kind
    assert [h.uid for h in alice.who("lab/x")] == [CAROL, CAROL] and there(shmid)
    assert carol("ask", b.socket, "detach", 2) == 0 and there(shmid)
    assert carol("ask", b.socket, "detach", 1) == 0
    removed(watch, "lab/x")
    assert not there(shmid)
    assert alice.info().user_segments == alice.info().leases == 0


def test_a_child_does_not_keep_the_leases(b, alice, watch, people):
    """A lease ends with its process, though the connection lives on in a child of it."""
    bob = people(BOB)
    alice.create("lab/x", lifetime=EPHEMERAL)
    assert bob("ask", b.socket, "attach", "lab/x") == 0
    alice.attach("lab/x")
    alice.detach()
    child = bob("fork")
    try:
        bob.kill()
        removed(watch, "lab/x")
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_attached_without_a_lease(alice, watch, people):
    """shmd lets go, and the kernel frees it with the last attachment, that nobody was told of."""
    bob, carol = people(BOB), people(CAROL)
    shmid = alice.create("lab/x", lifetime=EPHEMERAL).shmid
    sysv.write(shmid, b"data")
    assert bob("hold", shmid) == carol("hold", shmid) == 0
    alice.attach("lab/x")
    alice.detach()
    s = alice.stat("lab/x")
    assert (s.nattch, s.leases, s.flags & F.SEGMENT_PINNED) == (2, 0, 0)
    alice.attach("lab/x")  # it can be had by its name, and is pinned again
    assert alice.stat("lab/x").flags & F.SEGMENT_PINNED
    bob.kill()
    carol.kill()
    assert sysv.read(shmid, 4) == b"data"
    alice.detach()
    assert not there(shmid)
    removed(watch, "lab/x")
    shmid = alice.create("lab/x", lifetime=EPHEMERAL).shmid
    bob = people(BOB)
    assert bob("hold", shmid) == 0
    alice.attach("lab/x")
    alice.detach()
    bob.kill()
    assert not there(shmid)  # at once; the broker finds out later
    removed(watch, "lab/x")
    assert alice.info().user_segments == 0
    assert alice.create("lab/x").flags & F.OPENED_CREATED


def test_linger(alice, watch, people):
    """It waits for the next user for so long, and no longer."""
    bob = people(BOB)
    ids = {name: alice.create(name, lifetime=EPHEMERAL, linger=linger).shmid
           for name, linger in (("lab/long", 600), ("lab/x", 1), ("lab/bare", 1))}
    assert bob("hold", ids["lab/bare"]) == 0
    for i, name in enumerate(ids, 1):
        alice.attach(name, lease=i)
        assert alice.stat(name).expires == 0
    for i, name in enumerate(ids, 1):
        alice.detach(i)
        if name == "lab/long":  # time enough to look
            s = alice.stat(name)
            assert (s.leases, s.nattch) == (0, 1) and s.expires > s.created
            alice.attach(name)  # there is somebody again
            assert alice.stat(name).expires == 0
            alice.detach()
    first = removed(watch, "lab/x")
    assert not there(ids["lab/x"])
    shmd.until(lambda: not alice.stat("lab/bare").flags & F.SEGMENT_PINNED, "shmd has let go")
    bob.kill()
    assert not there(ids["lab/bare"])
    removed(watch, "lab/bare")
    s = alice.stat("lab/long")
    assert s.shmid == ids["lab/long"] and 540 < (s.expires - first.when) / 1e9 < 601


@pytest.mark.parametrize("stopped", [False, True])
def test_everybody_killed_at_once(b, alice, people, stopped):
    """Nothing of an ephemeral one is left, and no sweep was needed for it."""
    persistent = alice.create("lab/kept").shmid
    sysv.write(persistent, b"kept")
    killed = [people(uid) for uid in (ALICE, BOB, CAROL) for _ in range(2)]
    for i in range(6):
        name = "lab/e%d" % i
        create = ("create", name, 4096, None, None, None, 0, None, EPHEMERAL, 0, 600 * (i % 2))
        assert killed[i]("ask", b.socket, *create) == 0
        for n, p in enumerate(killed):
            if n <= i:
                assert p("hold", alice.open(name).shmid) == 0
            if n >= i:
                assert p("ask", b.socket, "attach", name, 10 + i) == 0
    assert len(sysv.segments()) == 2 + 6
    if stopped:
        b.process.send_signal(signal.SIGSTOP)
    b.process.kill()
    for p in killed:
        os.kill(p.pid, signal.SIGKILL)
    for p in killed:
        p.kill()
    assert b.ended() == -signal.SIGKILL
    assert set(sysv.segments()) == {b.registry, persistent}
    b.start()
    assert b.names() == {"lab/kept": persistent} and sysv.read(persistent, 4) == b"kept"
    with b.connect(ALICE) as w:
        i = w.info()
        assert (i.user_segments, i.segments, i.leases) == (1, 1, 0)


def test_restart_of_shmd(b, alice):
    """Attached ones live on, are adopted, and their users announce themselves again."""
    gone = alice.create("lab/leases-only", lifetime=EPHEMERAL).shmid
    alice.attach("lab/leases-only")
    with b.probe(ALICE) as p:
        shmid = alice.create("lab/x", lifetime=EPHEMERAL).shmid
        p.ok("attach 0 lab/x")
        p.ok("put 0 data")
        b.kill()
        assert there(shmid) and not there(gone)
        b.start()
        p.ok("ping")
        with b.connect() as w:
            w.watch()
            s = w.stat("lab/x")
            assert (s.shmid, s.leases, s.nattch, s.expires) == (shmid, 1, 2, 0)
            assert s.flags & F.SEGMENT_PINNED and s.flags & F.SEGMENT_EPHEMERAL
            assert p.ok("get 0") == ["data"]
            assert answer(w.open, "lab/leases-only") == errno.ENOENT
            p.kill()
            removed(w, "lab/x")
            assert not there(shmid)


@pytest.mark.once
def test_restart_of_shmd_without_leases(b, alice, people):
    """Who does not come back to announce a lease, in ten seconds, has none: nattch decides."""
    bob, carol = people(BOB), people(CAROL)
    ids = {name: alice.create(name, lifetime=EPHEMERAL).shmid
           for name in ("lab/attached", "lab/let-go", "lab/leased")}
    for name, p in zip(ids, (bob, carol, bob)):
        assert p("hold", ids[name]) == 0
    b.kill()
    assert set(ids.values()) < set(sysv.segments())
    b.start()
    with b.connect(ALICE) as w:
        w.watch()
        carol.kill()
        s = w.stat("lab/let-go")
        assert (s.nattch, s.leases, s.flags & F.SEGMENT_PINNED) == (1, 0, F.SEGMENT_PINNED)
        assert 0 < s.expires - s.created < 60e9
        w.attach("lab/leased")
        removed(w, "lab/let-go")
        assert not there(ids["lab/let-go"])
        shmd.until(lambda: not w.stat("lab/attached").flags & F.SEGMENT_PINNED, "shmd has let go")
        bob.kill()
        assert not there(ids["lab/attached"]) and there(ids["lab/leased"])
        assert answer(w.stat, "lab/attached") == errno.ENOENT
        w.detach()
        assert not there(ids["lab/leased"])


def test_persistent(b, alice, people):
    """Whoever comes and goes, shmd too."""
    bob = people(BOB)
    shmid = alice.create("lab/x").shmid
    assert alice.stat("lab/x").expires == 0
    assert bob("ask", b.socket, "attach", "lab/x") == bob("hold", shmid) == 0
    bob.kill()
    for end in (b.kill, b.stop):
        end()
        b.start()
        assert b.names() == {"lab/x": shmid}
    with b.connect(ALICE) as w:
        w.remove("lab/x")
    assert not there(shmid)


def test_ttl(b, alice, people):
    """Removed once nobody had it for that long: not while it is attached or leased."""
    bob = people(BOB)
    with b.connect(BOB, groups=[LAB]) as w, b.connect() as watch:
        watch.watch()
        ids = {"lab/attached": alice.create("lab/attached", lifetime=TTL, ttl=1).shmid}
        assert bob("hold", ids["lab/attached"]) == 0  # before its time is over, as the next one
        ids["lab/leased"] = alice.create("lab/leased", lifetime=TTL, ttl=1).shmid
        w.attach("lab/leased")
        ids["lab/long"] = alice.create("lab/long", lifetime=TTL, ttl=3600).shmid
        s = alice.stat("lab/long")
        assert (s.ttl, s.linger) == (3600, 0) and abs(s.expires - s.created - 3600e9) < 60e9
        assert s.key != 0 and not s.flags & F.SEGMENT_DEST
        for _ in range(2):  # a clock, of segments that nobody uses
            shmid = alice.create("lab/unused", lifetime=TTL, ttl=1).shmid
            e = removed(watch, "lab/unused")
            assert (e.shmid, e.pid) == (shmid, 0) and not there(shmid)
        assert {s.name: s.shmid for s in alice.list()} == ids
        bob.kill()
        assert removed(watch, "lab/attached").shmid == ids["lab/attached"]
        w.detach()
        assert removed(watch, "lab/leased").shmid == ids["lab/leased"]
        assert alice.info().user_segments == 1
        assert alice.open("lab/long").shmid == ids["lab/long"]


def test_ttl_survives_restarts(b, alice):
    """The time begins anew, and the segment goes all the same."""
    shmid = alice.create("lab/x", lifetime=TTL, ttl=3).shmid
    long = alice.create("lab/long", lifetime=TTL, ttl=3600).shmid
    for end in (b.kill, b.stop):
        end()
        b.start()
        assert b.names() == {"lab/x": shmid, "lab/long": long}
    with b.connect() as w:
        w.watch()
        s = w.stat("lab/long")
        assert s.ttl == 3600 and abs(s.expires - s.created - 3600e9) < 60e9
        removed(w, "lab/x")
        assert not there(shmid) and b.names() == {"lab/long": long}


def test_ttl_of_an_entry_that_is_used_again(make_broker):
    """What was removed leaves its time to none of those that follow it."""
    b = make_broker("[registry]\ncapacity = 2\n")
    b.start()
    with b.connect() as w:
        w.create("stale", lifetime=TTL, ttl=3600)
        w.create("other")
        w.remove("stale")
        w.create("kept")  # there is but this one entry
        assert answer(w.create, "more") == errno.EXFULL
        assert w.stat("kept").expires == 0


def test_hold_of_a_create_that_is_sent_again(broker):
    """The reply was lost with its connection: the new one has the creator's hold from then on."""
    lost = broker.connect(ALICE)
    first = lost.create("x", request_id=4711, flags=F.CREATE_EXCLUSIVE, lifetime=EPHEMERAL)
    with broker.connect(ALICE) as w:
        again = w.create("x", request_id=4711, flags=F.CREATE_EXCLUSIVE, lifetime=EPHEMERAL)
        assert (again.shmid, again.instance) == (first.shmid, first.instance)
        lost.close()
        shmd.until(lambda: w.info().user_connections == 1, "the lost connection ended")
        assert w.stat("x").shmid == first.shmid and there(first.shmid)
        w.attach("x")
    shmd.until(lambda: not there(first.shmid), "the hold ended with its connection")
