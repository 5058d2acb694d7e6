# SPDX-License-Identifier: MIT
"""Segments that shmd.conf declares: there before anybody asks, and shmd.conf's alone."""
import errno
import os

import pytest

import sysv
from bare import DAEMON, answer, reload, start_as_daemon, why
from wire import F, as_user

ALICE, LAB = 10001, 10050
HEAD = ("[shmd]\nsocket_mode = 0666\nsweep = 1\n"
        "[namespace lab]\nusers = 10001\ngroup = 10050\ndefault_mode = 0640\n")
TICKS = "[segment lab/ticks]\nsize = 1M\nowner = 10001\nmode = 0660\n"
OWN = "[segment 10001/own]\nsize = 5000\nkey = 0x1234\n"
CONFIG = HEAD + TICKS + OWN
EXPECTED = {"lab/ticks": (ALICE, LAB, 0o660, 1 << 20), "10001/own": (DAEMON, DAEMON, 0o600, 5000)}


def facts(s):
    return (s.uid, s.gid, s.mode, s.size)


def declared(b):
    with b.connect() as w:
        return {s.name: s for s in w.list() if s.flags & F.SEGMENT_DECLARED}


def as_declared(b, expected):
    assert {name: facts(s) for name, s in declared(b).items()} == expected
    for s in declared(b).values():
        assert facts(sysv.segments()[s.shmid]) == facts(s)


@pytest.fixture
def b(make_broker, folder):
    return start_as_daemon(make_broker, folder, CONFIG)


def test_there_from_the_start(make_broker, folder):
    """At the ready byte, when no client has been there yet."""
    os.chown(folder, DAEMON, DAEMON)
    b = make_broker(CONFIG, uid=DAEMON)
    assert b.start(ready=False)
    there = sorted(facts(s) for s in sysv.segments().values() if s.key >> 24 != 0x52)
    assert there == sorted(EXPECTED.values())
    assert any(s.key == 0x1234 and s.size == 5000 for s in sysv.segments().values())
    as_declared(b, EXPECTED)


def test_nobody_changes_or_removes_it(b):
    with b.connect(ALICE) as alice, b.connect() as root:
        for w in (alice, root):
            for call in (w.remove, lambda name, w=w: w.set(name, mode=0o600),
                         lambda name, w=w: w.set(name, uid=10002)):
                assert "shmd.conf" in why(call, "lab/ticks", number=errno.EPERM)
            assert answer(w.create, "lab/ticks", 4096) == 0  # it is there: this only opens it
            assert answer(w.create, "lab/ticks", 4096, flags=F.CREATE_EXCLUSIVE) == errno.EEXIST
        s = alice.stat("lab/ticks")
        assert (s.creator_uid, s.creator_pid) == (DAEMON, b.pid)
        assert (s.ttl, s.linger, s.expires) == (0, 0, 0)
        assert alice.info().user_segments == root.info().user_segments == 0  # nobody's quota
    as_declared(b, EXPECTED)


def test_made_again_after_ipcrm(b):
    """At the next sweep, empty; who is attached keeps what there was."""
    with b.connect(ALICE) as w:
        w.watch("lab/*")
        old = w.open("lab/ticks").shmid
        sysv.write(old, b"ticks")
        address = sysv.shmat(old)
        with as_user(ALICE):
            sysv.rmid(old)
        events = [w.next_event(), w.next_event()]
        assert [(e.kind, e.reason, e.shmid) for e in events[:1]] == \
            [(F.EVENT_REMOVED, F.REASON_BEHIND, old)]
        new = events[1].shmid
        assert (events[1].kind, events[1].reason, events[1].name) == \
            (F.EVENT_CREATED, F.REASON_CONFIG, "lab/ticks")
        assert w.open("lab/ticks").shmid == new != old
        assert sysv.read(new, 5) == bytes(5)
        assert sysv.read(old, 5) == b"ticks"
        sysv.shmdt(address)
        assert old not in sysv.segments()
    as_declared(b, EXPECTED)


def test_changed_behind_the_back(b):
    """The config decides: at the next sweep it is as declared again."""
    with b.connect(ALICE) as w:
        w.watch("lab/*")
        shmid = w.open("lab/ticks").shmid
        with as_user(ALICE):
            sysv.chmod(shmid, 0o606, uid=10002)
        behind, back = w.next_event(), w.next_event()
        assert (behind.kind, behind.reason, behind.owner, behind.mode) == \
            (F.EVENT_CHANGED, F.REASON_BEHIND, 10002, 0o606)
        assert (back.kind, back.reason, back.owner, back.gid, back.mode) == \
            (F.EVENT_CHANGED, F.REASON_CONFIG, ALICE, LAB, 0o660)
    as_declared(b, EXPECTED)


def test_survives_shmd(b):
    before = {name: s.shmid for name, s in declared(b).items()}
    sysv.write(before["lab/ticks"], b"ticks")
    for end in (b.kill, b.stop):
        end()
        b.start()
        assert {name: s.shmid for name, s in declared(b).items()} == before
        assert sysv.read(before["lab/ticks"], 5) == b"ticks"
    b.kill()
    sysv.rmid(before["lab/ticks"])
    b.start()
    as_declared(b, EXPECTED)
    assert declared(b)["10001/own"].shmid == before["10001/own"]


def test_section_goes_and_comes(b):
    """At a reload and at a start. What was declared stays as an ordinary segment of its owner's."""
    with b.connect(ALICE) as w, b.connect() as root:
        w.watch("lab/*")
        shmid = w.open("lab/ticks").shmid
        reload(b, HEAD + OWN)
        as_declared(b, {"10001/own": EXPECTED["10001/own"]})
        s = w.stat("lab/ticks")
        assert (s.shmid, facts(s)) == (shmid, EXPECTED["lab/ticks"])
        reload(b, CONFIG)  # and it is taken back as it is
        assert declared(b)["lab/ticks"].shmid == shmid
        reload(b, HEAD + OWN)
        w.remove("lab/ticks")
        reload(b, CONFIG.replace("0660", "0600"))
        removed, made = w.next_event(), w.next_event()
        assert (removed.kind, removed.reason) == (F.EVENT_REMOVED, F.REASON_ASKED)
        assert (made.kind, made.reason, made.mode) == (F.EVENT_CREATED, F.REASON_CONFIG, 0o600)
        reload(b, CONFIG.replace("0660", "0640").replace("owner = 10001", "owner = 10002"))
        changed = w.next_event()
        assert (changed.kind, changed.reason, changed.owner, changed.mode) == \
            (F.EVENT_CHANGED, F.REASON_CONFIG, 10002, 0o640)
        assert made.shmid == changed.shmid == root.open("lab/ticks").shmid
    b.stop()
    b.write_config(HEAD)
    b.start()
    assert declared(b) == {} and set(b.names()) == set(EXPECTED)
    with b.connect() as root:
        for name in EXPECTED:
            root.remove(name)


def test_there_already(b):
    """A name that a user had taken before: the section takes it over, the data with it."""
    with b.connect(ALICE) as w:
        shmid = w.create("lab/new", 4096).shmid
        sysv.write(shmid, b"hers")
        w.create("lab/passing", lifetime=F.LIFETIME_EPHEMERAL)
        assert w.info().user_segments == 2
        more = "[segment lab/new]\nsize = 8192\nmode = 0660\n[segment lab/passing]\nsize = 4096\n"
        mark = b.mark()
        reload(b, CONFIG + more)
        b.wait_log("lab/new.*4096 bytes, not 8192", mark)
        b.wait_log("lab/passing.*ephemeral", mark)
        s = w.stat("lab/new")
        assert (s.shmid, facts(s)) == (shmid, (DAEMON, LAB, 0o660, 4096))
        assert s.flags & F.SEGMENT_DECLARED and sysv.read(shmid, 4) == b"hers"
        assert w.info().user_segments == 1  # the other is nobody's now
        w.watch("lab/passing")
        w.remove("lab/passing")
        assert w.next_event().kind == F.EVENT_REMOVED
        made = w.next_event()  # by the sweep
        assert (made.kind, made.reason) == (F.EVENT_CREATED, F.REASON_CONFIG)


def test_a_key_that_is_taken(make_broker, folder):
    """Told, and served all the same; made once the key is free."""
    foreign = sysv.shmget(0x1234, 4096, sysv.IPC_CREAT | 0o600)
    os.chown(folder, DAEMON, DAEMON)
    b = make_broker(CONFIG, uid=DAEMON)
    b.start()
    b.wait_log("segment 10001/own.*cannot be made")
    as_declared(b, {"lab/ticks": EXPECTED["lab/ticks"]})
    with b.connect() as w:
        w.watch()
        sysv.rmid(foreign)
        made = w.next_event()
        assert (made.kind, made.name, made.key) == (F.EVENT_CREATED, "10001/own", 0x1234)
    as_declared(b, EXPECTED)


def test_told_once(make_broker, folder):
    """Every sweep tries again, and the log hears of it once, until something else is wrong."""
    foreign = sysv.shmget(0x1234, 4096, sysv.IPC_CREAT | 0o600)
    b = start_as_daemon(make_broker, folder, CONFIG)
    b.foreign.add(foreign)
    b.wait_log("segment 10001/own.*cannot be made")
    with b.connect(ALICE) as alice:
        shmid = alice.create("10001/x").shmid
        for gid in (10090, 10091, 10092):  # each is seen by another sweep
            mark = b.mark()
            sysv.chmod(shmid, 0o600, ALICE, gid)
            b.wait_log("10001/x.*group %d" % gid, mark)
    assert b.log().count("cannot be made") == 1
    mark = b.mark()
    reload(b, CONFIG)
    b.wait_log("segment 10001/own.*cannot be made", mark)  # who reads the file anew is told again


def test_no_room_for_it(make_broker, folder):
    """The limits of namespace and host hold for declared ones too; the daemon serves."""
    b = start_as_daemon(make_broker, folder, HEAD + "max_segments = 1\n" + TICKS +
                        TICKS.replace("ticks", "more") + "[limits]\ntotal_size = 2M\n")
    assert "max_segments" in b.wait_log("segment lab/more.*cannot be made")
    with b.connect(ALICE) as w:
        assert "lab has 1 segments" in why(w.create, "lab/x")
        w.create("x", 1 << 20)
        assert "total_size" in why(w.create, "y")
