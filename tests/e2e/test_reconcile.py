# SPDX-License-Identifier: MIT
"""What others do to segments beside the broker: noticed by its sweep and by fsck, and never fatal."""
import contextlib
import errno
import os

import pytest

import shmd
import sysv
from layouts import CREATING, make_v1
from wire import Refused, as_user

SWEEP = "[shmd]\nsocket_mode = 0666\nsweep = 1\n"
GONE, CHANGED, UNPINNED, ORPHAN = 1, 2, 3, 4
DAEMON = 10005  # a user that is not root: the kernel's modes hold for it


@pytest.fixture
def swept(make_broker):
    b = make_broker(SWEEP)
    b.start()
    return b


def as_daemon(make_broker, folder, config=SWEEP):
    """A broker that is no root's, and segments of alice's (uid 10001)."""
    os.chown(folder, DAEMON, DAEMON)
    b = make_broker(config, uid=DAEMON)
    b.start()
    return b


def found(report):
    return sorted((p.kind, p.name, p.shmid, p.mended) for p in report.found)


@pytest.mark.parametrize("attached", [False, True])
def test_ipcrm_is_noticed_by_the_sweep(swept, programs, attached):
    with swept.connect() as w, swept.probe() as p:
        shmid = w.create("x").shmid
        if attached:
            p.ok("attach 0 x")
        mark = swept.mark()
        programs.run(["ipcrm", "-m", shmid])
        swept.wait_log(r"root/x.*removed behind", mark)
        assert w.info().segments == 0
        assert w.create("x").shmid != shmid
    swept.consistent()


def test_changed_owner_and_mode_are_noticed_by_the_sweep(swept):
    with swept.connect() as w:
        shmid = w.create("x").shmid
        mark = swept.mark()
        sysv.chmod(shmid, 0o640, uid=10007, gid=10008)
        line = swept.wait_log(r"root/x.*(changed|set)", mark)
        assert "10007" in line or "0640" in line, line
        assert swept.log().count(line) == 1
        assert w.stat("x").uid == 10007


def test_rmid_forced(swept, namespace):
    """The kernel removes at the last detach what it is told to: only shmd's pin keeps it."""
    if not namespace:
        pytest.skip("needs an IPC namespace of its own (CAP_SYS_ADMIN)")
    with swept.connect() as w, swept.probe() as p:
        kept = w.create("kept").shmid
        with open("/proc/sys/kernel/shm_rmid_forced", "w") as f:
            f.write("1")
        p.ok("attach 0 kept")
        p.ok("detach 0")
        assert w.stat("kept").shmid == kept
        swept.kill()  # and with its pin the segment, and the registry with it
    assert sysv.segments() == {}
    swept.start()
    swept.wait_log("shm_rmid_forced")
    assert swept.names() == {}
    with swept.connect() as w:
        w.create("kept")


def test_orphans_are_told_once(swept):
    """Foreign segments of our creator, in our range of keys."""
    mark = swept.mark()
    orphan = sysv.shmget(0x53000001, 4096, sysv.IPC_CREAT | 0o600)
    other_key = sysv.shmget(0x1234, 4096, sysv.IPC_CREAT | 0o600)
    with as_user(10009):
        other_user = sysv.shmget(0x53000002, 4096, sysv.IPC_CREAT | 0o600)
    swept.foreign |= {orphan, other_key, other_user}
    assert "1 segments" in swept.wait_log("in no registry", mark)
    with swept.connect() as w:  # the second change is seen after a whole sweep that found no news
        shmid = w.create("x").shmid
        for mode in (0o640, 0o600):
            since = swept.mark()
            sysv.chmod(shmid, mode)
            swept.wait_log("root/x.*%04o" % mode, since)
    assert sum("in no registry" in line for line in swept.lines[mark:]) == 1
    second = sysv.shmget(0x53000003, 4096, sysv.IPC_CREAT | 0o600)
    assert "2 segments" in swept.wait_log("2 segments.*in no registry", mark)
    for shmid in (orphan, second):
        sysv.rmid(shmid)
    swept.foreign.discard(orphan)
    swept.wait_log("in a registry again", mark)
    assert sum("in no registry" in line for line in swept.lines[mark:]) == 2
    assert {other_key, other_user} <= set(sysv.segments())


def test_two_brokers_of_one_user(make_broker, folder, swept):
    """What is in the registry of the one is no orphan of the other; what is in neither is of both."""
    other_folder = os.path.join(folder, "other")
    os.mkdir(other_folder)
    os.chmod(other_folder, 0o755)
    other = make_broker(SWEEP, folder=other_folder)
    other.start()
    with swept.connect() as w, other.connect() as v:
        for i in range(20):
            w.create("n%d" % i)
            v.create("n%d" % i)
        for b in (swept, other):
            b.foreign = set(sysv.segments()) - set(b.names().values()) - {b.registry}
        orphan = sysv.shmget(0x53000001, 4096, sysv.IPC_CREAT | 0o600)
        for b, client in ((swept, w), (other, v)):
            b.foreign.add(orphan)
            b.wait_log(r"1 segments .*in no registry")
            assert found(client.fsck()) == [(ORPHAN, "", orphan, 0)]
        other.kill()  # dead or alive, its registry speaks for its segments
        assert found(w.fsck(repair=True)) == [(ORPHAN, "", orphan, 1)]
        assert orphan not in sysv.segments()
        assert w.fsck().problems == 0
        # Whatever its layout, and be an entry only half made: it does not know its shmid yet.
        make_v1(other.registry, 4096, {"root/n7": (CREATING, -1)})
        assert w.fsck(repair=True).problems == 0
    other.start()
    assert len(other.consistent()) == 19
    swept.foreign.add(other.registry)  # moved to this layout


def test_registry_that_cannot_be_read(swept):
    """Of a later shmd of the same user: nobody can tell then what is an orphan, and nothing is touched."""
    later = sysv.shmget(0x52123456, 128, sysv.IPC_CREAT | 0o600)
    sysv.write(later, b"HMDREG01" + (99).to_bytes(4, "little"))
    orphan = sysv.shmget(0x53000001, 4096, sysv.IPC_CREAT | 0o600)
    swept.foreign = {later, orphan}
    swept.wait_log("cannot be told")
    with swept.connect() as w:
        for repair in (False, True):
            with pytest.raises(Refused) as e:
                w.fsck(repair)
            assert e.value.errno == errno.EPROTONOSUPPORT
    assert {later, orphan} <= set(sysv.segments())


def test_fsck_finds_nothing(broker, wire):
    shmd.populate(broker)
    report = wire.fsck()
    assert (report.checked, report.problems, report.count) == (3, 0, 0)


def test_fsck_finds_and_mends(broker, wire):
    ids = shmd.populate(broker)
    orphan = sysv.shmget(0x53000001, 5000, sysv.IPC_CREAT | 0o600)
    used = sysv.shmget(0x53000002, 5000, sysv.IPC_CREAT | 0o600)
    broker.foreign = {orphan, used}
    address = sysv.shmat(used)
    sysv.rmid(ids["root/a"])
    sysv.chmod(ids["root/b"], 0o600)
    report = wire.fsck()
    assert report.checked == 3 and (report.problems, report.mended) == (4, 2)
    assert found(report) == [(GONE, "root/a", ids["root/a"], 1), (CHANGED, "root/b", ids["root/b"], 1),
                             (ORPHAN, "", orphan, 0), (ORPHAN, "", used, 0)]
    assert {orphan, used} <= set(sysv.segments())
    report = wire.fsck(repair=True)
    assert found(report) == [(ORPHAN, "", orphan, 1), (ORPHAN, "", used, 0)]
    assert [p.nattch for p in report.found if p.shmid == used] == [1]
    sysv.shmdt(address)
    assert found(wire.fsck(repair=True)) == [(ORPHAN, "", used, 1)]
    assert wire.fsck().problems == 0
    broker.foreign = set()
    assert set(broker.consistent()) == {"root/b", "10001/c"}


def test_fsck_of_more_than_a_report_holds(broker, wire):
    for i in range(100):
        sysv.shmget(0x53000000 + i, 4096, sysv.IPC_CREAT | 0o600)
    report = wire.fsck(repair=True)
    assert (report.problems, report.mended, report.count) == (100, 100, 48)
    assert wire.fsck().problems == 0
    assert broker.consistent() == {}


def test_fsck_after_the_registry_was_destroyed(broker):
    """Reported at the next sweep or fsck; removed by --repair alone."""
    ids = shmd.populate(broker)
    broker.kill()
    sysv.rmid(broker.registry)
    broker.foreign = set(ids.values())
    broker.start()
    with broker.connect() as w:
        assert {p.shmid for p in w.fsck().found} == set(ids.values())
        assert set(ids.values()) <= set(sysv.segments())
        assert w.fsck(repair=True).mended == 3
    broker.foreign = set()
    assert broker.consistent() == {}


def test_fsck_is_for_administrators(make_broker, folder):
    b = as_daemon(make_broker, folder, SWEEP + "[policy]\nadministrators = 10003\n")
    for uid in (10001, DAEMON):
        with b.connect(uid=uid) as w, pytest.raises(Refused) as e:
            w.fsck()
        assert e.value.errno == errno.EPERM
    for uid in (0, 10003):
        with b.connect(uid=uid) as w:
            assert w.fsck().problems == 0


@pytest.mark.parametrize("mode", [0, 0o060])
def test_mode_that_keeps_shmd_out(make_broker, folder, mode):
    """A segment that shmd cannot pin at its start is kept, reported, and pinned by fsck --repair."""
    b = as_daemon(make_broker, folder)
    with b.connect(uid=10001) as alice:
        shmid = alice.create("x").shmid
    with as_user(10001):
        sysv.chmod(shmid, mode)
    b.kill()
    b.start()
    nattch = lambda: sysv.segments()[shmid].nattch  # noqa: E731
    assert nattch() == 0
    with b.connect() as admin:
        assert found(admin.fsck()) == [(UNPINNED, "10001/x", shmid, 0)]
        assert nattch() == 0
        assert found(admin.fsck(repair=True)) == [(UNPINNED, "10001/x", shmid, 1)]
        s = sysv.segments()[shmid]
        assert (s.nattch, s.mode, s.uid) == (1, mode, 10001)
        assert admin.fsck().problems == 0


def test_pinned_as_soon_as_the_mode_permits(make_broker, folder):
    b = as_daemon(make_broker, folder)
    with b.connect(uid=10001) as alice:
        shmid = alice.create("x").shmid
    with as_user(10001):
        sysv.chmod(shmid, 0)
    b.kill()
    b.start()
    assert sysv.segments()[shmid].nattch == 0
    sysv.chmod(shmid, 0o600)
    shmd.until(lambda: sysv.segments()[shmid].nattch == 1, "pinned by the sweep")


def test_everything_at_once(swept):
    """Removed, changed and made beside the broker all the time: it serves on, and is right in the end."""
    made = []
    with swept.connect() as w:
        for i in range(200):
            s = w.create("n%d" % i)
            made.append(s.shmid)
            with contextlib.suppress(OSError):
                if i % 3 == 0:
                    sysv.rmid(made[i // 2])
                elif i % 3 == 1:
                    sysv.chmod(made[i // 2], 0o640)
            w.ping()
        w.fsck()
        left = {s.name for s in w.list()}
        assert w.fsck().problems == 0
    assert set(swept.consistent()) == left


def test_rmid_forced_while_it_runs(swept, namespace):
    """The sweep notices, and says so once."""
    if not namespace:
        pytest.skip("needs an IPC namespace of its own (CAP_SYS_ADMIN)")
    assert "shm_rmid_forced" not in swept.log()
    with swept.connect() as w:
        shmid = w.create("x").shmid
        with open("/proc/sys/kernel/shm_rmid_forced", "w") as f:
            f.write("1")
        swept.wait_log("shm_rmid_forced is 1")
        for mode in (0o640, 0o600):  # each is seen by another sweep
            mark = swept.mark()
            sysv.chmod(shmid, mode)
            swept.wait_log("root/x.*%04o" % mode, mark)
    assert swept.log().count("shm_rmid_forced is 1") == 1
