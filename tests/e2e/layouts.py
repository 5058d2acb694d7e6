# SPDX-License-Identifier: MIT
"""Registries of earlier shmds (daemon/layout.c), made out of one of today's."""
import sysv
from shmd import entries_at

FREE, CREATING, LIVE, REMOVING = range(4)
ENTRY = 256


def entry_v1(e):
    """An entry of layout 2 as layout 1 had it."""
    name, instance, rest = e[48:176], e[32:40], e[192:216]
    return e[:32] + name + instance + e[176:192] + e[40:44] + bytes(4) + rest + bytes(40)


def make_v1(registry, capacity, words=None):
    """Make the registry of a shmd that has ended one of layout 1. `words`: states left by its death."""
    at = entries_at(capacity)
    data = sysv.read(registry, at + capacity * ENTRY)
    entries = b""
    for i in range(at, len(data), ENTRY):
        e = entry_v1(data[i:i + ENTRY])
        name = e[32:160].rstrip(b"\0").decode()
        if words and name in words and e[12:16] != bytes(4):
            state, shmid = words[name]
            e = e[:8] + (state << 32 | shmid & 0xffffffff).to_bytes(8, "little") + e[16:]
        entries += e
    sysv.write(registry, data[:8] + (1).to_bytes(4, "little") + data[12:at] + entries)
