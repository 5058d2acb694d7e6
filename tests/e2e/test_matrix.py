# SPDX-License-Identifier: MIT
"""Who may do what, asked of the broker and, by the bare calls, of the kernel: the two agree.

Where they differ by design different() says so, and a difference that is not there any more is a
failure too.
"""
import contextlib
import errno

import pytest

import sysv
from bare import DAEMON, Bare, answer, start_as_daemon, why
from wire import F

LAB, OPS, ELSEWHERE = 10050, 10060, 10070  # the segment's group, administrators, nobody's
ALICE, BOB = 10001, 10006
ROOT, OWNER, CREATOR = "root", "owner", "creator"
ADMINS = ("administrator", "administrator by group")
PEOPLE = {  # uid, gid, supplementary groups
    OWNER: (ALICE, ALICE, ()),
    "owner in the group": (ALICE, ALICE, (LAB,)),
    "member": (10002, 10002, (LAB,)),
    "primary member": (10003, LAB, ()),
    "other": (10004, 10004, ()),
    "given to": (BOB, BOB, ()),
    ADMINS[0]: (10009, 10009, ()),
    ADMINS[1]: (10010, 10010, (OPS,)),
    ROOT: (0, 0, ()),
    "in the creator's group": (10011, 10011, (DAEMON,)),
    CREATOR: (DAEMON, DAEMON, ()),
    "creator's uid": (DAEMON, 10012, ()),
}
OWNERS, CREATORS = (OWNER, "owner in the group"), (CREATOR, "creator's uid")
CONFIG = """[shmd]
socket_mode = 0666
[policy]
administrators = 10009 @10060
max_mode = 0777
[limits]
leases_per_connection = 100000
leases_per_user = 100000
[namespace lab]
users = 10002 @10060
group = 10050
[segment lab/given]
size = 8192
owner = 10001
group = 10050
mode = 0640
"""
MODES = [u << 6 | g << 3 | o for u in (0, 2, 4, 6) for g in (0, 2, 4, 6) for o in (0, 2, 4, 6)]
MODES += [0o111, 0o777]
SOME_MODES = [0o000, 0o400, 0o600, 0o060, 0o040, 0o640, 0o660, 0o666, 0o006]
YES, NO = 0, errno.EPERM

BROKER_ONLY, KERNEL_ONLY = (0, errno.EPERM), (errno.EPERM, 0)
CONTROL = ("set mode", "set group", "give to a group", "give away", "remove")


def different(kind):
    """Where the answers differ by design: administrators act through the broker. Who runs as the
    creator's uid controls it for the kernel alone (so nobody should). The owner may give it to
    anybody by IPC_SET, which the broker does not do for them. What shmd.conf declares it changes.
    """
    owners = ("given to",) if kind == "given" else OWNERS
    if kind == "declared":
        who_may = owners + CREATORS + (ROOT,)
        return {(op, who): KERNEL_ONLY for op in CONTROL[:-1] for who in who_may}
    return {**{(op, who): BROKER_ONLY for op in CONTROL for who in ADMINS},
            **{(op, who): KERNEL_ONLY for op in CONTROL for who in CREATORS},
            **{(op, who): KERNEL_ONLY for op in ("give to a group", "give away") for who in owners}}


class People:
    """Each with a connection and a process of bare calls."""

    def __init__(self, broker, stack):
        self.bare = {who: stack.enter_context(Bare(*ids)) for who, ids in PEOPLE.items()}
        self.wire = {who: stack.enter_context(broker.connect(uid, gid=gid, groups=groups))
                     for who, (uid, gid, groups) in PEOPLE.items()}
        self.cells = 0
        self.cell = {}  # (operation, who): answers that differ: where

    def compare(self, op, who, what, *answers):
        """One cell: what the broker says, what the kernel says."""
        self.cells += 1
        if len(set(answers)) > 1:
            self.cell.setdefault((op, who), {}).setdefault(answers, []).append(what)

    def differ(self, expected):
        """The cells that differ are those expected, and in the way expected."""
        wrong = {k: v for k, v in self.cell.items() if k not in expected or set(v) != {expected[k]}}
        assert not wrong, wrong
        assert set(self.cell) == set(expected), set(expected) - set(self.cell)


@pytest.fixture
def people(make_broker, folder):
    b = start_as_daemon(make_broker, folder, CONFIG)
    with contextlib.ExitStack() as stack:
        p = People(b, stack)
        p.broker = b
        yield p


def made(people, kind):
    """A segment of alice's (but "given": bob's by now), of group LAB: its full name and shmid."""
    alice = people.wire[OWNER]
    if kind == "declared":
        return "lab/given", alice.open("lab/given").shmid
    lifetime = F.LIFETIME_EPHEMERAL if kind == "ephemeral" else None
    shmid = alice.create("x", flags=F.CREATE_EXCLUSIVE, lifetime=lifetime).shmid
    assert people.bare[ROOT]("set", shmid, BOB if kind == "given" else ALICE, LAB, 0o600) == 0
    return "10001/x", shmid


def allowed(who, uid, mode, read_only, kind=None):
    """What ipcperms says, once more."""
    mine, gid, groups = PEOPLE[who]
    if mine == 0:
        return True
    if mine in (uid, DAEMON):
        bits = mode >> 6
    elif {LAB, DAEMON} & {gid, *groups}:
        bits = mode >> 3
    else:
        bits = mode
    wanted = 4 if read_only else 6
    return bits & wanted == wanted


@pytest.mark.parametrize("kind", ["plain", "given", "ephemeral", "declared"])
def test_attach(people, kind):
    """Broker, kernel and the rule as written down say the same, at every mode."""
    name, shmid = made(people, kind)
    owner = BOB if kind == "given" else ALICE
    yes = 0
    if kind == "ephemeral":
        people.wire[ROOT].attach(name, lease=99)  # the leases of the others come and go
    for mode in MODES:
        assert people.bare[ROOT]("set", shmid, owner, LAB, mode) == 0
        for who, w in people.wire.items():
            for read_only in (True, False):
                said = answer(w.attach, name, flags=F.ATTACH_READ_ONLY if read_only else 0)
                kernel = people.bare[who]("attach", shmid, sysv.SHM_RDONLY if read_only else 0)
                expected = YES if allowed(who, owner, mode, read_only) else errno.EACCES
                people.compare("attach", who, (oct(mode), read_only), said, kernel, expected)
                yes += said == YES
                if said == YES:
                    w.detach()
    people.differ({})
    assert people.cells == len(MODES) * len(PEOPLE) * 2
    assert people.cells * 0.2 < yes < people.cells * 0.9


CHANGES = {"set mode": {"mode": 0o604}, "set group": {}, "give to a group": {"gid": ELSEWHERE},
           "give away": {"uid": 10042}}


def try_one(people, kind, op, who, mode, broker):
    """One cell's answer, on a segment of its own."""
    name, shmid = made(people, kind)
    before = {"uid": BOB if kind == "given" else ALICE, "gid": LAB, "mode": mode}
    change = {"gid": PEOPLE[who][0]} if op == "set group" else CHANGES.get(op, {})
    assert people.bare[ROOT]("set", shmid, *before.values()) == 0
    if broker:
        w = people.wire[who]
        said = answer(w.set, name, **change) if change else answer(w.remove, name)
    else:
        after = {**before, **change}
        call = ("set", shmid, *after.values()) if change else ("rmid", shmid)
        said = people.bare[who](*call)
    s = sysv.segments().get(shmid)
    expected = {**before, **change} if said == YES else before
    if s and (change or not s.dest):
        assert vars(s).items() >= expected.items(), (op, who, s)
    if not change and kind != "ephemeral":
        assert (s is None or s.dest) == (said == YES), (op, who, s)
    if kind != "declared":
        assert answer(people.wire[ROOT].remove, name) in (0, errno.ENOENT, errno.EIDRM)
    return said


@pytest.mark.parametrize("kind", ["plain", "given", "ephemeral", "declared"])
def test_control(people, kind):
    """Change and remove. "set group" is to the primary group of who asks."""
    for op in CONTROL:
        for mode in SOME_MODES:
            for who in PEOPLE:
                if kind == "declared" and op == "remove":
                    assert try_one(people, kind, op, who, mode, True) == NO
                else:
                    both = [try_one(people, kind, op, who, mode, asked) for asked in (True, False)]
                    people.compare(op, who, oct(mode), *both)
    people.differ(different(kind))


def test_see_in_public(people):
    """With the public view everybody finds every segment, as in /proc/sysvipc/shm."""
    name, shmid = made(people, "plain")
    key = sysv.segments()[shmid].key
    for mode in SOME_MODES:
        assert people.bare[ROOT]("set", shmid, ALICE, LAB, mode) == 0
        for who, w in people.wire.items():
            found = people.bare[who]("find", key)
            people.compare("open", who, oct(mode), answer(w.open, name), found, YES)
            people.compare("stat", who, oct(mode), answer(w.stat, name), YES)
            people.compare("stat", who, oct(mode), answer(w.stat, ("key", key)), YES)
            assert sorted(s.name for s in w.list()) == ["10001/x", "lab/given"]
    people.differ({})


def test_see_without_the_public_view(make_broker, folder):
    """Who may not attach it, nor control it, learns nothing; IPC_STAT says the same of reading."""
    config = "[registry]\npublic = no\n" + CONFIG.split("[namespace")[0]
    b = start_as_daemon(make_broker, folder, config)
    b.foreign = set(sysv.segments())  # the registry, which root is not told
    with contextlib.ExitStack() as stack:
        people = People(b, stack)
        name, shmid = made(people, "plain")
        key = sysv.segments()[shmid].key
        nothing = why(people.wire["other"].stat, "10001/y", number=errno.ENOENT)
        for mode in MODES:
            assert people.bare[ROOT]("set", shmid, ALICE, LAB, mode) == 0
            for who, w in people.wire.items():
                kernel = {0: 0, errno.EACCES: errno.ENOENT}[people.bare[who]("stat", shmid)]
                there = 0 if [s.name for s in w.list()] == [name] else errno.ENOENT
                says = {answer(call, where) for call in (w.open, w.stat, w.who)
                        for where in (name, ("id", shmid), ("key", key))}
                assert says == {there}, (who, oct(mode), says)
                people.compare("see", who, oct(mode), there, kernel)
                if there == errno.ENOENT:
                    for call in (w.stat, w.attach, w.remove, lambda n: w.set(n, mode=0)):
                        said = why(call, name, number=errno.ENOENT)
                        assert said.replace(name, "10001/y") == nothing
                    assert answer(w.create, name) == errno.EPERM
        people.differ({("see", who): (0, errno.ENOENT) for who in OWNERS + ADMINS})


def test_create(people):
    """The kernel has no namespaces and lets everybody make segments; the broker says where."""
    may = {"10001/y": OWNERS + ADMINS + (ROOT,), "lab/y": ("member", ADMINS[0], ADMINS[1], ROOT),
           "nobody/y": ADMINS + (ROOT,)}
    key = 0x1000
    for name, who_may in may.items():
        for who, w in people.wire.items():
            said = answer(w.create, name, mode=0o640)
            assert said == (YES if who in who_may else NO), (name, who)
            key += 1
            assert people.bare[who]("get", key, 4096, sysv.IPC_CREAT | 0o600) == YES
            people.broker.foreign.add(sysv.shmget(key, 0, 0))
            if said == NO:
                continue
            uid, gid, _ = PEOPLE[who]  # whoever it was, it is theirs for the kernel
            s = w.stat(name)
            assert (s.uid, s.gid, s.mode) == (uid, LAB if name == "lab/y" else gid, 0o640)
            for other in PEOPLE:
                can = other in (who, ROOT) + CREATORS or PEOPLE[other][0] == uid
                got = people.bare[other]("attach", s.shmid, 0)
                assert got == (YES if can else errno.EACCES), (name, who, other)
            w.remove(name)
        if name == "10001/y":  # what is there is everybody's to find, and no less hers
            people.wire[OWNER].create(name)
            for who, w in people.wire.items():
                assert w.create(name).flags & F.OPENED_CREATED == 0
                assert answer(w.create, name, flags=F.CREATE_EXCLUSIVE) == errno.EEXIST
