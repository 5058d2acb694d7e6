# SPDX-License-Identifier: MIT
"""Quotas: each names the limit, what is used and by whom, and is given back exactly once."""
import errno
import resource
import time

import pytest

import shmd
import sysv
from bare import Bare, answer, reload, start_as_daemon, why
from wire import F, Refused, frame, pack

PAGE = 4096
ALICE, BOB = 10001, 10002


def used(w):
    """The segments and bytes that the broker counts for this connection's user."""
    i = w.info()
    return i.user_segments, i.user_bytes


@pytest.fixture
def limited(make_broker, folder):
    """start(LIMITS...): a broker with these."""
    def start(*limits, more=""):
        return start_as_daemon(make_broker, folder, "[limits]\n" + "\n".join(limits) + "\n" + more)
    return start


def test_segments_of_a_user(limited):
    b = limited("segments_per_user = 3")
    with b.connect(ALICE) as w, b.connect(BOB) as other, b.connect() as root:
        for name in "abc":
            w.create(name)
        sentence = why(w.create, "d")
        assert "user 10001 has 3 segments" in sentence and "segments_per_user allows 3" in sentence
        w.create("a")  # that is there
        other.create("a")  # bob's are bob's
        root.create("10001/given")  # and who asks for it pays for it
        assert (used(w), used(root)) == ((3, 3 * PAGE), (1, PAGE))
        root.set("10001/a", uid=BOB)  # also when somebody else owns it since
        assert (used(w)[0], used(other)[0]) == (3, 1)
        assert answer(w.create, "d") == errno.EDQUOT
        w.remove("b")
        w.create("d")
        assert answer(w.create, "e") == errno.EDQUOT
        i = w.info()
        assert (i.user_segments, i.max_user_segments, i.segments) == (3, 3, 5)


def test_bytes_of_a_user(limited):
    """In whole pages, as the kernel counts."""
    b = limited("size_per_user = 64K")
    with b.connect(ALICE) as w, b.connect(BOB) as other:
        w.create("byte", 1)
        assert used(w) == (1, PAGE)
        w.create("page", PAGE)
        w.create("more", PAGE + 1)
        assert used(w) == (3, 4 * PAGE)
        w.create("most", 12 * PAGE - 1)
        assert used(w) == (4, 65536)
        sentence = why(w.create, "x", 1)
        assert "user 10001 has 65536 bytes and asks for 4096 more" in sentence
        assert "size_per_user allows 65536" in sentence
        other.create("x", 65536)
        assert answer(other.create, "y", 1) == errno.EDQUOT
        assert answer(other.create, "y", (1 << 40) - 1) == errno.EDQUOT
        w.remove("more")
        assert used(w) == (3, 14 * PAGE)
        w.create("x", 2 * PAGE)


def test_of_a_namespace(limited):
    """Whoever uses it: its limit is one for all of them together."""
    b = limited(more="[namespace lab]\nusers = 10001 10002\nmax_segments = 3\nmax_size = 32K\n")
    with b.connect(ALICE) as w, b.connect(BOB) as other, b.connect() as root:
        w.create("lab/a")
        other.create("lab/b", 5000)
        sentence = why(other.create, "lab/c", 6 * PAGE)
        assert "namespace lab has 12288 bytes and 24576 more" in sentence
        assert "max_size allows 32768" in sentence
        other.create("lab/c", 5 * PAGE)
        for client in (w, other, root):  # also an administrator
            sentence = why(client.create, "lab/d", 1)
            assert "namespace lab has 3 segments" in sentence
            assert "max_segments allows 3" in sentence
        w.create("d")
        other.remove("lab/c")
        root.create("lab/d")
        assert [used(c)[0] for c in (w, other, root)] == [2, 1, 1]


def test_of_the_host(limited):
    b = limited("total_size = 64K", more="[registry]\ncapacity = 4\n")
    with b.connect(ALICE) as w, b.connect(BOB) as other:
        w.create("a", 15 * PAGE)
        sentence = why(other.create, "a", PAGE + 1)
        assert "all users together have 61440 bytes and 8192 more" in sentence
        assert "total_size allows 65536" in sentence
        other.create("a", 1)
        assert answer(w.create, "b", 1) == errno.EDQUOT
        w.remove("a")
        for name in "bcd":
            w.create(name)
        sentence = why(other.create, "b", number=errno.EXFULL)
        assert "capacity is 4" in sentence
        assert (used(w), used(other)) == ((3, 3 * PAGE), (1, PAGE))
        w.remove("b")
        other.create("b")


def test_connections(limited):
    """Of a user and of all; administrators have eight more."""
    b = limited("connections_per_user = 3", "connections = 5",
                more="[policy]\nadministrators = @10060\n")
    alice = [b.connect(ALICE) for _ in range(3)]
    with pytest.raises(Refused) as e:
        b.connect(ALICE)
    assert e.value.errno == errno.EUSERS
    assert "user 10001 has 3 connections" in e.value.text
    assert "connections_per_user allows 3" in e.value.text
    bob = [b.connect(BOB) for _ in range(2)]
    with pytest.raises(Refused) as e:
        b.connect(10003)
    assert e.value.errno == errno.EUSERS and "5 connections" in e.value.text
    admins = [b.connect(10100 + i, groups=[10060]) for i in range(8)]
    with pytest.raises(Refused) as e:
        b.connect()
    assert e.value.errno == errno.EUSERS and "13 connections" in e.value.text
    assert admins[0].info().connections == 13 and alice[0].info().user_connections == 3
    for w in admins:
        w.close()
    alice.pop().close()
    shmd.until(lambda: alice[0].info().connections == 4, "they have gone")
    assert alice[0].info().user_connections == 2
    alice.append(b.connect(ALICE))
    for w in alice + bob:
        w.close()


def test_leases(limited):
    b = limited("leases_per_connection = 2", "leases_per_user = 3")
    with b.connect(ALICE) as w, b.connect(ALICE) as second, b.connect(BOB) as other:
        w.create("x", mode=0o660)
        w.create("y", lifetime=F.LIFETIME_EPHEMERAL)
        assert w.info().user_leases == 1  # its creator holds it
        w.attach("x", lease=1)
        assert "this connection holds 2 leases" in why(w.attach, "x", 2)
        assert "leases_per_connection" in why(w.attach, "x", 2)
        w.attach("y", lease=2)  # in place of the creator's
        assert w.info().user_leases == 2
        second.attach("x")
        sentence = why(second.attach, "x", 2)
        assert "user 10001 holds 3 leases" in sentence and "leases_per_user allows 3" in sentence
        other.create("x")
        other.attach("x")
        assert [h.uid for h in w.who("x")] == [ALICE, ALICE]
        second.detach()
        second.attach("x", lease=2)
        w.detach(1)
        second.attach("x", lease=3)
        assert w.info().user_leases == 3
        w.remove("x")  # leases of what is no more count until they are given back
        assert w.info().user_leases == 3
        second.detach(2)
        second.detach(3)
        assert w.info().user_leases == 1
        w.detach(2)
        assert w.info().user_leases == 0 and other.info().user_leases == 1


def test_many_ephemeral_segments(limited):
    """A creator's hold is a lease: it has the bounds of one."""
    b = limited("leases_per_connection = 2")
    with b.connect(ALICE) as w:
        for name in "ab":
            w.create(name, lifetime=F.LIFETIME_EPHEMERAL)
        assert "leases_per_connection" in why(
            lambda: w.create("c", lifetime=F.LIFETIME_EPHEMERAL))
        assert used(w) == (2, 2 * PAGE)


def test_watches(limited):
    b = limited("watches_per_user = 2")
    with b.connect(ALICE) as w, b.connect(ALICE) as second, b.connect(ALICE) as third, \
            b.connect(BOB) as other:
        w.watch()
        assert answer(w.watch) == errno.EBUSY
        second.watch()
        sentence = why(third.watch)
        assert "user 10001 has 2 watches" in sentence and "watches_per_user allows 2" in sentence
        other.watch()
        assert (third.info().watches, third.info().max_user_watches) == (3, 2)
        second.close()
        shmd.until(lambda: third.info().watches == 2, "its watch has gone with it")
        third.watch()


def test_waits(limited):
    """16 of a connection, of which the oldest makes room; 256 of a user."""
    b = limited()
    many = [b.connect(ALICE) for _ in range(16)]
    for w in many:
        for i in range(16):
            w.send(frame("OPEN", pack("open", name="n%d" % i, flags=F.OPEN_WAIT), serial=100 + i))
        w.ping()
    with b.connect(ALICE) as w, b.connect(BOB) as other, b.connect() as root:
        sentence = why(w.open, "n0", F.OPEN_WAIT)
        assert "user 10001 waits for 256 names" in sentence
        other.send(frame("OPEN", pack("open", name="x", flags=F.OPEN_WAIT), serial=100))
        other.ping()
        many[0].send(frame("OPEN", pack("open", name="n16", flags=F.OPEN_WAIT), serial=200))
        reply = many[0].read()
        assert (reply.serial, reply.status) == (100, -errno.ECANCELED)
        root.create("10001/n5")
        assert {m.read().serial for m in many} == {105}
        assert answer(w.open, "n5", F.OPEN_WAIT) == 0
        w.send(frame("OPEN", pack("open", name="n1", flags=F.OPEN_WAIT), serial=300))
        w.ping()
        many.pop().close()
        shmd.until(lambda: w.info().user_connections == 16, "one has gone")
        root.create("10001/n1")
        assert w.read().serial == 300


def test_requests_a_second(limited):
    """More are refused until the second is over, on all connections of that user."""
    b = limited("requests_per_second = 50")
    with b.connect(ALICE) as w, b.connect(ALICE) as second, b.connect(BOB) as other:
        def flood():
            w.send(b"".join(frame("PING", serial=i) for i in range(200)))
            return [w.read() for _ in range(200)]

        begun = time.monotonic()
        said = flood()
        seconds = time.monotonic() - begun
        refused = [r for r in said if r.status == -errno.EDQUOT]
        # Two handshakes, and a second may have begun meanwhile.
        assert 48 <= 200 - len(refused) <= 50 * (int(seconds) + 2)
        assert "user 10001 has made 50 requests within a second" in refused[0].text
        assert "requests_per_second" in refused[0].text

        def still_refused():
            flood()
            return answer(second.ping) == errno.EDQUOT and answer(other.ping) == 0

        shmd.until(still_refused, "the other connection of that user is refused as well")
        shmd.until(lambda: answer(w.ping) == 0, "the next second")
        assert other.info().refused >= 50


def test_watchers_hear_of_refusals(limited):
    """The user who met the limit and administrators do, nobody else."""
    b = limited("segments_per_user = 1")
    with b.connect(ALICE) as w, b.connect(ALICE) as own, b.connect() as root, \
            b.connect(BOB) as other:
        for watcher in (own, root, other):
            watcher.watch()
        w.create("x", mode=0o600)
        assert answer(w.create, "y") == errno.EDQUOT
        w.remove("x")
        for watcher, kinds in ((own, [1, 7, 2]), (root, [1, 7, 2]), (other, [1, 2])):
            events = [watcher.next_event() for _ in kinds]
            assert [e.kind for e in events] == kinds
            if 7 in kinds:
                e = events[1]
                assert (e.name, e.reason, e.uid) == ("10001/y", errno.EDQUOT, ALICE)


def test_released_exactly_once(limited):
    """However a segment goes or fails to come."""
    b = limited("segments_per_user = 8", "size_per_user = 64K",
                more="[policy]\nadministrators = 10009\n")
    foreign = sysv.shmget(0x4321, PAGE, sysv.IPC_CREAT | 0o600)
    b.foreign.add(foreign)
    with b.connect(ALICE) as w, b.connect(10009) as admin, b.connect() as root, Bare(ALICE) as bare:
        w.create("kept", 2 * PAGE)

        def is_as_before():
            assert used(w) == (1, 2 * PAGE)

        for i in range(20):  # each of them 20 times, more than the limit allows at once
            w.create("x", PAGE)
            w.remove("x")
            is_as_before()
            assert answer(w.remove, "x") == errno.ENOENT
            is_as_before()
            w.create("x", PAGE)
            admin.remove("10001/x")
            is_as_before()
            assert answer(w.create, "x", key=0x4321) == errno.EADDRINUSE  # a create that fails
            assert answer(w.create, "x", 0) == errno.EINVAL
            assert answer(w.create, "x", 1 << 30) == errno.EDQUOT
            is_as_before()
            shmid = w.create("x", PAGE).shmid
            assert bare("rmid", shmid) == 0
            assert answer(w.stat, "x") == errno.EIDRM
            assert answer(w.stat, "x") == errno.ENOENT
            is_as_before()
            assert bare("rmid", w.create("x", PAGE).shmid) == 0
            again = w.create("x", PAGE)  # the name is taken for a new one
            assert used(w) == (2, 3 * PAGE)
            root.set("10001/x", uid=BOB)
            root.remove(("id", again.shmid))
            is_as_before()
            w.create("x", PAGE, lifetime=F.LIFETIME_EPHEMERAL)
            w.attach("x")
            assert used(w) == (2, 3 * PAGE)
            w.detach()
            is_as_before()
            w.create("x", PAGE, lifetime=F.LIFETIME_EPHEMERAL)
            w.remove("x")
            is_as_before()
        while answer(w.create, "n%d" % used(w)[0]) == 0:
            pass
        assert used(w) == (8, 9 * PAGE)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_rebuilt_after_a_restart(limited, end):
    """From what is there: also what was removed while no shmd ran."""
    b = limited("segments_per_user = 3", "total_size = 64K",
                more="[namespace lab]\nusers = 10001 10002\nmax_segments = 2\n"
                     "[segment lab/declared]\nsize = 8192\n")
    with b.connect(ALICE) as w, b.connect(BOB) as other, b.connect() as root:
        w.create("a", PAGE + 1)
        gone = w.create("b", 2 * PAGE).shmid
        other.create("lab/b", PAGE)
        root.create("10001/roots")
        root.set("10001/a", uid=BOB)
    getattr(b, end)()
    sysv.rmid(gone)
    b.start()
    with b.connect(ALICE) as w, b.connect(BOB) as other, b.connect() as root:
        assert [used(c) for c in (w, other, root)] == [(1, 2 * PAGE), (1, PAGE), (1, PAGE)]
        assert "2 segments" in why(w.create, "lab/x")
        w.create("b")
        w.create("c")
        assert answer(w.create, "d") == errno.EDQUOT
        assert answer(root.create, "big", 8 * PAGE + 1) == errno.EDQUOT
        root.create("big", 8 * PAGE)  # of 16: 2 are declared, 4 alice's, 1 bob's, 1 root's already
        assert "65536" in why(root.create, "x")
        root.remove("lab/b")
        w.remove("b")
        assert [used(c)[0] for c in (w, other, root)] == [2, 0, 2]


def test_lowered_at_reload(limited):
    """Nothing is taken away, nobody is dropped; what is new is refused until there is room."""
    b = limited("segments_per_user = 5")
    with b.connect(ALICE) as w, b.connect(ALICE) as second:
        for name in "abcde":
            w.create(name)
            w.attach(name, lease=ord(name))
        reload(b, "[limits]\nsegments_per_user = 2\nsize_per_user = 8K\nleases_per_user = 2\n"
                  "connections_per_user = 1\nwatches_per_user = 0\ntotal_size = 4K\n")
        assert used(w) == (5, 5 * PAGE) and len(w.list()) == 5 and w.info().user_leases == 5
        assert "has 5 segments" in why(w.create, "f")
        assert answer(second.attach, "a") == answer(second.watch) == errno.EDQUOT
        with pytest.raises(Refused):
            b.connect(ALICE)
        for name in "abc":
            w.remove(name)
        assert "has 2 segments" in why(w.create, "f")
        w.remove("d")
        assert "total_size" in why(w.create, "f")
        reload(b, "[limits]\nsegments_per_user = 2\nsize_per_user = 8K\n")
        w.create("f")
        assert used(w) == (2, 2 * PAGE)
        assert "has 2 segments" in why(w.create, "g")
