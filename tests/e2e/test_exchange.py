# SPDX-License-Identifier: MIT
"""shm_write and shm_read: A to E, in any order and at any death."""
import errno
import os
import random
import re
import signal
import subprocess

import pytest

import shmd
import sysv

LETTERS = "ABCDE"
WRITTEN = ("Writing Process: Shared Memory Write: Wrote 1023 bytes\n" * 5 +
           "Writing Process: Wrote 5 times\nWriting Process: Complete\n").encode()
READ = ("".join('segment contains : \n"%s"\nReading Process: Shared Memory: Read 1023 bytes\n' % (c * 1023)
                for c in LETTERS) +
        "Reading Process: Reading Done, Detaching Shared Memory\nReading Process: Complete\n").encode()
MESSAGE = READ.index(b"segment", 10)  # bytes of one message as the reader prints it
ROUNDS = int(os.environ.get("SHMD_ROUNDS", 200 if shmd.SANITIZED or shmd.UNDER else 1000))


class Pair:
    def __init__(self, broker, folder):
        self.broker, self.folder, self.env = broker, folder, {}

    def start(self, program, *args, to="pipe"):
        path = os.path.join(self.folder, program)
        out = open(path, "wb") if to == "file" else subprocess.PIPE
        p = self.broker.programs.popen(
            [getattr(self.broker.programs, program), "--socket", self.broker.socket] + list(args),
            stdout=out, stderr=subprocess.PIPE, env=self.env)
        p.path = path if to == "file" else None
        if p.path:
            out.close()
        return p

    def end(self, p, expect=0):
        try:
            out, err = p.communicate(timeout=shmd.LIMIT)
        except subprocess.TimeoutExpired:
            p.kill()
            raise AssertionError(p.communicate())
        if p.path:
            with open(p.path, "rb") as f:
                out = f.read()
        shmd.no_report(err.decode())
        assert expect is None or p.returncode == expect, (p.args, p.returncode, out[:300], err)
        return out, err


@pytest.fixture
def pair(broker, folder):
    return Pair(broker, folder)


@pytest.mark.once
def test_transcripts_here_are_those_given():
    """What these tests expect is what the shared transcripts hold (where they are at hand)."""
    given = os.path.join(shmd.TOP, "..", "shared", "transcripts")
    for name, text in (("shm_write.txt", WRITTEN), ("shm_read.txt", READ)):
        path = os.path.join(given, name)
        if os.path.exists(path):
            with open(path, "rb") as f:
                assert f.read() == text


@pytest.mark.parametrize("to", ["pipe", "file"])
@pytest.mark.parametrize("order", ["writer first", "reader first", "reader after the writer's end"])
def test_transcripts(pair, order, to):
    if order == "reader first":
        r = pair.start("read", to=to)
        # It waits in OPEN_WAIT, or wherever it waits: the writer finds it or does not.
        w = pair.start("write", to=to)
    else:
        w = pair.start("write", to=to)
        if order == "reader after the writer's end":
            assert pair.end(w)[0] == WRITTEN
        r = pair.start("read", to=to)
    assert pair.end(r)[0] == READ
    if order != "reader after the writer's end":
        assert pair.end(w)[0] == WRITTEN
    assert pair.broker.consistent() == {}


def test_many_rounds(pair):
    """Random order, random delays (of round trips to the broker): every transcript exact."""
    seed = int(os.environ.get("SHMD_SEED", random.SystemRandom().randrange(1 << 32)))
    print("SHMD_SEED=%d" % seed)
    rnd = random.Random(seed)
    pair.env = shmd.NO_LEAK_CHECK
    with pair.broker.connect() as pause:
        for i in range(ROUNDS):
            names = ["read", "write"]
            rnd.shuffle(names)
            first = pair.start(names[0])
            for _ in range(rnd.choice([0, 0, 1, 10, 50, 100, 300])):
                pause.ping()
            second = pair.start(names[1])
            outs = {names[0]: pair.end(first)[0], names[1]: pair.end(second)[0]}
            assert outs == {"write": WRITTEN, "read": READ}, "round %d" % i
            if i % 50 == 0:
                assert pair.broker.consistent() == {}
    assert pair.broker.consistent() == {}


def test_pairs_beside_each_other(pair):
    running = [(pair.start("write", "--name", "c%d" % i), pair.start("read", "--name", "c%d" % i))
               for i in range(8)]
    for w, r in running:
        assert (pair.end(w)[0], pair.end(r)[0]) == (WRITTEN, READ)
    assert pair.broker.consistent() == {}


def test_own_payload(pair, folder):
    path = os.path.join(folder, "payload")
    data = bytes(random.Random(1).randrange(32, 127) for _ in range(300))
    with open(path, "wb") as f:
        f.write(data)
    w = pair.start("write", "--file", path, "--size", "100", "--count", "3")
    r = pair.start("read")
    out = pair.end(r)[0]
    assert pair.end(w)[0].count(b"Wrote 100 bytes") == 3
    assert out.count(b"Read 100 bytes") == 3
    for i in range(3):
        assert b'"' + data[100 * i:100 * i + 100] + b'"' in out


def test_keep(pair):
    w, r = pair.start("write", "--keep"), pair.start("read", "--keep")
    assert (pair.end(w)[0], pair.end(r)[0]) == (WRITTEN, READ)
    names = pair.broker.names()
    assert len(names) == 1
    pair.broker.ctl("rm", *names)


def test_nobody_comes(pair):
    """A reader without a writer gives up at its time limit, and leaves nothing."""
    out, err = pair.end(pair.start("read", "--timeout", "0.2"), None)
    assert err.count(b"\n") == 1
    assert pair.broker.consistent() == {}


def test_reader_never_comes(pair):
    """The writer does not need one that is there already."""
    assert pair.end(pair.start("write"))[0] == WRITTEN
    assert len(pair.broker.names()) == 1
    assert pair.end(pair.start("read"))[0] == READ
    assert pair.broker.consistent() == {}


def test_second_writer(pair):
    w = pair.start("write")
    pair.end(w)
    other = pair.start("write", "--timeout", "20")  # which it does not wait for
    out, err = pair.end(other, None)
    assert other.returncode == 1 and b"holds 5 messages that nobody has read" in err, (out, err)
    assert pair.end(pair.start("read"))[0] == READ


@pytest.mark.parametrize("victim", ["write", "read"])
def test_killed(pair, victim):
    """The other one ends with a clear error or all of its work, and a new pair works at once."""
    rnd = random.Random(victim)
    with pair.broker.connect() as pause:
        for i in range(40):
            first, second = ("write", "read") if rnd.random() < 0.5 else ("read", "write")
            ps = {first: pair.start(first, "--timeout", "0.2")}
            ps[second] = pair.start(second, "--timeout", "0.2")
            for _ in range(rnd.choice([0, 5, 20, 50, 100, 200, 400])):
                pause.ping()
            ps[victim].kill()
            before = pair.end(ps[victim], None)[0]
            other = "read" if victim == "write" else "write"
            if other == "write" and ps[victim].returncode == -signal.SIGKILL:
                # Another reader goes on where the first was killed. A message counts as read once it
                # is printed and flushed: one may come a second time, none is lost.
                after, err = pair.end(pair.start("read", "--timeout", "1"), None)
                assert READ.startswith(before) and READ.endswith(after), (before[:100], after[:100])
                again = len(before) + len(after) - len(READ)
                assert 0 <= again <= MESSAGE or (not after and err), (again, err)
            out, err = pair.end(ps[other], None)
            whole = {"write": WRITTEN, "read": READ}[other]
            if ps[other].returncode == 0:
                assert out == whole
            else:
                assert err and whole.startswith(out), (out[:200], err)
            names = pair.broker.names()
            if victim == "write" and ps[other].returncode in (0, 1):
                assert not names, (out[-100:], err)  # who had the channel has cleared it away
            if names:
                pair.broker.ctl("rm", *names)
            pair.broker.consistent()
    w, r = pair.start("write"), pair.start("read")
    assert (pair.end(w)[0], pair.end(r)[0]) == (WRITTEN, READ)


def test_broker_dies_meanwhile(pair):
    """shmd is not on the data path: both end their work over its death and restart."""
    with pair.broker.connect() as w:
        asked = [w.info().requests]

        def waits():  # beside our own requests: handshake, limits and the open that waits
            asked.append(0)
            return w.info().requests - asked[0] - len(asked) + 1 >= 3

        r = pair.start("read")
        shmd.until(waits, "the reader waits for the name")
    pair.broker.kill()
    pair.broker.start()
    w = pair.start("write")
    assert (pair.end(w)[0], pair.end(r)[0]) == (WRITTEN, READ)
    assert pair.broker.consistent() == {}


@pytest.mark.parametrize("program", ["write", "read"])
def test_no_broker(programs, folder, program):
    """One line, with the command that starts one."""
    r = programs.run([getattr(programs, program)], expect=None, env={"XDG_RUNTIME_DIR": folder,
                                                                   "SHMD_SOCKET": folder + "/none.sock"})
    assert r.code != 0 and r.raw == b""
    assert r.err.count("\n") == 1 and "shmd" in r.err and folder + "/none.sock" in r.err, r


def test_private_broker_is_started(programs, folder):
    """--user starts one, which both use and which leaves nothing behind."""
    env = {"XDG_RUNTIME_DIR": folder}
    ps = [programs.popen([p, "--user"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
          for p in (programs.write, programs.read)]
    outs = [p.communicate(timeout=shmd.LIMIT) for p in ps]
    assert [o[0] for o in outs] == [WRITTEN, READ], outs
    lock = os.path.join(folder, "shmd", "shmd.sock.lock")
    if os.path.exists(lock):  # held as long as the broker lives
        with open(lock) as f:
            import fcntl
            fcntl.flock(f, fcntl.LOCK_EX)
    assert not sysv.segments()


@pytest.mark.parametrize("args, code", [(["--help"], 0), (["--version"], 0), (["--nonsense"], 2),
                                        (["--count", "x"], 2), (["--timeout", "-1"], 2), (["extra"], 2)])
@pytest.mark.parametrize("program", ["write", "read"])
def test_usage(programs, program, args, code):
    if program == "read" and args[0] == "--count":
        args = ["--timeout", "x"]
    r = programs.run([getattr(programs, program)] + args, expect=code)
    assert r.out if code == 0 else r.err
    assert re.search("shm_" + program, r.out + r.err)


def test_output_that_cannot_be_written(pair):
    with open("/dev/full", "wb") as full:
        p = pair.broker.programs.popen([pair.broker.programs.write, "--socket", pair.broker.socket],
                                       stdout=full, stderr=subprocess.PIPE)
        err = p.communicate(timeout=shmd.LIMIT)[1].decode()
    assert p.returncode != 0 and os.strerror(errno.ENOSPC) in err


def test_closed_standard_output(pair):
    """It fails, and no message is lost: none goes into the broker's socket instead."""
    pair.end(pair.start("write"))
    args = ["sh", "-c", 'exec "$@" >&-', "sh", pair.broker.programs.read, "--socket", pair.broker.socket]
    pair.broker.programs.run(args, expect=1)
    assert pair.end(pair.start("read"))[0] == READ


def test_broker_dies_under_both(pair):
    """Both are attached and in the middle: they go on, and the reader removes through the next shmd."""
    count = 400
    w, r = pair.start("write", "--count", str(count)), pair.start("read")
    head = os.read(r.stdout.fileno(), MESSAGE)  # unbuffered; the pipe fills up behind it, and both come to wait
    assert w.poll() is None and r.poll() is None
    pair.broker.kill()
    pair.broker.start()
    out = head + pair.end(r)[0]
    pair.end(w)
    assert out.count(b"segment contains") == count
    assert [out[i * MESSAGE + 21:i * MESSAGE + 22] for i in range(count)] == \
        [bytes([65 + i % 26]) for i in range(count)]
    assert pair.broker.consistent() == {}


def test_no_writer_in_time(pair):
    for limit in ("0", "0.05"):  # one so short may be over before it is heard that nobody is there
        shmd.until(lambda: b"timed out" in pair.end(pair.start("read", "--timeout", limit), 6)[1], "it says so")


@pytest.mark.parametrize("program", ["write", "read"])
def test_stopped_broker(pair, program):
    pair.broker.process.send_signal(signal.SIGSTOP)
    try:
        pair.end(pair.start(program, "--timeout", "0.2"), 6)
    finally:
        pair.broker.process.send_signal(signal.SIGCONT)


def test_unreadable_source_leaves_nothing(pair):
    pair.end(pair.start("write", "--file", "/tmp"), 1)
    assert pair.broker.names() == {}


def test_another_at_work(pair):
    """One writer and one reader; and when the writer dies, the reader gets all that was written, and is told."""
    w, r = pair.start("write", "--count", "400"), pair.start("read")
    head = os.read(r.stdout.fileno(), 10)
    assert b"another reader is at work" in pair.end(pair.start("read"), 1)[1]
    assert b"another writer is at work" in pair.end(pair.start("write"), 1)[1]
    w.kill()
    out, err = pair.end(r, 1)
    count = (head + out).count(b"segment contains")
    assert (head + out)[:MESSAGE * count] == b"".join(
        b'segment contains : \n"' + bytes([65 + i % 26]) * 1023 + b'"\nReading Process: Shared Memory: Read 1023 bytes\n'
        for i in range(count))
    assert b"shm_demo died after %d messages" % count in err
    assert pair.broker.names() == {}


def test_readers_at_once(pair):
    """One of them prints all and removes the channel; the other finds it at work, or nothing."""
    for _ in range(10):
        pair.end(pair.start("write"))
        outs = [pair.end(p, None) for p in [pair.start("read", "--timeout", "1") for _ in range(2)]]
        outs.sort()
        assert outs[0][0] == b"" and outs[0][1], outs
        assert outs[1] == (READ, b""), outs
        assert pair.broker.names() == {}


def test_writer_while_the_last_reader_goes(pair):
    """It finds unread messages, or the channel over: then what it writes is the next reader's, and whole."""
    for _ in range(60):
        pair.end(pair.start("write"))
        r, w = pair.start("read"), pair.start("write")
        assert pair.end(r)[0] == READ
        out, err = pair.end(w, None)
        if w.returncode == 0:
            assert out == WRITTEN and pair.end(pair.start("read"))[0] == READ
        else:
            assert b"messages that" in err or b"message that" in err, err
        assert pair.broker.names() == {}


def test_last_user_of_a_counted_channel(pair):
    """Whoever goes last removes it: the reader that took so many, or the writer."""
    for _ in range(50):
        w, r = pair.start("write"), pair.start("read", "--count", "5")
        assert (pair.end(w)[0], pair.end(r)[0]) == (WRITTEN, READ)
        assert pair.broker.names() == {}
    pair.end(pair.start("write"))
    assert pair.end(pair.start("read", "--count", "2"))[0].startswith(READ[:2 * MESSAGE])
    assert pair.end(pair.start("read"))[0] == READ[2 * MESSAGE:]
    assert pair.broker.names() == {}


def test_writer_gives_up(pair):
    """It is not the end of the messages, and the reader is told so."""

    def gave_up():  # a time limit that it did not come to writing in is no use
        nonlocal written
        written = pair.end(pair.start("write", "--count", "400", "--timeout", "0.05"), 6)[0].count(b"Wrote 1023 bytes")
        return written

    written = 0
    shmd.until(gave_up, "it writes until there is no room")
    assert 64 <= written < 400
    out, err = pair.end(pair.start("read"), 1)
    assert out.count(b"segment contains") == written and b"died after %d messages" % written in err
    assert pair.broker.names() == {}


def test_kept_channel_of_another_size(pair):
    """It is over: a writer replaces it, and a reader waits for that one."""
    pair.end(pair.start("write", "--size", "10", "--keep"))
    pair.end(pair.start("read", "--keep"))
    assert len(pair.broker.names()) == 1
    w = pair.start("write")
    assert (pair.end(w)[0], pair.end(pair.start("read"))[0]) == (WRITTEN, READ)
    assert pair.broker.names() == {}


def test_kept_channel_is_cleared_away(pair):
    pair.end(pair.start("write", "--keep"))
    pair.end(pair.start("read", "--keep"))

    def cleared():  # by a reader that gives up, if it came so far in its time
        assert pair.end(pair.start("read", "--timeout", "0.05"), 6)[0] == b""
        return pair.broker.names() == {}

    shmd.until(cleared, "it is cleared away")


def test_removed_by_hand(pair):
    """Nobody can come any more: the writer that waits for a reader notices."""
    w = pair.start("write", "--count", "400")
    os.read(w.stdout.fileno(), 10)
    pair.broker.ctl("rm", *pair.broker.names())
    assert b"was removed" in pair.end(w, 1)[1]
    assert pair.broker.consistent() == {}


def test_no_channel(pair):
    """A segment of that name which is something else is left alone."""
    pair.broker.ctl("create", "shm_demo", "--size", "8192")
    for program in ("write", "read"):
        assert b"is not a channel of shm_write" in pair.end(pair.start(program), 1)[1]
    assert len(pair.broker.names()) == 1
