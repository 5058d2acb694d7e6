# SPDX-License-Identifier: MIT
"""Defaults and options stand in several places: they say the same."""
import os
import re
import shutil
import subprocess

import pytest

import shmd

pytestmark = pytest.mark.once
CONF = os.path.join(shmd.TOP, "conf", "shmd.conf")
PAGES = [os.path.join(shmd.TOP, p) for p in (
    "daemon/shmd.8", "daemon/shmd.7", "daemon/shmd.conf.5", "daemon/shmd-users.7", "client/shmctl-client.1", "client/shm_write.1",
    "client/shm_read.1", "client/libshmd.3", "client/shmd-channel.3")]


def text(path):
    with open(path) as f:
        return f.read()


def commented_defaults():
    """(section, key) -> value, of conf/shmd.conf."""
    ret, section = {}, None
    for line in text(CONF).splitlines():
        if m := re.fullmatch(r"\[(\w+)\]", line):
            section = m.group(1)
        elif m := re.fullmatch(r"#(\w+) =\s*(.*)", line):
            ret[section, m.group(1)] = m.group(2)
    return ret


def test_shmd_conf_5_has_the_defaults_of_shmd_conf():
    page, in_page, section, key = text(PAGES[2]), {}, None, None
    for line in page.splitlines():
        if m := re.match(r"\.Ss Section \[(\w+)\]", line):
            section = m.group(1)
        elif line.startswith(".Sh"):
            section = None
        elif section and (m := re.match(r"\.It Cm (\w+)$", line)):
            key = m.group(1)
        elif section and (m := re.match(r"Default: (.*)\.$", line)):
            in_page[section, key] = "" if m.group(1) == "empty" else m.group(1)
    assert in_page == commented_defaults()


def test_the_daemon_has_the_defaults_of_shmd_conf(make_broker):
    """With every default written out it is the same broker as with none."""
    seen = []
    for conf in ("", re.sub(r"(?m)^#(\w+ =)", r"\1", text(CONF))):
        b = make_broker()
        with open(b.config, "w") as f:
            f.write(conf)
        b.start()
        with b.connect() as w:
            info = vars(w.info())
            w.create("x")
            info["mode"] = w.stat("x").mode
            w.create("y", key=0x1234)
            for n in ("pid", "started", "uptime", "requests", "generation", "connections"):
                del info[n]
            info["socket_mode"] = os.stat(b.socket).st_mode
            info["registry_mode"] = shmd.sysv.segments()[b.registry].mode
            w.remove("x")
            w.remove("y")
        b.stop()
        seen.append(info)
    assert seen[0] == seen[1]
    defaults = commented_defaults()
    assert seen[0]["capacity"] == int(defaults["registry", "capacity"])
    assert seen[0]["mode"] == int(defaults["policy", "default_mode"], 8)
    assert oct(seen[0]["socket_mode"] & 0o777) == oct(int(defaults["shmd", "socket_mode"], 8))


def page_settings():
    """Sections and keys of shmd.conf(5)."""
    found, section = set(), None
    for line in text(PAGES[2]).splitlines():
        if m := re.match(r"\.Ss Sections? \[(\w+)", line):
            section = m.group(1)
        elif line.startswith(".Sh"):
            section = None
        elif section and (m := re.match(r"\.It Cm ([a-z_ ,]+)$", line)):
            found |= {(section, key) for key in m.group(1).split(" , ")}
    return found


def examples():
    """The sections that shmd.conf shows as examples, uncommented."""
    lines = [line[2:] for line in text(CONF).splitlines() if line.startswith("# ")]
    return "\n".join(line for line in lines if re.match(r"\[\w+ |[a-z_]+ = ", line)) + "\n"


def test_code_page_and_file_have_the_same_settings():
    code = text(os.path.join(shmd.TOP, "daemon", "config_keys.c"))
    known = set(re.findall(r"^ {4}X\((\w+), (\w+),", code, re.M))
    shown, section = set(commented_defaults()), None
    for line in examples().splitlines():
        if m := re.match(r"\[(\w+) ", line):
            section = m.group(1)
        else:
            shown.add((section, line.split(" = ")[0]))
    assert len(known) > 30
    assert page_settings() == known == shown


def test_examples_are_right(programs, folder):
    m = re.search(r"\.Sh EXAMPLES.*?\.Bd[^\n]*\n(.*?)\.Ed", text(PAGES[2]), re.S)
    for example in (m.group(1), examples()):
        path = os.path.join(folder, "shmd.conf")
        with open(path, "w") as f:  # with users and groups that exist everywhere
            f.write(re.sub(r"(?m)\b(alice|ops|traders|feed)\b|(?<= = )(shmd|shmd-users)$", "0",
                           re.sub(r"\[(namespace|segment) trading", r"[\1 t", example)))
        programs.run([programs.shmd, "--check-config", "--config", path])


def options_of(help):
    return set(re.findall(r"(--[a-z][a-z-]+)", help))


@pytest.mark.parametrize("program, page", [("shmd", "daemon/shmd.8"), ("write", "client/shm_write.1"),
                                           ("read", "client/shm_read.1"), ("ctl", "client/shmctl-client.1")])
def test_pages_name_every_option(programs, program, page):
    exe = getattr(programs, program)
    help = programs.run([exe, "--help"]).out
    if program == "ctl":
        for command in re.findall(r"^  ([a-z]+) {2,}", help, re.M):
            help += programs.run([exe, command, "--help"]).out
    said = text(os.path.join(shmd.TOP, page))
    in_page = {"--" + o for o in re.findall(r"Fl Fl ([a-z][a-z-]+)", said)}
    assert options_of(help) - in_page == set()
    assert in_page - options_of(help) <= {"--user", "--group", "--prefix"}, "of another program?"


@pytest.mark.parametrize("page", PAGES, ids=[os.path.basename(p) for p in PAGES])
def test_pages_are_well_formed(page):
    if not shutil.which("mandoc"):
        if not shutil.which("groff"):
            pytest.skip("needs mandoc or groff to read manual pages")
        r = subprocess.run(["groff", "-mdoc", "-Tutf8", "-ww", "-z", page], stderr=subprocess.PIPE, text=True)
    else:
        r = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True)
    assert r.returncode == 0 and not (r.stderr or r.stdout), r


COMPLETE = """
. "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
_shmctl_client
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("words,expected", [
    (["st"], {"stat", "status"}), (["list", "--no"], {"--noheadings"}), (["stat", "he"], {"here"}),
])
def test_completion(broker, programs, words, expected):
    broker.ctl("create", "here", "--size", "4K")
    path = os.path.dirname(programs.ctl) + os.pathsep + os.environ["PATH"]
    out = programs.run(["bash", "-c", COMPLETE, "bash",
                        os.path.join(shmd.TOP, "client", "shmctl-client.bash"), "shmctl-client"] + words,
                       env={"PATH": path, "SHMD_SOCKET": broker.socket}, expect=None).out
    assert expected == {w.strip() for w in out.split("\n") if w.strip()}
