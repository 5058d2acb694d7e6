# SPDX-License-Identifier: MIT
"""Readers that may not write, as a channel's status counts them."""
import member as programs_of
from bare import ALICE, BOB
from channels import BLIND, BROADCAST, Member, b  # noqa: F401


def test_blind_readers_that_poll_are_counted_once(b):  # noqa: F811
    """What else shmd notes in that word is no number of readers."""
    alice, bob = programs_of.Member(b, ALICE, groups=(10050,)), Member(b, BOB)
    try:
        alice.do("create", "lab/c", BROADCAST, 64, 16, 4)
        bob.enter("lab/c", BLIND)
        bob.pollfd()
        row, = b.ctl("stat", "lab/c", "--json").json()["segment"]
        assert row["readers"] == 1
    finally:
        bob.end()
        alice.end()
