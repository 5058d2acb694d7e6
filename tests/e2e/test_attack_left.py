# SPDX-License-Identifier: MIT
"""A channel that is removed before its members have come back to a shmd that was started anew."""
import errno
import os
import signal

import member as programs_of
from bare import ALICE
from channels import b  # noqa: F401


def test_removed_before_a_reader_came_back(b):  # noqa: F811
    """It is told that nobody comes any more, rather than to wait for ever."""
    alice = programs_of.Member(b, ALICE, groups=(10050,))
    try:
        alice.do("create", "lab/c", 0, 64, 16, 4)
        alice.do("reader", "lab/c", 0, 0)
        os.kill(alice.pid, signal.SIGSTOP)
        b.kill()
        b.start()
        with b.connect(ALICE) as other:
            other.remove("lab/c")
        os.kill(alice.pid, signal.SIGCONT)
        alice.do("recv", 1, 5000, expect=errno.EIDRM)
    finally:
        os.kill(alice.pid, signal.SIGCONT)
        alice.end()
