# SPDX-License-Identifier: MIT
"""Before Linux 6.5 a socket does not tell of its process by a descriptor (SO_PEERPIDFD): a pid has to do."""
import os
import signal
import subprocess
import time

import pytest

import shmd
from bare import ALICE, BOB, Bare, pass_on
from wire import F, frame, pack, target

pytestmark = pytest.mark.once  # what is put in front of shmd goes with no sanitizer and no filter
LAST_PID = "/proc/sys/kernel/ns_last_pid"
OLD = """
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
int getsockopt(int fd, int level, int name, void *value, unsigned *size)
{
    if (level == 1 && name == 77) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return (int)syscall(SYS_getsockopt, fd, level, name, value, size);
}
"""


@pytest.fixture
def broker(make_broker, folder):
    old = os.path.join(folder, "old.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", old, "-"], input=OLD, text=True, check=True)
    b = make_broker(env={"LD_PRELOAD": old})
    b.start()
    return b


def test_death_is_noticed(broker, alice):
    alice.create("x", mode=0o660)
    alice.watch()
    bare = Bare(BOB, groups=[ALICE])
    assert bare("ask", broker.socket, "attach", "10001/x", 1) == 0
    assert alice.next_event().kind == F.EVENT_ATTACHED
    child = bare("fork")
    bare.kill()
    try:
        assert alice.next_event().kind == F.EVENT_DIED
        assert alice.who("x") == []
    finally:
        os.kill(child, signal.SIGKILL)


def start_ticks(pid):
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rpartition(")")[2].split()[19])


def now_ticks():
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def process_with(pid, after):
    """Another process that gets that pid, and starts in a later tick of the clock."""
    for _ in range(1000):
        with open(LAST_PID, "w") as f:
            f.write(str(pid - 1))
        child = os.fork()
        if child == 0:
            signal.pause()
        if child == pid and start_ticks(pid) > after:
            return
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    pytest.skip("pid %d is not to be had again" % pid)


@pytest.mark.skipif(not os.access(LAST_PID, os.W_OK), reason="no kernel.ns_last_pid")
def test_pid_of_somebody_else(broker, alice):
    """Who has the pid by now is not the one that connected, and holds nothing."""
    alice.create("x")
    s, pid = pass_on(broker.socket, ALICE)
    with s:
        broker.welcome()  # it has been accepted
        process_with(pid, now_ticks())
        try:
            s.settimeout(shmd.LIMIT)
            s.sendall(frame("HELLO", pack("hello", magic=0x444D4853, version_min=1, version_max=1)) +
                      frame("ATTACH", pack("attach", lease=1, **target("10001/x")), serial=2))
            while s.recv(65536):
                pass
        except ConnectionError:
            pass
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert alice.who("x") == [] and alice.info().leases == 0
