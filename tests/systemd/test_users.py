# SPDX-License-Identifier: MIT
"""Users: their own brokers under their own managers, and what their logout does."""
import contextlib
import os
import pwd
import re
import subprocess

import pytest

import booted
import shmd
import sysv
from booted import ctl, run, systemctl
from test_exchange import READ, WRITTEN


def logged_in(login):
    """loginctl fails where somebody goes while it lists: ask again."""
    listed = run("loginctl", "--no-pager", "list-users", expect=None)
    return listed.code != 0 or login in listed.out.split()


@contextlib.contextmanager
def session(login):
    """A session that logind knows, by PAM, as login(1) makes it. It ends with the block."""
    p = booted.popen("systemd-run", "--quiet", "--pipe", "--wait", "--collect", "-p", "PAMName=login",
                     "-p", "User=" + login, "bash", "-c", "echo in; read", stdin=subprocess.PIPE)
    try:
        assert p.stdout.readline() == "in\n"
        assert logged_in(login)
        yield
    finally:
        booted.ended(p, None, "\n")
        shmd.until(lambda: not logged_in(login), login + " is logged out")


@pytest.fixture
def manager():
    """systemctl --user as mallory, who is in no group, and whose manager runs."""
    uid = pwd.getpwnam("mallory").pw_uid
    run("loginctl", "enable-linger", "mallory")
    systemctl("start", "user@%d.service" % uid)
    yield lambda *args, **kwargs: run("systemctl", "--user", "--no-pager", *args, login="mallory",
                                      **kwargs)
    run("loginctl", "disable-linger", "mallory")
    shmd.until(lambda: not logged_in("mallory"), "mallory is logged out")


def test_a_private_broker_under_the_users_manager(manager):
    manager("start", "shmd")
    write = booted.popen("shm_write", login="mallory")
    read = booted.popen("shm_read", login="mallory")
    assert booted.ended(write).out.encode() == WRITTEN
    assert booted.ended(read).out.encode() == READ
    ctl("create", "mine", "--size", "8K", login="mallory")
    before = booted.listed("mallory")
    assert "mallory/mine" in before
    counts = r'Status: "Serving %d segments' % len(before)
    shmd.until(lambda: re.search(counts, manager("status", "shmd").out), "the status counts them")
    pid = int(manager("show", "-P", "MainPID", "shmd").out)
    uid = pwd.getpwnam("mallory").pw_uid
    assert os.stat("/proc/%d" % pid).st_uid == uid
    with open("/proc/%d/status" % pid) as f:
        assert re.search(r"^Seccomp:\t2$", f.read(), re.M)
    manager("kill", "-s", "KILL", "shmd")
    assert booted.listed("mallory") == before
    shmd.until(lambda: manager("is-active", "shmd", expect=None).code == 0, "it is back")
    assert int(manager("show", "-P", "MainPID", "shmd").out) != pid
    manager("stop", "shmd")
    assert before["mallory/mine"] in sysv.segments()
    manager("stop", "shmd.socket")
    assert not os.path.exists("/run/user/%d/shmd/shmd.sock" % uid)


def test_a_private_broker_is_started_by_the_first_client(manager):
    manager("start", "shmd.socket")
    assert manager("is-active", "shmd", expect=None).out == "inactive\n"
    ctl("create", "first", "--size", "4K", login="mallory")
    assert manager("is-active", "shmd").out == "active\n"
    # It is nobody else's, root being an administrator everywhere.
    path = "/run/user/%d/shmd/shmd.sock" % pwd.getpwnam("mallory").pw_uid
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert ctl("--socket", path, "ping", expect=None).code != 0
    manager("reload", "shmd")
    manager("stop", "shmd.socket", "shmd")


def test_segments_survive_logout():
    """logind's RemoveIPC=yes takes what alice's programs left lying about, not what shmd keeps."""
    systemctl("start", "shmd")
    with session("alice"):
        ctl("create", "kept", "--size", "4K")
        out = run("ipcmk", "-M", "4096", login="alice").out
        plain = int(re.search(r"id: (\d+)", out).group(1))
        assert plain in sysv.segments()
    shmd.until(lambda: plain not in sysv.segments(), "logind has removed the plain one")
    kept = booted.listed()
    assert list(kept) == ["alice/kept"] and kept["alice/kept"] in sysv.segments()


def test_logout_while_shmd_is_stopped():
    """As shmd(8) says: unpinned, a segment goes, and the next start lets its name go."""
    systemctl("start", "shmd")
    with session("alice"):
        ctl("create", "used", "--size", "4K")
        ctl("create", "unused", "--size", "4K")
        ids = booted.listed()
        systemctl("stop", "shmd.socket", "shmd")
        address = sysv.shmat(ids["alice/used"])
    shmd.until(lambda: ids["alice/unused"] not in sysv.segments(), "logind removes what nobody held")
    assert ids["alice/used"] in sysv.segments(), "somebody held it"
    systemctl("start", "shmd")
    assert booted.listed() == {"alice/used": ids["alice/used"]}
    sysv.shmdt(address)
    (record,) = booted.records("SHMD_SEGMENT=alice/unused", "SHMD_REASON=away")
    assert record["SHMD_SHMID"] == str(ids["alice/unused"]) and "its name is free" in record["MESSAGE"]
