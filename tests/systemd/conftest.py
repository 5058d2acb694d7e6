# SPDX-License-Identifier: MIT
import importlib.util
import os
import sys

import pytest

HERE = os.path.dirname(os.path.realpath(__file__))
E2E = os.path.join(HERE, "..", "e2e")
sys.path[:0] = [HERE, E2E]

import booted  # noqa: E402

spec = importlib.util.spec_from_file_location("e2e_conftest", os.path.join(E2E, "conftest.py"))
e2e = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)
pytest_configure = e2e.pytest_configure
pytest_terminal_summary = e2e.pytest_terminal_summary
folder, programs, make_broker = e2e.folder, e2e.programs, e2e.make_broker


@pytest.fixture
def namespace():
    """For make_broker: the booted system has one IPC namespace for all."""
    return True


@pytest.fixture(autouse=True)
def clean():
    """No shmd, no segment, no setting of an earlier test's."""
    assert os.path.exists("/run/systemd/system/") and os.readlink("/proc/1/exe").endswith("systemd")
    booted.reset()


@pytest.fixture(scope="session", autouse=True)
def notices():
    """Show what a run leaves in the journal about units that could not be read as they are."""
    yield
    bad = [line for line in booted.run("journalctl", "-q", "_PID=1").out.splitlines()
           if "shmd" in line and ("Unknown" in line or "ignoring" in line)]
    assert not bad, bad
