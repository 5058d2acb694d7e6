# SPDX-License-Identifier: MIT
"""libshmd as others use it: its symbols, its header from C++, and look-ups without a system call."""
import errno
import os
import re
import shutil
import subprocess

import pytest

import shmd
import wire as W

CLIENT = os.path.join(shmd.TOP, "client")


@pytest.mark.once
def test_soname():
    out = subprocess.run(["readelf", "-d", os.path.join(shmd.BUILD, "client", "libshmd.so.0")],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "soname: [libshmd.so.0]" in out


CPP = r"""
#include <shmd.h>
#include <cstdio>
#include <cstring>
int main(int, char **argv)
{
    shmd *s = nullptr;
    shmd_attachment a = {};
    shmd_create_options options = SHMD_CREATE_INIT;
    shmd_set_options set = SHMD_SET_INIT;
    options.mode = 0640;
    set.mode = 0600;
    int r = shmd_connect(&s, argv[1], 20000);
    if (r == 0) r = shmd_create(s, "from-cpp", 4096, &options, nullptr, 20000);
    if (r == 0) r = shmd_attach(s, "from-cpp", 0, nullptr, &a, 20000);
    if (r == 0) std::strcpy(static_cast<char *>(a.address), "hello");
    if (r == 0) r = shmd_detach(s, &a);
    if (r == 0) r = shmd_set(s, "from-cpp", &set, nullptr, 20000);
    if (r == 0) r = shmd_remove(s, "from-cpp", nullptr, 20000);
    std::printf("%d %s %s\n", r, r < 0 ? shmd_error(s) : "fine", shmd_version());
    s = shmd_disconnect(s);
    return r < 0;
}
"""


@pytest.mark.once
def test_from_cpp(broker, folder):
    if not shutil.which("c++"):
        pytest.skip("needs a C++ compiler (apt install g++)")
    exe = os.path.join(folder, "cpp")
    lib = os.path.join(broker.programs.folder, "client")
    subprocess.run(["c++", "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-x", "c++", "-I", CLIENT, "-o",
                    exe, "-", "-x", "none", os.path.join(lib, "libshmd.so.0"), "-Wl,-rpath," + lib],
                   input=CPP, text=True, check=True)
    r = broker.programs.run([exe, broker.socket])
    assert r.out.startswith("0 fine ")


@pytest.mark.once
@pytest.mark.parametrize("standard", ["c99", "c11", "gnu17"])
def test_header_stands_alone(standard):
    subprocess.run(["cc", "-std=" + standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-x", "c",
                    "-I", CLIENT, "-"], input="#include <shmd.h>\n", text=True, check=True)


@pytest.mark.once
def test_look_up_takes_no_system_call(broker, folder):
    """1,000 look-ups between two marker calls: strace sees nothing in between."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    broker.connect().create("ticks")
    trace = os.path.join(folder, "trace")
    r = broker.programs.run(["strace", "-f", "-o", trace, broker.programs.probe, broker.socket],
                            input=b"loop ticks 1000\n", env=shmd.NO_LEAK_CHECK)
    assert re.search(r"^ok 1000 \d+$", r.out, re.M), r
    with open(trace) as f:
        calls = [line.split(None, 1)[1] for line in f]
    marks = [i for i, call in enumerate(calls) if call.startswith("getpgid(")]
    assert len(marks) == 2
    assert calls[marks[0] + 1:marks[1]] == []


def test_calls(broker):
    with broker.probe(uid=10001) as p:
        shmid = p.ok("create x 4096")
        assert shmid == [shmid[0], "1\n"] or shmid[1].strip() == "1"
        assert p.ok("open x")[0] == shmid[0]
        assert p.ok("open id:" + shmid[0])[1].strip() == "10001/x"
        assert p.ok("stat x")[1].split() == ["600", "0", "1"]
        assert p.ok("list")[0] == "1"
        assert p.ok("broker")[0] == str(broker.pid)
        assert p.ask("open y")[:2] == ["error", str(errno.ENOENT)]
        assert p.ask("attach 0 y")[:2] == ["error", str(errno.ENOENT)]
        assert p.ask("create ../y 1")[:2] == ["error", str(errno.EINVAL)]
        assert p.ask("create y 0")[:2] == ["error", str(errno.EINVAL)]
        assert p.ask("create root/y 1")[:2] == ["error", str(errno.EPERM)]
        p.ok("attach 0 x")
        assert p.ok("stat x")[1].split() == ["600", "1", "2"]
        p.ok("detach 0")
        p.ok("detach 0")
        assert p.ok("stat x")[1].split() == ["600", "0", "1"]
        p.ok("remove x")
        assert p.ask("open x")[:2] == ["error", str(errno.ENOENT)]


def test_waiting(broker):
    with broker.probe() as one, broker.probe() as two:
        assert one.ask("wait late 50")[:2] == ["error", str(errno.ETIMEDOUT)]
        one.process.stdin.write(b"wait late\n")
        one.process.stdin.flush()
        shmid = two.ok("create late 4096")[0]
        assert one.expect("wait late")[1] == shmid
        one.ok("ping")  # replies match their requests after the one that came too late


def test_nobody_answers(programs, broker):
    """A broker that is stopped: the time limit holds; then it goes on, and nothing is mixed up."""
    with broker.probe() as p:
        p.ok("create x 4096")
        broker.process.send_signal(shmd.signal.SIGSTOP)
        try:
            assert p.ask("ping 100")[:2] == ["error", str(errno.ETIMEDOUT)]
            p.ok("open x")  # needs no daemon
        finally:
            broker.process.send_signal(shmd.signal.SIGCONT)
        p.ok("ping")
        assert p.ok("stat x")[1].split()[0] == "600"


def test_no_broker(programs, folder):
    p = programs.run([programs.probe, folder + "/none.sock"], expect=1)
    assert p.out.startswith("error %d " % errno.ENOENT)


def test_two_restarts_while_idle(broker):
    with broker.probe() as p:
        p.ok("create x 4096")
        p.ok("attach 0 x")
        for _ in range(2):
            broker.stop()
            broker.start()
        assert p.ok("stat x")[1].split() == ["600", "1", "2"]


def test_lifetimes(broker):
    with broker.probe(uid=10001) as p, broker.connect(uid=10001) as w:
        p.ok("create-ttl t 30")
        assert (w.stat("t").ttl, w.stat("t").linger) == (30, 0)
        assert p.ask("create-ttl u 0")[:2] == ["error", str(errno.EINVAL)]
        shmid = int(p.ok("create-ephemeral e 0")[0])
        s = w.stat("e")
        assert s.flags & W.F.SEGMENT_EPHEMERAL and s.flags & W.F.SEGMENT_DEST and s.leases == 1
        p.ok("attach 0 e")  # found in the registry, without a key, and removed in the kernel
        p.ok("put 0 hello")
        assert p.ok("who e")[0] == "1"
        with broker.probe(uid=10001) as other:
            assert other.ok("attach 3 e")[0].strip() == str(shmid)
            assert other.ok("get 3")[0].strip() == "hello"
            p.ok("detach 0")
            assert other.ok("get 3")[0].strip() == "hello"
        shmd.until(lambda: "10001/e" not in broker.names(), "it went with its last user")
        assert shmid not in shmd.sysv.segments()


def test_ephemeral_across_a_restart(broker):
    """Attached, it outlives shmd, and is announced again."""
    with broker.probe() as p:
        shmid = int(p.ok("create-ephemeral e 0")[0])
        p.ok("attach 0 e")
        p.ok("put 0 hello")
        broker.kill()
        broker.start()
        assert p.ok("stat e")[1].split()[1] == "1"
        p.ok("attach 1 e")
        assert p.ok("get 1")[0].strip() == "hello"
    shmd.until(lambda: broker.names() == {}, "it went with its last user")
    assert shmid not in shmd.sysv.segments()


def test_who(broker):
    """More than one page of holders; the walk ends when it is told to."""
    with broker.connect() as w, broker.probe() as p:
        w.create("x")
        for i in range(150):
            w.attach("x", lease=i + 1)
        assert p.ok("who x") == ["150", "0\n"]
        p.ok("attach 0 x")
        assert p.ok("who x")[1].strip() == "1"
        assert p.ask("who y")[:2] == ["error", str(errno.ENOENT)]
        assert len(w.who("x")) == 151


def test_watch(broker):
    with broker.probe() as p, broker.connect() as w:
        p.ok("watch x*")
        assert p.ask("event 0")[:2] == ["error", str(errno.ETIMEDOUT)]
        w.create("y")
        w.create("x")
        assert p.ok("event") == ["1", "0 %d root/x\n" % os.getpid()]
        broker.stop()
        assert p.ask("event 0")[:2] == ["error", str(errno.ETIMEDOUT)]
        assert "lost" in p.ask("event 0")[2]
        assert p.ask("event 30")[:2] == ["error", str(errno.ETIMEDOUT)]
        broker.start()
        assert p.ok("event")[0] == "9"
        with broker.connect() as again:
            again.remove("y")
            again.remove("x")
        assert p.ok("event") == ["2", "0 %d root/x\n" % os.getpid()]
        p.ok("ping")  # the handle's own connection is another one


def test_fsck(broker):
    with broker.probe() as p, broker.connect() as w:
        shmid = w.create("x").shmid
        assert p.ok("fsck") == ["1", "0 0 0\n"]
        shmd.sysv.rmid(shmid)
        assert p.ok("fsck repair") == ["1", "1 1 1\n"]
    with broker.probe(uid=10001) as p:
        assert p.ask("fsck")[:2] == ["error", str(errno.EPERM)]


TRAP = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>
void *shmat(int shmid, const void *address, int flags)
{
    char c;
    if (access(getenv("TRAP"), F_OK) == 0) {
        unlink(getenv("TRAP"));
        if (write(atoi(getenv("TRAP_OUT")), "x", 1) != 1 || read(atoi(getenv("TRAP_IN")), &c, 1) != 1)
            abort();
    }
    return (void *)syscall(SYS_shmat, shmid, address, flags);
}
"""


@pytest.mark.once
@pytest.mark.parametrize("public", ["yes", "no"])
@pytest.mark.parametrize("lifetime", [W.F.LIFETIME_PERSISTENT, W.F.LIFETIME_EPHEMERAL])
def test_recycled_shmid(make_broker, folder, public, lifetime):
    """Between look-up and shmat the shmid comes to be another segment's of the same broker, key and size."""
    knob = "/proc/sys/kernel/shm_next_id"
    if not os.access(knob, os.W_OK):
        pytest.skip("needs kernel.shm_next_id (root, and CONFIG_CHECKPOINT_RESTORE)")
    broker = make_broker("[registry]\npublic = %s\n" % public)
    broker.start()
    trap, exe = os.path.join(folder, "trap"), os.path.join(folder, "trap.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", exe, "-"], input=TRAP, text=True, check=True)
    out, inward = os.pipe(), os.pipe()
    with broker.connect() as w:
        key = 0x1234 if lifetime == W.F.LIFETIME_PERSISTENT else None
        made = w.create("x", key=key, lifetime=lifetime)
        env = {"LD_PRELOAD": exe, "TRAP": trap, "TRAP_OUT": out[1], "TRAP_IN": inward[0]}
        with broker.probe(env=env, pass_fds=[out[1], inward[0]]) as p:
            p.ok("ping")
            with open(trap, "w"):
                pass
            p.process.stdin.write(b"attach 0 x\n")
            p.process.stdin.flush()
            assert os.read(out[0], 1) == b"x"
            try:
                w.remove("x")
                with open(knob, "w") as f:
                    f.write(str(made.shmid))
                again = w.create("y", key=key, lifetime=lifetime)
                assert (again.shmid, again.key) == (made.shmid, made.key)
            finally:
                os.write(inward[1], b"x")
            answer = p.expect("attach 0 x", "error")
            assert int(answer[1]) in (errno.ENOENT, errno.EIDRM), answer
            assert shmd.sysv.segments()[again.shmid].nattch == 1
        assert w.stat("y").leases == (1 if lifetime else 0)
        w.remove("y")
    for fd in (*out, *inward):
        os.close(fd)
