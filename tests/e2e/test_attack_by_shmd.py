# SPDX-License-Identifier: MIT
"""Between libshmd and an honest shmd stands one that changes what comes back, or when."""
import array
import contextlib
import errno
import os
import select
import signal
import socket
import struct
import threading

import pytest

import shmd
from bare import ALICE
from channels import LAB, MANY
from member import Member
from wire import OP, F

NAME = "lab/c"


class Between:
    """`change(opcode, frame, fds)` gives what is passed on for each reply: a frame and descriptors."""

    def __init__(self, broker, folder, change):
        self.change = change
        self.socket = os.path.join(folder, "between.sock")
        self.programs, self.env, self.path = broker.programs, broker.env, broker.socket
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        os.chmod(self.socket, 0o666)
        self.listener.listen()
        self.given = []  # descriptors that are passed on, closed at the end
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self.path)
                with near, far:
                    self.near = near
                    self._pass(near, far)

    def _pass(self, near, far):
        replies, fds = b"", []
        while True:
            ready = select.select([near, far], [], [])[0]
            if near in ready:
                data = near.recv(8192)
                if not data:
                    return
                far.sendall(data)
            if far in ready:
                data, more, _, _ = socket.recv_fds(far, 8192, 8)
                if not data:
                    return
                fds += more
                replies += data
                while len(replies) >= 16 and len(replies) >= struct.unpack_from("=I", replies)[0]:
                    size, opcode = struct.unpack_from("=IH", replies)
                    frame, pass_on = self.change(opcode, replies[:size], fds)
                    near.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", pass_on))]
                                 if pass_on else [])
                    for fd in fds:
                        os.close(fd)
                    fds = []
                    replies = replies[size:]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self.near.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(shmd.LIMIT)
        for fd in self.given:
            os.close(fd)


@pytest.fixture
def library(b):
    """library(uid, broker): a member by way of libshmd."""
    with contextlib.ExitStack() as stack:
        def make(uid=ALICE, broker=b):
            m = Member(broker, uid, groups=(LAB,))
            stack.callback(m.end)
            return m

        yield make


@pytest.fixture
def between(b, folder):
    made = []

    def make(change):
        made.append(Between(b, folder, change))
        return made[-1]

    yield make
    for m in made:
        m.close()


def descriptors(m):
    return len(os.listdir("/proc/%d/fd" % m.pid))


@pytest.mark.parametrize("n", [1, 2, 3, 100])
def test_descriptors_that_nobody_asked_for(library, between, n):
    """One at most is kept, until the next one."""
    null = os.open("/dev/null", os.O_RDONLY)
    server = between(lambda opcode, frame, fds: (frame, [null] * n))
    server.given.append(null)
    m = library(None, server)
    before = descriptors(m)
    m.do("create", NAME, 0, 64, 16, 4)
    m.do("writer", NAME, 0)
    for _ in range(20):
        m.do("create", NAME, 0, 64, 16, 4)
    assert descriptors(m) <= before + 1
    m.do("send", 1, 64, 0)


@pytest.mark.parametrize("kind", ["pipe", "file", "epoll", "full", "none"])
def test_a_descriptor_that_is_none_to_poll(library, between, kind):
    """A call that does not wait does not, whatever came."""
    given = []
    if kind == "pipe":  # to read from it waits for ever
        given = list(os.pipe())
    elif kind == "file":
        given = [os.open("/dev/zero", os.O_RDONLY)]  # and this never ends
    elif kind == "epoll":
        epoll = select.epoll()
        given = [os.dup(epoll.fileno())]
    elif kind == "full":
        ends = socket.socketpair()
        given = [s.detach() for s in ends]
    server = between(lambda opcode, frame, fds: (frame, given[:1] if opcode == OP["POLLFD"] else fds))
    server.given += given
    m = library(None, server)
    m.do("create", NAME, 0, 64, 16, 4)
    m.do("reader", NAME, 0, 0)
    stop = threading.Event()

    def fill():
        while not stop.is_set():
            select.select([], [given[1]], [], 0.01)
            with contextlib.suppress(BlockingIOError):
                socket.socket(fileno=os.dup(given[1])).send(bytes(65536), socket.MSG_DONTWAIT)

    filler = threading.Thread(target=fill)
    if kind == "full":
        filler.start()
    m.say("poll", 0)
    line = m.process.stdout.readline()
    assert line.startswith((b"ok", b"error")), line
    for _ in range(3):
        m.do("recv", 1, 0, expect=errno.ETIMEDOUT)
    stop.set()
    if kind == "full":
        filler.join()


@pytest.mark.parametrize("role, slot", [(0, 0), (1, 4), (1, 0xffffffff)])
def test_a_role_that_cannot_be(library, between, role, slot):
    server = between(lambda opcode, frame, fds: (
        (frame[:16] + struct.pack("=II", role, slot) if opcode == OP["JOIN"] else frame), fds))
    m = library(None, server)
    m.do("create", NAME, 0, 64, 16, 4)
    m.do("writer", NAME, 0, expect=errno.EPROTO)
    m.do("create", NAME, 0, 64, 16, 4)


@pytest.mark.parametrize("size", [16, 20, 32, 8192])
def test_a_joined_of_another_size(library, between, size):
    server = between(lambda opcode, frame, fds: (
        (struct.pack("=I", size) + frame[4:] + bytes(8192))[:size] if opcode == OP["JOIN"] else frame, fds))
    m = library(None, server)
    m.do("create", NAME, 0, 64, 16, 4)
    m.do("reader", NAME, 0, 0, expect=errno.EPROTO)
    m.do("create", NAME, 0, 64, 16, 4)


@pytest.mark.parametrize("role, flag, flags", [("writer", F.HOLDER_WRITER, 0), ("writer", F.HOLDER_WRITER, MANY),
                                               ("reader", F.HOLDER_READER, 0)])
def test_a_restart_before_it_begins(b, library, between, rings, role, flag, flags):
    """A member that had its role, and had not begun when another shmd came, makes itself known to that."""
    with b.connect(ALICE) as alice:
        ring = rings(alice.channel(NAME, flags, max_message=64).shmid)
    epoch, restarted = ring.get("epoch"), []

    def change(opcode, frame, fds):
        if opcode == OP["JOIN"] and not restarted:
            restarted.append(True)
            b.kill()
            b.start()
            shmd.until(lambda: ring.get("epoch") != epoch, "its members are to make themselves known")
        return frame, fds

    m = library(ALICE, between(change))
    m.do(role, NAME, 0, 0)

    def known():  # where shmd does not answer in time, by a later call
        if role == "writer":
            m.do("send", 1, 64, 0)
        else:
            m.do("recv", 1, 1, expect=errno.ETIMEDOUT)
        return any(h.flags & flag for h in alice.who(NAME))

    with b.connect(ALICE) as alice:
        shmd.until(known, "it is known")


@pytest.mark.parametrize("flags", [0, MANY])
def test_one_that_does_not_answer(b, library, rings, flags):
    """A writer that could not make itself known to a new shmd in time does so with a later message."""
    with b.connect(ALICE) as alice:
        ring = rings(alice.channel(NAME, flags, max_message=64).shmid)
    m = library(ALICE)
    m.do("writer", NAME, 0, 0)
    epoch = ring.get("epoch")
    b.kill()
    b.start()
    shmd.until(lambda: ring.get("epoch") != epoch, "its members are to make themselves known")
    os.kill(b.pid, signal.SIGSTOP)
    m.do("send", 1, 64, 0)
    os.kill(b.pid, signal.SIGCONT)

    def known():
        m.do("send", 1, 64, 0)
        return any(h.flags & F.HOLDER_WRITER for h in alice.who(NAME))

    with b.connect(ALICE) as alice:
        assert not any(h.flags & F.HOLDER_WRITER for h in alice.who(NAME))
        shmd.until(known, "it is known")
