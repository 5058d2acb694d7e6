# SPDX-License-Identifier: MIT
"""A member of a channel by way of the library: a process that does what it is told."""
import contextlib
import os
import select
import subprocess
import time

import pytest

import shmd

RELIABLE, BROADCAST, MANY, HOLD = 0, 1, 2, 4
WAIT = 1
ANY = -1
OWNERDEAD, TIMEDOUT, BUSY, USERS, ACCES, PROTOTYPE, STALE, MSGSIZE, IDRM = 130, 110, 16, 87, 13, 91, 116, 90, 43


class Member:
    """tests/e2e/member.c, told line by line what to do."""

    def __init__(self, broker, uid=None, **kwargs):
        self.process = broker.programs.popen(
            [os.path.join(broker.programs.folder, "tests", "member"), broker.socket], uid=uid,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=broker.env, **kwargs)
        assert self.hear() == ["connected"]

    def say(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()

    def hear(self, expect=0):
        ready = select.select([self.process.stdout], [], [], shmd.LIMIT)[0]
        assert ready, "it does not answer"
        line = self.process.stdout.readline().decode()
        words = line.split()
        assert words, "it has ended: %s" % self.process.communicate()[1].decode()
        if words[0] == "ok":
            assert expect == 0, line
            return words[1:]
        assert words[0] == "error" and int(words[1]) == expect, line
        return line.split(None, 2)[2]

    def do(self, *words, expect=0):
        self.say(*words)
        return self.hear(expect)

    @property
    def pid(self):
        return self.process.pid

    def kill(self):
        self.process.kill()
        self.process.wait()
        return time.monotonic_ns() // 1000

    def end(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            assert self.process.wait(shmd.LIMIT) == 0, self.process.stderr.read()
        for f in (self.process.stdin, self.process.stdout, self.process.stderr):
            f.close()


@pytest.fixture
def member(broker):
    with contextlib.ExitStack() as stack:
        def make(uid=None, **kwargs):
            m = Member(broker, uid, **kwargs)
            stack.callback(m.end)
            return m
        yield make


def channel(w, name="c", flags=RELIABLE, most=65536, messages=16, members=8, mode=""):
    w.do("create", name, flags, most, messages, members, mode)
    return name
