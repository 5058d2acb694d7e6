# SPDX-License-Identifier: MIT
"""Many clients, and those that behave badly: the others notice nothing, and memory has a bound."""
import errno
import resource
import select
import time

import pytest

import shmd
import wire as W
from wire import Closed, Refused, frame, pack

RSS_BOUND = (256 if shmd.SANITIZED else 48) << 20  # bytes of shmd, whatever its clients do


@pytest.fixture(autouse=True)
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fill(w, data):
    """Send the same for ever, reading nothing, until the socket takes no more (or is closed)."""
    w.sock.setblocking(False)
    sent = 0
    while sent < 256 << 20:
        try:
            sent += w.sock.send(data)
        except BlockingIOError:
            if not select.select([], [w.sock], [], 0.5)[1]:
                return sent
        except OSError:
            return sent
    raise AssertionError("it takes all that is sent and holds it")


def test_500_clients(broker):
    clients = [broker.connect() for _ in range(500)]
    half = broker.connect()
    half.send(frame("PING")[:7])
    for i, w in enumerate(clients):
        w.create("n%d" % (i % 50))
    for w in clients:
        w.send(frame("PING", serial=1000))
    for w in clients:
        assert w.read().serial == 1000
    assert clients[0].info().connections == 501
    half.send(frame("PING")[7:])
    assert half.read().serial == 1
    assert broker.rss() < RSS_BOUND
    for w in clients + [half]:
        w.close()
    with broker.connect() as w:
        shmd.until(lambda: w.info().connections == 1, "all have gone")


def test_half_a_frame_holds_nobody_up(broker):
    halves = []
    for n in (1, 8, 15, 16, 17, 100):
        w = broker.connect(hello=False)
        w.send((frame("HELLO", pack("hello", magic=W.MAGIC, version_min=1, version_max=1)) +
                frame("OPEN", pack("open", **W.target("x"))))[:n])
        halves.append(w)
    with broker.connect() as other:
        start = time.monotonic()
        for _ in range(200):
            other.ping()
        assert time.monotonic() - start < 10


@pytest.mark.parametrize("op, body", [("LIST", pack("list")), ("INFO", b""), ("PING", b""),
                                      ("STAT", pack("target", name="n1"))],
                         ids=["LIST", "INFO", "PING", "STAT"])
def test_one_that_never_reads(broker, op, body):
    with broker.connect() as w:
        for i in range(20):
            w.create("n%d" % i)
    deaf = [broker.connect() for _ in range(4)]
    for w in deaf:
        fill(w, frame(op, body) * 50)
    assert broker.rss() < RSS_BOUND
    with broker.connect() as other:
        start = time.monotonic()
        for _ in range(200):
            other.ping()
        other.create("others")
        other.remove("others")
        assert time.monotonic() - start < 10
    # It may come to its senses: what it then gets are whole replies, or an end.
    w = deaf[0]
    w.sock.settimeout(shmd.LIMIT)
    try:
        for _ in range(100):
            assert w.read().opcode == W.OP[op]
    except Closed:
        pass
    for w in deaf:
        w.close()
    broker.welcome()


def test_busy_one_does_not_starve_the_rest(broker):
    """One keeps its pipe full of requests and does read: the others get their turns."""
    busy, other = broker.connect(), broker.connect()
    busy.sock.setblocking(False)
    data = frame("PING") * 400
    start, served = time.monotonic(), 0
    for _ in range(300):
        for s in select.select([busy.sock], [busy.sock], [], 0)[:2]:
            if s:
                try:
                    busy.sock.send(data)
                except BlockingIOError:
                    pass
                try:
                    while True:
                        served += len(busy.sock.recv(1 << 16))
                except BlockingIOError:
                    pass
        other.ping()
    assert time.monotonic() - start < 20 and served


def refused_at_limit(connect):
    """The connection past a limit is told so, and ended."""
    with pytest.raises((Refused, Closed, ConnectionError)) as e:
        connect()
    return e.value


def test_connections_of_one_user(make_broker):
    b = make_broker("[limits]\nconnections_per_user = 5\n")
    b.start()
    mine = [b.connect(uid=10001) for _ in range(5)]
    e = refused_at_limit(lambda: b.connect(uid=10001))
    assert isinstance(e, Refused) and e.errno == errno.EUSERS, e
    b.connect(uid=10002).ping()
    for _ in range(20):  # the library tells the same, whoever is faster
        r = b.ctl("ping", uid=10001, expect=None)
        assert r.code != 0 and "connections_per_user" in r.err, r
    mine.pop().close()
    shmd.until(lambda: _connects(b, 10001), "a place is free again")
    for w in mine:
        w.ping()


def _connects(b, uid):
    try:
        b.connect(uid=uid).close()
        return True
    except (Refused, Closed, ConnectionError):
        return False


def test_connections_in_all(make_broker):
    b = make_broker("[limits]\nconnections = 10\n")
    b.start()
    shmd.until(lambda: b.connect().info().connections == 1, "alone")
    held = [b.connect(uid=10001 + i) for i in range(10)]
    e = refused_at_limit(lambda: b.connect(uid=10050))
    assert isinstance(e, (Closed, ConnectionError)) or e.errno == errno.EUSERS, e
    for w in held:
        w.ping()
        w.close()
    shmd.until(lambda: _connects(b, 10050), "places are free again")


def test_leases_of_one_connection(make_broker):
    b = make_broker("[limits]\nleases_per_connection = 3\n")
    b.start()
    with b.connect() as w:
        w.create("x")
        for i in range(1, 4):
            w.attach("x", lease=i)
        with pytest.raises(Refused) as e:
            w.attach("x", lease=4)
        assert e.value.errno == errno.EDQUOT
        w.detach(2)
        w.attach("x", lease=4)
        with pytest.raises(Refused) as e:
            w.attach("x", lease=4)
        assert e.value.errno in (errno.EEXIST, errno.EINVAL, errno.EDQUOT)
        assert w.stat("x").leases == 3
        assert w.info().leases == 3
        with pytest.raises(Refused):
            w.detach(77)


def test_out_of_descriptors(make_broker, programs):
    """At EMFILE shmd goes on serving those it has, and takes more when some have gone."""
    b = make_broker(prefix=["prlimit", "--nofile=40:40"])
    b.start()
    first = b.connect()
    held = []
    for _ in range(60):  # more than it may have
        w = W.Wire(b.socket, hello=False)
        try:
            w.send(frame("HELLO", pack("hello", magic=W.MAGIC, version_min=1, version_max=1)))
        except OSError:
            pass
        held.append(w)
    first.ping()
    first.create("x")
    for w in held:
        w.close()
    first.ping()
    shmd.until(lambda: _connects(b, 10001), "it accepts again")


def test_memory_over_many_cycles(broker, wire):
    """A thousand creates and removes and 2,000 connections later nothing has piled up."""
    def cycle(n):
        for i in range(n):
            wire.create("c%d" % i)
        for i in range(n):
            wire.remove("c%d" % i)
        for _ in range(2 * n):
            broker.connect().close()
    cycle(300)
    before = broker.rss()
    for _ in range(3):
        cycle(300)
    assert broker.rss() - before < (32 if shmd.SANITIZED else 2) << 20
