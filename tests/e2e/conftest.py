# SPDX-License-Identifier: MIT
import os
import shutil
import tempfile

import pytest

import shmd
import sysv
from bare import ALICE, BOB
from channels import b, members, rings  # noqa: F401 (fixtures)
from member import member  # noqa: F401


def pytest_configure(config):
    for line in ("failpoints: needs a build with -Dfailpoints=true; left out of others",
                 "once: tells the same in every build; left out of sanitizer builds and under the unit",
                 "root: shmd starts as root, which under its unit it never is; left out there"):
        config.addinivalue_line("markers", line)


def pytest_collection_modifyitems(config, items):
    out = []
    for item in items:
        if ((item.get_closest_marker("failpoints") and not shmd.OPTIONS["failpoints"]) or
                (item.get_closest_marker("once") and (shmd.SANITIZED or shmd.UNDER)) or
                (item.get_closest_marker("root") and shmd.UNDER)):
            out.append(item)
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


def pytest_terminal_summary(terminalreporter):
    """For tests/run: passed, failed, skipped as numbers."""
    path = os.environ.get("SHMD_COUNTS")
    if path:
        n = {k: len(v) for k, v in terminalreporter.stats.items()}
        with open(path, "w") as f:
            print(n.get("passed", 0), n.get("failed", 0) + n.get("error", 0), n.get("skipped", 0),
                  file=f)


@pytest.fixture(scope="session")
def programs():
    folder = tempfile.mkdtemp(prefix="shmd-bin-")
    try:
        shmd.install(folder)
        yield shmd.Programs(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def namespace():
    """A fresh IPC namespace for every test. True where that is permitted."""
    own = sysv.unshare_ipc()
    before = set() if own else set(sysv.segments())
    if own:
        assert not sysv.segments()
    yield own
    if not own:
        for shmid in set(sysv.segments()) - before:
            sysv.rmid(shmid)


@pytest.fixture
def folder():
    """A short path that every user may enter."""
    path = tempfile.mkdtemp(prefix="shmd-test-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def make_broker(programs, folder, namespace):
    made = []

    def make(config="", **kwargs):
        b = shmd.Broker(programs, kwargs.pop("folder", folder), config, **kwargs)
        made.append(b)
        return b

    yield make
    try:
        for b in made:
            b.finish()
    finally:
        for b in made:
            if b.process and b.process.poll() is None:
                b.process.kill()
                b.process.wait()


@pytest.fixture
def broker(make_broker):
    b = make_broker()
    b.start()
    return b


@pytest.fixture
def wire(broker):
    with broker.connect() as w:
        yield w


@pytest.fixture
def alice(broker):
    with broker.connect(ALICE) as w:
        yield w


@pytest.fixture
def bob(broker):
    with broker.connect(BOB) as w:
        yield w
