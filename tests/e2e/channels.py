# SPDX-License-Identifier: MIT
"""A channel as the bare protocol has it, for the tests of what shmd does for channels."""
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import time

import pytest

import sysv
import wire as W
from bare import answer, start_as_daemon
from wire import F, Closed, Refused, Wire

CAROL = 10003
LAB = 10050
READER, WRITER, BLIND = F.JOIN_READER, F.JOIN_WRITER, F.JOIN_BLIND
BROADCAST, MANY, HOLD, ONE_READER = 1, 2, 4, 8
CONFIG = """[shmd]
socket_mode = 0666
[namespace lab]
users = 10001 10002 10003
group = 10050
default_mode = 0660
"""
# common/ring.h; test_layout() holds the numbers against it.
RING = {"magic": (0, "Q"), "layout": (8, "I"), "flags": (12, "I"), "size": (16, "Q"), "start": (24, "Q"),
        "max_message": (32, "I"), "slots": (36, "I"), "version": (40, "I"), "tag": (44, "20s"),
        "writer": (192, "Q"), "blind": (204, "I"), "epoch": (216, "I"), "removed": (224, "I"),
        "bell": (320, "I"), "writer_bell": (448, "I")}
SLOT = {"role": (0, "I"), "state": (4, "I"), "kind": (20, "I"), "pid": (24, "I"), "handle": (28, "I"),
        "start": (32, "Q")}
HEADER_SIZE, SLOT_SIZE = 576, 128
MAGIC = 0x31474E52444D4853
WRITING, ENDED, DIED = 1, 2, 3
ACTIVE, LEFT = 2, 3


class Ring:
    """The header and slots of a channel as its members see them."""

    def __init__(self, shmid, flags=0):
        self.address = sysv.shmat(shmid, flags)

    def close(self):
        sysv.shmdt(self.address)

    def _at(self, table, field, slot):
        offset, kind = table[field]
        return offset + (0 if slot is None else HEADER_SIZE + slot * SLOT_SIZE), "=" + kind

    def get(self, field, slot=None):
        offset, kind = self._at(RING if slot is None else SLOT, field, slot)
        return struct.unpack(kind, ctypes.string_at(self.address + offset, struct.calcsize(kind)))[0]

    def put(self, field, value, slot=None):
        offset, kind = self._at(RING if slot is None else SLOT, field, slot)
        data = struct.pack(kind, value)
        ctypes.memmove(self.address + offset, data, len(data))

    def fill(self, data, slots):
        ctypes.memmove(self.address, data, HEADER_SIZE + slots * SLOT_SIZE)


class Member:
    """A process of its own with a connection; calls are Wire's, and what they return comes back."""

    def __init__(self, broker, uid, groups=(LAB,)):
        ours, theirs = socket.socketpair()
        self.path = str(broker.socket)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ours.close()
                os.setgroups(list(groups))
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                self._serve(theirs)
            finally:
                os._exit(0)
        theirs.close()
        self.pidfd = os.pidfd_open(self.pid)
        self.sock = ours
        self.file = ours.makefile("rb")
        self("connect")

    def _serve(self, sock):
        wire = None
        with sock.makefile("rb") as questions:
            for line in questions:
                method, args, kwargs = json.loads(line)
                fds = []
                try:
                    if method == "connect":
                        wire, ret = Wire(self.path), None
                    elif method == "pollfd":
                        fds, ret = [wire.pollfd(*args, **kwargs)], None
                    else:
                        ret = getattr(wire, method)(*args, **kwargs)
                    ret = vars(ret) if hasattr(ret, "__dict__") else ret
                    say = ["ok", ret]
                except Refused as e:
                    say = ["refused", e.errno, e.text]
                except (OSError, Closed) as e:
                    say = ["failed", repr(e)]
                socket.send_fds(sock, [json.dumps(say).encode() + b"\n"], fds)
                for fd in fds:
                    os.close(fd)

    def ask(self, method, *args, **kwargs):
        self.sock.sendall(json.dumps([method, args, kwargs]).encode() + b"\n")

    def answer(self):
        say = json.loads(self.file.readline())
        if say[0] == "refused":
            raise Refused(W.SimpleNamespace(status=-say[1], text=say[2]))
        assert say[0] == "ok", say
        return W.SimpleNamespace(**say[1]) if isinstance(say[1], dict) else say[1]

    def __call__(self, method, *args, **kwargs):
        self.ask(method, *args, **kwargs)
        return self.answer()

    def pollfd(self, lease=1):
        self.ask("pollfd", lease)
        data, fds, _, _ = socket.recv_fds(self.sock, 1000, 1)
        say = json.loads(data)
        if say[0] == "refused":
            raise Refused(W.SimpleNamespace(status=-say[1], text=say[2]))
        return fds[0]

    def enter(self, name, kind, lease=1, flags=0):
        """A lease and a role: (role, slot)."""
        self("attach", name, lease=lease, flags=F.ATTACH_READ_ONLY if kind == BLIND else 0)
        r = self("join", kind, lease=lease, flags=flags)
        return r.role, r.slot

    def again(self, name, kind, role, slot, lease=1):
        """After a restart: the same over a new connection."""
        self("connect")
        self("attach", name, lease=lease, flags=F.ATTACH_READ_ONLY if kind == BLIND else 0)
        r = self("join", kind, lease=lease, role=role, slot=slot)
        return r.role, r.slot

    def kill(self):
        """SIGKILL, and until the kernel tells of its end: when (CLOCK_MONOTONIC, seconds)."""
        os.kill(self.pid, signal.SIGKILL)
        assert select.select([self.pidfd], [], [], 30)[0]
        return time.monotonic()

    def end(self):
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.pidfd)
            self.sock.close()
            self.file.close()
            self.pid = None


@pytest.fixture
def b(make_broker, folder):
    return start_as_daemon(make_broker, folder, CONFIG)


@pytest.fixture
def members(b):
    """member(uid): a process with a connection."""
    made = []

    def make(uid, groups=(LAB,)):
        made.append(Member(b, uid, groups))
        return made[-1]

    yield make
    for m in made:
        m.end()


@pytest.fixture
def rings():
    made = []

    def make(shmid):
        made.append(Ring(shmid))
        return made[-1]

    yield make
    for r in made:
        r.close()


def readable(fd):
    return bool(select.select([fd], [], [], 0)[0])


def wait_readable(fd):
    assert select.select([fd], [], [], 30)[0]
