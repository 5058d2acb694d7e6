# SPDX-License-Identifier: MIT
"""Commands of shmctl-client that go on, and how tests talk to them."""
import contextlib
import platform
import select
import subprocess

import pytest

import shmd

PPOLL = {"x86_64": "271", "aarch64": "73"}.get(platform.machine())
DONE, FAILED, USAGE, NO_SEGMENT, NOT_PERMITTED, NO_BROKER, TIMED_OUT, WRITER_DIED = range(8)


@pytest.fixture
def ctl(broker):
    """Start a command that goes on."""
    with contextlib.ExitStack() as stack:
        def start(*args, uid=None, **kwargs):
            kwargs.setdefault("stdin", subprocess.PIPE)
            kwargs.setdefault("stdout", subprocess.PIPE)
            p = broker.programs.popen([broker.programs.ctl, "--socket", broker.socket, *args],
                                      uid=uid, stderr=subprocess.PIPE, **kwargs)

            def end():
                if p.poll() is None:
                    p.kill()
                p.wait()
                if not p.stderr.closed:
                    shmd.no_report(p.stderr.read().decode())
                for f in (p.stdin, p.stdout, p.stderr):
                    if f:
                        with contextlib.suppress(OSError):
                            f.close()
            stack.callback(end)
            return p
        yield start


def line(p):
    ready = select.select([p.stdout], [], [], shmd.LIMIT)[0]
    assert ready, "nothing is printed"
    return p.stdout.readline()


def put(p, data):
    p.stdin.write(data)
    p.stdin.flush()


def ended(p):
    return p.wait(shmd.LIMIT)


def stat(broker, name, **kwargs):
    (row,) = broker.ctl("stat", name, "--json", **kwargs).json()["segment"]
    return row


def asleep(p):
    """Wait until it polls, and see that it does so with no time limit."""
    while PPOLL:
        assert p.poll() is None
        with open("/proc/%d/syscall" % p.pid) as f:
            call = f.read().split()
        if call[0] == PPOLL:
            assert call[3] == "0x0", call
            return
