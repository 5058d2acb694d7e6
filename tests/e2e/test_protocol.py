# SPDX-License-Identifier: MIT
"""Frames, whole and broken: a clear error, and nobody else pays for it."""
import errno
import os
import random
import socket
import subprocess

import pytest

import shmd
import wire as W
from bare import refused
from wire import F, Closed, Refused, frame, pack

NAMED = W.target("zz/nobody")
REQUESTS = {  # one of each kind, none of which changes anything
    "HELLO": pack("hello", magic=W.MAGIC, version_min=1, version_max=1),
    "PING": b"",
    "CREATE": pack("create", name="../x", size=4096),
    "OPEN": pack("open", **NAMED),
    "ATTACH": pack("attach", lease=7, **NAMED),
    "DETACH": pack("detach", lease=9),
    "STAT": pack("target", **NAMED),
    "SET": pack("set", mask=F.SET_MODE, mode=0o600, **NAMED),
    "REMOVE": pack("target", **NAMED),
    "LIST": pack("list"),
    "INFO": b"",
    "WHO": pack("who", **NAMED),
    "WATCH": pack("watch", flags=1 << 31),
    "EVENT": b"",
    "FSCK": pack("fsck", flags=1 << 31),
    "CHANNEL": pack("channel", name="../x", max_message=64, messages=1, slots=1),
    "JOIN": pack("join", lease=9, kind=F.JOIN_READER),
    "POLLFD": pack("pollfd", lease=9),
    "POKE": pack("poke", lease=9, whom=F.POKE_READERS),
    "DISBAND": pack("target", **NAMED),
}


@pytest.mark.once
def test_layout_is_that_of_the_header(folder):
    """wire.py holds the numbers of common/protocol.h."""
    program = ["#include <stdio.h>", '#include "protocol.h"', "int main(void) {"]
    expected = []

    def say(text, value):
        program.append('printf("%%lld\\n", (long long)(%s));' % text)
        expected.append((text, value))

    for number, name in enumerate(W.OPS, 1):
        say("OP_" + name, number)
    say("OP_END", len(W.OPS) + 1)
    for name, value in W.FLAGS.items():
        say(name, value)
    for name, value in {"WIRE_MAGIC": W.MAGIC, "WIRE_VERSION": W.VERSION, "NAME_SIZE": W.NAME_SIZE,
                        "WIRE_FRAME_MAX": W.FRAME_MAX, "WIRE_REQUEST_MAX": W.REQUEST_MAX,
                        "WIRE_PAGE_RECORDS": W.PAGE_RECORDS,
                        "WIRE_PAGE_HOLDERS": W.PAGE_HOLDERS, "WIRE_REPORT_PROBLEMS": W.REPORT_PROBLEMS}.items():
        say(name, value)
    for name, fields in W.STRUCTS.items():
        say("sizeof(struct wire_%s)" % name, W.size_of(name))
        offset = 0
        for field, kind in fields:
            if kind == "text":
                continue
            say("offsetof(struct wire_%s, %s)" % (name, field), offset)
            kinds = [k for _, k in W.flat(kind)] if isinstance(kind, list) else [kind]
            offset += W.struct.calcsize("=" + "".join(kinds))
    program.append("return 0; }")
    exe = os.path.join(folder, "layout")
    subprocess.run(["cc", "-x", "c", "-I", os.path.join(shmd.TOP, "common"), "-o", exe, "-"],
                   input="\n".join(program), text=True, check=True)
    out = subprocess.run([exe], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert [(text, int(n)) for (text, _), n in zip(expected, out)] == expected


def test_handshake(broker):
    w = broker.connect(uid=10001)
    assert w.welcome.magic == W.MAGIC
    assert w.welcome.version == W.VERSION
    assert w.welcome.daemon_pid == broker.pid
    assert w.welcome.daemon_uid == 0
    assert w.welcome.home == "10001"
    assert w.welcome.ipc_namespace == os.stat("/proc/self/ns/ipc").st_ino
    assert w.welcome.registry_shmid in shmd.sysv.segments()
    assert broker.connect().welcome.home == "root"


@pytest.mark.parametrize("low, high, magic", [
    (0, 0, W.MAGIC), (2, 2, W.MAGIC), (2, 65535, W.MAGIC), (2, 1, W.MAGIC), (1, 1, 0)])
def test_wrong_version_or_magic(broker, low, high, magic):
    w = broker.connect(hello=False)
    e = refused(w.hello, low, high, magic)
    assert e.errno == (errno.EPROTONOSUPPORT if magic else errno.EPROTO), e
    with pytest.raises((Refused, Closed)):  # still no handshake
        w.ping()
    broker.welcome()


def test_a_range_of_versions(broker):
    assert broker.connect(hello=False).hello(0, 65535).version == W.VERSION


@pytest.mark.parametrize("op", [op for op in W.OPS if op != "HELLO"])
def test_hello_comes_first(broker, op):
    w = broker.connect(hello=False)
    refused(w.call, op, REQUESTS[op])
    assert w.read_closed() == []
    broker.welcome()


def test_hello_comes_once(wire):
    assert refused(wire.hello).errno == errno.EPROTO


def test_truncated_at_every_byte(broker):
    """The peer sends a part of a frame and no more: no reply to it, an end, and no harm."""
    with broker.connect() as other:
        for op, body in REQUESTS.items():
            data = frame(op, body)
            for n in range(len(data)):
                w = broker.connect(hello=op != "HELLO")
                w.send(data[:n])
                w.sock.shutdown(socket.SHUT_WR)
                for reply in w.read_closed():
                    assert reply.status < 0
                w.close()
            other.ping()


def test_cut_in_two_at_every_byte(wire):
    """Whatever the pieces it arrives in, a frame is one frame."""
    for op in ("PING", "STAT"):
        data = frame(op, REQUESTS[op], serial=77)
        for n in range(1, len(data)):
            wire.send(data[:n])
            wire.send(data[n:])
            reply = wire.read()
            assert reply.serial == 77
            assert reply.status == (0 if op == "PING" else -errno.ENOENT)


@pytest.mark.parametrize("op", [op for op in W.OPS if op != "HELLO"])
def test_body_of_a_wrong_size(broker, op):
    """What says less than its struct, more than a text may have, or no whole eights is malformed."""
    body = REQUESTS[op]
    name = W.BODIES.get(op)
    least = W.size_of(name) if name else 0
    most = least + (W.NAME_SIZE if name and W.NAME in W.STRUCTS[name] else 0)
    for n in {len(body) - 1, least - 8, least - 1, 0, len(body) + 1, most + 8} - {len(body), least, -1, -8}:
        w = broker.connect()
        w.send(frame(op, (body + bytes(200))[:n]))
        assert [r.status for r in w.read_closed()] == [-errno.EPROTO], n
        assert broker.welcome()
        w.close()


@pytest.mark.parametrize("size", [0, 1, 15, 513, 8192, 8193, 1 << 16, 1 << 31, (1 << 32) - 1])
def test_impossible_size(broker, size):
    """A frame that is none gets an error, and the connection is closed."""
    w = broker.connect()
    w.send(frame("PING", size=size, serial=5))
    replies = w.read_closed()
    assert len(replies) == 1 and replies[0].status < 0 and replies[0].text, replies
    broker.welcome()


@pytest.mark.parametrize("op", [0, len(W.OPS) + 1, 255, 65535])
def test_unknown_opcode(broker, op):
    w = broker.connect()
    w.send(frame(op, serial=9))
    reply = w.read()
    assert reply.status < 0 and reply.serial == 9 and reply.text
    broker.welcome()


def test_unknown_frame_flags_and_status(broker):
    for values in ({"flags": 0x8000}, {"status": -1}, {"flags": 0xfffe}, {"flags": 1}):
        w = broker.connect()
        w.send(frame("PING", **values))
        assert [r.status for r in w.read_closed()] == [-errno.EPROTO]
        broker.welcome()


def test_garbage(broker):
    seed = int(os.environ.get("SHMD_SEED", random.SystemRandom().randrange(1 << 32)))
    print("SHMD_SEED=%d" % seed)
    rnd = random.Random(seed)
    with broker.connect() as other:
        for i in range(150):
            w = broker.connect(hello=rnd.random() < 0.7)
            try:
                w.send(rnd.randbytes(rnd.choice([1, 15, 16, 17, 100, 512, 4096, 20000])))
                w.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            w.sock.settimeout(shmd.LIMIT)
            for reply in w.read_closed():
                assert reply.status < 0
            w.close()
            other.ping()


def test_random_frames(broker):
    """Frames of right sizes with random contents, at a few names so that some succeed."""
    seed = int(os.environ.get("SHMD_SEED", random.SystemRandom().randrange(1 << 32)))
    print("SHMD_SEED=%d" % seed)
    rnd = random.Random(seed)
    small = [0, 1, 2, 3, 4, 5, 4096, 0xffffffff, 0x80000000, 0x7fffffff]

    def fields(name):
        values = {}
        for field, kind in W.flat(W.STRUCTS[name]):
            if field == "name":
                values[field] = rnd.choice([b"a", b"b", b"root/c", b"7/d", b"/", W.Raw(rnd.randbytes(8 * rnd.randrange(17)))])
            elif kind.endswith("s"):
                values[field] = rnd.choice([b"", b"t", rnd.randbytes(int(kind[:-1]))])
            else:
                bits = {"H": 16, "I": 32, "i": 32, "Q": 64}[kind]
                v = rnd.choice(small + [rnd.getrandbits(bits)]) & ((1 << bits) - 1)
                if kind == "i":
                    v = v - (1 << 32) if v >= 1 << 31 else v
                values[field] = v
        if name == "create" and rnd.random() < 0.9:
            values["size"] = rnd.choice([1, 4096, 8192])  # or the host's memory is the limit
        elif name == "create":
            values["size"] = rnd.choice([0, 1 << 63])
        if name == "channel" and rnd.random() < 0.9:
            values.update(size=0, ring_flags=rnd.randrange(16), max_message=64, messages=8, slots=2)
        elif name == "channel":
            values["messages"] = rnd.choice([0, (1 << 32) - 1])
        return values

    body = W.BODIES
    for connection in range(20):
        w = broker.connect(uid=rnd.choice([None, 7, 8]))
        sent = 0
        try:
            for i in range(60):
                op = rnd.choice(W.OPS[1:] * 5 + W.OPS[:1])
                data = frame(op, pack(body[op], **fields(body[op])) if op in body else b"", i)
                w.send(data)
                sent += 1
        except OSError:
            pass
        w.sock.shutdown(socket.SHUT_WR)
        assert len([r for r in w.read_closed() if r.opcode != W.OP["EVENT"]]) <= sent
        w.close()
        broker.welcome()
    broker.consistent()


def test_ten_frames_in_one_write(wire):
    wire.send(b"".join(frame("PING", serial=100 + i) for i in range(10)))
    assert [wire.read().serial for _ in range(10)] == list(range(100, 110))


def test_replies_keep_the_order(wire):
    """Good and bad ones mixed, thousands at once: each answered, in its turn."""
    plan = []
    for i in range(500):
        plan += [("PING", b"", True), ("STAT", REQUESTS["STAT"], False), ("INFO", b"", True),
                 ("OPEN", REQUESTS["OPEN"], False), ("LIST", REQUESTS["LIST"], True)]
    data = b"".join(frame(op, body, serial=i) for i, (op, body, _) in enumerate(plan))
    wire.sock.setblocking(True)
    pid = os.fork()  # one writes while the other reads: neither side's buffer may stop the other
    if pid == 0:
        try:
            wire.sock.sendall(data)
        finally:
            os._exit(0)
    for i, (op, _, good) in enumerate(plan):
        reply = wire.read()
        assert (reply.serial, reply.opcode, reply.status == 0) == (i, W.OP[op], good)
    os.waitpid(pid, 0)


def test_no_reply_is_none(wire):
    """Not even a refusal."""
    wire.create("x")
    attach = pack("attach", lease=1, **W.target("x"))
    wire.send(frame("ATTACH", attach, serial=1, flags=F.FRAME_NOREPLY) +
              frame("ATTACH", REQUESTS["ATTACH"], serial=2, flags=F.FRAME_NOREPLY) +
              frame("DETACH", REQUESTS["DETACH"], serial=3, flags=F.FRAME_NOREPLY) +
              frame("PING", serial=4))
    assert wire.read().serial == 4
    assert wire.stat("x").leases == 1
