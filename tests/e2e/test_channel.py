# SPDX-License-Identifier: MIT
"""Channels: messages between processes of several users, and what they cost."""
import os
import re
import signal
import subprocess

import pytest

import shmd
from bare import ALICE, BOB
from member import (ACCES, ANY, BROADCAST, BUSY, HOLD, MANY, OWNERDEAD, RELIABLE, TIMEDOUT, USERS,
    WAIT, Member, channel)


@pytest.mark.parametrize("flags", [RELIABLE, BROADCAST, HOLD, MANY])
def test_a_late_reader_gets_what_is_kept(member, flags):
    w = member()
    c = channel(w, flags=flags)
    w.do("writer", c, 0)
    w.do("send", 8, 0, -1, 60000)
    w.do("close")
    r = member()
    r.do("reader", c, 0, ANY)
    assert r.do("drain", 5000)[:4] == ["0", "8", "8", "0"]
    assert r.do("stat", c)[0] == "2"


@pytest.mark.parametrize("size", [24, 64, 1023, 4096, 65536])
@pytest.mark.parametrize("readers", [1, 3])
def test_every_reader_gets_every_message(member, size, readers):
    w = member()
    c = channel(w)
    w.do("writer", c, 0)
    rs = [member() for _ in range(readers)]
    for r in rs:
        r.do("reader", c, 0, 0)
        r.say("drain", -1)
    count = 20000 if size < 5000 else 2000
    w.do("send", count, size, 20000)
    w.do("close")
    for r in rs:
        assert r.hear()[:4] == ["0", str(count), str(count), "0"]


def test_history(member):
    w = member()
    c = channel(w)
    w.do("writer", c, 0)
    w.do("send", 10, 100, 0)
    for history, first in ((ANY, 0), (3, 7), (0, 10), (100, 0)):
        r = member()
        r.do("reader", c, 0, history)
        if first < 10:
            assert r.do("recv", 1, 0) == ["1", "1", str(first + 1), "0"]
        else:
            r.do("recv", 1, 0, expect=TIMEDOUT)


def test_broadcast_tells_what_was_lost(member):
    w, r = member(), member()
    c = channel(w, flags=BROADCAST, most=1000, messages=16)
    w.do("writer", c, 0)
    r.do("reader", c, 0, 0)
    w.do("send", 1, 500, 0)
    r.do("recv", 1, 0)
    w.do("send", 1000, 500, 0)  # never waits
    w.do("close")
    code, received, following, lost, _ = r.do("drain", 1000)
    assert (code, following) == ("0", "1001") and int(received) + int(lost) == 1001 and int(lost) > 900


def test_reliable_waits_for_its_reader_alone(member):
    w, r = member(), member()
    c = channel(w, most=1000, messages=16)
    w.do("writer", c, 0)
    w.do("send", 1000, 500, 0)  # nobody is there
    r.do("reader", c, 0, 0)
    w.do("send", 1000, 500, 0, expect=TIMEDOUT)
    r.do("recv", 5, 0)
    w.do("send", 5, 500, 1000)


def test_hold_waits_for_somebody(member):
    w = member()
    c = channel(w, flags=HOLD, most=1000, messages=16)
    w.do("writer", c, 0)
    w.do("send", 1000, 500, 0, expect=TIMEDOUT)
    held = int(w.do("stat", c)[4])
    assert held >= 16
    r = member()
    r.do("reader", c, 0, ANY)
    r.do("recv", 5, 0)
    r.kill()
    again = member()
    again.do("reader", c, 0, ANY)
    assert again.do("recv", 1, 0)[2] == "6"  # behind what the dead one had received
    assert again.do("recv", held - 6, 0)[2] == str(held)


def test_batches_are_seen_at_once(member):
    w, r = member(), member()
    c = channel(w)
    w.do("writer", c, 0)
    r.do("reader", c, 0, 0)
    w.do("cork", 1)
    w.do("send", 10, 64, 0)
    r.do("recv", 1, 0, expect=TIMEDOUT)
    w.do("cork", 0)
    assert r.do("recv", 10, 0)[1] == "10"


def test_one_writer_at_a_time(member):
    w, other, third = member(), member(), member()
    c = channel(w)
    w.do("writer", c, 0)
    text = other.do("writer", c, 0, expect=BUSY)
    assert str(w.pid) in text
    other.say("writer", c, WAIT)
    w.do("close")
    assert other.hear() == ["writer", "0"]
    third.say("writer", c, WAIT)
    other.kill()
    assert third.hear() == ["writer", "0"]


def test_as_many_members_as_it_was_made_for(member):
    w = member()
    c = channel(w, members=2)
    w.do("writer", c, 0)
    r, other = member(), member()
    r.do("reader", c, 0, 0)
    assert "2" in other.do("reader", c, 0, 0, expect=USERS)
    r.kill()
    shmd.until(lambda: w.do("stat", c)[1] == "0", "shmd has seen it")
    other.do("reader", c, 0, 0)


def test_users(make_broker):
    """Readers of another user: a reliable one needs write access, a broadcast one does not."""
    b = make_broker("[policy]\nmax_mode = 0666\n")
    b.start()
    w, bob = [Member(b, uid) for uid in (ALICE, BOB)]
    try:
        w.do("create", "private", RELIABLE, 100, 16, 4)
        name = "%d/" % ALICE
        w.do("create", "open", RELIABLE, 100, 16, 4, "0644")
        w.do("create", "news", BROADCAST, 100, 16, 4, "0644")
        bob.do("reader", name + "private", 0, ANY, expect=ACCES)
        bob.do("reader", name + "open", 0, ANY, expect=ACCES)
        w.do("writer", "news", 0)
        bob.do("reader", name + "news", 0, 0)
        bob.say("recv", 3, 20000)  # it sleeps where nobody sees it
        w.do("send", 3, 50, 0)
        assert bob.hear()[1] == "3"
        bob.do("poll", 0)
        bob.do("recv", 1, 0, expect=TIMEDOUT)
        bob.say("poll", 20000)
        w.do("send", 1, 50, 0)
        assert bob.hear() == ["1"]
        bob.do("recv", 1, 0)
        bob.do("writer", name + "news", 0, expect=ACCES)
        bob.say("drain", 20000)
        w.kill()
        assert bob.hear()[0] == str(-OWNERDEAD)
    finally:
        w.end()
        bob.end()


@pytest.mark.once
def test_system_calls(broker, member, folder):
    """A sleeping reader is woken by one, a writer whose readers are awake makes none, and an idle channel
    costs nothing."""
    w, r = member(), member()
    c = channel(w, most=1000, messages=4096)
    w.do("writer", c, 0)
    r.do("reader", c, 0, 0)

    def traced(m, *words):
        path = os.path.join(folder, "trace")
        t = subprocess.Popen(["strace", "-f", "-o", path, "-p", str(m.pid)], stderr=subprocess.PIPE)
        try:
            t.stderr.readline()  # attached
            m.do(*words)
        finally:
            t.send_signal(signal.SIGINT)
            t.wait()
            t.stderr.close()
        with open(path) as f:
            return [line.split(None, 1)[1].split("(")[0] for line in f
                    if re.match(r"\d+ +\w+\(", line)]

    def work(calls):
        return [x for x in calls if x not in ("read", "write")]  # stdin and stdout

    assert work(traced(w, "send", 2000, 100, 0)) == []
    assert work(traced(r, "recv", 2000, 0)) == []
    r.say("recv", 1, -1)
    shmd.until(lambda: asleep(r.pid), "it sleeps")
    assert work(traced(w, "send", 1, 100, 0)) == ["futex"]
    assert r.hear()[1] == "2001"
    r.say("recv", 1, -1)
    shmd.until(lambda: asleep(r.pid), "it sleeps")
    before = shmd.cpu_time(r.pid)
    w.do("stat", c)
    assert shmd.cpu_time(r.pid) == before
    w.do("send", 1, 100, 0)
    r.hear()


def asleep(pid):
    with open("/proc/%d/wchan" % pid) as f:
        return "futex" in f.read()
