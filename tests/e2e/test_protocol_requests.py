# SPDX-License-Identifier: MIT
"""What stands in frames that are whole: names, sizes and flags that cannot be, and waiting for a name."""
import errno

import pytest

import wire as W
from bare import refused
from wire import F, frame, pack


BAD_NAMES = ["/../", "../x", "x/../y", "root/../x", "..", ".", "/", "//", "/x", "x/", "root//x", "a/b/c", "a b",
             "a\tb", "a\nb", "-x", ".x", "root/-x", "root/.x", "ü", "a:b", "a*", "x" * 127, "x" * 64 + "/y",
             "", "\x01", "\x7f", "key:1", "id:1"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(wire, name):
    for call in (wire.create, wire.open, wire.attach, wire.stat, wire.remove):
        e = refused(call, name)
        assert e.errno in (errno.EINVAL, errno.ENAMETOOLONG), (call, e)
        assert e.text
    e = refused(wire.set, name, mode=0o600)
    assert e.errno in (errno.EINVAL, errno.ENAMETOOLONG), e
    assert wire.list() == []


def test_name_without_end(broker, wire):
    """As long as a text may be, and no NUL in it."""
    for call in (wire.create, wire.open, wire.stat):
        for n in (8, 64, 128):
            assert refused(call, W.Raw(b"x" * n)).errno == errno.EINVAL
    assert broker.names() == {}


def test_nul_inside_a_name(broker, wire):
    """Bytes behind the NUL may not make another name."""
    wire.create("a")
    for hidden in (b"a\0/../b\0", b"a\0xxxxx\0", b"a".ljust(16, b"\0"), b"root/a\0\x01" + bytes(8),
                   b"root/a".ljust(16, b"\0"), b"\0root/a\0", bytes(8), bytes(128)):
        for call in (wire.create, wire.open, wire.stat, wire.remove):
            assert refused(call, W.Raw(hidden)).errno == errno.EINVAL, (call, hidden)
    assert set(broker.names()) == {"root/a"}


def test_a_text_where_none_belongs(broker, wire):
    wire.create("a")
    shmid = wire.open("a").shmid
    for where in ({"by": F.BY_SHMID, "id": shmid}, {"by": F.BY_KEY, "id": wire.open("a").key}):
        assert refused(wire.call, "STAT", pack("target", name="a", **where)).errno == errno.EINVAL
        assert refused(wire.call, "REMOVE", pack("target", name="a", **where)).errno == errno.EINVAL
    assert refused(wire.call, "STAT", pack("target")).errno == errno.EINVAL
    assert set(broker.names()) == {"root/a"}


def test_name_of_10000_bytes(broker):
    """No frame can hold it: what is sent is an oversized frame."""
    w = broker.connect()
    data = frame("STAT", pack("target", by=0)[:8] + b"x" * 10000)
    try:
        w.send(data)
    except OSError:
        pass
    replies = w.read_closed()
    assert all(r.status < 0 for r in replies)
    broker.welcome()


@pytest.mark.parametrize("size", [0, 1 << 63, (1 << 64) - 1, (1 << 64) - 4096, (1 << 40) + 1])
def test_impossible_segment_sizes(broker, wire, size):
    e = refused(wire.create, "x", size)
    assert e.errno in (errno.EINVAL, errno.EDQUOT, errno.ENOMEM), e
    assert e.text
    assert broker.consistent() == {}


def test_unknown_flags_of_requests(wire):
    wire.create("x")
    for op, body in {
        "CREATE": pack("create", name="y", size=1, flags=1 << 31),
        "OPEN": pack("open", flags=1 << 31, **W.target("x")),
        "ATTACH": pack("attach", flags=1 << 31, lease=1, **W.target("x")),
        "SET": pack("set", mask=1 << 31, **W.target("x")),
        "STAT": pack("target", by=3),
        "REMOVE": pack("target", by=0xffffffff),
    }.items():
        assert refused(wire.call, op, body).errno == errno.EINVAL, op
    assert [s.name for s in wire.list()] == ["root/x"]
    wire.remove("x")


def test_waiting_for_a_name_of_ones_own(wire):
    """The very connection that waits creates the name: two whole replies."""
    body = pack("open", flags=F.OPEN_WAIT, **W.target("own"))
    wire.send(frame("OPEN", body, serial=60) +
              frame("CREATE", pack("create", name="own", size=4096, request_id=1), serial=61) +
              frame("PING", serial=62))
    replies = {r.serial: r for r in (wire.read(), wire.read(), wire.read())}
    assert set(replies) == {60, 61, 62}
    assert replies[60].opcode == W.OP["OPEN"] and replies[61].opcode == W.OP["CREATE"]
    made = W.unpack("opened", replies[61].body)
    assert (made.name, made.flags) == ("root/own", F.OPENED_CREATED)
    assert W.unpack("opened", replies[60].body).shmid == made.shmid


def test_waiting_for_a_name(broker, wire):
    """OPEN_WAIT is answered once the name exists; what comes behind it is not held up."""
    wire.send(frame("OPEN", pack("open", flags=F.OPEN_WAIT, **W.target("late")), serial=50))
    wire.ping()
    with broker.connect() as other:
        made = other.create("late")
    reply = wire.read()
    assert reply.serial == 50 and reply.status == 0
    assert W.unpack("opened", reply.body).shmid == made.shmid
    limit = 40  # WIRE_WAITS_MAX is 16
    wire.send(b"".join(frame("OPEN", pack("open", flags=F.OPEN_WAIT, **W.target("n%d" % i)), serial=i)
                       for i in range(limit)) + frame("PING", serial=999))
    refusals = 0
    while True:
        reply = wire.read()
        if reply.serial == 999:
            break
        assert reply.status in (-errno.ECANCELED, -errno.EDQUOT), reply
        refusals += 1
    assert refusals == limit - 16
