# SPDX-License-Identifier: MIT
"""Channels: the death of a writer, of a reader and of shmd, and who polls meanwhile."""
import contextlib
import os
import socket
import time

import pytest

import shmd
from member import ANY, BROADCAST, BUSY, HOLD, IDRM, MANY, OWNERDEAD, RELIABLE, TIMEDOUT, WAIT, channel


@pytest.mark.parametrize("flags", [RELIABLE, BROADCAST, MANY])
def test_a_writer_dies(broker, member, flags):
    w, r = member(), member()
    c = channel(w, flags=flags)
    w.do("writer", c, 0)
    r.do("reader", c, 0, 0)
    r.do("recv", 1, 0, expect=TIMEDOUT)
    w.do("send", 5, 100, 0)
    r.say("drain", -1)
    killed = w.kill()
    code, received, _, _, told = r.hear()
    assert (code, received) == (str(-OWNERDEAD), "5")
    assert int(told) - killed < 10000000  # microseconds; how soon is judged in test_channel_ends.py
    following = member()
    following.do("writer", c, 0, 5)
    following.do("send", 2, 100, 0)
    assert r.do("recv", 2, 1000)[:3] == ["1", "7", "7"]
    following.do("close")
    assert r.do("drain", 1000)[0] == "0"


def test_a_dead_reader_holds_nobody_up(member):
    w, r, dead = member(), member(), member()
    c = channel(w, most=1000, messages=16)
    w.do("writer", c, 0)
    for m in (r, dead):
        m.do("reader", c, 0, 0)
    r.say("recv", 100, -1)
    w.say("send", 100, 500, -1)  # full soon: one of the readers does not read
    dead.kill()
    assert w.hear() == ["100"]
    assert r.hear()[1] == "100"


def test_deaths_while_shmd_is_away(broker, member):
    w, r, dead = member(), member(), member()
    c = channel(w, most=1000, messages=16)
    w.do("writer", c, 0)
    for m in (r, dead):
        m.do("reader", c, 0, 0)
    broker.kill()
    w.do("send", 10, 500, 0)  # messages flow
    r.do("recv", 10, 0)
    w.say("send", 90, 500, -1)
    r.say("drain", -1)
    dead.kill()
    broker.start()
    assert w.hear() == ["100"]
    broker.kill()
    w.kill()
    broker.start()
    code, received = r.hear()[:2]
    assert (code, received) == (str(-OWNERDEAD), "100")


def test_who_waits_is_told_of_a_removal(member):
    """Where nobody is at the other side, none can come; whoever is there goes on."""
    w, r, polls, other = member(), member(), member(), member()
    c = channel(w, flags=HOLD, most=1000, messages=16)
    polls.do("reader", c, 0, ANY)
    polls.do("poll", 0)
    polls.do("recv", 1, 0, expect=TIMEDOUT)
    polls.say("poll", 20000)
    r.do("reader", c, 0, ANY)
    r.say("recv", 1, -1)
    other.do("remove", c)
    assert "was removed" in r.hear(expect=IDRM)
    assert polls.hear() == ["1"]
    polls.do("recv", 1, 0, expect=IDRM)
    r.do("close"), polls.do("close")

    c = channel(w, flags=HOLD, most=1000, messages=16)
    w.do("writer", c, 0)
    r.do("reader", c, 0, ANY)
    other.do("remove", c)
    w.do("send", 1000, 500, 0, expect=TIMEDOUT)  # one is there who could make room
    sent = int(r.do("recv", 10, 0)[1])
    w.do("send", 1, 500, 0)
    w.do("poll", 0)
    w.do("send", 1000, 500, 0, expect=TIMEDOUT)
    w.say("poll", 20000)
    r.do("close")
    assert w.hear() == ["1"] and sent == 10
    w.say("send", 1000, 500, -1)  # what it left may be overwritten, and no more
    assert "was removed" in w.hear(expect=IDRM)


def test_roles_outlive_shmd(broker, member):
    w, r, other = member(), member(), member()
    c = channel(w)
    w.do("writer", c, 0)
    r.do("reader", c, 0, 0)
    for _ in range(3):
        broker.kill()
        broker.start()
        other.do("writer", c, 0, expect=BUSY)  # whether the writer has made itself known yet or not
        w.do("send", 10, 100, 0)
        r.do("recv", 10, 1000)
    w.kill()
    shmd.until(lambda: other.do("stat", c)[0] == "3", "the writer's death is known")
    other.do("writer", c, WAIT, 30)
    other.do("send", 1, 100, 0)
    assert r.do("recv", 1, 5000)[2] == "31"  # there is another one before anybody was told of the death


def test_waits_that_were_given_up_cost_no_role(member):
    """A connection has only so many, and the roles hang on it."""
    w, r, other = member(), member(), member()
    c = channel(w)
    w.do("writer", c, 0)
    r.do("reader", c, 0, 0)
    for _ in range(40):
        w.do("await", "nothing", 1, expect=TIMEDOUT)
    other.do("writer", c, 0, expect=BUSY)
    assert other.do("stat", c)[:3] == ["1", "1", "1"]
    w.do("send", 1, 100, 0)
    r.do("recv", 1, 0)
    r.do("recv", 1, 0, expect=TIMEDOUT)


def test_poll(broker, member):
    w, r = member(), member()
    c = channel(w, most=1000, messages=16)
    w.do("writer", c, 0)
    r.do("reader", c, 0, 0)
    r.do("poll", 0)
    r.do("recv", 1, 0, expect=TIMEDOUT)
    assert r.do("poll", 0) == ["0"]
    r.say("poll", 20000)
    w.do("send", 1, 100, 0)
    assert r.hear() == ["1"]
    r.do("recv", 1, 0)
    r.do("recv", 1, 0, expect=TIMEDOUT)
    assert r.do("poll", 0) == ["0"]
    w.do("poll", 0)
    w.do("send", 1000, 500, 0, expect=TIMEDOUT)
    assert w.do("poll", 0) == ["0"]
    w.say("poll", 20000)
    r.do("recv", 10, 0)
    assert w.hear() == ["1"]


def test_poll_over_a_restart(broker, member):
    w, r = member(), member()
    c = channel(w)
    w.do("writer", c, 0)
    r.do("reader", c, 0, 0)
    r.do("poll", 0)
    for _ in range(3):
        r.do("recv", 1, 0, expect=TIMEDOUT)
        broker.kill()
        assert r.do("poll", 20000) == ["1"]  # shmd has hung up
        r.do("recv", 1, 0, expect=TIMEDOUT)
        w.do("send", 1, 100, 0)
        assert r.do("poll", 20000) == ["1"]  # by the timer
        r.do("recv", 1, 0)
        broker.start()
        r.do("recv", 1, 0, expect=TIMEDOUT)
        r.say("poll", 20000)
        w.do("send", 1, 100, 0)
        assert r.hear() == ["1"]
        r.do("recv", 1, 0)
    r.do("recv", 1, 0, expect=TIMEDOUT)
    r.say("poll", 20000)
    w.kill()

    def told():  # if it has not met this shmd yet, the timer makes it look before shmd has noted the death
        assert r.hear() == ["1"]
        r.say("recv", 1, 0)
        error, code = r.process.stdout.readline().split()[:2]
        assert error == b"error" and int(code) in (OWNERDEAD, TIMEDOUT)
        if int(code) == TIMEDOUT:
            r.say("poll", 20000)
        return int(code) == OWNERDEAD

    shmd.until(told, "the death is told")


def test_nobody_answers_where_shmd_was(broker, member):
    """A socket that is held open for a shmd which does not start delays few calls, and no close."""
    w, r = member(), member()
    c = channel(w)
    w.do("writer", c, 0)
    r.do("reader", c, 0, 0)
    r.do("poll", 0)
    r.do("recv", 1, 0, expect=TIMEDOUT)
    broker.kill()
    os.unlink(broker.socket)
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(broker.socket)
        held.listen(64)
        began = time.monotonic()
        for _ in range(40):
            r.do("recv", 1, 0, expect=TIMEDOUT)
            w.do("send", 1, 100, 0)
            r.do("recv", 1, 0)
        w.do("close")
        r.do("close")
        took = time.monotonic() - began
        held.setblocking(False)
        attempts = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                held.accept()[0].close()
                attempts += 1
        assert attempts <= 40, took  # of more than 80 without a rest after each that was in vain
    os.unlink(broker.socket)
