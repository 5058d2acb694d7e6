# SPDX-License-Identifier: MIT
"""shmctl-client top, and what stat and list tell of channels."""
import ctypes
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios

import pytest

import shmd
import sysv
from bare import ALICE, BOB
from pubsub import DONE, FAILED, TIMED_OUT, ctl, ended, line, put, stat  # noqa: F401


def test_stat_and_list(broker):
    broker.ctl("pub", "c", "--tag", "quotes", "--type-version", "3", "--hold",
               "--max-message", "1K", "--messages", "8", "--ttl", "1h", input=b"x\n")
    r = stat(broker, "c")
    assert (r["kind"], r["ring"], r["state"], r["tag"], r["typeversion"], r["maxmessage"]) == \
        ("channel", "reliable,hold", "closed", "quotes", 3, 1024)
    assert r["messages"] >= 8
    assert (r["sent"], r["readers"], r["writers"], r["ttl"]) == (1, 0, 0, 3600)
    broker.ctl("sub", "c", "--tag", "other", expect=FAILED)
    broker.ctl("sub", "c", "--tag", "quotes", "--type-version", "2", expect=FAILED)
    assert broker.ctl("sub", "c", "--tag", "quotes", "--type-version", "3").out == "x\n"
    broker.ctl("pub", "c", "--broadcast", input=b"x\n", expect=FAILED)
    broker.ctl("create", "s", "--size", "4K")
    assert "ring" not in stat(broker, "s")
    (rows,) = broker.ctl("list", "--json", "-o", "NAME,KIND,STATE").json().values()
    assert [(x["name"], x["kind"], x["state"]) for x in rows] == \
        [("root/c", "channel", "closed"), ("root/s", "segment", None)]


def test_top(broker, ctl):
    p = ctl("pub", "c", "--pattern", "--broadcast", "--rate", "1000", uid=ALICE)
    s = ctl("sub", "%d/c" % ALICE, "--wait")
    line(s)
    broker.ctl("create", "s", "--size", "4K")
    c, d = broker.ctl("top", "--json", "--count", "1", "--delay", "0.2").json()["top"]
    assert (c["name"], c["readers"], c["writers"]) == ("%d/c" % ALICE, 1, 1)
    assert 0 < c["msgrate"] < 10000 and c["byterate"] > c["msgrate"]
    assert (d["name"], d["msgrate"], d["size"]) == ("root/s", None, 4096)
    rounds = broker.ctl("top", "--json", "--count", "3", "--delay", "0.01", uid=BOB).out
    rounds = [json.loads(x)["top"] for x in rounds.splitlines()]
    assert len(rounds) == 3 and all(r["msgrate"] is None for rows in rounds for r in rows)
    assert broker.ctl("top", "none", "--json", "--count", "1", "--delay", "0.01").json() == \
        {"top": []}
    out = broker.ctl("top", "s", "--count", "2", "--delay", "0.01", "-n", "-r",
                     "-o", "NAME,READERS").out
    assert out == "root/s -\nroot/s -\n"
    out = broker.ctl("top", "--count", "1", "--delay", "0.01", "--sort", "size", "-n", "-r",
                     "-o", "NAME").out
    assert out.split() == ["%d/c" % ALICE, "root/s"]
    t = ctl("top", "--delay", "0.01")
    line(t)
    t.send_signal(signal.SIGINT)
    t.stdout.read()
    assert ended(t) == DONE
    p.kill()


class Terminal:
    """`top` on one of its own, of `columns`."""

    def __init__(self, broker, columns=80, term="xterm"):
        self.leader, self.follower = pty.openpty()
        self.seen, self.process = b"", None
        self.size(columns)
        self.before = termios.tcgetattr(self.follower)
        self.process = broker.programs.popen(
            [broker.programs.ctl, "--socket", broker.socket, "top", "--delay", "0.05"],
            stdin=self.follower, stdout=self.follower, stderr=subprocess.PIPE, env={"TERM": term})

    def size(self, columns, lines=24):
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if self.process:  # which the terminal does not control
            self.process.send_signal(signal.SIGWINCH)

    def until(self, text):
        """Read on; what was passed over."""
        while text not in self.seen:
            assert select.select([self.leader], [], [], shmd.LIMIT)[0], self.seen
            self.seen += os.read(self.leader, 4096)
        passed, _, self.seen = self.seen.partition(text)
        return passed

    def type(self, keys):
        os.write(self.leader, keys)

    def ended(self):
        assert ended(self.process) == DONE
        assert termios.tcgetattr(self.follower) == self.before
        shmd.no_report(self.process.stderr.read().decode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.leader)
        os.close(self.follower)


# Built without ncurses there are only tables.
screen = pytest.mark.skipif(shmd.OPTIONS.get("ncurses") == "disabled", reason="no ncurses")


@screen
@pytest.mark.parametrize("how", [b"q", signal.SIGTERM])
def test_top_on_a_terminal(broker, how):
    broker.ctl("pub", "c", "--pattern", "--count", "1")
    with Terminal(broker) as t:
        t.until(b"by MSGRATE")
        t.until(b"root/c")
        t.type(b"s")
        t.until(b"BYTE")
        t.type(b" ")
        t.until(b"halted")
        if isinstance(how, bytes):
            t.type(how)
        else:
            t.process.send_signal(how)
        t.until(b"\x1b[?1049l")
        t.ended()


@screen
def test_top_follows_the_size_of_its_terminal(broker):
    broker.ctl("pub", "c", input=b"x\n")
    with Terminal(broker, columns=40) as t:
        assert b"WAITING" not in t.until(b"root/c")
        t.size(150)
        t.until(b"WAITING")
        t.size(30, lines=2)
        t.type(b"s")
        t.until(b"BYTE")
        t.size(3, lines=1)
        t.type(b"jjkkq")
        t.until(b"\x1b[?1049l")
        t.ended()


def test_top_on_a_terminal_that_cannot(broker):
    broker.ctl("pub", "c", input=b"x\n")
    with Terminal(broker, term="no-such-terminal") as t:
        assert b"\x1b" not in t.until(b"root/c")
        t.process.send_signal(signal.SIGINT)
        t.ended()


def test_a_restart_of_the_broker(broker, ctl):
    """Messages flow on, also while it is away, and top waits for it."""
    p = ctl("pub", "c", "--json")
    s = ctl("sub", "c", "--wait")
    put(p, b"before\n")
    assert line(s) == b"before\n"
    t = ctl("top", "--json", "--delay", "0.01", "--timeout", "60")
    while line(late := ctl("sub", "c", "--timeout", "0.5")) != b"before\n":
        assert ended(late) == TIMED_OUT  # before it came to reading
    while json.loads(line(t))["top"][0]["readers"] == 0:
        pass
    broker.kill()
    put(p, b"away\n")
    assert line(s) == b"away\n"
    assert late.stdout.read() in (b"away\n", b"") and ended(late) == TIMED_OUT
    broker.start()
    put(p, b"after\n")
    assert line(s) == b"after\n"
    generation = broker.ctl("status", "-n", "-o", "GENERATION").out.strip()
    assert generation == "2"
    while json.loads(line(t))["top"][0]["readers"] != 1:
        pass
    p.stdin.close()
    assert ended(p) == DONE and json.loads(p.stdout.read())["messages"] == 3
    assert s.stdout.read() == b"" and ended(s) == DONE
    assert t.poll() is None


def test_the_members(broker, ctl):
    p, s = ctl("pub", "c", uid=ALICE), ctl("sub", "%d/c" % ALICE, "--wait")
    for text in (b"ab\n", b"cde\n"):
        put(p, text)
        assert line(s) == text
    r = broker.ctl("stat", "%d/c" % ALICE, "--json").json()
    assert list(r) == ["segment", "members"]
    reader, writer = sorted(r["members"], key=lambda m: m["role"])
    assert (writer["role"], writer["pid"], writer["messages"], writer["bytes"]) == \
        ("writer", p.pid, 2, 5)
    assert writer["user"] == str(ALICE) and writer["lost"] is None
    assert reader["role"] == "reader" and reader["pid"] == s.pid
    assert (reader["command"], reader["messages"], reader["bytes"]) == ("shmctl-client", 2, 5)
    assert (reader["lost"], reader["unread"]) == (0, 0)
    fields, members = broker.ctl("stat", "%d/c" % ALICE).out.split("\n\n")
    assert fields.splitlines()[-1].split() == ["LOST", "0"]
    assert sorted(x.split()[0] for x in members.splitlines()) == ["ROLE", "reader", "writer"]
    # Who chooses columns gets those alone, and so does who may not read it.
    assert broker.ctl("stat", "%d/c" % ALICE, "-n", "-o", "SENT").out.split() == ["2"]
    r = broker.ctl("stat", "%d/c" % ALICE, "--json", uid=BOB).json()
    assert list(r) == ["segment"] and r["segment"][0]["sent"] is None
    p.stdin.close()
    assert ended(p) == DONE
    assert broker.ctl("stat", "%d/c" % ALICE, "--json").json()["members"] == []


def test_what_stands_in_a_channel_steers_no_terminal(broker, ctl):
    """Whoever may write to it can put anything there."""
    p = ctl("pub", "c", "--tag", "a-tag-of-types")
    s = ctl("sub", "c", "--wait")
    put(p, b"x\n")
    line(s)
    address = sysv.shmat(stat(broker, "c")["shmid"])
    size = stat(broker, "c")["size"]
    at = ctypes.string_at(address, size).index(b"a-tag-of-types")
    ctypes.memmove(address + at, b"\x1b[31m\n\"} \x9b no end", 20)
    for args in (["stat", "c"], ["stat", "c", "--json"], ["list", "-o", "NAME,TAG"],
                 ["top", "--count", "1", "--delay", "0.01"]):
        out = broker.ctl(*args).raw
        assert b"\x1b" not in out and b"\x9b" not in out
    json.loads(broker.ctl("stat", "c", "--json").raw)
    ctypes.memset(address, 0xff, size)
    for args in (["list"], ["top", "--count", "1", "--delay", "0.01"]):
        assert "root/c" in broker.ctl(*args).out
    for args in (["stat", "c"], ["top", "--json", "--count", "1", "--delay", "0.01"]):
        assert broker.ctl(*args, "--json").json()
    sysv.shmdt(address)
