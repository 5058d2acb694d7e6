# SPDX-License-Identifier: MIT
"""Namespaces: the users' own and those of shmd.conf, and who it is that asks."""
import errno
import os

import pytest

from bare import answer, reload, start_as_daemon, why
from wire import F, Refused

LAB = 10050
CONFIG = """[shmd]
socket_mode = 0666
[policy]
administrators = 10009
max_mode = 0600
[namespace lab]
users = 10001 @10060
group = 10050
default_mode = 0640
max_mode = 0664
[namespace plain]
users = 10002
[namespace closed]
[namespace 10007]
users = 10001
[namespace cache]
users = 10001
lifetime = ttl
ttl = 10m
[namespace scratch]
users = 10001
lifetime = ephemeral
linger = 30
"""


@pytest.fixture
def b(make_broker, folder):
    return start_as_daemon(make_broker, folder, CONFIG)


def test_who_may_create(b):
    """users =, @groups and administrators; and only its own user where nothing is declared."""
    people = {"10001": b.connect(10001), "10002": b.connect(10002),
              "by group": b.connect(10003, groups=[10060]),
              "by primary group": b.connect(10004, gid=10060), "10007": b.connect(10007),
              "admin": b.connect(10009), "root": b.connect()}
    admins = {"admin", "root"}
    may = {"lab/x": {"10001", "by group", "by primary group"} | admins,
           "plain/x": {"10002"} | admins, "closed/x": admins, "nowhere/x": admins,
           "10002/x": {"10002"} | admins,
           # Its section decides, also for the user who is called so.
           "10007/x": {"10001"} | admins}
    for name, who_may in may.items():
        for who, w in people.items():
            assert answer(w.create, name) == (0 if who in who_may else errno.EPERM), (name, who)
            if who in who_may:
                s = w.stat(name)
                assert s.name == name and s.creator_uid == s.uid
                w.remove(name)
    sentence = why(people["10002"].create, "lab/x", number=errno.EPERM)
    assert "lab" in sentence and "users =" in sentence
    sentence = why(people["10002"].create, "10001/x", number=errno.EPERM)
    assert "10001" in sentence and "10002/" in sentence
    assert answer(people["10007"].create, "x") == errno.EPERM
    assert people["10007"].welcome.home == "10007"


def test_group_and_modes(b):
    """group, default_mode and max_mode are the namespace's; elsewhere [policy]'s."""
    with b.connect(10001) as w, b.connect(10002) as other, b.connect(10009) as admin:
        w.create("lab/x")
        s = w.stat("lab/x")
        assert (s.uid, s.gid, s.mode) == (10001, LAB, 0o640)  # of a group that alice is not in
        w.create("x")
        assert (w.stat("x").gid, w.stat("x").mode) == (10001, 0o600)
        w.create("lab/y", mode=0o664, gid=LAB)
        assert "0664" in why(w.create, "lab/z", 4096, 0o666, number=errno.EPERM)
        assert answer(w.create, "z", mode=0o640) == errno.EPERM
        assert answer(w.set, "lab/x", mode=0o666) == errno.EPERM
        assert w.set("lab/x", mode=0o660).mode == 0o660
        assert answer(w.set, "x", mode=0o640) == errno.EPERM
        assert answer(w.create, "lab/z", gid=10051) == errno.EPERM
        w.create("lab/own", gid=10001)  # a group that she is in
        assert w.stat("lab/own").gid == 10001
        other.create("plain/x")  # what is not said there is [policy]'s
        assert (other.stat("plain/x").gid, other.stat("plain/x").mode) == (10002, 0o600)
        assert answer(other.create, "plain/y", mode=0o640) == errno.EPERM
        assert answer(admin.create, "lab/z", mode=0o666) == errno.EPERM  # a cap is one for all
        assert answer(admin.set, "lab/x", mode=0o666) == errno.EPERM


def test_lifetimes(b):
    """A namespace's lifetime is what is given to who asks for none."""
    with b.connect(10001) as w:
        w.create("cache/x")
        s = w.stat("cache/x")
        assert (s.ttl, s.linger, s.flags & F.SEGMENT_EPHEMERAL) == (600, 0, 0)
        assert 590 < (s.expires - s.created) / 1e9 < 610
        w.create("cache/short", lifetime=F.LIFETIME_TTL, ttl=7)
        assert w.stat("cache/short").ttl == 7
        w.create("cache/kept", lifetime=F.LIFETIME_PERSISTENT)
        assert (w.stat("cache/kept").ttl, w.stat("cache/kept").expires) == (0, 0)
        w.create("scratch/x")
        s = w.stat("scratch/x")
        assert (s.ttl, s.linger, s.key) == (0, 30, 0) and s.flags & F.SEGMENT_EPHEMERAL
        assert answer(w.create, "scratch/key", key=0x1234) == errno.EINVAL  # it would have no key
        w.create("scratch/key", key=0x1234, lifetime=F.LIFETIME_PERSISTENT)
        w.create("x")
        assert (w.stat("x").ttl, w.stat("x").flags & F.SEGMENT_EPHEMERAL) == (0, 0)


def test_reload(b):
    """At once for those who are connected; a config with a mistake changes nothing."""
    with b.connect(10001) as w, b.connect(10002) as other:
        w.create("lab/x")
        assert answer(other.create, "lab/y") == errno.EPERM
        reload(b, CONFIG.replace("users = 10001 @10060\ngroup = 10050",
                                 "users = 10002\ngroup = 10051"))
        assert answer(w.create, "lab/y") == errno.EPERM
        other.create("lab/y")
        assert other.stat("lab/y").gid == 10051
        assert w.stat("lab/x").gid == LAB  # what is there stays as it is
        wrong = CONFIG.replace("[namespace lab]", "[namespace lab]\nlifetime = ttl")
        assert "shmd.conf:" in reload(b, wrong, "lifetime = ttl")
        other.create("lab/z")
        reload(b, "")
        assert answer(other.create, "lab/u") == errno.EPERM
        assert other.set("lab/z", mode=0o600).mode == 0o600
        w.remove("lab/x")
        assert {s.name for s in w.list()} == {"lab/y", "lab/z"}


def test_plain_names(b):
    """A plain name is one of the caller's own namespace, for every request."""
    with b.connect(10001) as w, b.connect(10002) as other, b.connect() as root:
        ids = {c.create("x").shmid for c in (w, other, root)}
        assert len(ids) == 3
        for c, full in ((w, "10001/x"), (other, "10002/x"), (root, "root/x")):
            assert c.open("x").name == c.attach("x").name == c.stat("x").name == full
            assert c.open("x").shmid == root.open(full).shmid
            assert c.who("x")[0].pid == os.getpid()
            assert c.set("x", mode=0o400).name == full and c.remove("x").name == full
            assert answer(c.open, full) == errno.ENOENT
        for bad in ("", "/x", "x/", "a/b/c", ".x", "-x", "x y", "é", "lab/", "*"):
            assert answer(w.create, bad) == errno.EINVAL, bad
        longest = "x" * (127 - len("10001/"))
        assert len(w.create(longest).name) == 127
        assert answer(w.create, longest + "x") == errno.EINVAL


LOGINS = {  # login: uid, and whether a namespace can be called so
    "first.last": (10020, True), "svc-web": (10021, True), "_apt9": (10022, True),
    "host$": (10023, True), "x+y": (10024, True), "u@corp.example": (10025, True),
    "9lives": (10026, True), "Ünder": (10027, False), "-dash": (10028, False),
    "two words": (10029, False), "corp\\eve": (10030, False), "m" * 63: (10031, True),
    "n" * 64: (10032, False),
}


@pytest.fixture
def b_with_logins(make_broker, folder):
    """A broker for which /etc/passwd has some more lines."""
    path = os.path.join(folder, "passwd")
    with open("/etc/passwd") as f, open(path, "w") as out:
        out.write(f.read())
        for login, (uid, _) in LOGINS.items():
            out.write("%s:x:%d:%d::/:/bin/sh\n" % (login, uid, uid))
        out.write("10041:x:10040:10040::/:/bin/sh\n")
    script = "mount --bind %s /etc/passwd && exec \"$@\"" % path
    b = make_broker(prefix=["unshare", "--mount", "sh", "-c", script, "sh"])
    try:
        b.start()
    except AssertionError:
        pytest.skip("needs a mount namespace (CAP_SYS_ADMIN): " + b.log())
    return b


def test_logins_with_odd_letters(b_with_logins):
    b = b_with_logins
    for login, (uid, usable) in LOGINS.items():
        home = login if usable else str(uid)
        with b.connect(uid) as w:
            assert w.welcome.home == home
            assert w.create("x").name == home + "/x"
            assert w.open(home + "/x").shmid == w.open("x").shmid
            if not usable:
                assert answer(w.create, login + "/x") in (errno.EPERM, errno.EINVAL)
    assert len(b.names()) == len(LOGINS)


def test_login_that_is_somebody_elses_uid(b_with_logins):
    """Two users never share a namespace: 10041 has no login, and 10040's login is that number."""
    with b_with_logins.connect(10040) as w, b_with_logins.connect(10041) as other:
        other.create("x")
        assert other.stat("x").name == "10041/x"
        assert answer(w.create, "10041/y") == errno.EPERM
        assert w.welcome.home != other.welcome.home


@pytest.mark.parametrize("uid", [10099, 65533, 65536, 4294967293])
def test_uid_without_an_entry(broker, uid):
    with broker.connect(uid) as w:
        assert w.welcome.home == str(uid)
        w.create("x")
        assert (w.stat("x").uid, w.stat("x").gid, w.stat("x").creator_uid) == (uid,) * 3


@pytest.mark.parametrize("ids", [{"uid": 65534}, {"uid": 10001, "gid": 65534}])
def test_unmapped_ids(broker, ids):
    """What shows as 65534 may be anybody."""
    with pytest.raises(Refused) as e:
        broker.connect(**ids)
    assert e.value.errno == errno.EOVERFLOW and "user namespace" in e.value.text
    with broker.connect(10001, groups=[65534]) as w:
        w.ping()


@pytest.mark.parametrize("n", [60, 1000])
def test_many_groups(make_broker, folder, n):
    """Whichever of them it is that lets the user in."""
    groups = list(range(20000, 20000 + n))
    config = "[policy]\nmax_mode = 0660\nadministrators = @%d\n[namespace lab]\nusers = @%d\n"
    b = start_as_daemon(make_broker, folder, config % (groups[-1], groups[n // 2]))
    with b.connect(10001) as w, b.connect() as root, b.connect(10002, groups=groups) as many, \
            b.connect(10002, groups=groups[:-1]) as fewer:
        w.create("x", mode=0o660)
        for gid in (groups[0], groups[n // 2], groups[-1]):
            root.set("10001/x", gid=gid)
            many.attach("10001/x")
            many.detach()
            assert answer(fewer.attach, "10001/x") == (errno.EACCES if gid == groups[-1] else 0)
            if gid != groups[-1]:
                fewer.detach()
        many.create("lab/x", gid=groups[-1])
        assert answer(fewer.create, "lab/y", gid=groups[-1]) == errno.EPERM
        assert answer(fewer.remove, "10001/x") == errno.EPERM
        many.remove("10001/x")  # an administrator by the last group


def test_groups_are_those_of_the_time_of_connecting(b):
    """Joining or leaving a group counts from the next connection on."""
    with b.connect(10001) as w:
        w.create("lab/x", mode=0o660)
        with b.connect(10002, groups=[LAB]) as was_member, b.connect(10002) as none:
            for _ in range(2):
                was_member.attach("lab/x")
                was_member.detach()
                assert answer(none.attach, "lab/x") == errno.EACCES
            with b.connect(10002, groups=[LAB]) as now, b.connect(10002) as left:
                now.attach("lab/x")
                assert answer(left.attach, "lab/x") == errno.EACCES
        assert [h.uid for h in w.who("lab/x")] == []
