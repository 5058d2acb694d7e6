# SPDX-License-Identifier: MIT
"""Processes that make System V calls as some user, past the broker, and answers as errnos."""
import array
import contextlib
import ctypes
import errno
import json
import os
import signal
import socket

import pytest

import sysv
from wire import Refused, Wire

ALICE, BOB = 10001, 10002
DAEMON = 10005  # a plain user for shmd, whom the kernel holds to the modes, with a group of its own


def answer(call, *args, **kwargs):
    """The errno that the broker answers a request with; 0: it was done."""
    try:
        call(*args, **kwargs)
    except Refused as e:
        assert e.text
        return e.errno
    return 0


def refused(call, *args, **kwargs):
    """The refusal that it is answered with."""
    with pytest.raises(Refused) as e:
        call(*args, **kwargs)
    return e.value


def why(call, *args, number=errno.EDQUOT):
    """The sentence of a refusal with that errno."""
    try:
        call(*args)
    except Refused as e:
        assert e.errno == number, e
        return e.text
    raise AssertionError("it was not refused")


def start_as_daemon(make_broker, folder, config, **kwargs):
    """A broker of a user that is not root."""
    os.chown(folder, DAEMON, DAEMON)
    b = make_broker(config, uid=DAEMON, **kwargs)
    b.start()
    return b


def reload(b, config, expect=r"configuration read again"):
    """Another configuration; the line of the log that says what came of it."""
    mark = b.mark()
    b.write_config(config)
    b.process.send_signal(signal.SIGHUP)
    return b.wait_log(expect, mark)


def _set(shmid, uid, gid, mode):
    """IPC_SET without the look at it that IPC_STAT would need permission for."""
    ds = sysv.Ds()
    ds.perm.uid, ds.perm.gid, ds.perm.mode = uid, gid, mode
    sysv.check(sysv.libc.shmctl(shmid, sysv.IPC_SET, ctypes.byref(ds)))


def _ask(path, method, *args, _connections={}):
    """A request on this process's own connection, which stays."""
    if path not in _connections:
        _connections[path] = Wire(path)
    getattr(_connections[path], method)(*args)


def _fork():
    """A child that keeps all that is open, until it is killed: its pid."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid


def pass_on(path, uid):
    """A connection made by a process of `uid` that has ended since: a socket."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)
            theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno()]))])
        finally:
            os._exit(0)
    theirs.close()
    _, [(_, _, data)], _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
    os.waitpid(pid, 0)
    ours.close()
    return socket.socket(fileno=array.array("i", data)[0]), pid


CALLS = {
    "attach": lambda shmid, flags: sysv.shmdt(sysv.shmat(shmid, flags)),
    "stat": sysv.stat,
    "set": _set,
    "rmid": sysv.rmid,
    "find": lambda key: sysv.shmget(key, 0, 0),
    "hold": sysv.shmat,  # until let_go() or its end
    "get": sysv.shmget,
    "ask": _ask,
    "fork": _fork,
}


class Bare:
    """A child process of that user: no capability unless it is root, and nothing of ours open."""

    def __init__(self, uid, gid=None, groups=()):
        gid = uid if gid is None else gid
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._serve(theirs.detach(), uid, gid, groups)
            finally:
                os._exit(0)
        theirs.close()
        self.file = ours.makefile("rwb")
        ours.close()

    @staticmethod
    def _serve(fd, uid, gid, groups):
        os.dup2(fd, 3)
        for other in map(int, os.listdir("/proc/self/fd")):
            if other > 3:
                with contextlib.suppress(OSError):  # that of the list itself
                    os.close(other)
        os.setgroups(list(groups))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        with os.fdopen(3, "rb", closefd=False) as questions:
            for line in questions:
                op, *args = json.loads(line)
                try:
                    ret = CALLS[op](*args)
                    number = ret if op == "fork" else 0
                except (OSError, Refused) as e:
                    number = e.errno
                os.write(3, b"%d\n" % number)

    def __call__(self, op, *args):
        """The errno of a call, 0 where it was done."""
        self.file.write(json.dumps([op, *args]).encode() + b"\n")
        self.file.flush()
        return int(self.file.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """SIGKILL, and its end."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None
            self.file.close()
