# SPDX-License-Identifier: MIT
"""shmctl-client pub and sub."""
import base64
import json
import signal
import threading

import pytest

import shmd
from bare import ALICE, BOB
from pubsub import (  # noqa: F401
    DONE, FAILED, NOT_PERMITTED, NO_SEGMENT, TIMED_OUT, USAGE, WRITER_DIED, asleep, ctl, ended,
    line, put, stat,
)


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


def test_removed(broker, ctl):
    """Who waits for somebody that cannot come any more ends; who is there is heard to his end."""
    p = ctl("pub", "c", "--hold")
    put(p, b"a\n")
    s = ctl("sub", "c", "--wait", "--follow")
    assert line(s) == b"a\n"
    broker.ctl("rm", "c")
    put(p, b"b\n")
    assert line(s) == b"b\n"
    p.stdin.close()
    assert ended(s) == NO_SEGMENT and b"was removed" in s.stderr.read()
    assert ended(p) == DONE
    p = ctl("pub", "c", "--hold", "--pattern")  # until nothing more has room
    asleep(p)
    broker.ctl("rm", "c")
    assert ended(p) == NO_SEGMENT and b"was removed" in p.stderr.read()


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
    def full():  # or its time is over before it writes
        r = broker.ctl("pub", "c", "--hold", "--messages", "2", "--max-message", "4K", "--pattern",
                       "--size", "4K", "--timeout", "0.05", expect=TIMED_OUT)
        return "no room" in r.err

    shmd.until(full, "it is told that there is no room")


def test_a_reader_of_a_closed_pipe_ends_quietly(ctl):
    p = ctl("pub", "c", "--pattern")  # reliable: a loss would be told on stderr
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


def test_no_room_in_time_without_a_broker(broker, ctl):
    broker.ctl("pub", "c", "--hold", "--messages", "2", "--max-message", "4K", input=b"x\n")
    p = ctl("pub", "c", "--size", "4K", "--timeout", "2")  # also to come to writing
    put(p, b"a" * 4096)
    while stat(broker, "c")["sent"] != 2:
        assert p.poll() is None
    broker.kill()
    put(p, b"b" * 65536)
    assert ended(p) == TIMED_OUT
    broker.start()


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
    assert sorted(s.stdout.readline() for _ in range(2)) == [b"a\n", b"b\n"]
    s.send_signal(signal.SIGTERM)
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
