#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the corpus of fuzz_dispatch anew, from the layout that tests/e2e/wire.py knows.

Each file is what one connection sends; its first byte says by whom (fuzz_dispatch.c). The corpus is
made by this script alone, so that a frame of another layout costs a change here and no more.
"""
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
sys.dont_write_bytecode = True

import wire  # noqa: E402
from wire import F, Raw, frame, pack  # noqa: E402

READY, ADMIN, HIDDEN = 1, 2, 4  # who sends: has shaken hands; uid 0; public = no
EXTRA = {"create": {"size": 4096, "request_id": 7}}


def ask(op, where=None, flags=0, **values):
    """A request with a body of its own kind."""
    kind = wire.BODIES.get(op)
    if where is not None:
        values.update(wire.target(where))
    body = pack(kind, **{**EXTRA.get(kind, {}), **values}) if kind else b""
    return frame(op, body, flags=flags)


def make(name, **values):
    return frame("CREATE", pack("create", **{**EXTRA["create"], "name": name, **values}))


def opening(where, flags=0):
    return frame("OPEN", pack("open", flags=flags, **wire.target(where)))


def hold(where, lease=1, flags=0):
    return frame("ATTACH", pack("attach", lease=lease, flags=flags, **wire.target(where)))


def release(lease=1):
    return ask("DETACH", lease=lease)


def change(where, mask, **values):
    return ask("SET", where, mask=mask, **values)


KEY = F.CREATE_KEY | F.CREATE_MODE | F.CREATE_GID | F.CREATE_NORESERVE
LIFE = F.CREATE_LIFETIME
HELLO = frame("HELLO", pack("hello", magic=wire.MAGIC, version_min=1, version_max=1))
EVERY = [("id", 1), ("id", -1), ("key", 0x1234), ("key", 0), "x", "1001/x"]

SEEDS = {
    "hello": (0, HELLO, ask("PING"), ask("INFO"), ask("LIST"), ask("FSCK"), HELLO),
    "wrong-version": (0, frame("HELLO", pack("hello", magic=wire.MAGIC, version_min=9,
                                             version_max=99))),
    "ping": (READY, ask("PING"), ask("INFO")),
    "unknown": (READY, frame(99), ask("PING")),
    "oversized": (READY, frame("PING", size=100000)),
    "half": (READY, ask("STAT", "x")[:-8]),
    "silent": (READY, hold("x"), ask("DETACH", flags=F.FRAME_NOREPLY, lease=1),
               ask("PING", flags=F.FRAME_NOREPLY)),
    "nul": (READY, make(Raw(b"a\0b\0\0\0\0\0")), make(Raw(b"ab")), make(Raw(b"x" * 8)),
            make(""), make("a/../b"), make("x" * 200)),
    "create": (READY | ADMIN, make("x", size=5000), make("x", size=5000), ask("STAT", "x"),
               opening("x"), ask("REMOVE", "x"), ask("STAT", "x")),
    "exclusive": (READY, make("x"), make("x", flags=F.CREATE_EXCLUSIVE),
                  make("x", flags=F.CREATE_EXCLUSIVE, request_id=8), make("x", size=9999)),
    "options": (READY | ADMIN, make("x", flags=KEY, key=0x1234, mode=0o640, gid=1001),
                make("y", flags=KEY, key=0x1234, mode=0o640), make("z", flags=F.CREATE_KEY),
                make("z", flags=F.CREATE_KEY, key=0x53000001), make("z", flags=1 << 20),
                make("z", flags=F.CREATE_MODE, mode=0o7777)),
    "sizes": (READY, make("a", size=0), make("a", size=1), make("b", size=1 << 16),
              make("c", size=(1 << 16) + 1), make("c", size=1 << 63)),
    "full": (READY, *[make("n%d" % i) for i in range(6)], ask("LIST"), ask("REMOVE", "n1"),
             make("n9"), ask("LIST", cursor=2), ask("LIST", cursor=2 ** 32 - 1)),
    "by-number": (READY, make("x", flags=F.CREATE_KEY, key=0x1234),
                  *[f(t) for t in EVERY for f in (opening, lambda t: ask("STAT", t), hold)],
                  ask("STAT", ("id", 1), instance=1), ask("STAT", "x", instance=99),
                  ask("STAT", by=9), ask("REMOVE", ("key", 0x1234))),
    "life": (READY | ADMIN, make("x"), hold("x"), change("x", F.SET_MODE, mode=0o600),
             change("x", F.SET_UID | F.SET_GID, uid=1002, gid=1002), change("x", 0),
             change("x", 8), ask("WHO", "x"), ask("STAT", "x"), release(), ask("WHO", "x"),
             ask("REMOVE", "x"), change("x", F.SET_MODE), ask("REMOVE", "x")),
    "leased": (READY, make("x"), hold("x"), hold("x"), hold("x", 2, F.ATTACH_READ_ONLY),
               hold("x", 3, 9), ask("WHO", "x"), ask("WHO", "x", cursor=1), ask("REMOVE", "x"),
               release(), release(), release(2), release(77)),
    "ttl": (READY, make("x", flags=LIFE, lifetime=F.LIFETIME_TTL, ttl=5), hold("x"), release(),
            make("y", flags=LIFE, lifetime=F.LIFETIME_TTL), make("y", ttl=5),
            make("y", flags=LIFE, lifetime=9)),
    "ephemeral": (READY, make("x", flags=LIFE, lifetime=F.LIFETIME_EPHEMERAL), hold("x"),
                  ask("STAT", "x"), release(), ask("STAT", "x"),
                  make("y", flags=LIFE | F.CREATE_KEY, lifetime=F.LIFETIME_EPHEMERAL, key=1)),
    "linger": (READY, make("x", flags=LIFE, lifetime=F.LIFETIME_EPHEMERAL, linger=9), hold("x"),
               release(), opening("x"), hold("x", 2), ask("REMOVE", "x")),
    "wait": (READY | ADMIN, opening("later", F.OPEN_WAIT), make("later"), make("now"),
             opening("now", F.OPEN_WAIT | F.OPEN_VERIFY), opening("now", 99)),
    "waits": (READY, *[opening("n%d" % (i % 3), F.OPEN_WAIT) for i in range(40)], make("n1"),
              make("n2")),
    "watch": (READY, ask("WATCH", name="*"), make("x"), hold("x"),
              change("x", F.SET_MODE, mode=0o644), release(), ask("REMOVE", "x"),
              make("nobody/x"), make("big", size=1 << 40), ask("WATCH"), ask("WATCH", name="[")),
    "hidden": (READY | HIDDEN, make("x"), opening("0/x"), ask("LIST"), ask("INFO"),
               opening("0/x", F.OPEN_WAIT), ask("WATCH", name="0/*"), ask("WHO", "0/x")),
    "fsck": (READY | ADMIN, make("x"), ask("FSCK"), frame("FSCK", pack("fsck",
             flags=F.FSCK_REPAIR)), frame("FSCK", pack("fsck", flags=8)), ask("INFO")),
}


def main():
    folder = os.path.join(HERE, "corpus", "dispatch")
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    for name, (who, *frames) in SEEDS.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(bytes([who]) + b"".join(frames))


if __name__ == "__main__":
    main()
