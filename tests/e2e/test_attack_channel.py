# SPDX-License-Identifier: MIT
"""bob has write access to a channel that he shares with alice, and means harm by it: to her, to her
other channels, to shmd. Each of these fails where he succeeds."""
import contextlib
import ctypes
import errno
import os
import random
import select
import signal
import struct
import time
import types

import pytest

import member as programs_of
import sysv
from bare import ALICE, BOB, Bare
from channels import (BROADCAST, HEADER_SIZE, LAB, MANY, READER, SLOT_SIZE, WRITER, Member,
                      Ring)

SPIN = 4
FIELDS = {"head": 64, "sent": 72, "piece": 104, "claimed": 128, "tail": 136, "used": 220,
          "readers_asleep": 256, "writer_asleep": 384, "wanted": 392, "lock": 512, "lock_bell": 520}
OPEN, READY = 0x40000000, 0x80000000
NAME = "lab/c"


class Hostile(Ring):
    """A ring under the hands of somebody who may write to it."""

    def word(self, at, value, kind="=Q"):
        data = struct.pack(kind, value)
        ctypes.memmove(self.address + (FIELDS[at] if isinstance(at, str) else at), data, len(data))

    def scribble(self, r, size):
        """A word somewhere, of those that mean something, with what may be believed there."""
        at = r.choice([8 * r.randrange(HEADER_SIZE // 8), HEADER_SIZE + 8 * r.randrange(8 * SLOT_SIZE // 8),
                       4096 + 8 * r.randrange(size // 8), 4096, *FIELDS.values()])
        near = struct.unpack("=Q", ctypes.string_at(self.address + r.choice([64, 72, 128, 136]), 8))[0]
        self.word(at & ~7, r.choice([0, 1, r.getrandbits(64), r.getrandbits(32), (1 << 64) - 1, 1 << 63,
                                     near + r.choice([-8, 0, 8, size, -size, 3]),
                                     r.randrange(1 << 16) << 32 | READY | 64, READY | r.randrange(size),
                                     OPEN | 4096, 0xc0000000]) % (1 << 64))


@pytest.fixture
def made(b):
    """made.member(uid), made.wire(uid), made.ring(shmid): gone at the end."""
    with contextlib.ExitStack() as stack:
        def member(uid=ALICE, broker=b):
            m = programs_of.Member(broker, uid, groups=(LAB,))
            stack.callback(m.end)
            return m

        def bare(uid=BOB):
            m = Member(b, uid)
            stack.callback(m.end)
            return m

        def ring(shmid):
            r = Hostile(shmid)
            stack.callback(r.close)
            return r

        yield types.SimpleNamespace(member=member, bare=bare, ring=ring)


def timed(m, *words, expect, limit):
    begun = time.monotonic()
    m.do(*words, expect=expect)
    assert time.monotonic() - begun < limit


def test_fewer_slots_than_there_are(b, made):
    """Her join fails. What else she does over that connection goes on."""
    bob = made.bare()
    c = bob("channel", NAME, slots=4)
    assert bob.enter(NAME, READER)[1] == 0
    alice, carol = made.member(), made.member(10003)
    alice.do("create", "lab/other", 0, 64, 16, 4)
    alice.do("writer", "lab/other", 0)
    carol.do("reader", "lab/other", 0, 0)
    ring = made.ring(c.shmid)
    ring.put("slots", 1)
    assert "damaged" in alice.do("reader", NAME, 0, 0, expect=errno.EPROTO)
    alice.do("send", 1, 64, 0)
    assert alice.do("stat", "lab/other")[:3] == ["1", "1", "1"]
    assert carol.do("recv", 1, 0) == ["1", "1", "1", "0"]
    carol.do("recv", 1, 0, expect=errno.ETIMEDOUT)
    ring.put("slots", 4)
    alice.do("create", "lab/other", 0, 64, 16, 4)  # an answer of shmd's, to all that came before
    assert [ring.get("role", i) for i in range(1, 4)] == [0] * 3  # her lease was given back


@pytest.mark.parametrize("word", [77 << 32, 77 << 32 | 1])
def test_a_lock_that_is_never_given_back(b, made, word):
    """A time limit holds; a call that does not wait returns, and its caller can poll."""
    alice, bob = made.member(), made.bare()
    c = bob("channel", NAME, ring_flags=MANY)
    alice.do("writer", NAME, 0)
    ring = made.ring(c.shmid)
    alice.do("poll", 0)
    ring.word("lock", word)
    for _ in range(3):  # a message that is reserved, then two that are sent
        timed(alice, "send", 1, 64, 100, expect=errno.ETIMEDOUT, limit=5)
        alice.do("send", 1, 64, 0, expect=errno.ETIMEDOUT)
        ring.word("lock", 0)
        assert alice.do("poll", 20000) == ["1"]
        alice.do("send", 1, 64, 0)
        ring.word("lock", word)


@pytest.mark.parametrize("spin", [0, SPIN])
def test_a_message_that_comes_byte_by_byte(b, made, spin):
    """She follows what is being written, but not for longer than her time limit."""
    alice, carol, bob = made.member(), made.member(10003), made.bare()
    length = 4 << 20
    c = bob("channel", NAME, max_message=length, messages=1)
    alice.do("reader", NAME, spin, 0)
    carol.do("writer", NAME, 0)
    carol.do("send", 1, 64, 0)
    alice.do("recv", 1, 0)  # by peeking; the next one she copies
    ring = made.ring(c.shmid)
    ring.word(4096 + 72, 1 << 32 | OPEN | length)
    for limit in (300, 0):
        for _ in range(3):  # other tests run beside this one
            begun, there = time.monotonic(), 0
            alice.say("recv", 1, limit)
            while not select.select([alice.process.stdout], [], [], 0)[0] and time.monotonic() - begun < 10:
                there += 1
                ring.word("piece", there)
            took = time.monotonic() - begun
            alice.hear(expect=errno.ETIMEDOUT)
            if took < 1.8:
                break
        assert took < 1.8


@pytest.mark.parametrize("flags", [0, BROADCAST, MANY])
def test_garbage_at_random(b, made, flags):
    """Nobody crashes, nobody goes on for longer than his time limit, and shmd serves."""
    alice, carol, bob = made.member(), made.member(10003), made.bare()
    r = random.Random(flags)
    for turn in range(3):
        name = "lab/c%d" % turn
        c = bob("channel", name, ring_flags=flags, max_message=4096, messages=14, slots=8)
        alice.do("writer", name, 0)
        carol.do("reader", name, 0, 0)
        bob.enter(name, READER, lease=turn + 1)
        ring = made.ring(c.shmid)
        size = c.size - 4096
        shape = ctypes.string_at(ring.address, 64)
        for i in range(12):
            words = ((alice, "send", 50, 0, 20, 4000), (carol, "recv", 50, 20))
            begun = time.monotonic()
            for who, *what in words:
                who.say(*what)
            waiting = {who.process.stdout for who, *_ in words}
            while waiting:
                for _ in range(50):
                    ring.scribble(r, size)
                waiting -= set(select.select(list(waiting), [], [], 0)[0])
                assert time.monotonic() - begun < 20
            for who, *_ in words:
                line = who.process.stdout.readline()
                assert line.startswith((b"ok", b"error")), line
            alice.say("stat", name)
            assert alice.process.stdout.readline().startswith((b"ok", b"error %d " % errno.EPROTOTYPE))
            if i % 4 == 3:  # come and go, on what stands there now
                for who, *what in ((alice, "writer"), (carol, "reader")):
                    who.do("close")
                    ctypes.memmove(ring.address, shape, 64) if i == 7 else None
                    who.say(*what, name, 0, -1)
                    if who.process.stdout.readline().startswith(b"error"):
                        ctypes.memmove(ring.address, bytes(HEADER_SIZE), HEADER_SIZE)
                        ctypes.memmove(ring.address + 4096, bytes(size), size)
                        ctypes.memmove(ring.address, shape, 64)
                        who.do(*what, name, 0, -1)
        alice.do("close")
        carol.do("close")
        bob("detach", turn + 1)
    alice.do("create", "lab/sane", flags, 4096, 14, 8)
    alice.do("writer", "lab/sane", 0)
    carol.do("reader", "lab/sane", 0, 0)
    alice.do("send", 5, 64, 0)
    assert carol.do("recv", 5, 0)[1] == "5"


def test_many_that_end_at_once(b, made):
    """Those who sleep on a bell, perhaps thousands of his threads, are woken once for all of them."""
    with b.connect(ALICE) as alice, b.connect(BOB) as bob:
        c = bob.channel("c", slots=1000)
        for lease in range(1, 1001):
            bob.attach("10002/c", lease=lease)
            bob.join(READER, lease=lease)
        ring = made.ring(c.shmid)
        before = ring.get("writer_bell")
        bob.close()
        while ring.get("role", 0) or ring.get("role", 999):
            alice.ping()
        alice.ping()
    assert ring.get("writer_bell") == before + 1


def test_a_child_outlives_a_member(b, made):
    """It has the connection and the segment still; the part of its parent has ended all the same."""
    with Bare(BOB, groups=[LAB]) as bob:
        alice = made.member()
        alice.do("create", NAME, 0, 64, 16, 4)
        assert bob("ask", b.socket, "attach", NAME) == bob("ask", b.socket, "join", WRITER) == 0
        shmid, = sysv.segments().keys() - {b.registry}
        assert bob("hold", shmid) == 0
        ring = made.ring(shmid)
        ring.put("writer", ring.get("role", 0) << 32 | 1)
        alice.do("reader", NAME, 0, 0)
        child = bob("fork")
        try:
            bob.kill()
            alice.do("recv", 1, 20000, expect=errno.EOWNERDEAD)
        finally:
            os.kill(child, signal.SIGKILL)
