# SPDX-License-Identifier: MIT
"""The numbers and structs of common/protocol.h once more, in Python.

test_protocol.py compiles a program that holds them against the header.
"""
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
