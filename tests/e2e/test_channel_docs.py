# SPDX-License-Identifier: MIT
"""shmd-channel(3) and its header: numbers and promises are those of the code."""
import os
import re
import subprocess

import pytest

import shmd
from documents import compiled, page, run, text

pytestmark = pytest.mark.once
CLIENT = os.path.join(shmd.TOP, "client")
HEADERS = {"libshmd.3": "shmd.h", "shmd-channel.3": "shmd-channel.h"}


def constant(source, name):
    """The value of a #define that is a number or a shift."""
    value = re.search(r"#define %s\s+(.+?)\s*(?:/\*|$)" % name, source, re.M).group(1)
    assert re.fullmatch(r"[\d()<ull ]+", value), value
    return eval(re.sub(r"[ul]", "", value))


# Numbers.

def test_defaults_are_those_of_the_header():
    header = text("client", "shmd-channel.h")
    for struct, init in (("shmd_channel_options", "SHMD_CHANNEL_INIT"), ("shmd_member_options", "SHMD_MEMBER_INIT")):
        body = re.sub(r"/\*.*?\*/", "", re.search(r"struct %s \{(.*?)\n\};" % struct, header, re.S).group(1), flags=re.S)
        names = re.findall(r"(\w+)(?:\[\w+\])?;", body)
        values = re.search(r"#define %s \{(.*)\}" % init, header).group(1)
        values = re.sub(r"\{[^}]*\}", "{}", values).split(", ")
        assert len(names) == len(values), (names, values)
        in_header = {n: v for n, v in zip(names, values) if n != "reserved"}
        part = re.search(r"\.Dv %s(?: :|,).*?\n\.El" % init, page(), re.S).group(0)
        in_page = {}
        for item in re.split(r"^\.It Va ", part, flags=re.M)[1:]:
            default = re.search(r"Default:\s(?:\.Dv )?(\S+?)(?: ?\.)?$", item, re.M).group(1)
            in_page[item.split()[0]] = {"empty": '""', "\\-1": "-1"}.get(default, default)
        assert in_page == in_header


def test_limits_are_those_of_the_code():
    said, ring = page(), text("common", "ring.h")
    poll, writer = text("client", "channel", "poll.c"), text("client", "channel", "ring_writer.c")
    wait = text("client", "channel", "ring_wait.c")
    header = text("client", "shmd-channel.h")
    sizes = re.findall(r"_Static_assert\(sizeof\(struct ring_(?:header|slot)\) == (\d+)", ring)
    for pattern, expected in [
        (r"takes its bytes and (\d+) more, rounded up to a multiple of (\d+)",
         (constant(ring, "RING_HEAD"), constant(ring, "RING_GRAIN"))),
        (r"it has (\d+) bytes at least", constant(ring, "RING_SIZE_MIN")),
        (r"in front of it, (\d+) bytes and (\d+) for each member", tuple(map(int, sizes))),
        (r"^1 to (\d+) bytes \((\d+) MiB\)", (constant(ring, "RING_MESSAGE_MAX"),
                                              constant(ring, "RING_MESSAGE_MAX") >> 20)),
        (r"at most (\d+), so that beside a writer (\d+) readers",
         (constant(ring, "RING_SLOTS_MAX"), constant(header, "SHMD_CHANNEL_READERS_MAX"))),
        (r"a tag of (\d+) characters", constant(header, "SHMD_TAG_SIZE") - 1),
        (r"from (\d+) microseconds down", constant(wait, "BUDGET_MAX") // 1000),
        (r"readable every (\d+) milliseconds", constant(poll, "LOOK_AGAIN_MS")),
        (r"A message of (\d+) KiB or more", constant(writer, "PIECES_FROM") >> 10),
    ]:
        found = re.search(pattern, said, re.M)
        assert found, pattern
        assert found.groups() == tuple(map(str, expected if isinstance(expected, tuple) else (expected,)))


SIZES = r"""
#include <shmd-channel.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    struct shmd_channel_options o = SHMD_CHANNEL_INIT;
    struct shmd_channel_status status;
    struct shmd *s;
    int r = shmd_connect(&s, NULL, 20000);

    for (int i = 1; i + 1 < argc && r == 0; i += 2) {
        o.max_message = (uint32_t)atol(argv[i]);
        o.messages = (uint32_t)atol(argv[i + 1]);
        r = shmd_channel_create(s, "sized", &o, NULL, 20000);
        if (r == 0)
            r = shmd_channel_stat(s, "sized", &status, NULL, NULL, 20000);
        if (r == 0)
            printf("%llu\n", (unsigned long long)status.size);
        shmd_remove(s, "sized", NULL, 20000);
    }
    if (r < 0)
        printf("%s\n", shmd_error(s));
    shmd_disconnect(s);
    return 0;
}
"""


def test_table_of_sizes(broker, folder):
    rows = re.findall(r"^\.It (\d+) Ta (\d+) Ta (\d+)$", page(), re.M)
    assert len(rows) > 4
    exe = compiled(broker.programs, folder, SIZES)
    assert run(broker, exe, *sum(([m, n] for m, n, _ in rows), [])).split() == [ring for _, _, ring in rows]


# What is promised of single calls.

PROMISES = r"""
#include <errno.h>
#include <shmd-channel.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#define IS(call, expected) do { int is_ = (call); if (is_ != (expected)) { \
    printf("%d: %s is %d: %s\n", __LINE__, #call, is_, shmd_error(s)); return 1; } } while (0)
int main(void)
{
    struct shmd_channel_options o = SHMD_CHANNEL_INIT;
    struct shmd_member_options m = SHMD_MEMBER_INIT;
    struct shmd_writer *w, *w2;
    struct shmd_reader *r, *r2;
    struct shmd *s;
    const void *at, *again;
    char bytes[5000] = {0};
    size_t n = 0;
    void *room, *other;
    time_t started;

    shmd_connect(&s, NULL, 20000);
    o.members = 3;
    strcpy(o.tag, "t");
    IS(shmd_writer_open(&w, s, "c", NULL, 20000), -ENOENT);
    IS(shmd_channel_create(s, "c", &o, NULL, 20000), 0);
    IS(shmd_channel_create(s, "c", &o, NULL, 20000), 0);
    IS(shmd_channel_create(s, "c", NULL, NULL, 20000), -EPROTOTYPE);
    o.segment.flags = SHMD_EXCLUSIVE;
    IS(shmd_channel_create(s, "c", &o, NULL, 20000), -EEXIST);
    o.flags = SHMD_BROADCAST | SHMD_HOLD;
    IS(shmd_channel_create(s, "d", &o, NULL, 20000), -EINVAL);
    IS(shmd_create(s, "plain", 4096, NULL, NULL, 20000), 0);
    IS(shmd_reader_open(&r, s, "plain", NULL, 20000), -EPROTOTYPE);
    m.tag = "other";
    IS(shmd_reader_open(&r, s, "c", &m, 20000), -EPROTOTYPE);
    m.tag = "t";
    m.flags = SHMD_MEMBER_WAIT;
    IS(shmd_reader_open(&r, s, "c", &m, 20000), 0);
    IS(shmd_recv(r, bytes, 1, &n, 0), -ETIMEDOUT); /* vacant */
    IS(shmd_writer_open(&w, s, "c", &m, 20000), 0);
    IS(shmd_writer_open(&w2, s, "c", NULL, 20000), -EBUSY);
    IS(shmd_writer_open(&w2, s, "c", &m, 1), -ETIMEDOUT);
    IS(shmd_reader_open(&r2, s, "c", NULL, 20000), 0);
    IS(shmd_reader_open(&r2, s, "c", NULL, 20000), -EUSERS);

    IS(shmd_send(w, bytes, 4097, 0), -EMSGSIZE);
    IS(shmd_commit(w, 0), -EINVAL);
    IS(shmd_reserve(w, 100, &room, 0), 0);
    IS((int)((size_t)room % 8), 0);
    IS(shmd_reserve(w, 1, &other, 0), -EBUSY);
    IS(shmd_send(w, bytes, 1, 0), -EBUSY);
    IS(shmd_commit(w, 101), -EINVAL);
    IS(shmd_commit(w, 99), 0);
    IS(shmd_reserve(w, 100, &room, 0), 0);
    shmd_abort(w);
    IS(shmd_send(w, NULL, 0, 0), 0);
    IS(shmd_recv(r, bytes, 98, &n, 0), -EMSGSIZE);
    IS((int)n, 99);
    IS(shmd_peek(r, &at, &n, 0), 1);
    IS((int)n, 99);
    IS(shmd_peek(r, &again, &n, 0), 1);
    IS((int)n, 0);
    IS(at != again, 1);
    IS(shmd_release(r), 0);
    w = shmd_writer_close(w);
    IS(shmd_recv(r, bytes, 1, &n, -1), 0); /* the end is told once */
    IS(shmd_recv(r, bytes, 1, &n, 0), -ETIMEDOUT);
    IS(shmd_recv(r, bytes, 1, &n, 1), -ETIMEDOUT);
    IS(shmd_writer_open(&w, s, "c", NULL, 20000), 0);
    IS(shmd_send(w, "x", 1, 0), 0);
    IS(shmd_recv(r, bytes, 1, &n, 0), 1);
    m.flags = SHMD_MEMBER_SPIN;
    shmd_reader_close(r);
    IS(shmd_reader_open(&r, s, "c", &m, 20000), 0);
    IS(shmd_recv(r, bytes, 5000, &n, 0), 1); /* kept */
    while (shmd_recv(r, bytes, sizeof(bytes), &n, 0) > 0)
        ;
    started = time(NULL);
    IS(shmd_recv(r, bytes, 1, &n, 20), -ETIMEDOUT); /* a limit holds for who spins too */
    IS(time(NULL) - started < 10, 1);
    IS(w == NULL || shmd_writer_fd(w, 5000) < 0, 0);
    IS(shmd_reader_fd(r, 5000) == shmd_reader_fd(r, 0), 1);
    shmd_writer_close(w);
    shmd_reader_close(r);
    shmd_reader_close(r2);
    shmd_reader_close(NULL);
    shmd_writer_close(NULL);
    IS(shmd_remove(s, "c", NULL, 20000), 0);
    shmd_disconnect(s);
    puts("kept");
    return 0;
}
"""


def test_promises_of_the_page(broker, folder):
    assert run(broker, compiled(broker.programs, folder, PROMISES), expect=None) == "kept\n"


# Every call is exported, declared and documented; nothing else is.

def declared(header):
    return set(re.findall(r"^(?:int|void|uint64_t|struct \w+|const char) \*?(shmd_\w+)\(", text("client", header), re.M))


def test_calls_are_exported_declared_and_documented():
    listed = set(re.findall(r"^\s+(shmd_\w+);", text("client", "libshmd.sym"), re.M))
    out = subprocess.run(["nm", "-D", "--defined-only", os.path.join(shmd.BUILD, "client", "libshmd.so.0")],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    exported = {line.split()[2].split("@")[0] for line in out.splitlines() if line.split()[1] in "TDBRVW"}
    assert exported == listed
    every = set()
    for name, header in HEADERS.items():
        source, calls = text("client", name), declared(header)
        assert calls and not calls & every
        every |= calls
        for pattern in (r"^\.Nm (shmd_\w+)", r"^\.F[no] (shmd_\w+)", r"^\.It Fn (shmd_\w+)"):
            found = re.findall(pattern, source.split(".Sh DESCRIPTION")[0] if "It" not in pattern else source, re.M)
            in_page = set(found) - {"shmd_channel"}
            # A call that only others' descriptions speak of has its own all the same.
            if "It" in pattern:
                in_page |= {"shmd_writer_error", "shmd_reader_error"} & calls
            assert in_page == calls, (name, pattern, in_page ^ calls)
    assert every == listed


@pytest.mark.parametrize("standard", ["c99", "c11", "gnu17"])
def test_header_stands_alone(standard):
    subprocess.run(["cc", "-std=" + standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-x", "c",
                    "-I", CLIENT, "-"], input="#include <shmd-channel.h>\n", text=True, check=True)


def test_errors_of_the_header_are_in_the_page():
    said = set(re.findall(r"-(E[A-Z0-9]+)\b", text("client", "shmd-channel.h")))
    assert said - set(re.findall(r"^\.It Bq Er (\w+)", page().split(".Sh ERRORS")[1], re.M)) == set()


def test_flags_and_members_of_the_header_are_in_the_page():
    header = re.sub(r"/\*.*?\*/", "", text("client", "shmd-channel.h"), flags=re.S)
    for name in re.findall(r"\b(SHMD_[A-Z_]+) =", header):
        assert name in page(), name
    for body in re.findall(r"^struct \w+ \{(.*?)^\};", header, re.S | re.M):
        for name in re.findall(r"(\w+)(?:\[\w+\])?[,;]", body):
            assert name == "reserved" or re.search(r"^\.(It )?Va .*\b%s\b" % name, page(), re.M), name
