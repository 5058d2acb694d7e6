# SPDX-License-Identifier: MIT
"""Records with fields, as journald gets them, and a journald that has stopped reading."""
import os
import socket

import pytest

import shmd

SCRIPT = ("mkdir -p /run/systemd/journal && mount --bind %s /run/systemd/journal && "
          "JOURNAL_STREAM=$(stat -Lc %%d:%%i /proc/self/fd/2) exec \"$@\"")


@pytest.fixture
def journal(folder):
    """journald's socket."""
    path = os.path.join(folder, "journal")
    os.mkdir(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(shmd.LIMIT)
        s.bind(os.path.join(path, "socket"))
        yield s


def record(s):
    return dict(line.split("=", 1) for line in s.recv(65536).decode().splitlines() if "=" in line)


def fill(s):
    n = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        try:
            while True:
                other.sendto(b"MESSAGE=noise\n", s.getsockname())
                n += 1
        except BlockingIOError:
            return n


@pytest.fixture
def b(make_broker, journal):
    if "systemd" in shmd.OPTIONS and shmd.OPTIONS["systemd"] == "disabled":
        pytest.skip("built without libsystemd")
    b = make_broker(prefix=["unshare", "--mount", "sh", "-c", SCRIPT % os.path.dirname(journal.getsockname()), "sh"])
    if not b.start(ready=False):
        assert "mount" in b.log() or "unshare" in b.log(), b.log()
        pytest.skip("needs a mount namespace (CAP_SYS_ADMIN): " + b.log())
    b.registry = b.welcome().registry_shmid
    return b


def test_full(b, journal):
    """Nobody waits for it: a record that has no room comes as a line instead."""
    with b.connect(10001) as w:
        w.create("before")
        got = record(journal)
        assert (got["SHMD_SEGMENT"], got["SHMD_UID"]) == ("10001/before", "10001")
        assert "10001/before" not in b.log()
        n = fill(journal)
        for i in range(3):
            w.create("full%d" % i)
            b.wait_log("^<6>10001/full%d created" % i)
        w.ping()
        for _ in range(n):
            assert record(journal)["MESSAGE"] == "noise"
        w.create("after")
        assert record(journal)["SHMD_SEGMENT"] == "10001/after"
        assert "10001/after" not in b.log()
