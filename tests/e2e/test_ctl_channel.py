# SPDX-License-Identifier: MIT
"""shmctl-client pub, sub and top, and what stat and list tell of channels."""
import base64
import contextlib
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
import threading

import pytest

import shmd
import sysv
from bare import ALICE, BOB

PPOLL = "271"  # of x86-64
DONE, FAILED, USAGE, NO_SEGMENT, NOT_PERMITTED, NO_BROKER, TIMED_OUT, WRITER_DIED = range(8)


@pytest.fixture
def ctl(broker):
    """Start a command that goes on."""
    with contextlib.ExitStack() as stack:
        def start(*args, uid=None, **kwargs):
            kwargs.setdefault("stdin", subprocess.PIPE)
            kwargs.setdefault("stdout", subprocess.PIPE)
            p = broker.programs.popen([broker.programs.ctl, "--socket", broker.socket, *args],
                                      uid=uid, stderr=subprocess.PIPE, **kwargs)

            def end():
                if p.poll() is None:
                    p.kill()
                p.wait()
                if not p.stderr.closed:
                    shmd.no_report(p.stderr.read().decode())
                for f in (p.stdin, p.stdout, p.stderr):
                    if f:
                        with contextlib.suppress(OSError):
                            f.close()
            stack.callback(end)
            return p
        yield start


def line(p):
    ready = select.select([p.stdout], [], [], shmd.LIMIT)[0]
    assert ready, "nothing is printed"
    return p.stdout.readline()


def put(p, data):
    p.stdin.write(data)
    p.stdin.flush()


def ended(p):
    return p.wait(shmd.LIMIT)


def stat(broker, name, **kwargs):
    (row,) = broker.ctl("stat", name, "--json", **kwargs).json()["segment"]
    return row


def asleep(p):
    """Wait until it polls, and see that it does so with no time limit."""
    while True:
        assert p.poll() is None
        with open("/proc/%d/syscall" % p.pid) as f:
            call = f.read().split()
        if call[0] == PPOLL:
            assert call[3] == "0x0", call
            return


def test_lines(broker):
    r = broker.ctl("pub", "c", "--json", input=b"one\ntwo\n\nno newline").json()
    assert (r["messages"], r["bytes"], r["waits"]) == (4, 16, 0) and r["seconds"] >= 0
    assert broker.ctl("pub", "c", input=b"five\n").raw == b""
    assert broker.ctl("sub", "c", "--history", "3").out == "\nno newline\nfive\n"
    assert broker.ctl("sub", "c", "--raw").raw == b"onetwono newlinefive"
    assert broker.ctl("sub", "c", "--count", "2").out == "one\ntwo\n"
    assert broker.ctl("sub", "c", "--history", "none").out == ""


def test_blocks(broker):
    data = bytes(range(256)) * 41
    broker.ctl("pub", "c", "--size", "1000", "--broadcast", input=data)
    assert broker.ctl("sub", "c", "--raw").raw == data
    r = [json.loads(x) for x in broker.ctl("sub", "c", "--json").out.splitlines()]
    assert [x["length"] for x in r] == [1000] * 10 + [496]
    assert b"".join(base64.b64decode(x["base64"]) for x in r) == data
    assert [x["sequence"] for x in r] == list(range(1, 12)) and not any(x["lost"] for x in r)


def test_json_of_text(broker):
    texts = ['"\\\t\x1b[31m', "gr\u00fc\u00df", "\u0085\x7f", ""]
    broker.ctl("pub", "c", input="".join(t + "\n" for t in texts).encode())
    out = broker.ctl("sub", "c", "--json").out
    assert [json.loads(x)["text"] for x in out.split("\n")[:-1]] == texts
    assert "\x1b" not in out and "\u0085" not in out and "\x7f" not in out


def test_a_reliable_channel_loses_nothing(broker, ctl):
    broker.ctl("pub", "c", "--count", "1", "--messages", "2", "--max-message", "1K",
               input=b"first\n")
    s = ctl("sub", "c", "--follow", "--history", "none", "--count", "200000", "--raw")
    while stat(broker, "c")["readers"] != 1:
        assert s.poll() is None
    data = b"".join(b"%d\n" % i for i in range(200000))
    p = ctl("pub", "c", "--json")
    out = []
    t = threading.Thread(target=lambda: out.append(s.stdout.read()))
    t.start()
    summary = p.communicate(data, timeout=shmd.LIMIT)[0]
    t.join(shmd.LIMIT)
    assert out[0] == data.replace(b"\n", b"")
    assert json.loads(summary)["messages"] == 200000 and json.loads(summary)["waits"] > 0


def test_what_was_sent_is_seen_before_more_is_awaited(ctl):
    p, s = ctl("pub", "c"), ctl("sub", "c", "--wait")
    for i in range(50):
        put(p, b"%d\n" % i)
        assert line(s) == b"%d\n" % i
    p.stdin.close()
    assert ended(p) == DONE and s.stdout.read() == b"" and ended(s) == DONE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_in_order(ctl, number):
    p, s = ctl("pub", "c", "--json"), ctl("sub", "c", "--wait")
    put(p, b"x\n")
    assert line(s) == b"x\n"
    p.send_signal(number)
    assert ended(p) == DONE and json.loads(p.stdout.read())["messages"] == 1
    assert ended(s) == DONE
    f = ctl("sub", "c", "--follow")
    assert line(f) == b"x\n"
    f.send_signal(number)
    assert ended(f) == DONE


def test_the_writer_dies(broker, ctl):
    p = ctl("pub", "c")
    put(p, b"a\n")
    s, f = ctl("sub", "c", "--wait"), ctl("sub", "c", "--wait", "--follow")
    assert line(s) == b"a\n" and line(f) == b"a\n"
    p.kill()
    p.wait()
    assert ended(s) == WRITER_DIED and b"the writer died" in s.stderr.read()
    assert broker.ctl("sub", "c", expect=WRITER_DIED).out == "a\n"
    assert stat(broker, "c")["state"] == "died"
    broker.ctl("pub", "c", input=b"b\n")
    assert line(f) == b"b\n"
    broker.ctl("pub", "c", input=b"c\n")
    assert line(f) == b"c\n"


def test_one_writer_at_a_time(broker, ctl):
    p = ctl("pub", "c")
    s = ctl("sub", "c", "--wait", "--follow")
    put(p, b"a\n")
    assert line(s) == b"a\n"
    r = broker.ctl("pub", "c", input=b"b\n", expect=FAILED)
    assert str(p.pid) in r.err
    broker.ctl("pub", "c", "--wait", "--timeout", "0.05", input=b"b\n", expect=TIMED_OUT)
    w = ctl("pub", "c", "--wait")
    put(w, b"b\n")
    p.stdin.close()
    assert line(s) == b"b\n"


def test_many_writers(broker, ctl):
    ps = [ctl("pub", "c", "--many") for _ in range(3)]
    s = ctl("sub", "c", "--wait")
    for i, p in enumerate(ps):
        put(p, b"%d\n" % i)
        assert line(s) == b"%d\n" % i
    for p in ps:
        p.stdin.close()
    assert ended(s) == DONE


def test_users(broker, ctl):
    mode = ("--mode", "0640", "--group", "10050")
    p = ctl("pub", "c", "--broadcast", *mode, uid=ALICE, groups=[10050])
    put(p, b"x\n")
    s = ctl("sub", "%d/c" % ALICE, "--wait", uid=BOB, groups=[10050])
    assert line(s) == b"x\n"
    put(p, b"y\n")
    assert line(s) == b"y\n"
    asleep(s)
    broker.ctl("pub", "%d/c" % ALICE, uid=BOB, groups=[10050], input=b"z\n",
               expect=NOT_PERMITTED)
    broker.ctl("sub", "%d/c" % ALICE, "--history", "none", "--timeout", "0.05", uid=BOB,
               groups=[10050], expect=TIMED_OUT)
    p.stdin.close()
    assert ended(s) == DONE
    broker.ctl("pub", "r", *mode, uid=ALICE, groups=[10050], input=b"x\n")
    broker.ctl("sub", "%d/r" % ALICE, uid=BOB, groups=[10050], expect=NOT_PERMITTED)


def test_a_line_that_is_too_long(broker):
    r = broker.ctl("pub", "c", "--max-message", "10", input=b"0123456789\n01234567890\n",
                   expect=FAILED)
    assert "message 2 is longer than the 10 bytes" in r.err
    assert broker.ctl("sub", "c").out == "0123456789\n"
    broker.ctl("pub", "c", input=b"x" * 100000, expect=FAILED)
    broker.ctl("pub", "c", "--size", "11", input=b"x", expect=FAILED)


def test_test_messages_at_a_rate(broker):
    r = broker.ctl("pub", "c", "--pattern", "--count", "21", "--rate", "100", "--json").json()
    assert r["messages"] == 21 and r["seconds"] >= 0.2
    assert broker.ctl("sub", "c", "--count", "2").out == "message 1\nmessage 2\n"
    broker.ctl("pub", "d", "--pattern", "--count", "1", "--size", "20")
    assert broker.ctl("sub", "d").out == "message 1...........\n"


def test_full_with_nobody_to_read(broker):
    r = broker.ctl("pub", "c", "--hold", "--messages", "2", "--max-message", "4K", "--pattern",
                   "--size", "4K", "--timeout", "0.05", expect=TIMED_OUT)
    assert "no room" in r.err


def test_a_reader_of_a_closed_pipe_ends_quietly(ctl):
    p = ctl("pub", "c", "--pattern", "--broadcast")
    s = ctl("sub", "c", "--wait")
    line(s)
    s.stdout.close()
    assert ended(s) == DONE and s.stderr.read() == b""
    assert p.poll() is None


def test_a_full_pipe_blocks_only_its_reader(broker, ctl):
    p = ctl("pub", "c", "--pattern", "--broadcast")
    s = ctl("sub", "c", "--wait")
    line(s)
    for _ in range(3):
        broker.ctl("sub", "c", "--history", "none", "--count", "1000")
    s.send_signal(signal.SIGTERM)
    assert ended(s) == DONE
    assert p.poll() is None


def test_lost_messages_are_told(broker, ctl):
    p = ctl("pub", "c", "--pattern", "--broadcast", "--messages", "2", "--max-message", "64")
    s = ctl("sub", "c", "--wait", "--json")
    before = lost = 0
    while not lost:
        r = json.loads(line(s))
        lost = r["lost"]
        assert r["sequence"] == before + 1 + lost
        before = r["sequence"]
    s.stdout.close()
    assert ended(s) == DONE and b"were lost" in s.stderr.read()
    assert p.poll() is None


@pytest.mark.parametrize("args", [
    ["pub"], ["pub", "a", "b"], ["pub", "c", "--size", "0"], ["pub", "c", "--rate", "0"],
    ["pub", "c", "--raw"], ["pub", "c", "--ttl", "1s", "--lifetime", "persistent"],
    ["pub", "c", "--type-version", "1"], ["pub", "c", "--tag", "x" * 20],
    ["pub", "c", "--no-create", "--hold"], ["pub", "c", "--no-create", "--tag", "x", "--hold"],
    ["pub", "c", "--no-create", "--mode", "0640"], ["pub", "c", "--max-message", "0"],
    ["sub"], ["sub", "c", "--history", "some"], ["sub", "c", "--json", "--raw"],
    ["sub", "c", "--noheadings"], ["sub", "c", "--type-version", "1"],
    ["top", "--sort", "no"], ["top", "--delay", "0"], ["top", "--delay", "none"],
    ["top", "--count", "0"],
])
def test_wrong_usage(broker, args):
    broker.ctl(*args, expect=USAGE)


def test_not_there(broker):
    broker.ctl("sub", "c", expect=NO_SEGMENT)
    broker.ctl("sub", "c", "--wait", "--timeout", "0.05", expect=TIMED_OUT)
    broker.ctl("pub", "c", "--no-create", input=b"", expect=NO_SEGMENT)
    broker.ctl("create", "s", "--size", "4K")
    broker.ctl("sub", "s", expect=FAILED)
    broker.ctl("pub", "s", input=b"", expect=FAILED)


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
    t = ctl("top", "--json", "--delay", "0.01", "--timeout", "60")
    put(p, b"before\n")
    assert line(s) == b"before\n"
    late = ctl("sub", "c", "--timeout", "0.5")
    assert line(late) == b"before\n"
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


def test_no_room_in_time_without_a_broker(broker, ctl):
    broker.ctl("pub", "c", "--hold", "--messages", "2", "--max-message", "4K", input=b"x\n")
    p = ctl("pub", "c", "--size", "4K", "--timeout", "0.2")
    put(p, b"a" * 4096)
    while stat(broker, "c")["sent"] != 2:
        assert p.poll() is None
    broker.kill()
    put(p, b"b" * 65536)
    assert ended(p) == TIMED_OUT
    broker.start()


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


def test_options_that_an_existing_channel_contradicts(broker):
    def refused(*options):
        r = broker.ctl("pub", "c", *options, input=b"y\n", expect=FAILED)
        assert "c is there already" in r.err

    same = ["--mode", "0640", "--group", "0", "--ttl", "1h"]
    broker.ctl("pub", "c", *same, input=b"x\n")
    broker.ctl("pub", "c", *same, "--broadcast", input=b"y\n", expect=FAILED)
    refused("--mode", "0600")
    refused("--group", "10050")
    refused("--ttl", "2h")
    refused("--lifetime", "persistent")
    refused("--linger", "1h")
    assert stat(broker, "c")["state"] == "closed"
    assert broker.ctl("sub", "c").out == "x\n"
    broker.ctl("pub", "c", *same, input=b"y\n")
    assert broker.ctl("sub", "c").out == "x\ny\n"
    broker.ctl("pub", "e", "--lifetime", "ephemeral", "--linger", "1h", input=b"x\n")
    assert (stat(broker, "e")["lifetime"], stat(broker, "e")["linger"]) == ("ephemeral", 3600)
    broker.ctl("pub", "e", "--linger", "1h", input=b"y\n")
    assert broker.ctl("sub", "e").out == "x\ny\n"


def test_waiting_for_a_channel_to_write_to(broker, ctl):
    w = ctl("pub", "c", "--no-create", "--wait", "--tag", "t")
    put(w, b"b\n")
    p = ctl("pub", "c", "--tag", "t", "--wait")
    s = ctl("sub", "c", "--tag", "t", "--wait", "--follow")
    put(p, b"a\n")
    p.stdin.close()
    w.stdin.close()
    assert ended(p) == ended(w) == DONE
    s.send_signal(signal.SIGTERM)
    assert sorted(s.stdout.read().split()) == [b"a", b"b"]
    broker.ctl("pub", "c", "--tag", "u", "--no-create", input=b"", expect=FAILED)
    broker.ctl("pub", "none", "--no-create", "--wait", "--timeout", "0.05", input=b"",
               expect=TIMED_OUT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_who_waits_for_the_role(broker, ctl, number):
    p = ctl("pub", "c")
    s = ctl("sub", "c", "--wait", "--follow")
    put(p, b"a\n")
    assert line(s) == b"a\n"
    w = ctl("pub", "c", "--wait")
    while broker.ctl("stat", "c", "--json").json()["segment"][0]["leases"] < 3:
        assert w.poll() is None
    w.send_signal(number)
    assert ended(w) == -number
    assert stat(broker, "c")["state"] == "writing"
    put(p, b"b\n")
    p.stdin.close()
    assert line(s) == b"b\n" and ended(p) == DONE
    assert stat(broker, "c")["state"] == "closed"
