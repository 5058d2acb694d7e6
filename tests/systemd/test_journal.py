# SPDX-License-Identifier: MIT
"""What shmd leaves in the journal: for people by unit, for programs by field."""
import os
import re

import booted
import shmd
from booted import ctl, run, systemctl

# What follows "MESSAGE_" in daemon/messages.h, by id.
with open(os.path.join(shmd.TOP, "daemon", "messages.h")) as f:
    DEFINES = re.findall(r'^#define MESSAGE_(\w+) "([0-9a-f]{32})"$', f.read(), re.M)
IDS = {i: name for name, i in DEFINES}


def test_all_about_one_segment():
    systemctl("start", "shmd")
    ctl("create", "x", "--size", "4K", "--mode", "0600")
    shmid = str(booted.listed()["alice/x"])
    ctl("create", "other", "--size", "4K")
    ctl("set", "x", "--mode", "0640")
    ctl("rm", "alice/x", login="bob", expect=4)
    ctl("rm", "x")
    records = booted.records("SHMD_SEGMENT=alice/x")
    told = [(IDS[r["MESSAGE_ID"]], r["SHMD_USER"]) for r in records]
    assert told == [("CREATED", "alice"), ("CHANGED", "alice"), ("REFUSED", "bob"),
                    ("REMOVED", "alice")]
    for r in records:
        assert r["_SYSTEMD_UNIT"] == "shmd.service" and r["SYSLOG_IDENTIFIER"] == "shmd"
        assert int(r["SHMD_PID"]) > 1 and r["SHMD_REASON"]
        assert IDS[r["MESSAGE_ID"]] == "REFUSED" or r["SHMD_SHMID"] == shmid
        assert "alice/x" in r["MESSAGE"] and r["SHMD_USER"] in r["MESSAGE"]
    # The same for who just reads: one line each, with the start and the end of it all.
    systemctl("stop", "shmd")
    lines = booted.journal("-u", "shmd", "-o", "cat").splitlines()
    assert [line for line in lines if "alice/x" in line] == [r["MESSAGE"] for r in records]
    assert any(line.startswith("serving /run/shmd/shmd.sock as uid") for line in lines)
    assert "Terminated: ending; segments stay" in lines
    assert not [line for line in lines if line.startswith("<")], "levels are the journal's"


def test_catalog():
    """Each message id of the daemon is explained, and none else."""
    run("journalctl", "--update-catalog")
    with open(os.path.join(run("pkg-config", "--variable=catalogdir", "systemd").out.strip(),
                           "shmd.catalog")) as f:
        assert set(re.findall(r"^-- (\w+)$", f.read(), re.M)) == set(IDS) and IDS
    told = run("journalctl", "--dump-catalog", *IDS).out
    assert len(re.findall("^Defined-By: shmd$", told, re.M)) == len(IDS)
    systemctl("start", "shmd")
    ctl("create", "x", "--size", "4K")
    assert "Segment alice/x was created" in booted.journal("-x", "SHMD_SEGMENT=alice/x")
