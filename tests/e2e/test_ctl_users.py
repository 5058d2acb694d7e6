# SPDX-License-Identifier: MIT
"""shmctl-client among several users: lifetimes, who, watch, fsck and everybody's quota."""
import json
import os
import re
import signal
import subprocess

import pytest

import shmd
import sysv
from wire import F

DONE, FAILED, USAGE, NO_SEGMENT, NOT_PERMITTED, NO_BROKER, TIMED_OUT = range(7)
ALICE, BOB = 10001, 10002


@pytest.fixture
def broker(make_broker):
    b = make_broker("[policy]\nmax_mode = 0666\n")
    b.start()
    return b


def rows(result):
    (ret,) = result.json().values()
    return ret


class Reader:
    """A command that goes on until it is told to end, line by line."""

    def __init__(self, broker, *args, **kwargs):
        self.p = broker.programs.popen([broker.programs.ctl, "-s", broker.socket] + list(args),
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)

    def line(self):
        line = self.p.stdout.readline().decode()
        assert line, self.p.stderr.read()
        return line

    def event(self):
        return json.loads(self.line())

    def end(self, number=None, code=DONE):
        if number:
            self.p.send_signal(number)
        out, err = self.p.communicate(timeout=shmd.LIMIT)
        shmd.no_report(err.decode())
        assert self.p.returncode == code, err
        return out.decode(), err.decode()


@pytest.fixture
def watching(broker):
    """Start a watch, and wait until the broker has it."""
    made = []

    def start(*args, **kwargs):
        with broker.connect() as w:
            before = w.info().watches
            made.append(Reader(broker, "watch", *args, **kwargs))
            shmd.until(lambda: w.info().watches > before, "it watches")
        return made[-1]

    yield start
    for r in made:
        if r.p.poll() is None:
            r.p.kill()
        r.p.communicate()


class Holder:
    """`attach` as a user, until it is told to end."""

    def __init__(self, broker, *args, **kwargs):
        self.p = broker.programs.popen([broker.programs.ctl, "-s", broker.socket, "attach", "-n", *args],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kwargs)
        assert self.p.stdout.readline()

    def __enter__(self):
        return self.p

    def __exit__(self, *_):
        self.p.communicate(timeout=shmd.LIMIT)
        assert self.p.returncode == 0


def test_lifetimes(broker, wire):
    r = broker.ctl("create", "x", "--size", "4K", "--lifetime", "persistent")
    broker.ctl("create", "t", "--size", "4K", "--ttl", "30m")
    broker.ctl("create", "t2", "--size", "4K", "--lifetime", "ttl", "--ttl", "7d")
    broker.ctl("create", "e", "--size", "4K", "--lifetime", "ephemeral", "--linger", "2h")
    broker.ctl("create", "e2", "--size", "4K", "--linger", "90")
    columns = "NAME,LIFETIME,TTL,LINGER,EXPIRES,DECLARED"
    got = {r.pop("name"): r for r in rows(broker.ctl("list", "-J", "-o", columns))}
    assert [(got["root/" + n]["lifetime"], got["root/" + n]["ttl"], got["root/" + n]["linger"])
            for n in ("x", "t", "t2", "e", "e2")] == [
        ("persistent", None, None), ("ttl", 1800, None), ("ttl", 7 * 86400, None),
        ("ephemeral", None, 7200), ("ephemeral", None, 90)]
    assert got["root/x"]["expires"] is None and got["root/x"]["declared"] in (False, "no")
    for name in ("t", "e"):  # unused, so it is due
        assert re.fullmatch(r"\d{4}-.*\+00:00", got["root/" + name]["expires"]), got
    s = rows(broker.ctl("stat", "e", "-J"))[0]
    assert (s["lifetime"], s["linger"], s["status"]) == ("ephemeral", 7200, "dest")
    s = wire.stat("t")
    assert (s.ttl, s.linger, s.flags & F.SEGMENT_EPHEMERAL) == (1800, 0, 0)
    for name in ("e", "e2"):
        wire.remove(name)
    assert r.err == ""


def test_ephemeral_goes_with_its_last_holder(broker, wire):
    broker.ctl("create", "e", "--size", "4K", "--lifetime", "ephemeral")  # its connection has ended
    shmd.until(lambda: "root/e" not in broker.names(), "it went with its creator")
    made = wire.create("e", lifetime=F.LIFETIME_EPHEMERAL)
    with Holder(broker, "e"):
        assert wire.stat("e").leases == 2  # the creator's, and its own
        assert sysv.segments()[made.shmid].dest
    wire.attach("e", lease=5)
    wire.detach(5)
    assert "root/e" not in broker.names() and made.shmid not in sysv.segments()


@pytest.mark.parametrize("args", [
    ["--lifetime", "ever"], ["--lifetime", "ttl"], ["--ttl", "0"], ["--ttl", "soon"], ["--ttl", "1y"],
    ["--ttl", "-1"], ["--ttl", "99999999999d"], ["--lifetime", "persistent", "--ttl", "1m"],
    ["--lifetime", "ephemeral", "--ttl", "1m"], ["--lifetime", "ttl", "--linger", "1m"],
    ["--ttl", "1m", "--linger", "1m"]])
def test_lifetimes_that_are_none(broker, args):
    r = broker.ctl("create", "x", "--size", "4K", *args, expect=USAGE)
    assert r.err.startswith("shmctl-client: create: ") and broker.names() == {}


def holders(result):
    return sorted((r["pid"], r["user"], r["access"], r["told"] in (True, "yes")) for r in rows(result))


def test_who(broker, wire):
    wire.create("x", mode=0o666)
    broker.ctl("who", "nothing", expect=NO_SEGMENT)
    assert rows(broker.ctl("who", "x", "-J")) == []
    with Holder(broker, "root/x", uid=ALICE) as alice, Holder(broker, "root/x", "--read-only", uid=BOB) as bob:
        r = broker.ctl("who", "x", "-J")
        assert holders(r) == sorted([(alice.pid, str(ALICE), "write", True), (bob.pid, str(BOB), "read", True)])
        for row in rows(r):
            assert row["command"] == "shmctl-client"
            assert re.fullmatch(r"\d{4}-.*\+00:00", row["since"])
        assert r.err == ""
        # By key and shmid, and by those who may not look into /proc.
        assert holders(broker.ctl("who", "id:%d" % wire.open("x").shmid, "-J", uid=ALICE)) == holders(r)


def test_who_did_not_tell(broker, wire):
    """Attached by the bare calls: seen in /proc by whoever may look there, and counted for others."""
    shmid = wire.create("x", mode=0o666).shmid
    code = "import sys; sys.path.insert(0, %r); import sysv; sysv.shmat(%d, %s); print('there', flush=True); sys.stdin.read()"
    children = []
    for uid, flags in ((ALICE, "0"), (BOB, "sysv.SHM_RDONLY")):
        p = broker.programs.popen(["/usr/bin/python3", "-B", "-c", code % (os.path.dirname(os.path.abspath(sysv.__file__)), shmid, flags)],
                                  uid=uid, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert p.stdout.readline() == b"there\n"
        children.append(p)
    alice, bob = children
    other = wire.create("other").shmid
    r = broker.ctl("who", "x", "-J")
    assert holders(r) == sorted([(alice.pid, str(ALICE), "write", False), (bob.pid, str(BOB), "read", False)])
    assert all(row["since"] is None for row in rows(r)) and r.err == ""
    r = broker.ctl("who", "root/x", "-J", uid=ALICE)
    assert holders(r) == [(alice.pid, str(ALICE), "write", False)]
    assert "1 more attachment" in r.err
    assert rows(broker.ctl("who", "id:%d" % other, "-J")) == []
    for p in children:
        p.communicate()
    assert rows(broker.ctl("who", "x", "-J")) == []


def test_who_holds_its_own(broker, wire):
    wire.create("e", lifetime=F.LIFETIME_EPHEMERAL)
    assert holders(broker.ctl("who", "e", "-J")) == [(os.getpid(), "root", "none", True)]


def test_who_in_another_namespace(broker, wire):
    """A process elsewhere has a segment of the same shmid and key: it is another one."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make another namespace")
    made = wire.create("x", key=0x1234)
    code = ("import sys; sys.path.insert(0, %r); import sysv\n"
            "assert sysv.unshare_ipc()\n"
            "ids = []\n"
            "while not ids or ids[-1] < %d: ids.append(sysv.shmget(0x1234 if len(ids) == %d else 0, 4096, 0o1600))\n"
            "sysv.shmat(ids[-1]); print(ids[-1], flush=True); sys.stdin.read()"
            % (os.path.dirname(os.path.abspath(sysv.__file__)), made.shmid, made.shmid))
    p = broker.programs.popen(["/usr/bin/python3", "-B", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert int(p.stdout.readline()) == made.shmid
    assert rows(broker.ctl("who", "x", "-J")) == []
    p.communicate()


def test_watch(broker, wire, watching):
    r = watching("--json")
    made = wire.create("x", 5000, mode=0o666)
    wire.set("x", mode=0o640)
    wire.attach("x", lease=1)
    wire.detach(1)
    wire.remove("x")
    me = {"uid": 0, "user": "root", "pid": os.getpid()}
    segment = {"name": "root/x", "shmid": made.shmid, "size": 5000, "key": "0x%08x" % made.key}
    for event, more in (("created", {"mode": "0666"}), ("changed", {"mode": "0640", "reason": "asked"}),
                        ("attached", {}), ("detached", {}), ("removed", {"reason": "asked"})):
        ev = r.event()
        expected = {"event": event, **me, **segment, **more}
        assert {k: ev.get(k) for k in expected} == expected
        assert re.fullmatch(r"\d{4}-.*\+00:00", ev["time"]) and ev["when"] > 1e18
    assert r.end(signal.SIGTERM) == ("", "")


def test_watch_as_text(broker, wire, watching):
    r = watching("x*", "--count", "2")
    wire.create("y")
    shmid = wire.create("xyz").shmid
    with broker.connect(uid=ALICE) as alice:
        alice.create("x")  # not root's
    assert re.fullmatch(r"\S+ created   root/xyz shmid %d by root pid %d\n" % (shmid, os.getpid()), r.line())
    sysv.rmid(shmid)
    assert wire.open("y", F.OPEN_VERIFY).shmid
    with pytest.raises(Exception):
        wire.open("xyz", F.OPEN_VERIFY)
    out, err = r.end()
    assert re.fullmatch(r"\S+ removed   root/xyz shmid %d behind\n" % shmid, out) and err == ""


def test_watch_sees_a_death(broker, wire, watching):
    wire.create("x")
    r = watching("--json", "--count", "2")
    with broker.probe() as p:
        p.ok("attach 0 x")
        assert r.event()["event"] == "attached"
        pid = p.process.pid
        p.kill()
    ev = r.event()
    assert (ev["event"], ev["pid"], ev["name"]) == ("died", pid, "root/x")
    r.end()


def test_watch_across_a_restart(broker, watching):
    r = watching("--json")
    for stop in (broker.stop, broker.kill):
        stop()
        broker.start()
        assert r.event()["event"] == "restarted"
        with broker.connect() as w:
            w.create("x", 4096)
            assert r.event()["event"] == "created"
            w.remove("x")
            assert r.event()["event"] == "removed"
    r.end(signal.SIGINT)


def test_watch_ends_while_shmd_is_away(broker, watching):
    r = watching()
    broker.stop()
    assert r.end(signal.SIGINT) == ("", "")
    broker.start()


def test_watch_and_time(broker, watching):
    assert broker.ctl("watch", "--timeout", "0.05", expect=TIMED_OUT).err
    for args in (["--count", "0"], ["--count", "x"], ["--output", "NAME"], ["--noheadings", "--json"], ["a", "b"]):
        broker.ctl("watch", *args, expect=USAGE)
    for pattern in ("", "x" * 128, "a b", "\x1b[2J"):
        assert broker.ctl("watch", pattern, expect=FAILED).err
    broker.ctl("--json", "watch", "--timeout", "0.01", expect=TIMED_OUT)


def test_watch_of_many(make_broker):
    b = make_broker("[limits]\nwatches_per_user = 1\n")
    b.start()
    with b.connect(uid=ALICE) as w:
        w.watch()
        assert "watches_per_user" in b.ctl("watch", uid=ALICE, expect=FAILED).err
        b.ctl("watch", "--timeout", "0.01", uid=BOB, expect=TIMED_OUT)


def test_fsck(broker, wire):
    gone, changed = wire.create("gone").shmid, wire.create("changed").shmid
    assert (r := broker.ctl("fsck")).out == r.err == ""
    assert rows(broker.ctl("fsck", "-J")) == []
    broker.ctl("fsck", uid=ALICE, expect=NOT_PERMITTED)
    sysv.rmid(gone)
    sysv.chmod(changed, 0o640)
    found = rows(broker.ctl("fsck", "-J"))  # both are mended by looking
    assert sorted((p["problem"], p["name"], p["shmid"], p["mended"] in (True, "yes")) for p in found) == [
        ("changed", "root/changed", changed, True), ("gone", "root/gone", gone, True)]
    broker.ctl("fsck")


def test_fsck_repairs(broker, wire):
    key = wire.create("x").key
    orphan = sysv.shmget(key - 1 if wire.info().key_first < key else key + 1, 4096, 0o3600)
    broker.foreign.add(orphan)
    for _ in range(2):
        r = broker.ctl("fsck", expect=FAILED)
        assert re.search(r"^orphan +- +%d .* no$" % orphan, r.out, re.M), r
    (p,) = rows(broker.ctl("fsck", "--repair", "-J"))
    assert (p["problem"], p["name"], p["shmid"]) == ("orphan", None, orphan) and p["mended"] in (True, "yes")
    assert orphan not in sysv.segments()
    assert broker.ctl("fsck").out == ""


def test_everybody_sees_their_own_quota(make_broker):
    b = make_broker("[limits]\nsegments_per_user = 3\nsize_per_user = 64K\nleases_per_user = 7\n")
    b.start()
    b.ctl("create", "x", "--size", "5000", uid=ALICE)
    with b.connect(uid=ALICE) as alice:
        alice.attach("x")
        for uid, segments, size, leases in ((ALICE, 1, 8192, 1), (BOB, 0, 0, 0)):
            (s,) = rows(b.ctl("status", "-J", uid=uid))
            assert (s["yoursegments"], s["yourbytes"], s["yourleases"]) == (segments, size, leases)
            assert (s["maxyoursegments"], s["maxyourbytes"], s["maxyourleases"]) == (3, 65536, 7)
            limits = {r["resource"]: r for r in rows(b.ctl("limits", "-J", uid=uid)) if r["scope"] == "user"}
            assert [(limits[n]["used"], limits[n]["limit"]) for n in
                    ("segments_per_user", "size_per_user", "leases_per_user")] == [
                (segments, 3), (size, 65536), (leases, 7)]
            usage = {r["resource"]: r for r in rows(b.ctl("usage", "-J", uid=uid)) if r["scope"] == "user"}
            assert (usage["user_segments"]["used"], usage["user_segments"]["size"]) == (segments, size)
    r = b.ctl("create", "big", "--size", "1M", uid=ALICE, expect=FAILED)
    assert "size_per_user" in r.err
