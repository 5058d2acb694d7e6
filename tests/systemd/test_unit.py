# SPDX-License-Identifier: MIT
"""The system unit: start, use, look, reload, stop; who may talk to it, and what it may do."""
import os
import re
import stat
import subprocess

import booted
import shmd
import sysv
from booted import ctl, run, systemctl
from test_exchange import READ, WRITTEN


def shown(pattern):
    """`systemctl status` is asked until its Status line is this one."""
    return shmd.until(lambda: re.search(pattern, systemctl("status", "shmd").out), pattern)


def test_start_use_stop_start():
    systemctl("start", "shmd")
    assert booted.active() == "active" and booted.show("SubState") == "running"
    write = booted.popen("shm_write", login="alice")
    read = booted.popen("shm_read", login="alice")
    assert booted.ended(write).out.encode() == WRITTEN
    assert booted.ended(read).out.encode() == READ
    ctl("create", "kept", "--size", "64K")
    run("shmctl-client", "write", "kept", login="alice", input="through a stop\n")
    before = booted.listed()
    assert "alice/kept" in before
    shown(r'Status: "Serving %d segments \(\d+ bytes\), 0 connections, 0 leases"' % len(before))
    with shmd.Probe(shmd.Programs(shmd.BUILD), booted.SOCKET) as probe:
        probe.ok("attach 0 alice/kept")
        shown(r'Status: "Serving %d segments \(\d+ bytes\), 1 connections, 1 leases"' % len(before))
    systemctl("stop", "shmd")
    assert booted.active() == "inactive"
    assert before["alice/kept"] in sysv.segments()
    systemctl("start", "shmd")
    assert booted.listed() == before
    assert ctl("read", "kept", "--length", "15").out == "through a stop\n"


def test_started_by_the_first_client():
    systemctl("start", "shmd.socket")
    assert booted.active() == "inactive" and booted.active("shmd.socket") == "active"
    made = os.lstat(booted.SOCKET)
    ctl("create", "first", "--size", "4K")
    assert booted.active() == "active"
    # It is the socket that systemd made, and it stays through a stop of the service.
    assert os.lstat(booted.SOCKET).st_ino == made.st_ino
    systemctl("stop", "shmd")
    assert os.lstat(booted.SOCKET).st_ino == made.st_ino and booted.active() == "inactive"
    assert list(booted.listed()) == ["alice/first"]
    assert booted.active() == "active"
    systemctl("restart", "shmd.socket")
    assert os.lstat(booted.SOCKET).st_ino != made.st_ino and list(booted.listed()) == ["alice/first"]
    systemctl("stop", "shmd.socket")
    assert booted.active() == "inactive" and not os.path.exists(booted.SOCKET)


def test_a_start_that_cannot_work_is_given_up():
    """A client waits, shmd does not start: that is tried a number of times, and the client told."""
    booted.drop_in("[Unit]\nStartLimitBurst=10\n")  # not 100, that it takes less time
    booted.configure("[limits]\nmax_sise = 1M\n")
    assert systemctl("start", "shmd", expect=None).code != 0
    assert booted.active() == "failed", "by itself it is not tried again"
    assert booted.journal("-u", "shmd").count(booted.CONF + ":2: ") == 1
    r = ctl("ping", "--timeout", "60", expect=None)
    assert r.code == 5, r
    assert booted.active("shmd.socket") == "failed"
    tries = booted.journal("-u", "shmd").count(booted.CONF + ":2: ")
    assert 1 < tries <= 11
    booted.configure("")
    systemctl("reset-failed", "shmd.socket", "shmd")
    systemctl("start", "shmd")
    ctl("ping")


def test_members_of_the_group_may_connect():
    systemctl("start", "shmd")
    for login in ("alice", "bob", None):
        ctl("ping", login=login)
    r = ctl("ping", login="mallory", expect=None)
    assert r.code != 0 and "usermod -aG shmd-users" in r.err
    code = "import socket; socket.socket(socket.AF_UNIX).connect(%r)" % booted.SOCKET
    r = run("/usr/bin/python3", "-c", code, login="mallory", expect=1)
    assert "PermissionError: [Errno 13]" in r.err
    s = os.stat(booted.SOCKET)
    assert stat.S_IMODE(s.st_mode) == 0o660
    with open("/etc/group") as f:
        groups = {line.split(":")[0]: line.strip().split(":")[2:] for line in f}
    assert s.st_gid == int(groups["shmd-users"][0])
    assert groups["shmd"][1] == "", "the group of segments' creator has no members"


def test_without_any_broker_there_is_a_hint():
    r = ctl("ping", expect=None)
    assert r.code != 0 and "systemctl start shmd" in r.err
    w = run("shm_write", "--timeout", "1", login="alice", expect=None)
    assert w.code != 0 and "systemctl start shmd" in w.err


def test_a_mistake_in_the_configuration_changes_nothing():
    booted.configure("[limits]\nmax_size = 1M\n")
    systemctl("start", "shmd")
    pid = booted.main_pid()

    def limit():
        assert booted.active() == "active" and booted.main_pid() == pid
        return ctl("create", "x", "--size", "2M", expect=None).code != 0

    with shmd.Probe(shmd.Programs(shmd.BUILD), booted.SOCKET) as probe:
        assert limit()
        at = booted.cursor()
        booted.configure("[limits]\nmax_size = 2M\nmax_sise = 4M\n")
        r = systemctl("reload", "shmd", expect=None)
        assert r.code != 0, r
        assert booted.CONF + ":3: " in booted.journal("-u", "shmd", "--cursor", at)
        assert limit()
        # Told to reload by the signal itself it reports it, and it is told to all who look.
        systemctl("kill", "-s", "HUP", "shmd")
        shown("Status: .*the configuration has a mistake")
        assert booted.active() == "active" and limit()
        booted.configure("[limits]\nmax_size = 2M\n")
        systemctl("reload", "shmd")
        shmd.until(lambda: not limit(), "the new limit is in force")
        assert "mistake" not in systemctl("status", "shmd").out
        assert probe.ok("ping") == ["pong"], "no client was dropped"


def test_exposure():
    r = run("systemd-analyze", "--no-pager", "security", "--threshold=10", "shmd.service",
            expect=None)
    assert r.code == 0, r.out
    exposed = set(re.findall(r"^✗ (\w+=)", r.out, re.M))
    assert exposed, r.out
    with open(os.path.join(shmd.TOP, "systemd", "shmd.service.in")) as f:
        comments = " ".join(line[1:] for line in f if line.startswith("#"))
    assert [e for e in exposed if e not in comments] == [], "explained in the unit"


def test_units_are_well_formed():
    r = run("systemd-analyze", "verify", "shmd.service", "shmd.socket")
    assert "shmd" not in r.out + r.err
    user = subprocess.run(["systemd-analyze", "--user", "verify", "shmd.service", "shmd.socket"],
                          capture_output=True, text=True, env={**os.environ, "XDG_RUNTIME_DIR": "/run"})
    assert "shmd" not in user.stdout + user.stderr


def test_it_has_no_privilege():
    systemctl("start", "shmd")
    with open("/proc/%d/status" % booted.main_pid()) as f:
        status = dict(line.rstrip().split(":\t", 1) for line in f if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert "0" not in status["Uid"].split()
    for name in ("PrivateIPC", "RemoveIPC", "DynamicUser", "PrivateUsers"):
        assert booted.show(name) == "no", name
    # In its eyes the file system is read-only, but for one folder; its own net has nothing in it.
    inside = ["nsenter", "-t", booted.main_pid(), "-m", "-n", "-r", "-w", "--"]
    for path in ("/etc", "/var/lib", "/run", "/dev/shm", "/run/shmd"):
        run("touch", path + "/x")
        run("rm", path + "/x")
        r = run(*inside, "touch", path + "/x", expect=None)
        assert (r.code == 0) == (path == "/run/shmd"), r
    run("rm", "/run/shmd/x")
    assert run(*inside, "ls", "/home", expect=None).out == ""
    assert re.findall(r"^\s*(\w+):", run(*inside, "cat", "/proc/net/dev").out, re.M) in ([], ["lo"])


def test_other_system_calls_are_refused(folder):
    """The unit's filters, put on a program that does what shmd never does."""
    systemctl("start", "shmd")
    path = os.path.join(folder, "filters")
    run(booted.CONFINE, "take", booted.main_pid(), path)
    calls = {line.split()[1] for line in run(booted.CONFINE, "try", path).out.splitlines()}
    assert calls == {"EPERM"}
    free = {line.split()[1] for line in run(booted.CONFINE, "try", "").out.splitlines()}
    assert "EPERM" not in free, "of themselves they would be something else"


def test_pages_and_units_say_the_same():
    def text(path):
        with open(os.path.join(shmd.TOP, path)) as f:
            return f.read()

    systemctl("start", "shmd")
    page, socket = text("daemon/shmd.8"), text("systemd/shmd.socket")
    assert "notices within %s seconds" % booted.show("WatchdogUSec").rstrip("s") in page
    unit = text("systemd/shmd.service.in")
    statuses = re.search(r"^RestartPreventExitStatus=(.*)$", unit, re.M).group(1).split()
    assert "exit status %s or %s" % (", ".join(statuses[:-1]), statuses[-1]) in page
    for path in statuses:
        assert re.search(r"^\.It %s$" % path, page, re.M)
    (group,) = re.findall(r"^SocketGroup=(.*)$", socket, re.M)
    for path in ("daemon/shmd.8", "README.md", "systemd/shmd.sysusers", "client/lib/reconnect.c"):
        assert group in text(path), path
    (path,) = re.findall(r"^ListenStream=(.*)$", socket, re.M)
    (mode,) = re.findall(r"^SocketMode=(.*)$", socket, re.M)
    assert "#socket = %s\n#socket_mode = %s\n" % (path, mode) in text("conf/shmd.conf")
