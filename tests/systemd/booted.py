# SPDX-License-Identifier: MIT
"""The booted system of tests/systemd/boot, as an administrator and its users see it."""
import json
import os
import pwd
import re
import shutil
import subprocess

import shmd
import sysv

UNIT = "shmd.service"
SOCKET = "/run/shmd/shmd.sock"
DROP_INS = "/run/systemd/system/shmd.service.d"
PREFIX = shmd.OPTIONS["prefix"]
CONF = os.path.join(PREFIX, shmd.OPTIONS["sysconfdir"], "shmd", "shmd.conf")
SHMD = os.path.join(PREFIX, shmd.OPTIONS["sbindir"], "shmd")
since = [""]  # the journal's cursor at the begin of a test
CONFINE = os.path.join(shmd.BUILD, "tests", "confine")


class Ended:
    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    def __repr__(self):
        return "%s -> %d\n%s%s" % (self.args, self.code, self.out, self.err)


def as_user(login):
    """As after a login: its groups, its manager's folder."""
    if login is None:
        return []
    uid = pwd.getpwnam(login).pw_uid
    return ["setpriv", "--reuid", login, "--regid", login, "--init-groups", "env",
            "HOME=/home/" + login, "XDG_RUNTIME_DIR=/run/user/%d" % uid]


def popen(*args, login=None, **kwargs):
    for stream in ("stdin", "stdout", "stderr"):
        kwargs.setdefault(stream, subprocess.DEVNULL if stream == "stdin" else subprocess.PIPE)
    return subprocess.Popen(as_user(login) + [str(a) for a in args], text=True, **kwargs)


def ended(p, expect=0, input=None):
    try:
        out, err = p.communicate(input, timeout=shmd.LIMIT)
    except subprocess.TimeoutExpired:
        p.kill()
        raise AssertionError("no end of %s" % p.args)
    r = Ended(p.args, p.returncode, out, err)
    assert expect is None or r.code == expect, r
    return r


def run(*args, expect=0, input=None, **kwargs):
    if input is not None:
        kwargs["stdin"] = subprocess.PIPE
    return ended(popen(*args, **kwargs), expect, input)


def systemctl(*args, **kwargs):
    return run("systemctl", "--no-pager", *args, **kwargs)


def ctl(*args, login="alice", **kwargs):
    return run("shmctl-client", *args, login=login, **kwargs)


def show(name, unit=UNIT):
    return systemctl("show", "-P", name, unit).out.strip()


def main_pid():
    return int(show("MainPID"))


def running():
    """The unit's process, where it is active; else 0."""
    out = systemctl("show", "-p", "MainPID", "-p", "ActiveState", UNIT).out
    return int(re.search(r"MainPID=(\d+)", out).group(1)) if "ActiveState=active\n" in out else 0


def active(unit=UNIT):
    return show("ActiveState", unit)


def journal(*args):
    """Of this test alone, where no other begin is asked for."""
    run("journalctl", "--sync")
    begin = [] if "--cursor" in args else ["--cursor", since[0]]
    return run("journalctl", "--no-pager", "--quiet", *begin, *args).out


def records(*args):
    return [json.loads(line) for line in journal("-o", "json", *args).splitlines()]


def cursor():
    """Where the journal is now, for journal("--cursor", ...): at a line that nobody asks for.

    (--after-cursor of systemd 252 leaves out the first match where the cursor's line is none.)
    """
    run("systemd-cat", "-t", "shmd-test", "echo", "here")
    run("journalctl", "--sync")
    out = run("journalctl", "-t", "shmd-test", "-n", "1", "--show-cursor").out
    return re.search(r"-- cursor: (\S+)", out).group(1)


def drop_in(text):
    os.makedirs(DROP_INS, exist_ok=True)
    with open(os.path.join(DROP_INS, "test.conf"), "w") as f:
        f.write(text)
    systemctl("daemon-reload")


def configure(text):
    with open(CONF, "w") as f:
        f.write(text)


def listed(login="alice"):
    """name -> shmid, as `login` sees it."""
    (rows,) = json.loads(ctl("list", "--json", login=login).out).values()
    return {row["name"]: row["shmid"] for row in rows}


def reset():
    systemctl("stop", "shmd.socket", UNIT, expect=None)
    systemctl("reset-failed", "shmd.socket", UNIT, expect=None)
    if os.path.exists(DROP_INS):
        shutil.rmtree(DROP_INS)
        systemctl("daemon-reload")
    if os.path.lexists("/run/systemd/system/shmd.socket"):
        systemctl("unmask", "--runtime", "shmd.socket")
    shutil.copy(os.path.join(shmd.TOP, "conf", "shmd.conf"), CONF)
    for shmid in sysv.segments():
        sysv.rmid(shmid)
    since[0] = cursor()
