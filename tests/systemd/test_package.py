# SPDX-License-Identifier: MIT
"""What is installed; the package for Debian, built from the tarball, installed, and upgraded."""
import glob
import os
import re
import shutil
import subprocess

import pytest

import booted
import shmd
from booted import ctl, run, systemctl
from test_restart import Load

VERSION = re.search(r"version: '(.*)'", open(os.path.join(shmd.TOP, "meson.build")).read()).group(1)


def systemd_dir(name):
    return run("pkg-config", "--variable=" + name, "systemd").out.strip()


def test_a_complete_tree(folder):
    """`meson install` into a DESTDIR: all that the installed parts speak of is there."""
    run("meson", "install", "--no-rebuild", "--quiet", "-C", shmd.BUILD,
        env={**os.environ, "DESTDIR": folder})
    there = {os.path.join(d, f)[len(folder):] for d, _, files in os.walk(folder) for f in files}
    for directory, names in (
            ("systemdsystemunitdir", ("shmd.service", "shmd.socket")),
            ("systemduserunitdir", ("shmd.service", "shmd.socket")),
            ("sysusersdir", ("shmd.conf",)), ("tmpfilesdir", ("shmd.conf",)),
            ("catalogdir", ("shmd.catalog",))):
        assert {os.path.join(systemd_dir(directory), n) for n in names} <= there, directory
    names = {os.path.basename(path) for path in there}
    for name in ("shmd", "shmctl-client", "shm_write", "shm_read", "shmd.conf", "shmd.h", "libshmd.so.0",
                 "libshmd.pc", "shmd.8", "shmd.7", "shmd-users.7", "shmd.conf.5", "shmctl-client.1", "shm_write.1",
                 "shm_read.1", "libshmd.3", "shmd-channel.3", "shmd-channel.h", "channel-event.c"):
        assert name in names, name
    for name in ("systemdsystemunitdir", "systemduserunitdir"):
        with open(folder + systemd_dir(name) + "/shmd.service") as f:
            unit = f.read()
        assert not re.search(r"@\w+@", unit)
        for path in re.findall(r"^Exec\w+=\+?(/\S+)", unit, re.M):
            assert path in there, path
        for page, section in re.findall(r"man:(\S+)\((\d)\)", unit):
            assert "%s.%s" % (page, section) in names


def sources(to):
    """A repository of these files as they are, without what was built."""
    git = ["git", "-c", "safe.directory=*", "-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    if os.path.exists(os.path.join(shmd.TOP, ".git")):
        listed = run(*git, "-C", shmd.TOP, "ls-files", "-co", "--exclude-standard").out.splitlines()
        for path in listed:
            if os.path.exists(os.path.join(shmd.TOP, path)):
                os.makedirs(os.path.dirname(os.path.join(to, path)), exist_ok=True)
                shutil.copy2(os.path.join(shmd.TOP, path), os.path.join(to, path))
    else:
        shutil.copytree(shmd.TOP, to, ignore=shutil.ignore_patterns("build*", "__pycache__"))
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "as it is"]):
        run(*git, "-C", to, *command)


def tarball(folder):
    """What `meson dist` makes, unpacked."""
    build = os.path.join(folder, "build")
    sources(os.path.join(folder, "sources"))
    run("meson", "setup", build, os.path.join(folder, "sources"))
    run("meson", "dist", "-C", build, "--no-tests", "--formats", "gztar")
    run("tar", "-xzf", "%s/meson-dist/shmd-%s.tar.gz" % (build, VERSION), "-C", folder)
    return os.path.join(folder, "shmd-" + VERSION)


@pytest.fixture
def packages(folder):
    """The packages, installed; afterwards it is the build again that is."""
    top = tarball(folder)
    shutil.copytree(os.path.join(top, "systemd", "debian"), os.path.join(top, "debian"))
    log = os.path.join(folder, "log")
    with open(log, "w") as f:
        code = subprocess.call(["dpkg-buildpackage", "-b", "-us", "-uc"], cwd=top, stdout=f,
                               stderr=f, env={**os.environ, "DEB_BUILD_OPTIONS": "noautodbgsym"})
    assert code == 0, open(log).read()[-4000:]
    debs = sorted(glob.glob(os.path.join(folder, "*.deb")))
    try:
        yield debs
    finally:
        run("dpkg", "--purge", "shmd", "libshmd-dev", "libshmd0")
        run("meson", "install", "--no-rebuild", "--quiet", "-C", shmd.BUILD)
        run("ldconfig")
        run("systemd-tmpfiles", "--create", "shmd.conf")
        systemctl("daemon-reload")


def test_debian_package(packages):
    assert [os.path.basename(p).split("_")[:2] for p in packages] == [
        [n, VERSION + "-1"] for n in ("libshmd-dev", "libshmd0", "shmd")]
    install = ["dpkg", "--force-confnew", "-i"] + packages
    run(*install, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    # It is enabled and runs, as services do on Debian.
    for unit in ("shmd.socket", "shmd.service"):
        assert booted.active(unit) == "active" and systemctl("is-enabled", unit).out == "enabled\n"
    assert os.readlink("/proc/%d/exe" % booted.main_pid()).endswith("/usr/sbin/shmd")
    ctl("create", "kept", "--size", "4K")
    before = booted.listed()
    with Load() as load:
        pid, made = booted.main_pid(), os.lstat(booted.SOCKET)
        run(*install)
        assert booted.main_pid() not in (0, pid), "the new one runs"
        assert os.lstat(booted.SOCKET).st_ino == made.st_ino, "the socket was open all the time"
        load.progress()
        ctl("rm", "kept")
    assert list(before) == ["alice/kept"]
