# SPDX-License-Identifier: MIT
"""Channels as shmd makes and opens them, and lets members in."""
import errno
import os
import struct
import subprocess

import pytest

import shmd
from bare import ALICE, BOB, answer, start_as_daemon, why
from channels import (BLIND, BROADCAST, CAROL, CONFIG, HEADER_SIZE, HOLD, LEFT, MAGIC, MANY,
    ONE_READER, READER, RING, SLOT, SLOT_SIZE, WRITER)
from wire import F, Refused, frame, pack


@pytest.mark.once
def test_layout(folder):
    """The numbers of this file are those of common/ring.h."""
    program = ["#include <stdio.h>", '#include "ring.h"', "int main(void) {"]
    expected = []
    for name, table in (("ring_header", RING), ("ring_slot", SLOT)):
        for field, (offset, kind) in table.items():
            program.append('printf("%%zu %%zu\\n", offsetof(struct %s, %s), sizeof(((struct %s *)0)->%s));'
                           % (name, field, name, field))
            expected.append("%d %d" % (offset, struct.calcsize("=" + kind)))
    program.append('printf("%zu %zu\\n", sizeof(struct ring_header), sizeof(struct ring_slot));')
    expected.append("%d %d" % (HEADER_SIZE, SLOT_SIZE))
    exe = os.path.join(folder, "layout")
    subprocess.run(["cc", "-x", "c", "-std=gnu11", "-I", os.path.join(shmd.TOP, "common"), "-o", exe, "-"],
                        input="\n".join(program + ["return 0; }"]), text=True, check=True)
    out = subprocess.run([exe], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert out.splitlines() == expected


# Made and opened.

def test_made(b, rings):
    """Laid out before anybody gets in; told of wherever a segment is."""
    with b.connect(ALICE) as alice, b.connect(BOB) as bob:
        o = alice.channel("c", BROADCAST, max_message=1000, messages=10, slots=3, version=7, tag="abc")
        assert o.flags == F.OPENED_CREATED | F.OPENED_CHANNEL and o.size > 10 * 1000
        ring = rings(o.shmid)
        assert ring.get("magic") == MAGIC and ring.get("flags") == BROADCAST
        assert (ring.get("max_message"), ring.get("slots"), ring.get("version")) == (1000, 3, 7)
        assert ring.get("tag").rstrip(b"\0") == b"abc" and ring.get("start") + ring.get("size") <= o.size
        assert bob.open("%s/c" % alice.welcome.home).flags == F.OPENED_CHANNEL
        s = alice.stat("c")
        assert s.flags & F.SEGMENT_CHANNEL and s.flags & F.SEGMENT_PINNED and s.mode == 0o600
        assert (s.uid, s.nattch) == (ALICE, 2)
        assert not alice.stat(alice.create("plain").name).flags & F.SEGMENT_CHANNEL
        # Charged as any segment.
        assert alice.info().user_bytes == sum((x.size + 4095) // 4096 * 4096 for x in alice.list())


@pytest.mark.parametrize("other, word", [
    ({"ring_flags": BROADCAST}, "kind"), ({"max_message": 65}, "limit of a message"),
    ({"messages": 1000}, "room"), ({"slots": 5}, "members"), ({"version": 1}, "version"),
    ({"tag": "x"}, "tag")], ids=lambda v: v if isinstance(v, str) else "")
def test_opened_only_as_it_is(b, other, word):
    with b.connect(ALICE) as alice:
        first = alice.channel("c")
        again = alice.channel("c")
        assert (again.shmid, again.instance, again.flags) == (first.shmid, first.instance, F.OPENED_CHANNEL)
        with pytest.raises(Refused) as e:
            alice.channel("c", **other)
        assert e.value.errno == errno.EPROTOTYPE and word in e.value.text
        assert answer(alice.channel, "c", flags=F.CREATE_EXCLUSIVE) == errno.EEXIST
        alice.create("plain")
        with pytest.raises(Refused) as e:
            alice.channel("plain")
        assert e.value.errno == errno.EPROTOTYPE and "no channel" in e.value.text


def test_options_survive(b, rings):
    """They come from the registry, whatever stands in the ring, and over restarts and moves."""
    with b.connect(ALICE) as alice:
        shmid = alice.channel("c", MANY, slots=9, version=3, tag="t" * 19).shmid
        alice.attach("c")
        role = alice.join(WRITER).role
    ring = rings(shmid)
    ring.fill(os.urandom(HEADER_SIZE + 9 * SLOT_SIZE), 9)
    for capacity in (4096, 100):
        b.stop()
        b.write_config(CONFIG + "[registry]\ncapacity = %d\n" % capacity)
        b.start()
        with b.connect(ALICE) as alice:
            assert alice.channel("c", MANY, slots=9, version=3, tag="t" * 19).shmid == shmid
            assert answer(alice.channel, "c", MANY, slots=9, version=3, tag="t") == errno.EPROTOTYPE
            assert alice.stat("c").flags & F.SEGMENT_CHANNEL
            before, _ = role, alice.attach("c")
            role = alice.join(BLIND).role
            assert role > before  # these numbers are never given twice


@pytest.mark.parametrize("bad", [
    {"ring_flags": 16}, {"ring_flags": BROADCAST | ONE_READER}, {"max_message": 0}, {"max_message": (1 << 29) + 1}, {"ring_flags": BROADCAST | HOLD}, {"slots": 0},
    {"slots": 1025}, {"messages": (1 << 32) - 1, "max_message": 1 << 29}, {"tag": "t" * 20},
    {"tag": b"a\0b"}, {"size": 4096}, {"mode": 0o460}], ids=str)
def test_no_sense(b, bad):
    with b.connect(ALICE) as alice:
        assert answer(alice.channel, "c", **bad) == errno.EINVAL
        assert not alice.list()


def test_the_owner_keeps_reading_and_writing(b):
    with b.connect(ALICE) as alice:
        alice.channel("c")
        assert answer(alice.set, "c", mode=0o400) == errno.EINVAL
        alice.set("c", mode=0o640)


def test_quota(make_broker, folder):
    b = start_as_daemon(make_broker, folder, CONFIG + "[limits]\nmax_size = 1M\n")
    with b.connect(ALICE) as alice:
        assert "max_size" in why(lambda: alice.channel("c", max_message=1 << 20, messages=2))
        assert not alice.list()


# Joined.

def test_roles(b, members, rings):
    with b.connect(ALICE) as alice:
        ring = rings(alice.channel("lab/c", slots=3).shmid)
    w, r, blind = members(ALICE), members(BOB), members(CAROL)
    role, slot = w.enter("lab/c", WRITER)
    assert role > 0 and (ring.get("role", slot), ring.get("kind", slot), ring.get("pid", slot)) == (role, 2, w.pid)
    role2, slot2 = r.enter("lab/c", READER)
    assert role2 != role and slot2 != slot and (ring.get("role", slot2), ring.get("kind", slot2)) == (role2, 1)
    with open("/proc/%d/stat" % r.pid) as f:
        assert ring.get("start", slot2) == int(f.read().rsplit(")")[1].split()[19])
    assert blind.enter("lab/c", BLIND)[1] == 0xFFFFFFFF and ring.get("blind") == 1
    with b.connect() as root:
        flags = {h.pid: h.flags for h in root.who("lab/c")}
    assert flags == {w.pid: F.HOLDER_WRITER, r.pid: F.HOLDER_READER,
                     blind.pid: F.HOLDER_READER | F.HOLDER_READ_ONLY}
    r("detach")
    assert ring.get("role", slot2) == 0
    blind("detach")
    assert ring.get("blind") == 0
    # The first that is free, and a number that nobody has had.
    role3, slot3 = r.enter("lab/c", READER)
    assert slot3 == slot2 and role3 not in (role, role2)


def test_refusals(b, members):
    with b.connect(ALICE) as alice:
        alice.channel("lab/c", slots=3)
        alice.create("lab/plain")
        alice.channel("own")
    w, r = members(ALICE), members(BOB)
    assert answer(r, "join", READER) == errno.ENOENT
    assert answer(r, "attach", "%s/own" % ALICE) == errno.EACCES  # and so there is no lease to join by
    assert answer(r, "join", READER) == errno.ENOENT
    r("attach", "lab/plain", lease=1)
    assert answer(r, "join", READER) == errno.EPROTOTYPE
    r("attach", "lab/c", lease=2, flags=F.ATTACH_READ_ONLY)
    assert answer(r, "join", READER, lease=2) == errno.EACCES
    assert answer(r, "join", WRITER, lease=2) == errno.EACCES
    r("join", BLIND, lease=2)
    assert answer(r, "join", BLIND, lease=2) == errno.EALREADY
    r("attach", "lab/c", lease=3)
    for kind, flags in ((0, 0), (4, 0), (READER, 2), (READER, F.JOIN_WAIT), (BLIND, F.JOIN_WAIT)):
        assert answer(r, "join", kind, lease=3, flags=flags) == errno.EINVAL
    assert answer(r, "join", READER, lease=0) == errno.ENOENT
    assert answer(r, "pollfd", lease=3) == errno.ENOTCONN
    assert answer(r, "poke", F.POKE_READERS, lease=3) == errno.ENOTCONN
    assert answer(r, "poke", F.POKE_READERS, lease=2) == errno.EACCES
    assert answer(r, "join", READER, lease=3, role=77, slot=0) == errno.ESTALE
    assert answer(r, "join", READER, lease=3, role=77, slot=1 << 31) == errno.ESTALE
    # One writer; as many members as there are slots.
    w.enter("lab/c", WRITER)
    with pytest.raises(Refused) as e:
        r("join", WRITER, lease=3)
    assert e.value.errno == errno.EBUSY and "process %d of user %d" % (w.pid, ALICE) in e.value.text
    for lease in (3, 4):
        if lease > 3:
            r("attach", "lab/c", lease=lease)
        r("join", READER, lease=lease)
    r("attach", "lab/c", lease=5)
    with pytest.raises(Refused) as e:
        r("join", READER, lease=5)
    assert e.value.errno == errno.EUSERS and "3 members" in e.value.text
    assert answer(r, "poke", 3, lease=3) == errno.EINVAL


def test_mode_taken_back(b, members):
    """A lease does not let in whom the mode has stopped letting in since."""
    with b.connect(ALICE) as alice:
        alice.channel("lab/c")
        r = members(BOB)
        r("attach", "lab/c")
        alice.set("lab/c", mode=0o640)
        assert answer(r, "join", READER) == errno.EACCES
        r("join", BLIND)


def test_many_writers(b, members):
    with b.connect(ALICE) as alice:
        alice.channel("lab/c", MANY, slots=2)
    one, two = members(ALICE), members(BOB)
    assert one.enter("lab/c", WRITER)[0] != two.enter("lab/c", WRITER)[0]
    two("attach", "lab/c", lease=2)
    assert answer(two, "join", WRITER, lease=2) == errno.EUSERS


def test_one_reader(b, members, rings):
    """Until it is gone or has said so in its slot, though shmd has not heard of that yet."""
    with b.connect(ALICE) as alice:
        ring = rings(alice.channel("lab/c", ONE_READER).shmid)
    one, two, three = members(ALICE), members(BOB), members(BOB)
    role, slot = one.enter("lab/c", READER)
    two.enter("lab/c", WRITER)
    three("attach", "lab/c")
    assert answer(three, "join", READER) == errno.EBUSY
    assert str(one.pid) in why(three, "join", READER, number=errno.EBUSY)
    ring.put("state", LEFT, slot)
    assert three("join", READER).slot != slot
    assert ring.get("role", slot) == role


@pytest.mark.parametrize("kind", [READER, WRITER, BLIND])
def test_disband(b, members, rings, kind):
    """Only by who may remove it, while nobody else is a member, and that very segment."""
    with b.connect(ALICE) as alice:
        c = alice.channel("lab/c", BROADCAST)
        ring = rings(c.shmid)
        one, other = members(ALICE), members(BOB)
        one.enter("lab/c", READER)
        role, slot = other.enter("lab/c", kind)
        assert answer(one, "disband", "lab/c") == errno.EBUSY
        assert answer(other, "disband", "lab/c") == errno.EPERM
        if kind == BLIND:
            other("detach")
        else:
            ring.put("state", LEFT, slot)  # it has closed, and shmd has not heard of it yet
        assert answer(one, "disband", "lab/c", instance=c.instance + 1) == errno.ENOENT
        assert one("disband", "lab/c", instance=c.instance).instance == c.instance
        assert answer(one, "disband", "lab/c") == errno.ENOENT
        alice.create("lab/x", 4096)
        assert answer(one, "disband", "lab/x") == errno.EPROTOTYPE


def test_disband_within_a_process(b):
    """What another connection of the same process is counts for nobody else's."""
    with b.connect(ALICE) as alice, b.connect(ALICE) as same, b.connect(ALICE) as waits:
        alice.channel("lab/c")
        same.attach("lab/c")
        same.join(WRITER)
        waits.attach("lab/c")
        waits.send(frame("JOIN", pack("join", lease=1, kind=WRITER, flags=F.JOIN_WAIT), serial=70))
        waits.send(frame("PING", serial=71))
        assert waits.read().serial == 71
        alice.disband("lab/c")


def test_disband_after_a_restart(b, members):
    """Who was a member of the earlier shmd still is."""
    with b.connect(ALICE) as alice:
        alice.channel("lab/c")
    w = members(ALICE)
    role, slot = w.enter("lab/c", WRITER)
    b.kill()
    b.start()
    with b.connect(ALICE) as alice:
        assert answer(alice.disband, "lab/c") == errno.EBUSY
        assert w.again("lab/c", WRITER, role, slot) == (role, slot)
        assert answer(alice.disband, "lab/c") == errno.EBUSY
        w("detach")
        w("ping")
        alice.disband("lab/c")
