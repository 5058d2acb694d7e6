# SPDX-License-Identifier: MIT
"""The protocol of common/protocol.h once more, in Python: a client that may also say what is wrong.

test_protocol.py compiles a program that holds these numbers against the header.
"""
import contextlib
import errno
import os
import socket
import struct
from types import SimpleNamespace

MAGIC = 0x444D4853
VERSION = 1
FRAME_MAX = 8192
REQUEST_MAX = 512
NAME_SIZE = 128
PAGE_RECORDS = 16
PAGE_HOLDERS = 64
REPORT_PROBLEMS = 48

OPS = ["HELLO", "PING", "CREATE", "OPEN", "ATTACH", "DETACH", "STAT", "SET", "REMOVE", "LIST", "INFO",
       "WHO", "WATCH", "EVENT", "FSCK", "CHANNEL", "JOIN", "POLLFD", "POKE", "DISBAND"]
OP = {name: number for number, name in enumerate(OPS, 1)}
FLAGS = {
    "FRAME_NOREPLY": 1,
    "BY_NAME": 0, "BY_KEY": 1, "BY_SHMID": 2,
    "CREATE_EXCLUSIVE": 1, "CREATE_MODE": 2, "CREATE_GID": 4, "CREATE_KEY": 8, "CREATE_NORESERVE": 16,
    "CREATE_LIFETIME": 32,
    "LIFETIME_PERSISTENT": 0, "LIFETIME_EPHEMERAL": 1, "LIFETIME_TTL": 2,
    "OPEN_WAIT": 1, "OPEN_VERIFY": 2, "OPENED_CREATED": 1, "OPENED_CHANNEL": 2, "ATTACH_READ_ONLY": 1,
    "SET_MODE": 1, "SET_UID": 2, "SET_GID": 4,
    "SEGMENT_DEST": 1, "SEGMENT_LOCKED": 2, "SEGMENT_PINNED": 4,
    "SEGMENT_EPHEMERAL": 8, "SEGMENT_DECLARED": 16, "SEGMENT_CHANNEL": 32,
    "HOLDER_READ_ONLY": 1, "HOLDER_CREATOR": 2, "HOLDER_WRITER": 4, "HOLDER_READER": 8,
    "JOIN_READER": 1, "JOIN_WRITER": 2, "JOIN_BLIND": 3, "JOIN_WAIT": 1,
    "POKE_READERS": 1, "POKE_WRITERS": 2,
    "EVENT_CREATED": 1, "EVENT_REMOVED": 2, "EVENT_ATTACHED": 3, "EVENT_DETACHED": 4,
    "EVENT_CHANGED": 5, "EVENT_DIED": 6, "EVENT_REFUSED": 7, "EVENT_LOST": 8,
    "REASON_ASKED": 0, "REASON_BEHIND": 1, "REASON_UNUSED": 2, "REASON_CONFIG": 3,
    "FSCK_REPAIR": 1,
    "PROBLEM_GONE": 1, "PROBLEM_CHANGED": 2, "PROBLEM_UNPINNED": 3, "PROBLEM_ORPHAN": 4,
}
F = SimpleNamespace(**FLAGS)

TARGET = [("by", "I"), ("id", "i"), ("instance", "Q")]
NAME = ("name", "text")  # not in the struct: it follows, where there is one
CREATE = [("size", "Q"), ("request_id", "Q"), ("flags", "I"), ("mode", "I"), ("gid", "I"),
          ("key", "i"), ("lifetime", "I"), ("ttl", "I"), ("linger", "I"), ("reserved", "I")]
STRUCTS = {
    "header": [("size", "I"), ("opcode", "H"), ("flags", "H"), ("serial", "I"), ("status", "i")],
    "hello": [("magic", "I"), ("version_min", "H"), ("version_max", "H"), ("reserved", "Q")],
    "welcome": [("magic", "I"), ("version", "H"), ("reserved", "H"), ("daemon_pid", "I"),
                ("daemon_uid", "I"), ("ipc_namespace", "Q"), ("generation", "Q"),
                ("registry_size", "Q"), ("registry_shmid", "i"), ("registry_capacity", "I"),
                ("version_text", "32s"), ("home", "64s")],
    "target": TARGET + [NAME],
    "create": CREATE + [NAME],
    "open": [("target", TARGET), ("flags", "I"), ("reserved", "I"), NAME],
    "opened": [("instance", "Q"), ("size", "Q"), ("shmid", "i"), ("key", "i"), ("flags", "I"),
               ("reserved", "I"), NAME],
    "attach": [("target", TARGET), ("lease", "I"), ("flags", "I"), NAME],
    "detach": [("lease", "I"), ("reserved", "I")],
    "set": [("target", TARGET), ("mask", "I"), ("mode", "I"), ("uid", "I"), ("gid", "I"), NAME],
    "segment": [("name", "128s"), ("instance", "Q"), ("size", "Q"), ("nattch", "Q"), ("atime", "q"),
                ("dtime", "q"), ("ctime", "q"), ("created", "q"), ("shmid", "i"), ("key", "i"),
                ("uid", "I"), ("gid", "I"), ("cuid", "I"), ("cgid", "I"), ("mode", "I"),
                ("seq", "I"), ("cpid", "I"), ("lpid", "I"), ("flags", "I"), ("leases", "I"),
                ("creator_uid", "I"), ("creator_pid", "I"), ("ttl", "I"), ("linger", "I"),
                ("expires", "q")],
    "list": [("cursor", "I"), ("reserved", "I")],
    "page": [("cursor", "I"), ("count", "I")],
    "info": [("version_text", "32s"), ("generation", "Q"), ("started", "Q"), ("uptime", "Q"),
             ("segments", "Q"), ("bytes", "Q"), ("requests", "Q"), ("refused", "Q"),
             ("max_size", "Q"), ("pid", "I"), ("uid", "I"), ("capacity", "I"), ("connections", "I"),
             ("max_connections", "I"), ("max_connections_user", "I"), ("leases", "I"),
             ("max_leases", "I"), ("max_mode", "I"), ("registry_shmid", "i"), ("key_first", "i"),
             ("key_last", "i"), ("total_size", "Q"), ("user_bytes", "Q"), ("max_user_bytes", "Q"),
             ("user_segments", "I"), ("max_user_segments", "I"), ("user_connections", "I"),
             ("user_leases", "I"), ("max_user_leases", "I"), ("max_user_requests", "I"),
             ("watches", "I"), ("max_user_watches", "I")],
    "who": [("target", TARGET), ("cursor", "I"), ("reserved", "I"), NAME],
    "holder": [("since", "q"), ("pid", "I"), ("uid", "I"), ("gid", "I"), ("flags", "I")],
    "holders": [("cursor", "I"), ("count", "I")],
    "watch": [("flags", "I"), ("reserved", "I"), NAME],
    "event": [("when", "q"), ("instance", "Q"), ("size", "Q"), ("kind", "I"), ("reason", "I"),
              ("shmid", "i"), ("key", "i"), ("uid", "I"), ("pid", "I"), ("owner", "I"), ("gid", "I"),
              ("mode", "I"), ("reserved", "I"), NAME],
    "fsck": [("flags", "I"), ("reserved", "I")],
    "problem": [("size", "Q"), ("nattch", "Q"), ("kind", "I"), ("shmid", "i"), ("key", "i"),
                ("mended", "I"), ("name", "128s")],
    "channel": [("create", CREATE), ("ring_flags", "I"), ("max_message", "I"), ("messages", "I"),
                ("slots", "I"), ("version", "I"), ("tag", "20s"), NAME],
    "join": [("lease", "I"), ("kind", "I"), ("flags", "I"), ("role", "I"), ("slot", "I"),
             ("handle", "I")],
    "joined": [("role", "I"), ("slot", "I")],
    "pollfd": [("lease", "I"), ("reserved", "I")],
    "poke": [("lease", "I"), ("whom", "I")],
    "report": [("checked", "I"), ("problems", "I"), ("mended", "I"), ("count", "I")],
}
# What a request carries.
BODIES = {"HELLO": "hello", "CREATE": "create", "OPEN": "open", "ATTACH": "attach", "DETACH": "detach",
          "STAT": "target", "SET": "set", "REMOVE": "target", "LIST": "list", "WHO": "who", "WATCH": "watch",
          "FSCK": "fsck", "CHANNEL": "channel", "JOIN": "join", "POLLFD": "pollfd", "POKE": "poke",
          "DISBAND": "target"}


def flat(fields):
    for name, kind in fields:
        if isinstance(kind, list):
            yield from flat(kind)
        else:
            yield name, kind


def fixed(name):
    """The fields of the struct itself."""
    return [(field, kind) for field, kind in flat(STRUCTS[name]) if kind != "text"]


def size_of(name):
    return struct.calcsize("=" + "".join(kind for _, kind in fixed(name)))


class Raw(bytes):
    """A text that is sent as it is."""


def text(value):
    """Characters and one to eight NULs."""
    return value if isinstance(value, Raw) else value.ljust(len(value) + 8 & ~7, b"\0")


def pack(name, /, **values):
    parts = []
    for field, kind in flat(STRUCTS[name]):
        if kind == "text" and field not in values:
            continue
        value = values.pop(field, b"" if kind.endswith("s") else 0)
        if isinstance(value, str):
            value = value.encode()
        parts.append(text(value) if kind == "text" else struct.pack("=" + kind, value))
    assert not values, values
    return b"".join(parts)


def unpack(name, data):
    fields = fixed(name)
    values = struct.unpack_from("=" + "".join(kind for _, kind in fields), data)
    ret = SimpleNamespace()
    if ("name", "text") in STRUCTS[name]:
        ret.name = data[size_of(name):].rstrip(b"\0").decode()
    for (field, kind), value in zip(fields, values):
        if kind.endswith("s"):
            value = value.split(b"\0")[0].decode()
        setattr(ret, field, value)
    return ret


def records(name, body, head, count):
    """The `count` structs behind the struct `head`, which are all that the body has."""
    at, size = size_of(head), size_of(name)
    assert len(body) == at + count * size, (len(body), head, count)
    return [unpack(name, body[at + i * size:]) for i in range(count)]


def frame(op, body=b"", serial=1, flags=0, status=0, size=None):
    opcode = OP[op] if isinstance(op, str) else op
    size = 16 + len(body) if size is None else size
    return pack("header", size=size, opcode=opcode, flags=flags, serial=serial, status=status) + body


def target(where):
    """NAME, ("key", K) or ("id", N) as the fields of a target, and of what begins with one."""
    if isinstance(where, (str, bytes)):
        return {"by": F.BY_NAME, "name": where}
    return {"by": {"key": F.BY_KEY, "id": F.BY_SHMID}[where[0]], "id": where[1]}


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
