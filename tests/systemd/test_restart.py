# SPDX-License-Identifier: MIT
"""shmd dies, hangs, restarts and is replaced, and its clients wait and go on."""
import os
import shutil
import struct
import threading

import pytest

import booted
import shmd
import sysv
from booted import ctl, systemctl

KILLS = 50
CLIENTS = 4


class Busy(threading.Thread):
    """A client that never rests. Each step is held against what it must have done, once.

    The first of them is a new program, with a new connection, for each round.
    """

    def __init__(self, number, stop):
        super().__init__()
        self.number, self.stopped = number, stop
        self.kept, self.rounds, self.error = {}, 0, None
        self.probe = self.new_probe()

    def new_probe(self):
        return shmd.Probe(shmd.Programs(shmd.BUILD), booted.SOCKET)

    def ok(self, line):
        return " ".join(self.probe.ok(line)).split()

    def round(self, n):
        probe, name = self, "root/c%d-%d" % (self.number, n)
        shmid, created = probe.ok("create %s 4096" % name)
        assert created == "1", "done twice: there was one of that name already"
        assert probe.ok("attach 0 " + name) == [shmid]
        probe.ok("put 0 " + name)
        assert probe.ok("open " + name)[0] == shmid
        assert probe.ok("stat " + name)[:2] == [shmid, "600"]
        assert probe.ok("get 0 -") == [name]
        probe.ok("detach 0")
        if n % 10 == 0:
            self.kept[name] = int(shmid)
            return
        probe.ok("remove " + name)
        answer = self.probe.ask("stat " + name)
        assert answer[:2] == ["error", "2"], answer

    def run(self):
        try:
            while not self.stopped.is_set():
                self.round(self.rounds)
                self.rounds += 1
                if self.number == 0:
                    self.probe.close()
                    self.probe = self.new_probe()
            self.probe.close()
        except BaseException as e:
            self.error = repr(e)


class Load:
    """CLIENTS busy ones, and at the end: nothing failed, leaked, lost or done twice."""

    def __enter__(self):
        self.stop = threading.Event()
        self.clients = [Busy(i, self.stop) for i in range(CLIENTS)]
        for c in self.clients:
            c.start()
        self.progress()
        return self

    def progress(self):
        """Each of them has finished a round that was begun after this call."""
        for c in self.clients:
            n = c.rounds + 2
            shmd.until(lambda: c.rounds >= n or c.error, "client %d goes on" % c.number)
            assert not c.error, c.error

    def __exit__(self, *failed):
        self.stop.set()
        for c in self.clients:
            c.join(shmd.LIMIT)
        if failed[0]:
            return
        assert [c.error for c in self.clients] == [None] * CLIENTS
        kept = {k: v for c in self.clients for k, v in c.kept.items()}
        assert booted.listed(None) == kept
        there = sysv.segments()
        registry = set(there) - set(kept.values())
        assert len(there) == len(kept) + 1 and there[registry.pop()].mode == 0o644
        for name, shmid in kept.items():
            assert sysv.read(shmid, len(name) + 1) == name.encode() + b"\0"


def test_50_kills_under_load():
    systemctl("start", "shmd")
    with Load() as load:
        pid = booted.running()
        for n in range(KILLS):
            systemctl("kill", "-s", "KILL", "shmd")
            killed, pid = pid, 0
            while pid in (0, killed):
                ctl("ping")
                pid = booted.running()
        load.progress()
    assert booted.active("shmd.socket") == "active"
    assert booted.journal("-u", "shmd").count("code=killed, status=9/KILL") == KILLS


def test_a_stuck_one_is_restarted_by_the_watchdog():
    booted.drop_in("[Service]\nWatchdogSec=1\n")
    systemctl("start", "shmd")
    with Load() as load:
        pid = booted.main_pid()
        systemctl("kill", "-s", "STOP", "shmd")
        load.progress()
        shmd.until(lambda: booted.main_pid() not in (0, pid), "another one runs")  # perhaps not the first
    assert "Watchdog timeout" in booted.journal("-u", "shmd", "_PID=1")


def test_the_watchdog_leaves_a_healthy_one_alone():
    booted.drop_in("[Service]\nWatchdogSec=2\n")
    systemctl("start", "shmd")
    pid = booted.main_pid()
    first = booted.show("WatchdogTimestampMonotonic")
    for _ in range(3):  # each is fed once more, every second: longer than it may say nothing
        last = booted.show("WatchdogTimestampMonotonic")
        shmd.until(lambda: booted.show("WatchdogTimestampMonotonic") != last, "the watchdog is fed")
    assert first != last and booted.main_pid() == pid


def test_upgrade_in_place():
    """`systemctl restart` under load, from one binary to another and back."""
    other = "/usr/sbin/shmd-next"
    shutil.copy(booted.SHMD, other)
    systemctl("start", "shmd")
    with Load() as load, shmd.Probe(shmd.Programs(shmd.BUILD), booted.SOCKET) as quiet:
        quiet.ok("create quiet 4096")
        quiet.ok("attach 1 quiet")
        quiet.ok("put 1 undisturbed")
        for path in (other, booted.SHMD, booted.SHMD):
            booted.drop_in("[Service]\nExecStart=\nExecStart=%s\n" % path)
            systemctl("restart", "shmd")
            assert os.readlink("/proc/%d/exe" % booted.main_pid()).endswith(path)
            assert quiet.ok("get 1 -") == ["undisturbed"]
            load.progress()
        quiet.ok("detach 1")
        quiet.ok("remove quiet")
    assert "status=" not in booted.journal("-u", "shmd", "_PID=1")


def registry():
    (found,) = [s for s in sysv.segments().values() if 0x52000000 <= s.key % 2**32 <= 0x52ffffff]
    return found


LAYOUT_OFFSET = 8  # in the header, behind the magic (common/registry.h)


def test_a_registry_of_a_newer_layout_is_refused():
    systemctl("start", "shmd")
    ctl("create", "kept", "--size", "4K")
    systemctl("stop", "shmd.socket", "shmd")
    before, shmid = sysv.segments(), registry().shmid
    (layout,) = struct.unpack("I", sysv.read(shmid, 4, LAYOUT_OFFSET))
    assert layout in range(1, 10)
    sysv.write(shmid, struct.pack("I", layout + 1), LAYOUT_OFFSET)
    image = sysv.read(shmid, registry().size)
    assert systemctl("start", "shmd", expect=None).code != 0
    assert booted.active() == "failed"
    why = "has layout %d and this shmd knows %d" % (layout + 1, layout)
    assert why in booted.journal("-u", "shmd")
    assert sysv.read(shmid, registry().size) == image
    after = sysv.segments()
    assert {k: vars(v) for k, v in after.items()} == {k: vars(v) for k, v in before.items()}
    # The newer shmd, were it started again, finds all as it left it.
    sysv.write(shmid, struct.pack("I", layout), LAYOUT_OFFSET)
    systemctl("start", "shmd")
    assert list(booted.listed()) == ["alice/kept"]


@pytest.mark.parametrize("first", ["with its socket unit", "alone"])
def test_one_registry_with_and_without_the_socket_unit(first):
    booted.configure("[shmd]\nsocket_group = shmd-users\n")
    with_unit, seen = first != "alone", None
    for _ in range(3):
        if with_unit:
            systemctl("unmask", "--runtime", "shmd.socket")
        else:
            systemctl("mask", "--runtime", "shmd.socket")
        systemctl("start", "shmd")
        assert (booted.active("shmd.socket") == "active") == with_unit
        if seen is None:
            ctl("create", "one", "--size", "4K")
            seen = registry().shmid, booted.listed()
        assert (registry().shmid, booted.listed()) == seen
        assert os.stat(booted.SOCKET).st_mode & 0o777 == 0o660
        systemctl("stop", "shmd.socket", "shmd", expect=None)
        assert not os.path.exists(booted.SOCKET) and os.path.exists(booted.SOCKET + ".lock")
        with_unit = not with_unit
