# SPDX-License-Identifier: MIT
"""More of test_attack.py: reused shmids, borrowed identities, and what a limit does not hold."""
import errno
import os

import pytest

import shmd
import sysv
from bare import ALICE, BOB, DAEMON, Bare, answer, pass_on, reload, start_as_daemon, why
from wire import F, Raw, Refused, Wire, as_user, frame, pack, target

ADMIN = 10009
CONFIG = """[shmd]
socket_mode = 0666
[policy]
administrators = 10009
max_mode = 0777
[namespace lab]
users = 10001 10002
"""
PAGE = 4096
NEXT_ID = "/proc/sys/kernel/shm_next_id"


def start(make_broker, folder, more=""):
    return start_as_daemon(make_broker, folder, CONFIG + more)


@pytest.fixture
def broker(make_broker, folder):
    return start(make_broker, folder)


# A shmid that means another segment by the time it is used.

def next_shmid(shmid):
    """The next shmget gets this one, which is free."""
    with open(NEXT_ID, "w") as f:
        f.write(str(shmid))


needs_next_id = pytest.mark.skipif(not os.access(NEXT_ID, os.W_OK), reason="no kernel.shm_next_id")

@needs_next_id
def test_broker_knows_a_reused_shmid(broker, alice, bob):
    """An ephemeral one that shmd has let go is freed unseen; his has its shmid, size and no key, too."""
    old = alice.create("x", 5000, mode=0o666, lifetime=F.LIFETIME_EPHEMERAL)
    with Bare(ALICE) as bare:
        assert bare("hold", old.shmid, 0) == 0
        alice.attach("x", lease=1)
        alice.detach(1)
        assert sysv.segments()[old.shmid].nattch == 1  # without shmd
    shmd.until(lambda: old.shmid not in sysv.segments(), "it has gone")
    next_shmid(old.shmid)
    new = bob.create("evil", 5000, lifetime=F.LIFETIME_EPHEMERAL)
    assert new.shmid == old.shmid
    assert answer(alice.stat, "x") == answer(alice.attach, "x") == errno.ENOENT
    assert answer(alice.remove, ("id", old.shmid)) == errno.EPERM
    with broker.connect() as w:
        assert [s.name for s in w.list()] == ["10002/evil"]
    assert used(alice) == (0, 0)
    assert bob.stat("evil").shmid == new.shmid


def used(w):
    i = w.info()
    return i.user_segments, i.user_bytes


# Who one is.

def test_root_of_a_user_namespace(broker, alice, programs):
    """Whoever is root in a namespace of their own is themselves to shmd."""
    alice.create("x")
    for command, error in ((["rm", "10001/x"], "belongs to"), (["fsck"], "administrator"),
                           (["create", "--size", "4096", "root/y"], "not yours")):
        r = programs.run(["unshare", "--user", "--map-root-user", programs.ctl, "--socket", broker.socket]
                         + command, uid=BOB, expect=None)
        if "unshare failed" in r.err:
            pytest.skip("user namespaces are not permitted here")
        assert r.code != 0 and error in r.err, r
    assert broker.names().keys() == {"10001/x"}


def test_connection_of_the_dead(broker, alice):
    """Handed on before its process ended, it holds nothing in that one's name, however late it asks."""
    alice.create("x", mode=0o666)
    s, _ = pass_on(broker.socket, BOB)
    with s:
        s.settimeout(shmd.LIMIT)
        s.sendall(frame("HELLO", pack("hello", magic=0x444D4853, version_min=1, version_max=1)) +
                  frame("ATTACH", pack("attach", lease=1, **target("10001/x")), serial=2))
        try:
            while s.recv(65536):
                pass
        except ConnectionError:
            pass
    assert alice.who("x") == [] and alice.stat("x").leases == 0 and alice.info().leases == 0


# What he may not learn.

def told(call, *args, **kwargs):
    with pytest.raises(Refused) as e:
        call(*args, **kwargs)
    return e.value.errno, e.value.text


def test_the_same_answer_for_every_spelling(make_broker, folder):
    """With public = no, also where a name is sent that is malformed, or told of as not created."""
    b = start(make_broker, folder, "[registry]\npublic = no\n")
    b.foreign = set(sysv.segments())
    tails = [b"\0", b"\0y", b"\0\0\0\0\0\0\0\0", b" \0", b"/\0", b"\0/x\0"]
    with b.connect(ALICE) as alice, b.connect(BOB) as bob:
        made = alice.create("secret")
        alice.create("lab/secret")
        alice.attach("secret", lease=7)

        def says(op, name, tail, **more):
            text = (name + tail).ljust(len(name + tail) + 7 & ~7, b"\0")
            try:
                bob.call(op, pack({"OPEN": "open", "ATTACH": "attach", "STAT": "target", "SET": "set",
                                   "REMOVE": "target", "WHO": "who", "CREATE": "create"}[op],
                                  name=Raw(text), **more))
            except Refused as e:
                return e.errno, e.text.replace(name.decode(), "NAME")
            return 0, ""

        cases = [("OPEN", {}), ("OPEN", {"flags": F.OPEN_VERIFY}), ("ATTACH", {"lease": 1}), ("STAT", {}),
                 ("STAT", {"instance": made.instance}), ("SET", {"mask": 1, "mode": 0o666}), ("REMOVE", {}),
                 ("WHO", {}), ("CREATE", {"size": 1 << 60}),
                 ("CREATE", {"size": 1, "flags": F.CREATE_EXCLUSIVE})]
        for op, more in cases:
            for tail in tails:
                hers = says(op, b"10001/secret", tail, **more)
                assert hers[0] != 0 and hers == says(op, b"10001/absent", tail, **more), (op, tail, hers)
        assert alice.stat("secret").leases == 1
        with as_user(BOB), pytest.raises(PermissionError):
            sysv.shmat(next(iter(b.foreign)), sysv.SHM_RDONLY)


def test_a_taken_name_in_a_shared_namespace(make_broker, folder):
    """Where he may create he learns that a name is taken, and nothing of what has it."""
    b = start(make_broker, folder, "[registry]\npublic = no\n")
    b.foreign = set(sysv.segments())
    with b.connect(ALICE) as alice, b.connect(BOB) as bob:
        alice.create("lab/secret", 5000)
        for size in (1, 5001, 1 << 60):
            for flags in (0, F.CREATE_EXCLUSIVE):
                assert told(bob.create, "lab/secret", size, flags=flags) == (
                    errno.EEXIST, "lab/secret exists already")
        assert answer(bob.stat, "lab/secret") == errno.ENOENT
        alice.set("lab/secret", mode=0o666)
        assert bob.create("lab/secret", 1).size == 5000


def test_events_of_what_is_hidden(make_broker, folder):
    """bob hears of hers as long as he may attach it, and of nothing after that."""
    b = start(make_broker, folder, "[registry]\npublic = no\n")
    b.foreign = set(sysv.segments())
    with b.connect(ALICE) as alice, b.connect(BOB) as bob, b.connect(BOB) as watcher:
        watcher.watch("*/x")
        alice.create("x", mode=0o666)
        alice.set("x", mode=0o600)
        alice.attach("x")
        alice.detach()
        alice.set("x", mode=0o660)
        alice.remove("x")
        bob.create("x")
        got = [watcher.next_event() for _ in range(2)]
        assert [(e.kind, e.name) for e in got] == [(F.EVENT_CREATED, "10001/x"), (F.EVENT_CREATED, "10002/x")]


# What shmd.conf declares.

def test_declared_over_a_ttl(broker, bob):
    """What he made to pass away, under a name that is then declared, stays."""
    with broker.connect() as watcher:
        bob.create("lab/feed", lifetime=F.LIFETIME_TTL, ttl=1)
        reload(broker, CONFIG + "[segment lab/feed]\nsize = 4096\n")
        watcher.watch()
        bob.create("mark", lifetime=F.LIFETIME_TTL, ttl=3)  # goes after the other would have
        names = []
        while "10002/mark" not in names:
            event = watcher.next_event()
            if event.kind == F.EVENT_REMOVED:
                names.append(event.name)
        assert names == ["10002/mark"]


def test_declared_over_an_ephemeral_one(broker, bob):
    """He keeps the name by that as long as he stays; the log says so, and an administrator ends it."""
    bob.create("lab/feed", lifetime=F.LIFETIME_EPHEMERAL)
    reload(broker, CONFIG + "[segment lab/feed]\nsize = 4096\nmode = 0600\n",
           r"\[segment lab/feed\].*ephemeral")
    with broker.connect(ADMIN) as admin:
        admin.remove("lab/feed")
    reload(broker, CONFIG + "[segment lab/feed]\nsize = 4096\nmode = 0600\n")
    assert bob.stat("lab/feed").flags & F.SEGMENT_DECLARED
    assert answer(bob.remove, "lab/feed") == errno.EPERM


def test_owner_of_a_declared_segment(make_broker, folder):
    """What its owner does to it by IPC_SET is undone by the next sweep."""
    b = start(make_broker, folder, "[segment lab/feed]\nsize = 4096\nowner = 10002\nmode = 0600\n")
    b.stop()
    b.write_config(CONFIG.replace("[policy]", "sweep = 1\n[policy]") +
                   "[segment lab/feed]\nsize = 4096\nowner = 10002\nmode = 0600\n")
    b.start()
    with b.connect() as root, Bare(BOB) as bare:
        shmid = root.open("lab/feed").shmid
        root.watch()
        assert bare("set", shmid, ALICE, ALICE, 0) == 0
        while (e := root.next_event()).mode != 0o600 or e.kind != F.EVENT_CHANGED:
            pass
        s = root.stat("lab/feed")
        assert (s.uid, s.mode) == (BOB, 0o600) and s.flags & F.SEGMENT_PINNED


@pytest.mark.parametrize("mode", [0, 0o060])
def test_shut_out_over_a_restart(broker, mode):
    """A mode that keeps shmd out: after a restart it can be told, mended, removed, and is hers to pay."""
    with broker.connect(ALICE) as alice, Bare(ALICE) as bare:
        shmid = alice.create("x").shmid
        assert bare("set", shmid, BOB, BOB, mode) == 0
    broker.kill()
    broker.start()
    with broker.connect(ALICE) as alice, broker.connect(BOB) as bob, broker.connect(ADMIN) as admin:
        assert (used(alice), used(bob)) == ((1, PAGE), (0, 0))
        s = admin.stat("10001/x")
        assert (s.mode, s.uid, s.creator_uid) == (mode, BOB, ALICE)
        report = admin.fsck(repair=True)
        assert {p.name for p in report.found} <= {"10001/x"}
        admin.set("10001/x", mode=0o600, uid=ALICE)
        assert admin.fsck(repair=True).problems in (0, 1)
        assert alice.stat("x").flags & F.SEGMENT_PINNED
        admin.remove("10001/x")
        assert (used(alice), shmid in sysv.segments()) == ((0, 0), False)


def test_leases_on_what_is_hers(broker, alice):
    """Whoever may attach it can keep it from passing away, but not from being removed."""
    alice.create("e", mode=0o666, lifetime=F.LIFETIME_EPHEMERAL)
    alice.create("t", mode=0o666, lifetime=F.LIFETIME_TTL, ttl=60)
    with Bare(BOB) as bare:
        for i, name in enumerate("et"):
            assert bare("ask", broker.socket, "attach", "10001/" + name, i + 1) == 0
            assert bare("hold", alice.stat(name).shmid, 0) == 0
        os.kill(bare.pid, 19)  # SIGSTOP
        for name in "et":
            alice.remove(name)
            assert answer(alice.stat, name) == errno.ENOENT
        assert used(alice) == (0, 0)
        for name in "et":
            alice.create(name)
        os.kill(bare.pid, 18)  # SIGCONT
        assert bare("ask", broker.socket, "detach", 1) == 0  # of what is no more
    assert [s.leases for s in alice.list()] == [0, 0]


def test_shared_quota_in_bytes(make_broker, folder):
    """One byte a segment is a page; of the host's bytes one user gets theirs, and she has the rest."""
    b = start(make_broker, folder, "[limits]\ntotal_size = 1M\nsize_per_user = 512K\n")
    with b.connect(ALICE) as alice, b.connect(BOB) as bob:
        n = 0
        while answer(bob.create, "n%d" % n, 1) == 0:
            n += 1
        assert n == 128 and "size_per_user" in why(bob.create, "more", 1)
        assert "size_per_user" in why(bob.create, "lab/more", 1)  # shared, and his all the same
        alice.create("x", 512 << 10)
        for i in range(n):
            bob.remove("n%d" % i)
        assert used(bob) == (0, 0)
