# SPDX-License-Identifier: MIT
"""What the kernel has no room for: each of its limits has an error and a sentence of its own."""
import errno

import pytest

import sysv
from bare import start_as_daemon, why
from wire import F

PAGE = 4096


@pytest.fixture
def knob(namespace):
    """Set a limit of this test's own IPC namespace."""
    if not namespace:
        pytest.skip("needs an IPC namespace of its own (CAP_SYS_ADMIN)")

    def set_to(name, value):
        with open("/proc/sys/kernel/" + name, "w") as f:
            f.write("%d" % value)
    return set_to


@pytest.fixture
def b(make_broker, folder):
    return start_as_daemon(make_broker, folder, "")


@pytest.fixture
def alice(b):
    with b.connect(10001) as w:
        yield w


def test_shmmni(alice, knob):
    alice.create("a")
    knob("shmmni", len(sysv.segments()) + 1)
    alice.create("b")
    sentence = why(alice.create, "c", number=errno.ENOSPC)
    assert "kernel.shmmni" in sentence and "kernel.shmall" not in sentence
    assert alice.info().user_segments == 2  # what failed is charged to nobody
    alice.remove("a")
    alice.create("c")


def test_shmall(alice, knob):
    alice.create("a", PAGE)
    pages = sum((s.size + PAGE - 1) // PAGE for s in sysv.segments().values())
    knob("shmall", pages + 4)
    sentence = why(alice.create, "b", 5 * PAGE, number=errno.ENOSPC)
    assert "kernel.shmall" in sentence and "kernel.shmmni" not in sentence
    assert alice.info().user_bytes == PAGE
    alice.create("b", 4 * PAGE)
    assert why(alice.create, "c", 1, number=errno.ENOSPC)
    alice.remove("b")
    alice.create("c", PAGE)


def test_shmmax(alice, knob):
    knob("shmmax", 1 << 20)
    assert "kernel.shmmax" in why(alice.create, "a", (1 << 20) + 1, number=errno.EINVAL)
    alice.create("a", 1 << 20)
    assert alice.info().user_segments == 1


def test_memory(alice):
    with open("/proc/sys/vm/overcommit_memory") as f:
        if f.read().strip() == "1":
            pytest.skip("this kernel promises more memory than there is (vm.overcommit_memory = 1)")
    sentence = why(alice.create, "a", 1 << 40, number=errno.ENOMEM)
    assert "no memory for 1099511627776 bytes" in sentence and "kernel.shm" not in sentence
    alice.create("a", 1 << 40, flags=F.CREATE_NORESERVE)  # which takes pages as they are touched
    assert alice.info().user_bytes == 1 << 40


def test_lowered_below_what_is_there(b, alice, knob):
    """Limits hold for what is new: everything there stays in use, and comes through a restart."""
    names = {alice.create(name).name for name in "abc"}
    knob("shmmni", 1)
    knob("shmall", 1)
    knob("shmmax", 1)
    alice.attach("a")
    alice.set("a", mode=0o400)
    b.kill()
    b.start()
    assert set(b.names()) == names
    with b.connect(10001) as w:
        assert why(w.create, "d", number=errno.EINVAL)  # shmmax is looked at first
        w.remove("a")
        assert w.info().user_segments == 2
