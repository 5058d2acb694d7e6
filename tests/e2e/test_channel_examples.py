# SPDX-License-Identifier: MIT
"""The programs of shmd-channel(3), README.md and client/examples do what is said of them."""
import os
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

import shmd
from documents import compiled, page, pkg_config, run, text

pytestmark = pytest.mark.once


def programs_of(source):
    """The complete programs in literal displays, as they are read."""
    blocks = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", source, re.S | re.M)
    return [b.replace("\\e", "\\") for b in blocks if "int main(" in b]


def in_readme():
    found = [b for b in re.findall(r"^```c\n(.*?)^```", text("README.md"), re.S | re.M) if "int main(" in b]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("compiler", ["cc", "c++"])
def test_examples_of_the_page(broker, folder, compiler):
    writer, reader, batches = [
        shutil.move(compiled(broker.programs, folder, p, compiler), os.path.join(folder, "example%d" % i))
        for i, p in enumerate(programs_of(page()))]
    lines = "".join("line %d\n" % i for i in range(300))
    r = broker.programs.popen([reader, "lines"], env={"SHMD_SOCKET": broker.socket}, stdout=subprocess.PIPE)
    try:  # it waits for the channel to be made
        run(broker, writer, "lines", input=lines.encode())
        out, _ = r.communicate(timeout=shmd.LIMIT)
    finally:
        r.kill()
        r.wait()
    assert (r.returncode, out.decode()) == (0, lines)
    assert run(broker, batches).splitlines() == ["sum 120", "reader: 16 messages", "writer: 16 messages"]


@pytest.mark.parametrize("compiler", ["cc", "c++"])
def test_example_of_readme(broker, folder, compiler):
    exe = compiled(broker.programs, folder, in_readme(), compiler)
    assert run(broker, exe) == "hello\n"
    assert run(broker, exe) == "hello\n"


# In an event loop.

class Side:
    def __init__(self, broker, exe, role, count, name="c"):
        self.started = time.monotonic()
        self.process = broker.programs.popen([exe, role, name, count], env={"SHMD_SOCKET": broker.socket},
                                             stdout=subprocess.PIPE)
        assert self.line() == "open"

    def line(self):
        readable, _, _ = select.select([self.process.stdout], [], [], shmd.LIMIT)
        assert readable, "nothing is said"
        return self.process.stdout.readline().decode().strip()

    def end(self, count):
        """All were passed on, and it slept meanwhile: a loop that does not would wake 100 times as often."""
        messages, wakes = map(int, re.findall(r"\d+", self.line()))
        assert messages == count
        assert wakes <= count + 200 + 110 * (time.monotonic() - self.started)
        assert self.process.wait(shmd.LIMIT) == 0
        return wakes

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def side(broker, folder):
    source = text("client", "examples", "channel-event.c")
    if subprocess.run(["pkg-config", "--exists", "libevent"]).returncode != 0:
        pytest.skip("needs libevent (apt install libevent-dev)")
    compiled(broker.programs, folder, source, "c++", pkg_config("--libs", "libevent"))
    exe = compiled(broker.programs, folder, source, "cc", pkg_config("--libs", "libevent"))
    made = []

    def make(role, count):
        made.append(Side(broker, exe, role, count))
        return made[-1]
    yield make
    for s in made:
        s.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("first, second", [("write", "read"), ("read", "write")])
def test_in_libevent_over_a_restart(broker, side, first, second, number):
    """The first one waits: the writer for room, with a quarter sent, or the reader for a message."""
    a = side(first, 1000)
    broker.stop(number, 0 if number == signal.SIGTERM else -number)
    broker.start()
    b = side(second, 1000)
    a.end(1000), b.end(1000)


def test_in_libevent_shmd_is_killed_in_the_middle(broker, side):
    w, r = side("write", 300000), side("read", 300000)
    broker.kill()
    broker.start()
    w.end(300000), r.end(300000)


def test_in_libevent_the_next_writer_is_heard(broker, side):
    """A reader that was told of a death goes on with who comes then."""
    a, r = side("write", 100000000), side("read", 100000000)
    a.process.kill()
    a.process.wait()
    b = side("write", 1)  # its message has the wrong number, which shows that it came
    b.end(1)
    assert "messages" in r.line()
    assert r.process.wait(shmd.LIMIT) == 1


ENDS = r"""
#include <errno.h>
#include <shmd-channel.h>
#include <stdio.h>
int main(void)
{
    struct shmd_channel_options o = SHMD_CHANNEL_INIT;
    struct shmd_reader *r = NULL;
    struct shmd *s;
    char byte;
    size_t n;
    int e, ends = 0;

    shmd_connect(&s, NULL, 20000);
    o.max_message = 8;
    o.flags = SHMD_HOLD;
    e = shmd_channel_create(s, "c", &o, NULL, 20000);
    if (e < 0 || shmd_reader_open(&r, s, "c", NULL, 20000) < 0 || shmd_reader_fd(r, 5000) < 0)
        return fprintf(stderr, "%s\n", shmd_error(s)), 1;
    puts("open");
    fflush(stdout);
    while (ends < 20) { /* never polls, so that most of its time is spent on getting ready for that */
        e = shmd_recv(r, &byte, 1, &n, 0);
        if (e != -ETIMEDOUT && e != -EMSGSIZE) {
            printf("%d\n", e);
            fflush(stdout);
            ends++;
        }
    }
    shmd_reader_close(r);
    shmd_disconnect(s);
    return 0;
}
"""


def test_each_end_is_told_to_who_polls(broker, folder, side):
    """Also one that comes while a call that found nothing gets ready to poll."""
    exe = compiled(broker.programs, folder, ENDS, "c++")
    r = broker.programs.popen([exe], env={"SHMD_SOCKET": broker.socket}, stdout=subprocess.PIPE, text=True)
    try:
        assert r.stdout.readline() == "open\n"
        for _ in range(20):
            side("write", 0).end(0)
            assert select.select([r.stdout], [], [], shmd.LIMIT)[0], "the end was not told"
            assert r.stdout.readline() == "0\n"
        assert r.wait(shmd.LIMIT) == 0
    finally:
        r.kill()
        r.wait()
        r.stdout.close()
