# SPDX-License-Identifier: MIT
"""shmctl-client: every command, its output and its exit codes."""
import os
import re
import signal
import stat
import subprocess

import pytest

import shmd
import sysv

DONE, FAILED, USAGE, NO_SEGMENT, NOT_PERMITTED, NO_BROKER, TIMED_OUT = range(7)


def row(result):
    """The one row of a table in JSON."""
    (rows,) = result.json().values()
    assert len(rows) == 1
    return rows[0]


def rows(result):
    (ret,) = result.json().values()
    return ret


def test_create(broker):
    r = row(broker.ctl("create", "x", "--size", "5000", "--json"))
    s = sysv.segments()[r["shmid"]]
    assert (r["name"], r["size"], r["memory"], int(r["key"], 16)) == ("root/x", 5000, 8192, s.key)
    assert broker.ctl("create", "x", "--size", "4K", "-J", "-o", "NAME,NEW").json()
    assert row(broker.ctl("create", "x", "--size", "4K", "-J", "-o", "NEW"))["new"] in (False, "no")
    assert row(broker.ctl("create", "y", "--size", "4K", "-J", "-o", "NEW"))["new"] in (True, "yes")
    r = broker.ctl("create", "x", "--size", "1", "--exclusive", expect=FAILED)
    assert "exists" in r.err and r.out == ""
    broker.ctl("create", "x", "--size", "64K", expect=FAILED)
    broker.ctl("create", "big", "--size", "8G", "--noreserve")
    assert row(broker.ctl("stat", "big", "-J"))["size"] == 8 << 30


def test_create_with_options(broker):
    with broker.connect(uid=10001) as w:
        broker.ctl("create", "x", "--size", "64K", "--mode", "0640", "--group", "10050", "--key", "0x1234",
                   uid=10001, groups=[10050])
        s = w.stat("x")
        assert (s.mode, s.gid, s.key, s.size, s.uid) == (0o640, 10050, 0x1234, 65536, 10001)


def test_create_by_ftok(broker, folder):
    for text, number in (("7", 7), ("A", ord("A")), ("255", 255)):
        name = "ftok" + text
        broker.ctl("create", name, "--size", "4K", "--ftok", folder + ":" + text)
        st = os.stat(folder)
        key = (number & 0xff) << 24 | (st.st_dev & 0xff) << 16 | st.st_ino & 0xffff
        with broker.connect() as w:
            assert w.stat(name).key & 0xffffffff == key
    broker.ctl("create", "y", "--size", "4K", "--ftok", "/no/such:1", expect=FAILED)
    for bad in (folder, folder + ":", folder + ":0", folder + ":256", ":1"):
        assert broker.ctl("create", "z", "--size", "4K", "--ftok", bad, expect=None).code in (FAILED, USAGE)
    assert len(broker.names()) == 3


@pytest.mark.parametrize("size", ["0", "-1", "x", "9223372036854775808", "99999999999999999999", "1KK", ""])
def test_impossible_sizes(broker, size):
    r = broker.ctl("create", "x", "--size", size, expect=None)
    assert r.code in (FAILED, USAGE) and r.err
    assert broker.names() == {}


@pytest.mark.parametrize("name", ["", "../x", "a/b/c", "a b", "x" * 200, "x" * 10000, "key:", "id:x", "a\n"])
def test_bad_names(broker, name):
    for args in (["create", name, "--size", "4K"], ["open", name], ["stat", name], ["rm", name]):
        r = broker.ctl(*args, expect=None)
        assert r.code in (FAILED, USAGE, NO_SEGMENT) and r.err.startswith("shmctl-client: "), r
    assert broker.names() == {}


def test_open(broker):
    made = row(broker.ctl("create", "x", "--size", "4K", "-J"))
    for what in ("x", "root/x", "key:" + made["key"], "id:%d" % made["shmid"]):
        assert row(broker.ctl("open", what, "-J"))["shmid"] == made["shmid"]
    assert "no/such" in broker.ctl("open", "no/such", expect=NO_SEGMENT).err


def test_open_waits(broker):
    r = broker.ctl("open", "late", "--wait", "--timeout", "0.1", expect=TIMED_OUT)
    assert r.err
    p = broker.programs.popen([broker.programs.ctl, "-s", broker.socket, "open", "late", "-w", "-J"],
                              stdout=subprocess.PIPE)
    with broker.connect() as w:
        shmd.until(lambda: w.info().connections == 2, "it has connected")
        shmid = w.create("late").shmid
    assert ('"shmid": %d' % shmid).encode() in p.communicate(timeout=shmd.LIMIT)[0]
    assert p.returncode == DONE


class Holder:
    """`attach` in the background, until its stdin ends."""

    def __init__(self, broker, *args):
        self.p = broker.programs.popen([broker.programs.ctl, "-s", broker.socket, "attach"] + list(args),
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.first = self.p.stdout.readline().decode()  # printed once it is attached

    def end(self, code=DONE):
        self.p.stdin.close()
        self.p.stdout.read()
        self.p.stdout.close()
        assert self.p.wait(shmd.LIMIT) == code


def test_attach(broker, wire):
    shmid = wire.create("x", 5000).shmid
    h = Holder(broker, "x", "--noheadings")
    assert h.first.split()[0] == "root/x"
    s = wire.stat("x")
    assert (s.nattch, s.leases) == (2, 1)
    h.end()
    s = wire.stat("x")
    assert (s.nattch, s.dtime > 0, s.lpid) == (1, True, h.p.pid)
    shmd.until(lambda: wire.stat("x").leases == 0, "its lease ended")
    assert shmid in sysv.segments()


@pytest.mark.parametrize("options, flag", [([], None), (["--read-only"], "SHM_RDONLY"), (["--exec"], "SHM_EXEC")])
def test_attach_flags(broker, wire, options, flag):
    wire.create("x")
    r = row(broker.ctl("attach", "x", "-J", *options))
    assert int(r["address"], 16) % 4096 == 0
    assert r["flags"] == flag


def test_attach_at_an_address(broker, wire):
    wire.create("x")
    at = 0x7e0000000000
    assert int(row(broker.ctl("attach", "x", "-J", "--address", hex(at)))["address"], 16) == at
    odd = hex(at + 123)
    broker.ctl("attach", "x", "--address", odd, expect=FAILED)
    assert int(row(broker.ctl("attach", "x", "-J", "--address", odd, "--round"))["address"], 16) == at
    assert int(row(broker.ctl("attach", "x", "-J", "--address", hex(at), "--remap"))["address"], 16) == at


def test_attach_with_a_command(broker, wire):
    made = wire.create("x", 5000)
    r = broker.ctl("attach", "x", "--", "sh", "-c", 'echo "$SHMD_NAME $SHMD_SHMID $SHMD_SIZE $SHMD_KEY"; exit 7',
                   expect=7)
    assert "root/x %d 5000 0x%08x" % (made.shmid, made.key) in r.out
    assert broker.ctl("attach", "x", "--", "/no/such/command", expect=127).err
    assert broker.ctl("attach", "x", "--", "/etc/passwd", expect=126).err
    broker.ctl("attach", "x", "--", "sh", "-c", "kill -9 $$", expect=128 + 9)
    assert wire.stat("x").nattch == 1
    broker.ctl("attach", "no-such", "--", "true", expect=NO_SEGMENT)


def test_attach_hands_signals_on(broker, wire):
    wire.create("x")
    script = "exec 3<&0; trap 'echo caught; exit 5' TERM; cat <&3 >/dev/null & echo set; wait"
    p = broker.programs.popen([broker.programs.ctl, "-s", broker.socket, "attach", "x", "--",
                               "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    while b"set" not in p.stdout.readline():
        pass
    p.send_signal(signal.SIGTERM)
    assert b"caught" in p.stdout.readline()
    assert p.wait(shmd.LIMIT) == 5
    p.stdin.close()
    p.stdout.close()
    assert wire.stat("x").nattch == 1


def test_attach_without_permission(broker, wire):
    wire.create("x")
    assert broker.ctl("attach", "root/x", uid=10001, expect=NOT_PERMITTED).err
    assert wire.stat("x").leases == 0


def test_detach_explains(broker):
    assert "shmdt" in broker.ctl("detach").out


def test_stat_tells_every_field(broker, wire):
    made = wire.create("x", 5000, mode=0o640)
    r = row(broker.ctl("stat", "x", "-J"))
    s = sysv.stat(made.shmid)
    assert (r["shmid"], r["size"], r["memory"], r["pages"], r["nattch"]) == (made.shmid, 5000, 8192, 2, s.nattch)
    assert (r["mode"], r["perms"], r["seq"]) == ("0640", "rw-r-----", s.perm.seq)
    assert (r["owner"], r["group"], r["cuser"], r["cgroup"]) == ("root",) * 4
    assert (r["cpid"], r["lpid"], r["leases"], r["pinned"]) == (s.cpid, s.lpid, 0, True)
    for t in ("atime", "ctime", "created"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", r[t]), t
    assert r["dtime"] is None
    text = broker.ctl("stat", "x").out
    assert re.search(r"^SIZE +4\.9K|^SIZE +4\.8K", text, re.M) and "rw-r-----" in text
    assert broker.ctl("stat", "x", "--bytes", "-n", "-o", "SIZE").out == "5000\n"
    assert broker.ctl("stat", "no", expect=NO_SEGMENT).out == ""


def test_stat_of_foreign_segments(broker):
    shmid = sysv.shmget(0x777, 4096, sysv.IPC_CREAT | 0o600)
    broker.foreign.add(shmid)
    for what in ("key:0x777", "id:%d" % shmid):
        r = row(broker.ctl("stat", what, "-J", "-o", "NAME,SHMID,BROKERED"))
        assert (r["name"], r["shmid"], r["brokered"]) == (None, shmid, "no")
    broker.ctl("write", "key:0x777", input=b"foreign")
    assert broker.ctl("read", "key:0x777", "--length", "7").raw == b"foreign"
    assert broker.ctl("rm", "key:0x777", expect=NO_SEGMENT).err


def test_set(broker, wire):
    wire.create("x")
    broker.ctl("set", "x", "--mode", "0640", "--owner", "10001", "--group", "10002")
    s = wire.stat("x")
    assert (s.mode, s.uid, s.gid) == (0o640, 10001, 10002)
    broker.ctl("set", "root/x", "--mode", "600", uid=10001)
    assert wire.stat("x").mode == 0o600
    assert broker.ctl("set", "root/x", "--mode", "600", uid=10003, expect=NOT_PERMITTED).err
    assert broker.ctl("set", "root/x", "--owner", "10003", uid=10001, expect=NOT_PERMITTED).err
    for args in (["--mode", "999"], ["--mode", "x"], ["--owner", "no-such-login"], []):
        assert broker.ctl("set", "x", *args, expect=None).code in (FAILED, USAGE)


def test_rm(broker, wire):
    for name in "abc":
        wire.create(name)
    r = broker.ctl("rm", "a", "no-such", "b", expect=NO_SEGMENT)
    assert "no-such" in r.err and set(broker.names()) == {"root/c"}
    h = Holder(broker, "c")
    r = broker.ctl("rm", "c")
    assert "attach" in (r.out + r.err)
    assert broker.names() == {}
    h.end()
    assert set(sysv.segments()) == {broker.registry}
    wire.create("d")
    broker.ctl("rm", "root/d", uid=10001, expect=NOT_PERMITTED)


def test_list(broker, wire):
    foreign = sysv.shmget(0x777, 4096, sysv.IPC_CREAT | 0o600)
    broker.foreign.add(foreign)
    ids = {"root/n%02d" % i: wire.create("n%02d" % i).shmid for i in range(40)}
    listed = rows(broker.ctl("list", "--json"))
    assert {r["name"]: r["shmid"] for r in listed} == ids
    assert [r["name"] for r in listed] == sorted(ids)
    everything = rows(broker.ctl("list", "--all", "-J", "-o", "NAME,SHMID,BROKERED"))
    kinds = {r["shmid"]: r["brokered"] for r in everything}
    assert kinds == {**{i: "yes" for i in ids.values()}, foreign: "no", broker.registry: "registry"}
    assert broker.ctl("list", "-n", "-o", "NAME").out.split() == sorted(ids)
    assert broker.ctl("list", "-o", "NAME,SIZE", "-b", "-r").out.splitlines()[1] == "root/n00 4096"
    assert "LEASES" in broker.ctl("list", "-o", "+LEASES").out.splitlines()[0]
    broker.ctl("list", "-o", "NONSENSE", expect=USAGE)


def test_list_of_nothing(broker):
    assert rows(broker.ctl("list", "-J")) == []


def test_limits_and_usage(broker, wire, programs, folder):
    wire.create("x", 4096)
    limits = {r["resource"]: r for r in rows(broker.ctl("limits", "-J", "-b"))}
    assert limits["shmmni"]["limit"] == 4096 and limits["shmmni"]["used"] == 2
    assert limits["capacity"]["limit"] == 4096 and limits["max_size"]["limit"] == 1 << 40
    usage = {r["resource"]: r for r in rows(broker.ctl("usage", "-J"))}
    assert usage["used_ids"]["used"] == 2 and usage["segments"]["used"] == 1
    for command in ("limits", "usage"):  # the kernel's part needs no broker
        r = programs.run([programs.ctl, "-s", folder + "/none.sock", command, "-J"])
        assert {x["scope"] for x in rows(r)} == {"kernel"} and r.err


def test_ping_and_status(broker):
    assert str(broker.pid) in broker.ctl("ping").out
    r = row(broker.ctl("status", "-J"))
    assert (r["pid"], r["segments"], r["maxsegments"], r["registry"]) == (broker.pid, 0, 4096, broker.registry)
    assert r["socket"] == broker.socket


def test_data(broker, wire):
    wire.create("x", 5000)
    data = bytes(range(256)) * 19 + b"x" * 136
    broker.ctl("write", "x", input=data)
    assert broker.ctl("read", "x").raw == data
    broker.ctl("write", "x", "--offset", "0x10", input=b"hello")
    assert broker.ctl("read", "x", "--offset", "16", "--length", "5").raw == b"hello"
    assert broker.ctl("read", "x", "--offset", "5000").raw == b""
    assert broker.ctl("write", "x", input=b"y" * 5001, expect=FAILED).err
    assert broker.ctl("write", "x", "--offset", "4999", input=b"z") and sysv.read(
        wire.stat("x").shmid, 1, 4999) == b"z"
    for args in (["read", "x", "--offset", "5001"], ["read", "x", "--offset", "1", "--length", "5000"],
                 ["dump", "x", "--offset", "99999999999999999999"], ["read", "x", "--length", "-1"]):
        r = broker.ctl(*args, expect=None)
        assert r.code in (FAILED, USAGE) and r.raw == b"" and r.err
    assert broker.ctl("read", "root/x", uid=10001, expect=NOT_PERMITTED).raw == b""


def test_dump(broker, wire):
    wire.create("x", 5000)
    broker.ctl("write", "x", input=b"Hello, World!\n\x00\xff")
    lines = broker.ctl("dump", "x").out.splitlines()
    assert lines[0].startswith("00000000  48 65 6c 6c 6f 2c 20 57  6f 72 6c 64 21 0a 00 ff  |Hello, World!...|")
    assert lines[2] == "*" and lines[-1] == "00001388"
    assert broker.ctl("dump", "x", "--offset", "7", "--length", "5").out.splitlines()[0].endswith("|World|")


def test_no_broker(programs, folder):
    for command in (["ping"], ["status"], ["list"], ["stat", "x"], ["rm", "x"], ["create", "x", "--size", "1"]):
        r = programs.run([programs.ctl, "--socket", folder + "/none.sock"] + command, expect=NO_BROKER)
        assert folder + "/none.sock" in r.err and r.raw == b""


def test_broker_that_does_not_answer(broker):
    broker.process.send_signal(signal.SIGSTOP)
    try:
        assert broker.ctl("ping", "--timeout", "0.1", expect=TIMED_OUT).err
    finally:
        broker.process.send_signal(signal.SIGCONT)


def test_socket_from_the_environment(broker, programs):
    programs.run([programs.ctl, "ping"], env={"SHMD_SOCKET": broker.socket})
    r = programs.run([programs.ctl, "ping", "--socket", "/none"], env={"SHMD_SOCKET": broker.socket},
                     expect=NO_BROKER)
    assert "/none" in r.err


@pytest.mark.parametrize("args", [[], ["nonsense"], ["--nonsense"], ["create"], ["create", "x"], ["open"],
                                  ["list", "extra"], ["stat"], ["rm"], ["set", "x"], ["ping", "--json-x"],
                                  ["list", "--timeout", "soon"], ["create", "x", "--size", "1", "--mode", "8"],
                                  ["attach", "x", "--address", "zz"]])
def test_wrong_usage(broker, args):
    r = broker.ctl(*args, expect=USAGE)
    assert r.err.startswith("shmctl-client: ") and r.raw == b""


def test_help_and_version(programs):
    help = programs.run([programs.ctl, "--help"]).out
    commands = re.findall(r"^  ([a-z]+) {2,}", help, re.M)
    assert set(commands) >= {"create", "open", "attach", "detach", "stat", "set", "rm", "list", "limits", "usage",
                             "ping", "status", "write", "read", "dump"}
    for command in commands:
        assert "Usage: shmctl-client " + command in programs.run([programs.ctl, command, "--help"]).out
    assert re.fullmatch(r"shmctl-client \d+\.\d+\.\d+\n", programs.run([programs.ctl, "--version"]).out)


def test_output_that_cannot_be_written(broker, wire):
    wire.create("x")
    for command in (["list"], ["stat", "x"], ["read", "x"], ["dump", "x"], ["status"], ["--help"]):
        with open("/dev/full", "wb") as full:
            p = broker.programs.popen([broker.programs.ctl, "-s", broker.socket] + command, stdout=full,
                                      stderr=subprocess.PIPE)
            err = p.communicate(timeout=shmd.LIMIT)[1]
        assert p.returncode == FAILED and err, command


def test_socket_closed_to_the_caller(make_broker):
    b = make_broker("[shmd]\nsocket_mode = 0600\n")
    b.start()
    assert stat.S_IMODE(os.stat(b.socket).st_mode) == 0o600
    assert b.ctl("ping", uid=10001, expect=None).code in (NOT_PERMITTED, NO_BROKER)


def test_attach_takes_one_segment(broker, wire):
    """A second name is no command: that comes after --."""
    wire.create("x")
    for words in (["x", "echo", "--", "hi"], ["x", "echo"], []):
        broker.ctl("attach", *words, expect=2)
    assert broker.ctl("attach", "--noheadings", "x", "--read-only", "--", "echo", "hi").out.endswith("hi\n")


def test_attach_ignores_what_is_ignored(broker, wire):
    wire.create("x")
    p = broker.programs.popen(["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", broker.programs.ctl, "-s",
                               broker.socket, "attach", "-n", "x"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert b"root/x" in p.stdout.readline()
    with open("/proc/%d/status" % p.pid) as f:
        blocked = int(re.search(r"SigBlk:\s*(\w+)", f.read()).group(1), 16)
    assert not blocked & 1 << signal.SIGHUP - 1 and blocked & 1 << signal.SIGTERM - 1
    p.send_signal(signal.SIGHUP)
    p.send_signal(signal.SIGTERM)
    assert p.wait(shmd.LIMIT) == 0
    p.stdin.close()
    p.stdout.close()
