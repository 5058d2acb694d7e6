# SPDX-License-Identifier: MIT
"""Clients of several users and the broker, all killed at random, and nothing lost or left over.

SHMD_SEED=N makes the same plan again; what the processes make of it is up to the scheduler.
"""
import contextlib
import ctypes
import errno
import hashlib
import os
import random
import select
import signal
import struct
import subprocess

import shmd
import sysv
from wire import F, Closed, Refused, Wire

USERS = (10001, 10002, 10003)
CLIENTS = 8
KILLS = 50 if shmd.SANITIZED or shmd.UNDER else 1000
OF_BROKER = 0.13  # of all kills
STARTING = 0.2  # of the broker's, and then of those: killed again while it starts and adopts
CONFIG = """[shmd]
socket_mode = 0666
sweep = 1
log_level = warning
[policy]
max_mode = 0666
"""
PR_SET_CHILD_SUBREAPER = 36
IN_MOVED_TO = 0x80
PAGE = 4096
PAYLOAD = 1500
SLOTS = (64, PAGE)
SIZES = (PAGE + 32 + PAYLOAD, 5 * PAGE)
# What a client may be told of what another one is just doing, or shmd after its restart.
EXPECTED = {errno.ENOENT, errno.EEXIST, errno.EIDRM, errno.EINVAL, errno.EACCES}
EXIT_CODES = range(0, 6)  # of shmctl-client: up to "no broker"; neither a timeout nor a signal
NO_BROKER = (errno.ECONNREFUSED, errno.ENOENT)
RECORD = struct.Struct("=cQQ")


def put(address, payload):
    """A payload into the slot that is not in use, then the generation that puts it to use."""
    generation = ctypes.c_uint64.from_address(address).value + 1
    data = hashlib.sha256(payload).digest() + payload
    ctypes.memmove(address + SLOTS[generation % 2], data, len(data))
    ctypes.c_uint64.from_address(address).value = generation
    return generation


def intact(data):
    """The generation of what was put last, which must be whole."""
    generation = struct.unpack_from("=Q", data)[0]
    if generation:
        at = SLOTS[generation % 2]
        payload = data[at + 32:at + 32 + PAYLOAD]
        assert hashlib.sha256(payload).digest() == data[at:at + 32], generation
    return generation


class Library(shmd.Probe):
    """It may be told at its first connection that there is no shmd, never later."""

    def expect(self, line, status=None):
        self.said = super().expect(line, None)
        return self.said


class Client:
    """What runs in a client's process, until it is killed."""

    def __init__(self, number, life, seed, socket, out, programs):
        self.number, self.socket, self.out, self.programs = number, socket, out, programs
        self.rnd = random.Random("%d %d %d" % (seed, number, life))
        self.ctl = [programs.ctl, "--socket", socket, "--timeout", "20"]
        self.wire, self.lease, self.held = None, 0, []
        self.probe, self.slots = None, set()
        self.renamed = sysv.check(sysv.libc.inotify_init1(0))
        sysv.check(sysv.libc.inotify_add_watch(self.renamed, os.path.dirname(socket).encode(),
                                               IN_MOVED_TO))

    def tell(self, kind, a=0, b=0):
        os.write(self.out, RECORD.pack(kind, a, b))

    def name(self, kind):
        """Persistent ones are one client's alone, the others its user's."""
        return "%s%d" % (kind, self.number if kind == "p" else 0) + self.rnd.choice("abc")

    def anyones(self, kind):
        """Of another user too, who may permit it."""
        if kind == "p" or self.rnd.random() < 0.7:
            return self.name(kind)
        return "%d/%s" % (self.rnd.choice(USERS), self.name(kind))

    def connect(self):
        """The next shmd renames its socket to where the old one is: that is what is waited for."""
        while True:
            try:
                self.wire, self.held = Wire(self.socket), []
                return
            except Closed:
                continue
            except (ConnectionError, FileNotFoundError):
                os.read(self.renamed, 4096)

    def create(self):
        kind, more = self.rnd.choice([
            ("p", {}), ("p", {}), ("e", {"lifetime": F.LIFETIME_EPHEMERAL}),
            ("l", {"lifetime": F.LIFETIME_EPHEMERAL, "linger": 1}),
            ("t", {"lifetime": F.LIFETIME_TTL, "ttl": 1})])
        if kind != "p":
            more["mode"] = self.rnd.choice([0o600, 0o666])
        opened = self.wire.create(self.name(kind), self.rnd.randrange(*SIZES), **more)
        if kind == "p":
            self.tell(b"c", opened.instance)

    def use(self):
        """Lease, shmat, write or read, and mostly give it back."""
        kind = self.rnd.choice("ppelt")
        name = self.anyones(kind)
        self.lease += 1
        opened = self.wire.attach(name, self.lease)
        address = sysv.shmat(opened.shmid)
        if kind == "p" and self.still(name, opened):
            generation = put(address, self.rnd.randbytes(PAYLOAD))
            self.tell(b"w", opened.instance, generation)
        if self.rnd.random() < 0.3 and len(self.held) < 5:
            self.held.append((self.lease, address))
            return
        sysv.shmdt(address)
        self.wire.detach(self.lease)

    def still(self, name, opened):
        """As the library: is it what was meant, also after the shmat?"""
        now = self.wire.open(name)
        return (now.shmid, now.instance) == (opened.shmid, opened.instance)

    def let_go(self):
        if self.held:
            lease, address = self.held.pop()
            sysv.shmdt(address)
            self.wire.detach(lease)

    def remove(self):
        kind = self.rnd.choice("pelt")
        name = self.name(kind)
        if kind == "p":
            self.tell(b"r", self.wire.open(name).instance)  # from here on it need not be there
        self.wire.remove(name)

    def by_program(self):
        """The real program, in a process that is killed together with this one."""
        args = self.ctl + ["write", self.name(self.rnd.choice("elt"))]
        r = subprocess.run(args, input=b"x" * 100, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE)
        assert r.returncode in EXIT_CODES, r

    def by_library(self):
        """The real library, which stays attached and announces its leases to the next shmd."""
        if not self.probe:
            probe = Library(self.programs, self.socket)
            if probe.said[0] != "ok":
                probe.kill()
                assert int(probe.said[1]) in NO_BROKER, probe.said
                self.wire.ping()  # shmd has ended: connect() waits for the next one
                return
            self.probe = probe
        slot = self.rnd.randrange(4)
        if slot in self.slots:
            self.probe.ok("put %d %x" % (slot, self.rnd.getrandbits(64)))
            self.probe.ok("detach %d" % slot)
            self.slots.remove(slot)
            return
        answer = self.probe.ask("attach %d %s" % (slot, self.name(self.rnd.choice("elt"))))
        if answer[0] == "ok":
            self.slots.add(slot)
        else:
            assert int(answer[1]) in EXPECTED, answer

    def live(self):
        steps = [self.create] * 4 + [self.use] * 8 + [self.let_go] * 3 + [self.remove] * 2
        if self.number == 0 and not shmd.SANITIZED:
            steps += [self.by_program] * 3
        if self.number == 1:
            steps += [self.by_library] * 6
        self.connect()
        while True:
            try:
                self.rnd.choice(steps)()
            except Refused as e:
                assert e.errno in EXPECTED, e
            except (Closed, ConnectionError):
                for _, address in self.held:
                    sysv.shmdt(address)
                self.connect()
            except OSError as e:
                assert e.errno in EXPECTED, e
            self.tell(b".")


def where(pid):
    """The system call it is in."""
    with open("/proc/%d/syscall" % pid) as f:
        return f.read().split()[:2]


class Crowd:
    """All the clients, and what they told before they died."""

    def __init__(self, seed, broker):
        self.seed, self.broker = seed, broker
        self.input, self.out = os.pipe()
        self.pids, self.lives = [None] * CLIENTS, 0
        self.written = {}  # instance -> generation
        self.there = set()  # instances of persistent ones that nobody has begun to remove

    def spawn(self, number):
        self.lives += 1
        pid = os.fork()
        if pid == 0:
            try:
                os.setpgid(0, 0)
                os.nice(10)  # they are always at work: who kills them and shmd go first
                uid = USERS[number % len(USERS)]
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                Client(number, self.lives, self.seed, self.broker.socket, self.out,
                       self.broker.programs).live()
            except BaseException as e:  # noqa: B036
                os.write(self.out, RECORD.pack(b"!", number, 0))
                os.write(2, ("client %d: %r\n" % (number, e)).encode())
            finally:
                os._exit(1)
        self.pids[number] = pid
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # whoever of the two is first

    def kill(self, number):
        """And wait for the end of all that it ran: what it held has gone, and asks no more."""
        pid, self.pids[number] = self.pids[number], None
        os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-pid, 0)

    def read(self, limit):
        """What they have told: how many steps. A pipe takes such short records whole."""
        if not select.select([self.input], [], [], limit)[0]:
            return 0
        data = os.read(self.input, RECORD.size * 4096)
        for kind, a, b in RECORD.iter_unpack(data):
            assert kind != b"!", "client %d failed: see above" % a
            if kind == b"w":
                self.written[a] = max(b, self.written.get(a, 0))
            if kind in (b"c", b"w"):
                self.there.add(a)
            elif kind == b"r":
                self.there.discard(a)
        return len(data) // RECORD.size

    def progress(self, steps):
        """So many more of all together. They never wait for room in the pipe, but are at work."""
        self.drain()
        while steps > 0:
            done = self.read(shmd.LIMIT)
            assert done, "nobody gets on; shmd: %s\n%s\nclients: %s" % (
                self.broker.process.poll(), self.broker.log(), [where(pid) for pid in self.pids])
            steps -= done

    def drain(self):
        while self.read(0):
            pass

    def end(self):
        for number in range(CLIENTS):
            if self.pids[number]:
                self.kill(number)


@contextlib.contextmanager
def crowd_of(seed, broker):
    """Its grandchildren are ours to wait for when their parents have been killed."""
    sysv.check(sysv.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    crowd = Crowd(seed, broker)
    try:
        yield crowd
    finally:
        crowd.end()
        sysv.check(sysv.libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0))
        os.close(crowd.input)
        os.close(crowd.out)


def kill_starting(b, rnd):
    """One that has found the registry and is about to adopt what is in it, or has just done so."""
    ready, w = os.pipe()
    p = b.programs.popen(b.command() + ["--ready-fd", w], env=b.env, pass_fds=[w],
                         stderr=subprocess.DEVNULL)
    os.close(w)
    try:
        # A client of the next moment may be the last to attach it: by then shmd is ready.
        shmd.until(lambda: sysv.stat(b.registry).lpid == p.pid or
                   select.select([ready], [], [], 0)[0], "it attaches the registry")
        assert p.poll() is None
        for _ in range(rnd.randrange(200)):
            os.sched_yield()
    finally:
        p.kill()
        p.wait()
        os.close(ready)


def kill_some(b, crowd, rnd):
    """All the kills: how many of them shmd's, and how many of those before it served."""
    brokers = early = 0
    for number in range(CLIENTS):
        crowd.spawn(number)
    kills = 0
    while kills < KILLS:
        crowd.progress(rnd.randrange(1, 16))
        kills += 1
        if rnd.random() >= OF_BROKER:
            number = rnd.randrange(CLIENTS)
            crowd.kill(number)
            crowd.spawn(number)
            continue
        b.kill()
        brokers += 1
        while rnd.random() < STARTING:
            kill_starting(b, rnd)
            kills, brokers, early = kills + 1, brokers + 1, early + 1
        b.start()
    crowd.end()
    crowd.drain()
    return brokers, early


def settle(w):
    """Until nothing is left that goes by itself."""
    w.watch()
    while True:
        listed = w.list()
        if not [s for s in listed if s.flags & F.SEGMENT_EPHEMERAL or s.ttl]:
            return listed
        w.next_event()


def quotas_are_sums(b, left):
    for uid in USERS:
        own = [s for s in left if s.creator_uid == uid]
        with b.connect(uid) as w:
            info = w.info()
        assert info.user_segments == len(own)
        assert info.user_bytes == sum(-(-s.size // PAGE) * PAGE for s in own)
        assert info.user_leases == 0


def test_chaos(make_broker):
    seed = int(os.environ.get("SHMD_SEED", random.SystemRandom().randrange(1 << 32)))
    print("SHMD_SEED=%d" % seed)
    b = make_broker(CONFIG, env=shmd.NO_LEAK_CHECK)
    b.start()
    with crowd_of(seed, b) as crowd:
        brokers, early = kill_some(b, crowd, random.Random(seed))
    with b.connect() as w:
        left = settle(w)
        assert w.fsck().problems == 0
    assert len(b.consistent()) == len(left)
    assert not [s for s in sysv.segments().values() if s.dest]
    quotas_are_sums(b, left)
    last = {s.instance: intact(sysv.read(s.shmid, 2 * PAGE)) for s in left}
    assert not crowd.there - set(last), "persistent ones are lost"
    for instance, generation in last.items():
        assert generation >= crowd.written.get(instance, 0)
    assert crowd.there and any(last.values()), "the plan is worth nothing"
    print("%d segments written, %d left; shmd killed %d times, %d of them while it started" % (
        len(crowd.written), len(left), brokers, early))
