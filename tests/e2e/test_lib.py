# SPDX-License-Identifier: MIT
"""libshmd as others use it: its symbols, its header from C++, and look-ups without a system call."""
import errno
import os
import re
import shutil
import subprocess

import pytest

import shmd

CLIENT = os.path.join(shmd.TOP, "client")


@pytest.mark.once
def test_exported_symbols():
    with open(os.path.join(CLIENT, "libshmd.sym")) as f:
        listed = set(re.findall(r"^\s+(shmd_\w+);", f.read(), re.M))
    out = subprocess.run(["nm", "-D", "--defined-only", os.path.join(shmd.BUILD, "client", "libshmd.so.0")],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    exported = {line.split()[2].split("@")[0] for line in out.splitlines() if line.split()[1] in "TDBRVW"}
    assert exported == listed
    with open(os.path.join(CLIENT, "shmd.h")) as f:
        declared = set(re.findall(r"^(?:int|struct shmd|const char) \*?(shmd_\w+)\(", f.read(), re.M))
    assert declared == listed


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
    int r = shmd_connect(&s, argv[1], 5000);
    if (r == 0) r = shmd_create(s, "from-cpp", 4096, &options, nullptr, 5000);
    if (r == 0) r = shmd_attach(s, "from-cpp", 0, nullptr, &a, 5000);
    if (r == 0) std::strcpy(static_cast<char *>(a.address), "hello");
    if (r == 0) r = shmd_detach(s, &a);
    if (r == 0) r = shmd_set(s, "from-cpp", &set, nullptr, 5000);
    if (r == 0) r = shmd_remove(s, "from-cpp", nullptr, 5000);
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
