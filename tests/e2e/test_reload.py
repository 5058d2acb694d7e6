# SPDX-License-Identifier: MIT
"""SIGHUP: the new configuration whole, or the old one whole, and every client stays."""
import errno
import os
import re
import signal

import pytest

import shmd
import sysv
from bare import answer, reload, start_as_daemon, why
from wire import F, frame, pack, target

ALICE, BOB, LAB = 10001, 10002, 10050
HEAD = "[shmd]\nsocket_mode = 0666\n"
OLD = HEAD + """log_level = info
sweep = 1h
[limits]
segments_per_user = 3
max_size = 64K
[namespace lab]
users = 10001
[segment lab/old]
size = 4096
owner = 10001
mode = 0640
"""
NEW = HEAD + """log_level = debug
sweep = 1m
[policy]
administrators = 10002
max_mode = 0666
[limits]
segments_per_user = 4
size_per_user = 1M
leases_per_user = 7
watches_per_user = 2
requests_per_second = 100000
max_size = 128K
[namespace lab]
users = 10002
group = 10050
default_mode = 0640
[namespace more]
users = 10001
max_segments = 1
lifetime = ephemeral
[segment lab/new]
size = 8192
owner = 10002
"""


@pytest.fixture
def b(make_broker, folder):
    return start_as_daemon(make_broker, folder, OLD)


def limits(w):
    return {k: v for k, v in vars(w.info()).items() if k.startswith(("max_", "total_", "key_"))}


def segments(w):
    return {s.name: (s.shmid, s.instance, s.uid, s.gid, s.mode, s.size, s.flags) for s in w.list()}


def test_all_of_it_at_once(b):
    with b.connect(ALICE) as alice, b.connect(BOB) as bob:
        for name in "xyz":
            alice.create(name)
        assert "segments_per_user" in why(alice.create, "u")
        old = alice.stat("lab/old")
        reload(b, NEW)
        i = alice.info()
        assert (i.max_user_segments, i.max_user_bytes, i.max_user_leases, i.max_user_watches) == \
            (4, 1 << 20, 7, 2)
        assert (i.max_user_requests, i.max_size, i.max_mode) == (100000, 128 << 10, 0o666)
        assert answer(alice.create, "lab/u") == errno.EPERM
        made = alice.stat(alice.create("more/u", 100 << 10).name)
        assert made.flags & F.SEGMENT_EPHEMERAL
        assert "segments_per_user" in why(alice.create, "u")
        assert bob.stat(bob.create("lab/v").name).gid == LAB
        assert bob.set("10001/x", mode=0o666).mode == 0o666  # an administrator now
        new, was = bob.stat("lab/new"), bob.stat("lab/old")
        assert (new.uid, new.gid, new.mode, new.size) == (BOB, LAB, 0o640, 8192)
        assert new.flags & F.SEGMENT_DECLARED and sysv.segments()[new.shmid].uid == BOB
        assert (was.shmid, was.mode) == (old.shmid, 0o640)
        assert old.flags & ~was.flags & F.SEGMENT_DECLARED  # and is an ordinary one
        reload(b, OLD)
        assert limits(alice)["max_user_segments"] == 3
        assert bob.stat("lab/new").shmid == new.shmid
        assert answer(bob.create, "lab/w") == errno.EPERM
        assert answer(bob.set, "10001/x", 0o600) == errno.EPERM


def test_log_level(b):
    """A malformed frame is a line at debug, and none at info."""
    def malformed():
        with b.connect() as w:
            w.send(frame(4711))
            w.read_closed()

    malformed()
    start = b.mark()
    reload(b, NEW)
    assert "malformed" not in b.log()
    malformed()
    b.wait_log("malformed", start)
    with b.connect() as w:
        b.write_config(NEW.replace("debug", "error").replace("128K", "256K"))
        b.process.send_signal(signal.SIGHUP)
        shmd.until(lambda: w.info().max_size == 256 << 10, "the new max_size")
        quiet = b.mark()
        malformed()
        reload(b, NEW + "size = 1\n", r"shmd\.conf:\d+: ")  # an error is told still
        assert not any("malformed" in line for line in b.lines[quiet:])


# What is put at the end of the new configuration: the line it is told with, counted from there.
WRONG = {
    "no such section": ("[quotas]\n", 1, r"\[quotas\]"),
    "no such key": ("sizes = 5\n", 1, "sizes"),
    "no such user": ("[namespace x]\nusers = no-such-login\n", 2, "users"),
    "no size": ("[segment lab/u]\n[segment lab/v]\nsize = 1\n", 1, "size is missing"),
    "twice": ("[segment lab/u]\nsize = 1\n[segment lab/new]\nsize = 1\n", 3, "second time"),
    "modes": ("[namespace x]\ndefault_mode = 0667\n", 1, "max_mode"),
    "too large": ("[segment lab/u]\nsize = 1G\n", 1, "max_size"),
    "ttl": ("[namespace x]\nttl = 5\n", 1, "ttl"),
    "key": ("[segment lab/u]\nsize = 1\nkey = 0x53000001\n", 1, "key"),
    "no line": ("[namespace x]\nnonsense\n", 2, "neither"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_changes_nothing(b, case):
    more, line, reason = WRONG[case]
    with b.connect(ALICE) as alice, b.connect(BOB) as bob:
        alice.create("x")
        before = limits(alice), segments(alice)
        mark = b.mark()
        at = NEW.count("\n") + line
        reload(b, NEW + more, "%s:%d: .*%s" % (re.escape(b.config), at, reason))
        b.wait_log("the configuration in force stays", mark)
        assert (limits(alice), segments(alice)) == before
        assert answer(bob.create, "lab/u") == errno.EPERM
        assert answer(alice.create, "more/u") == errno.EPERM
        assert answer(bob.set, "10001/x", 0o600) == errno.EPERM
        alice.create("lab/u")
        assert alice.stat("lab/u").gid == ALICE
        reload(b, NEW)  # mended
        assert bob.stat("lab/new").flags & F.SEGMENT_DECLARED


def test_no_file_changes_nothing(b):
    with b.connect() as w:
        before = limits(w), segments(w)
        for there in (False, True):
            os.unlink(b.config)
            if there:
                os.mkdir(b.config)
            mark = b.mark()
            b.process.send_signal(signal.SIGHUP)
            b.wait_log("the configuration in force stays", mark)
            assert any(b.config in line for line in b.lines[mark:])
            assert (limits(w), segments(w)) == before
            if not there:
                b.write_config(OLD)
        os.rmdir(b.config)
        reload(b, OLD)


def test_nobody_is_dropped(b):
    """Leases, watches, waiters, half a frame and requests on their way, over twenty reloads."""
    serial = 4711
    with b.connect(ALICE) as holder, b.connect(ALICE) as watcher, b.connect(ALICE) as waiter, \
            b.connect(BOB) as half, b.connect(BOB) as busy:
        shmid = holder.create("x").shmid
        holder.attach("x")
        address = sysv.shmat(shmid)
        watcher.watch("10001/*")
        waiter.send(frame("OPEN", pack("open", flags=F.OPEN_WAIT, **target("awaited")), serial))
        half.send(frame("PING", serial=serial)[:10])
        registry = holder.welcome.registry_shmid
        for i in range(20):
            for k in range(20):
                busy.send(frame("PING", serial=k + 1))
            reload(b, *((OLD,), (NEW,), (NEW + "[nowhere]\n", "nowhere"))[i % 3])
            assert [busy.read().serial for _ in range(20)] == list(range(1, 21))
            holder.ping()
        half.send(frame("PING", serial=serial)[10:])
        assert half.read().serial == serial
        who = holder.who("x")
        assert [(h.pid, h.uid) for h in who] == [(os.getpid(), ALICE)]
        assert holder.stat("x").leases == 1 and sysv.read(shmid, 1) == b"\0"
        made = holder.create("awaited").shmid
        reply = waiter.read()
        assert (reply.serial, reply.status) == (serial, 0)
        event = watcher.next_event()
        assert (event.kind, event.shmid) == (F.EVENT_CREATED, made)
        assert b.welcome().registry_shmid == registry and b.process.poll() is None
        sysv.shmdt(address)
