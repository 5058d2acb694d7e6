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
OF_BROKER = 0.15  # of all kills
CONFIG = "[shmd]\nsocket_mode = 0666\nsweep = 1\nlog_level = warning\n"
IN_MOVED_TO = 0x80
SIZE = 8192
PAYLOAD = 1500
SLOTS = (64, 4096)
# What a client may be told of what another one is just doing, or shmd after its restart.
EXPECTED = {errno.ENOENT, errno.EEXIST, errno.EIDRM, errno.EINVAL, errno.EACCES}


def put(address, payload):
    """A payload into the slot that is not in use, then the generation that makes it the one in use."""
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


class Client:
    """What runs in a client's process, until it is killed."""

    def __init__(self, number, life, seed, socket, out, programs):
        self.number, self.socket, self.out = number, socket, out
        self.rnd = random.Random("%d %d %d" % (seed, number, life))
        self.ctl = [programs.ctl, "--socket", socket, "--timeout", "20"]
        self.wire, self.lease, self.held = None, 0, []
        self.renamed = sysv.check(sysv.libc.inotify_init1(0))
        sysv.check(sysv.libc.inotify_add_watch(self.renamed, os.path.dirname(socket).encode(),
                                               IN_MOVED_TO))

    def name(self, kind):
        """Persistent ones are written by one client, at a time; the others are its user's."""
        return "%s%d" % (kind, self.number if kind == "p" else 0) + self.rnd.choice("abc")

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
        self.wire.create(self.name(kind), SIZE, **more)

    def use(self):
        """Lease, shmat, write or read, and mostly give it back."""
        kind = self.rnd.choice("ppelt")
        name = self.name(kind)
        self.lease += 1
        opened = self.wire.attach(name, self.lease)
        address = sysv.shmat(opened.shmid)
        if kind == "p" and self.still(name, opened):
            generation = put(address, self.rnd.randbytes(PAYLOAD))
            os.write(self.out, struct.pack("=cQQ", b"w", opened.instance, generation))
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
        self.wire.remove(self.name(self.rnd.choice("pelt")))

    def by_program(self):
        """The real library, in a process that is killed together with this one."""
        name = self.name(self.rnd.choice("elt"))
        subprocess.run(self.ctl + ["write", name], input=b"x" * 100, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def live(self):
        steps = [self.create] * 4 + [self.use] * 8 + [self.let_go] * 3 + [self.remove] * 2
        if self.number == 0 and not shmd.SANITIZED:
            steps += [self.by_program] * 3
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
            os.write(self.out, struct.pack("=cQQ", b".", 0, 0))


class Crowd:
    """All the clients, and what they told before they died."""

    def __init__(self, seed, broker):
        self.seed, self.broker = seed, broker
        self.input, self.out = os.pipe()
        self.pids, self.lives = [0] * CLIENTS, 0
        self.written = {}  # instance -> generation

    def spawn(self, number):
        self.lives += 1
        self.pids[number] = os.fork()
        if self.pids[number] == 0:
            try:
                os.setpgid(0, 0)
                uid = USERS[number % len(USERS)]
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                Client(number, self.lives, self.seed, self.broker.socket, self.out,
                       self.broker.programs).live()
            except BaseException as e:  # noqa: B036
                os.write(self.out, struct.pack("=cQQ", b"!", number, 0))
                os.write(2, ("client %d: %r\n" % (number, e)).encode())
            finally:
                os._exit(1)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(self.pids[number], self.pids[number])  # whoever of the two is first

    def kill(self, number):
        os.killpg(self.pids[number], signal.SIGKILL)
        os.waitpid(self.pids[number], 0)

    def progress(self, steps):
        """Wait for so many steps of all together. Records are shorter than what a pipe writes whole."""
        for _ in range(steps):
            readable, _, _ = select.select([self.input], [], [], shmd.LIMIT)
            assert readable, "nobody gets on"
            kind, a, b = struct.unpack("=cQQ", os.read(self.input, 17))
            assert kind != b"!", "client %d failed: see above" % a
            if kind == b"w":
                self.written[a] = max(b, self.written.get(a, 0))

    def drain(self):
        while select.select([self.input], [], [], 0)[0]:
            self.progress(1)


def settle(w):
    """Until nothing is left that goes by itself."""
    w.watch()
    while True:
        listed = w.list()
        if not [s for s in listed if s.flags & F.SEGMENT_EPHEMERAL or s.ttl]:
            return listed
        w.next_event()


def test_chaos(make_broker):
    seed = int(os.environ.get("SHMD_SEED", random.SystemRandom().randrange(1 << 32)))
    print("SHMD_SEED=%d" % seed)
    rnd = random.Random(seed)
    b = make_broker(CONFIG, env=shmd.NO_LEAK_CHECK)
    b.start()
    crowd = Crowd(seed, b)
    try:
        for number in range(CLIENTS):
            crowd.spawn(number)
        for _ in range(KILLS):
            crowd.progress(rnd.randrange(1, 16))
            if rnd.random() < OF_BROKER:
                b.kill()
                b.start()
            else:
                number = rnd.randrange(CLIENTS)
                crowd.kill(number)
                crowd.spawn(number)
    finally:
        for number in range(CLIENTS):
            with contextlib.suppress(ProcessLookupError):
                crowd.kill(number)
    crowd.drain()
    with b.connect() as w:
        left = settle(w)
        assert w.fsck().problems == 0
    assert len(b.consistent()) == len(left)
    assert not [s for s in sysv.segments().values() if s.dest]
    for uid in USERS:
        own = [s for s in left if s.creator_uid == uid]
        with b.connect(uid) as w:
            info = w.info()
        assert (info.user_segments, info.user_bytes) == (len(own), SIZE * len(own))
        assert info.user_leases == 0
    last = {s.instance: intact(sysv.read(s.shmid, SIZE)) for s in left}
    for instance, generation in last.items():
        assert generation >= crowd.written.get(instance, 0)
    assert left and any(last.values()), "the plan is worth nothing"
    print("%d steps written, %d segments left" % (len(crowd.written), len(left)))
