# SPDX-License-Identifier: MIT
"""Texts of the tree, and programs that stand in them or are made against the library."""
import os
import shutil
import subprocess

import pytest

import shmd


def text(*path):
    with open(os.path.join(shmd.TOP, *path)) as f:
        return f.read()


def page():
    return text("client", "shmd-channel.3")


def pkg_config(*words):
    env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(shmd.BUILD, "meson-uninstalled"))
    out = subprocess.run(["pkg-config", *words], stdout=subprocess.PIPE, env=env, text=True, check=True).stdout
    return out.split()


def compiled(programs, folder, source, compiler="cc", more=()):
    if not shutil.which(compiler):
        pytest.skip("needs " + compiler)
    exe = os.path.join(folder, "example-" + compiler)
    language = "c" if compiler == "cc" else "c++"
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", *pkg_config("--cflags", "libshmd"), "-o", exe, "-x",
                    language, "-", "-x", "none", *pkg_config("--libs", "libshmd"), *more,
                    "-Wl,-rpath," + os.path.join(programs.folder, "client")],
                   input=source, text=True, check=True)
    os.chmod(exe, 0o755)
    return exe


def run(broker, exe, *args, **kwargs):
    return broker.programs.run([exe, *args], env={"SHMD_SOCKET": broker.socket}, **kwargs).out
