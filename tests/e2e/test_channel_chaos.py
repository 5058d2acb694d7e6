# SPDX-License-Identifier: MIT
"""
A channel whose writer, readers and broker are killed at random: no message is lost in a reliable one, none
is torn or comes twice, and their order is kept. The seed is printed; SHMD_SEED replays it as far as time
permits. SHMD_KILLS says how many, SHMD_MESSAGES for how many messages the channel goes on afterwards.
"""
import os
import random

import pytest

import shmd
from member import BROADCAST, HOLD, MANY, OWNERDEAD, RELIABLE, WAIT, Member


KILLS = int(os.environ.get("SHMD_KILLS", 10 if shmd.SANITIZED or shmd.UNDER else 40))
MESSAGES = int(os.environ.get("SHMD_MESSAGES", 0))
READERS = 2
MOST = 3000


class Crowd:
    def __init__(self, broker, flags):
        self.broker, self.flags = broker, flags
        self.watcher = Member(broker)
        self.watcher.do("create", "c", flags, MOST, 64, 16)
        self.writers = [self.new_writer() for _ in range(2 if flags & MANY else 1)]
        self.readers = [self.new_reader() for _ in range(READERS)]

    def all(self):
        return self.writers + self.readers + [self.watcher]

    def sent(self):
        return int(self.watcher.do("stat", "c")[4])

    def new_writer(self):
        m = Member(self.broker)
        m.do("writer", "c", WAIT, -1)
        m.do("stream", 0, MOST)
        return m

    def new_reader(self):
        m = Member(self.broker)
        m.do("reader", "c", 0, random.choice((0, -1)), int(bool(self.flags & MANY)))
        m.say("drain", -1)
        return m

    def progress(self, steps):
        goal = self.sent() + steps
        shmd.until(lambda: self.sent() >= goal, "messages flow: %s" % self.watcher.do("stat", "c"))

    def check(self, m):
        """A reader that has come to something: the writer's death, and nothing else."""
        code, _, _, lost, _ = m.hear()
        assert code == str(-OWNERDEAD), (code, m.process.stderr)
        assert lost == "0" or self.flags & BROADCAST
        m.say("drain", -1)


@pytest.mark.parametrize("flags", [RELIABLE, BROADCAST, HOLD, MANY], ids=["reliable", "broadcast", "hold", "many"])
def test_killed_at_random(broker, flags):
    seed = int(os.environ.get("SHMD_SEED", random.SystemRandom().randrange(1 << 32)))
    print("SHMD_SEED=%d" % seed)
    random.seed(seed)
    crowd = Crowd(broker, flags)
    try:
        for _ in range(KILLS):
            crowd.progress(random.choice((1, 10, 300)))
            what = random.choice(("writer", "reader", "shmd"))
            if what == "shmd":
                broker.kill()
                if random.random() < 0.3:
                    crowd.readers[0].kill()
                broker.start()
            elif what == "reader":
                crowd.readers[0].kill()
            if crowd.readers[0].process.poll() is not None:
                crowd.readers.pop(0).end()
                crowd.readers.append(crowd.new_reader())
            if what == "writer":
                crowd.writers[0].kill()
                crowd.writers.pop(0).end()
                if not flags & MANY:
                    for r in crowd.readers:
                        crowd.check(r)
                crowd.writers.append(crowd.new_writer())
        crowd.progress(max(MESSAGES, 1000))
        for w in crowd.writers:
            w.kill()
        for r in crowd.readers:
            crowd.check(r)
    finally:
        for m in crowd.all():
            m.kill()
            m.end()
