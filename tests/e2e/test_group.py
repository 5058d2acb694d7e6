# SPDX-License-Identifier: MIT
"""The group that shmd runs as: the kernel lets its members use the group bits of every segment."""
import errno
import os

import pytest

import sysv
from bare import Bare, answer, start_as_daemon, why
from wire import F

DAEMON = 10040
ALONE = ("", "")
# What /etc/passwd and /etc/group say besides: who else is in shmd's group.
SHARED = {"a member": ("", "other"), "a primary group": ("other:x:10041:10040::/:/bin/sh\n", "")}
HARMLESS = {"nobody": ALONE, "itself": ("", "brok"),
            "others' groups": ("other:x:10041:10041::/:/bin/sh\n", "")}


def logins(folder, passwd, members):
    """A command that runs another one as shmd's user, where these logins and groups exist too."""
    more = {"passwd": "brok:x:%d:%d::/:/bin/sh\n" % (DAEMON, DAEMON) + passwd,
            "group": "brok:x:%d:%s\n" % (DAEMON, members)}
    script = ""
    for name, lines in more.items():
        path = os.path.join(folder, name)
        with open(os.path.join("/etc", name)) as f, open(path, "w") as out:
            out.write(f.read() + lines)
        script += "mount --bind %s /etc/%s && " % (path, name)
    return ["unshare", "--mount", "sh", "-c", script + "exec \"$@\"", "sh", "setpriv", "--reuid",
            str(DAEMON), "--regid", str(DAEMON), "--clear-groups"]


def start(make_broker, folder, who, args=(), **kwargs):
    own = os.path.join(folder, "own")
    os.mkdir(own)
    os.chown(own, DAEMON, DAEMON)
    b = make_broker(prefix=logins(folder, *who), socket=os.path.join(own, "s"), args=args, **kwargs)
    serves = b.start(ready=False)
    if not serves and "mount" in b.log():
        pytest.skip("needs a mount namespace (CAP_SYS_ADMIN): " + b.log())
    return b, serves


@pytest.mark.parametrize("who", SHARED)
def test_refused(make_broker, folder, who):
    b, serves = start(make_broker, folder, SHARED[who])
    assert not serves and b.ended() == 1
    assert "group %d, the primary group of uid %d, has other members" % (DAEMON, DAEMON) in b.log()
    assert not os.path.exists(b.socket)


@pytest.mark.parametrize("who", HARMLESS)
def test_private(make_broker, folder, who):
    b, serves = start(make_broker, folder, HARMLESS[who])
    assert serves, b.log()
    with b.connect(DAEMON) as w:
        b.registry = w.welcome.registry_shmid
        w.create("x", mode=0o640)
        assert w.stat("x").mode == 0o640


@pytest.mark.parametrize("who", SHARED)
def test_users_own_broker(make_broker, folder, who):
    """It serves one user, who may share a group: group bits are refused, and never given unasked."""
    b, serves = start(make_broker, folder, SHARED[who], args=["--user"],
                      config="[policy]\ndefault_mode = 0660\n")
    assert serves, b.log()
    b.wait_log("group %d has other members" % DAEMON)
    with b.connect(DAEMON) as w:
        b.registry = w.welcome.registry_shmid
        for mode in (0o640, 0o620, 0o660):
            assert str(DAEMON) in why(w.create, "x", 4096, mode, number=errno.EPERM)
        w.create("x")
        assert w.stat("x").mode == 0o600
        assert str(DAEMON) in why(w.set, "x", 0o640, number=errno.EPERM)
        assert w.stat("x").mode == 0o600
        assert w.info().max_mode & 0o070 == 0


@pytest.mark.parametrize("public", ["yes", "no"])
def test_made_under_another_group(make_broker, folder, public):
    """What counts is the group of the shmd that made a segment, not of the one that has it now."""
    old, new = 10071, 10072
    b = start_as_daemon(make_broker, folder, "[registry]\npublic = %s\n" % public)
    b.stop()
    b.user["gid"] = old
    b.start()
    with b.connect(10001) as w:
        shmid = w.create("x", mode=0o640).shmid
        other = w.create("other").shmid
    b.stop()
    b.user["gid"] = new
    b.start()
    assert sysv.segments()[shmid].cgid == old
    b.foreign = {s.shmid for s in sysv.segments().values() if s.key >> 24 == 0x52}  # the registry
    for gid, may in ((old, 0), (new, errno.EACCES)):
        with b.connect(10002, groups=[gid]) as w, Bare(10002, groups=[gid]) as bare:
            assert bare("attach", shmid, sysv.SHM_RDONLY) == may
            hidden = may and public == "no"
            assert answer(w.attach, "10001/x", 1, F.ATTACH_READ_ONLY) == \
                (errno.ENOENT if hidden else may)
            assert ("10001/x" in [s.name for s in w.list()]) != hidden
    with b.connect(10001) as w:
        # Nobody knows who is in the old one.
        assert str(old) in why(w.set, "other", 0o640, number=errno.EPERM)
        assert sysv.segments()[other].mode == 0o600
        w.set("x", 0o600)
        w.remove("other")
        w.create("other", mode=0o640)
