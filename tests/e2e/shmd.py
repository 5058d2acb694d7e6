# SPDX-License-Identifier: MIT
"""The real daemon and the real programs, run for a test."""
import contextlib
import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import threading
import time

import sysv
from wire import F, Wire

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.realpath(os.environ.get("SHMD_BUILD", os.path.join(TOP, "build")))
REPORT = re.compile(r"(ERROR: (Address|Leak)Sanitizer|runtime error:|SUMMARY: )")
LIMIT = 60  # seconds that a blocking read may take before the test gives up
# Exit codes of their own, so that a report is never taken for an ordinary failure.
SANITIZERS = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=1:quarantine_size_mb=4",
              "UBSAN_OPTIONS": "exitcode=99:halt_on_error=1:print_stacktrace=1"}
# A command that runs another one: for tests/systemd, which runs shmd under the unit's filters.
UNDER = shlex.split(os.environ.get("SHMD_UNDER", ""))
# The search for leaks needs ptrace, and takes longer than all the rest of a short program.
NO_LEAK_CHECK = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=0"}


def build_options():
    with open(os.path.join(BUILD, "meson-info", "intro-buildoptions.json")) as f:
        return {o["name"]: o["value"] for o in json.load(f)}


OPTIONS = build_options()
SANITIZED = OPTIONS["b_sanitize"] != "none"


def install(to):
    """Copy the programs to where every user may run them, laid out as in the build folder."""
    for part in ("daemon/shmd", "client/shmctl-client", "client/shm_write", "client/shm_read",
                 "tests/probe", "tests/member"):
        if os.path.exists(os.path.join(BUILD, part)):
            os.makedirs(os.path.join(to, os.path.dirname(part)), exist_ok=True)
            shutil.copy2(os.path.join(BUILD, part), os.path.join(to, part))
    shutil.copy2(os.path.join(BUILD, "client", "libshmd.so.0"), os.path.join(to, "client"))
    for folder, _, files in os.walk(to):
        os.chmod(folder, 0o755)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o755)


def environment(**more):
    env = {k: v for k, v in os.environ.items()
           if k not in ("SHMD_SOCKET", "XDG_RUNTIME_DIR", "SHMD_FAILPOINT", "JOURNAL_STREAM",
                        "NOTIFY_SOCKET", "LISTEN_FDS")}
    env.update(SANITIZERS, LC_ALL="C.UTF-8", TZ="UTC")
    env.update({k: str(v) for k, v in more.items()})
    return env


def user_prefix(uid, gid=None, groups=()):
    if uid is None:
        return []
    gid = uid if gid is None else gid
    more = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    return ["setpriv", "--reuid", str(uid), "--regid", str(gid)] + more


def cpu_time(pid):
    """Seconds. Adopting waits for nothing: on a machine of its own this is the time that it takes."""
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def no_report(text):
    assert not REPORT.search(text), text


class Result:
    def __init__(self, args, code, out, err):
        self.args, self.code, self.raw, self.err = args, code, out, err

    @property
    def out(self):
        return self.raw.decode()

    def json(self):
        return json.loads(self.raw)

    def __repr__(self):
        return "%s -> %d\n%s%s" % (self.args, self.code, self.raw[:2000], self.err[:4000])


class Programs:
    """The programs that were built."""

    def __init__(self, folder):
        self.folder = folder
        self.shmd = os.path.join(folder, "daemon", "shmd")
        self.ctl = os.path.join(folder, "client", "shmctl-client")
        self.write = os.path.join(folder, "client", "shm_write")
        self.read = os.path.join(folder, "client", "shm_read")
        self.probe = os.path.join(folder, "tests", "probe")

    def popen(self, args, uid=None, gid=None, groups=(), env=None, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(user_prefix(uid, gid, groups) + [str(a) for a in args],
                                env=environment(**(env or {})), **kwargs)

    def run(self, args, expect=0, input=None, **kwargs):
        """Run to its end. `expect`: the exit code, or None for any."""
        kwargs["stdin"] = subprocess.DEVNULL if input is None else subprocess.PIPE
        p = self.popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)
        try:
            out, err = p.communicate(input, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
            raise AssertionError("no end of %s\n%s%s" % (args, out, err))
        r = Result(args, p.returncode, out, err.decode(errors="replace"))
        no_report(r.err)
        assert r.code != 99, r
        assert expect is None or r.code == expect, r
        return r


class Broker:
    """shmd, started with a configuration of the test's and stopped at its end."""

    def __init__(self, programs, folder, config="", args=(), env=None, uid=None, socket=None,
                 gid=None, groups=(), prefix=()):
        self.programs, self.folder = programs, folder
        self.socket = socket or os.path.join(folder, "shmd.sock")
        self.config = os.path.join(folder, "shmd.conf")
        self.args, self.env = list(args), dict(env or {})
        self.user = {"uid": uid, "gid": gid, "groups": groups}
        self.prefix = list(prefix)
        self.process = self.reader = None
        self.lines, self.changed = [], threading.Condition()
        self.foreign = set()  # shmids of segments that the test made beside the broker
        self.registry = None
        self.write_config(config)

    def write_config(self, text):
        if text is not None:
            if "[shmd]" not in text:
                text = "[shmd]\nsocket_mode = 0666\n" + text
            with open(self.config, "w") as f:
                f.write(text)
            os.chmod(self.config, 0o644)

    def command(self):
        return UNDER + [self.programs.shmd, "--config", self.config, "--socket", self.socket]

    def start(self, ready=True, command=None, **env):
        """Start it. With `ready` it must serve; without, tell whether it came to serving."""
        assert self.process is None or self.process.poll() is not None
        r, w = os.pipe()
        self.lines = []
        try:
            self.process = self.programs.popen(
                self.prefix + (command or self.command()) + self.args + ["--ready-fd", w],
                env={**self.env, **env}, pass_fds=[w], stderr=subprocess.PIPE, **self.user)
            os.close(w)
            self.reader = threading.Thread(target=self._drain, args=(self.process.stderr,))
            self.reader.start()
            readable, _, _ = select.select([r], [], [], LIMIT)
            serves = bool(readable) and os.read(r, 1) == b"\n"
        finally:
            os.close(r)
        if ready:
            assert serves, self.log()
            self.registry = self.welcome().registry_shmid
        return serves

    def _drain(self, stream):
        for line in stream:
            with self.changed:
                self.lines.append(line.decode(errors="replace"))
                self.changed.notify_all()
        stream.close()

    def log(self):
        with self.changed:
            return "".join(self.lines)

    def mark(self):
        with self.changed:
            return len(self.lines)

    def wait_log(self, pattern, since=0):
        """The first line that matches, from line `since` on."""
        found = []

        def there():
            found[:] = [line for line in self.lines[since:] if re.search(pattern, line)]
            return found

        with self.changed:
            assert self.changed.wait_for(there, LIMIT), "%s not in:\n%s" % (pattern, "".join(self.lines))
        return found[0]

    @property
    def pid(self):
        return self.process.pid

    def connect(self, uid=None, **kwargs):
        return Wire(self.socket, uid, **kwargs)

    def welcome(self):
        with self.connect() as w:
            return w.welcome

    def ended(self):
        """Wait for its end; its exit code."""
        code = self.process.wait(LIMIT)
        self.reader.join(LIMIT)
        no_report(self.log())
        return code

    def stop(self, number=signal.SIGTERM, expect=0):
        self.process.send_signal(number)
        assert self.ended() == expect, self.log()

    def kill(self):
        self.stop(signal.SIGKILL, -signal.SIGKILL)

    def names(self):
        with self.connect() as w:
            return {s.name: s.shmid for s in w.list()}

    def consistent(self):
        """Every segment has a name, every name a segment. The names, by which the test goes on."""
        with self.connect() as w:
            listed = w.list()
            registry = w.welcome.registry_shmid
        assert len({s.shmid for s in listed}) == len(listed)
        ids = {s.shmid for s in listed if not s.flags & F.SEGMENT_DEST}  # ephemeral ones are the kernel's
        there = {s.shmid for s in sysv.segments().values() if not s.dest}
        assert there - {registry} - self.foreign == ids, (there, listed, self.log())
        return {s.name: s.shmid for s in listed}

    def rss(self):
        with open("/proc/%d/status" % self.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024

    def finish(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            try:
                self.consistent()
            finally:
                self.stop()
        else:
            self.reader.join(LIMIT)
            no_report(self.log())

    # Programs that talk to it.

    def ctl(self, *args, **kwargs):
        return self.programs.run([self.programs.ctl, "--socket", self.socket] + list(args), **kwargs)

    def probe(self, uid=None, **kwargs):
        return Probe(self.programs, self.socket, uid, **kwargs)


def entries_at(capacity):
    """Where the registry's entries begin: behind header and buckets (common/registry.h)."""
    buckets = 64
    while buckets < 2 * capacity:
        buckets *= 2
    return 128 + 4 * buckets


NAMES = {"root/a": 0o600, "root/b": 0o640, "10001/c": 0o660}


def populate(broker):
    """Segments of NAMES, of 5,000 bytes: their shmids."""
    with broker.connect() as w:
        return {name: w.create(name, 5000, mode=mode).shmid for name, mode in NAMES.items()}


class Probe:
    """tests/e2e/probe.c: a program on libshmd that does line by line what it is told."""

    def __init__(self, programs, socket, uid=None, **kwargs):
        self.process = programs.popen([programs.probe, socket], uid=uid, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, **kwargs)
        self.expect("connect")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, line):
        """One command; the answer's words: "ok", ... or "error", code, sentence."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self.expect(line, None)

    def expect(self, line, status="ok"):
        readable, _, _ = select.select([self.process.stdout], [], [], LIMIT)
        assert readable, "no answer to " + line
        answer = self.process.stdout.readline().decode().split(None, 2)
        assert answer, "the probe has ended at " + line
        assert status is None or answer[0] == status, (line, answer)
        return answer

    def ok(self, line):
        answer = self.ask(line)
        assert answer[0] == "ok", (line, answer)
        return answer[1:]

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            assert self.process.wait(LIMIT) == 0
        with contextlib.suppress(OSError):
            self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def until(condition, what, limit=LIMIT):
    """Ask again (each time a round trip of `condition`'s own) until it holds."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "never came true: " + what
        os.sched_yield()
