# SPDX-License-Identifier: MIT
"""A client of the protocol that may also say what is wrong."""
import contextlib
import errno
import os
import socket

from wire_layout import *  # noqa: F403 (who speaks the protocol has its words from here)


class Refused(Exception):
    def __init__(self, reply):
        self.errno = -reply.status
        self.text = reply.text
        super().__init__("%s: %s" % (errno.errorcode.get(self.errno, self.errno), self.text))


class Closed(Exception):
    """The daemon has closed the connection."""


@contextlib.contextmanager
def as_user(uid, gid=None, groups=()):
    """What a socket or a segment is asked for inside is asked for by `uid`."""
    if uid is None or os.geteuid() == uid:
        yield
        return
    own_groups = os.getgroups()
    os.setgroups(list(groups))
    os.setegid(uid if gid is None else gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(own_groups)


class Wire:
    """A connection. Calls block for at most `timeout` seconds."""

    def __init__(self, path, uid=None, gid=None, groups=(), hello=True, timeout=30):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.serial = 0
        self.buffer = b""
        self.fds = []  # that came with replies and were not taken yet
        self.watching = None  # the serial of its watch
        self.events = []  # that came while something else was waited for
        with as_user(uid, gid, groups):
            self.sock.connect(str(path))
        if hello:
            self.welcome = self.hello()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def read(self):
        """One reply, whatever it says."""
        while True:
            if len(self.buffer) >= 16:
                head = unpack("header", self.buffer)
                assert 16 <= head.size <= FRAME_MAX, head
                if len(self.buffer) >= head.size:
                    head.body = self.buffer[16:head.size]
                    self.buffer = self.buffer[head.size:]
                    head.text = None
                    if head.status < 0:
                        assert head.body.endswith(b"\0"), head
                        head.text = head.body.rstrip(b"\0").decode()
                    return head
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, 65536, 16)
            except ConnectionError as e:
                raise Closed() from e
            if not data:
                raise Closed()
            self.buffer += data
            self.fds += fds

    def read_closed(self):
        """Replies up to the end of the connection."""
        replies = []
        with contextlib.suppress(Closed):
            while True:
                replies.append(self.read())
        return replies

    def read_reply(self):
        """One reply; events are kept for next_event()."""
        while True:
            reply = self.read()
            if self.watching is None or reply.opcode != OP["EVENT"]:
                return reply
            assert (reply.serial, reply.status) == (self.watching, 0), reply
            self.events.append(unpack("event", reply.body))

    def call(self, op, body=b"", flags=0):
        self.serial += 1
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what it said before counts
            self.send(frame(op, body, self.serial, flags))
        reply = self.read_reply()
        about_connection = reply.serial == 0 and reply.status < 0
        assert reply.serial == self.serial or about_connection, reply
        if reply.status < 0:
            assert reply.text
            raise Refused(reply)
        assert reply.opcode == OP[op], reply
        return reply.body

    def hello(self, low=VERSION, high=VERSION, magic=MAGIC):
        body = pack("hello", magic=magic, version_min=low, version_max=high)
        return unpack("welcome", self.call("HELLO", body))

    def ping(self):
        assert self.call("PING") == b""

    def create(self, name, size=4096, mode=None, gid=None, key=None, flags=0, request_id=None,
               lifetime=None, ttl=0, linger=0):
        if mode is not None:
            flags |= F.CREATE_MODE
        if gid is not None:
            flags |= F.CREATE_GID
        if key is not None:
            flags |= F.CREATE_KEY
        if lifetime is not None:
            flags |= F.CREATE_LIFETIME
        if request_id is None:
            request_id = int.from_bytes(os.urandom(8), "little")
        return unpack("opened", self.call("CREATE", pack(
            "create", name=name, size=size, flags=flags, mode=mode or 0, gid=gid or 0, key=key or 0,
            request_id=request_id, lifetime=lifetime or 0, ttl=ttl, linger=linger)))

    def open(self, where, flags=0):
        return unpack("opened", self.call("OPEN", pack("open", flags=flags, **target(where))))

    def attach(self, where, lease=1, flags=0):
        return unpack("opened", self.call("ATTACH", pack("attach", lease=lease, flags=flags,
                                                         **target(where))))

    def detach(self, lease=1):
        assert self.call("DETACH", pack("detach", lease=lease)) == b""

    def stat(self, where):
        return unpack("segment", self.call("STAT", pack("target", **target(where))))

    def set(self, where, mode=None, uid=None, gid=None):
        mask = ((F.SET_MODE if mode is not None else 0) | (F.SET_UID if uid is not None else 0) |
                (F.SET_GID if gid is not None else 0))
        return unpack("segment", self.call("SET", pack(
            "set", mask=mask, mode=mode or 0, uid=uid or 0, gid=gid or 0, **target(where))))

    def channel(self, name, ring_flags=0, max_message=64, messages=16, slots=4, version=0, tag="",
                flags=0, mode=None, **create):
        if mode is not None:
            flags |= F.CREATE_MODE
        return unpack("opened", self.call("CHANNEL", pack(
            "channel", name=name, ring_flags=ring_flags, max_message=max_message, messages=messages,
            slots=slots, version=version, tag=tag, flags=flags, mode=mode or 0, **create)))

    def join(self, kind, lease=1, flags=0, role=0, slot=0, handle=0):
        return unpack("joined", self.call("JOIN", pack("join", kind=kind, lease=lease, flags=flags,
                                                       role=role, slot=slot, handle=handle)))

    def pollfd(self, lease=1):
        """A descriptor; it came with the reply."""
        assert not self.buffer
        before = len(self.fds)
        assert self.call("POLLFD", pack("pollfd", lease=lease)) == b""
        assert len(self.fds) == before + 1
        return self.fds.pop()

    def poke(self, whom, lease=1):
        assert self.call("POKE", pack("poke", lease=lease, whom=whom)) == b""

    def remove(self, where):
        return unpack("segment", self.call("REMOVE", pack("target", **target(where))))

    def disband(self, where, instance=0):
        return unpack("segment", self.call("DISBAND", pack("target", instance=instance, **target(where))))

    def list(self):
        ret, cursor = [], 0
        while True:
            body = self.call("LIST", pack("list", cursor=cursor))
            page = unpack("page", body)
            assert page.count <= PAGE_RECORDS
            ret += records("segment", body, "page", page.count)
            cursor = page.cursor
            if cursor == 0:
                return ret

    def info(self):
        return unpack("info", self.call("INFO"))

    def who(self, where):
        """Its leases."""
        ret, cursor = [], 0
        while True:
            body = self.call("WHO", pack("who", cursor=cursor, **target(where)))
            page = unpack("holders", body)
            assert page.count <= PAGE_HOLDERS
            ret += records("holder", body, "holders", page.count)
            cursor = page.cursor
            if cursor == 0:
                return ret

    def watch(self, pattern=None, flags=0):
        """From now on next_event() tells what happens to the names that match."""
        named = {} if pattern is None else {"name": pattern}
        assert self.call("WATCH", pack("watch", flags=flags, **named)) == b""
        self.watching = self.serial

    def next_event(self):
        """The next event; blocks."""
        if not self.events:
            reply = self.read()
            assert (reply.opcode, reply.serial, reply.status) == (OP["EVENT"], self.watching, 0), reply
            self.events.append(unpack("event", reply.body))
        return self.events.pop(0)

    def fsck(self, repair=False):
        """The report; its problems are in .found."""
        body = self.call("FSCK", pack("fsck", flags=F.FSCK_REPAIR if repair else 0))
        report = unpack("report", body)
        assert report.count <= REPORT_PROBLEMS
        report.found = records("problem", body, "report", report.count)
        return report
