# SPDX-License-Identifier: MIT
"""Make a table, a JSON file and plots of what bench_channel printed.

A ratio is made in every round of its own, of two values that had the same bounced line beside them.
Shown are the median, the least and the greatest. Values beside which the line tells that the two cores
were one, or changed, count nowhere.
"""

import argparse
import collections
import os
import statistics
import subprocess
import sys
import textwrap

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from table import numbers, print_table, save, spread, verdict

KERNEL = ["pipe", "stream", "seqpacket", "mq"]
PEERS = KERNEL + ["zmq", "boost", "libqb", "iceoryx"]
LINE = "line"  # the bounced line beside the subject
LINE_CHANGED = 1.3  # as in main.c


class Aim:
    """time(subject) / time(base) in one series; speed=True turns it over. limit None: only told. why:
    what limits it, of LIMITS."""

    def __init__(self, what, series, subject, base, relation=None, limit=None, speed=False, why=None):
        self.what, self.series, self.subject, self.base = what, series, subject, base
        self.relation, self.limit, self.speed, self.why = relation, limit, speed, why


# Each was found by taking the named thing away: see there for the numbers.
LIMITS = {
    "way": "one way: what a bare flag before the same bytes takes is the cores' own part, and is printed beneath. "
           "The rest is some 170 instructions a message (90 to write it, 79 to read it, by callgrind) and the "
           "loops over its bytes: where a line takes less than the 81 ns that the aim was made at, they weigh more.",
    "single": "single messages: a reader just behind the writer takes away the lines that the next message goes "
              "to. One that was made to stay 64 messages behind took 14.6 ns of 64 bytes where 18.7 were usual, "
              "and messages that are published by 16 keep it behind.",
    "bytes": "bytes/s: all of them go at the speed of the bare ring, which is what the cores pass on.",
    "core": "one core: under SCHED_FIFO a woken process waits for the other's sleep; --no-fifo tells what the "
            "usual scheduler does.",
    "pieces": "1 MiB: memory bandwidth; the copying calls go over every byte twice more.",
    "readers": "readers: all share one core, where each message costs each of them its 79 instructions and the "
               "sum of its bytes; by 16, one reader takes so little that others show more.",
    "sleepers": "sleeping readers: a wake-up and a membarrier for each of them that sleeps.",
}


def aims():
    best = PEERS
    rows = [
        Aim("one-way latency 64 B, polling / bounced line", "latency/poll/64", "shmd", LINE, "<=", 2.5,
            why="way"),
        Aim("  behind a bare flag / bounced line", "latency/poll/64", "bare", LINE),
        Aim("one-way latency 1,023 B, polling / bounced line", "latency/poll/1023", "shmd", LINE, "<=", 5.5,
            why="way"),
        Aim("  behind a bare flag / bounced line", "latency/poll/1023", "bare", LINE),
        Aim("one-way latency 1,023 B, polling / libqb", "latency/poll/1023", "shmd", "libqb", "<=", 0.55,
            why="way"),
        Aim("1 MiB one-way, in pieces / iceoryx", "latency/poll/1048576", "shmd/pieces", "iceoryx", "<=", 0.65,
            why="pieces"),
        Aim("1 MiB one-way, copying / iceoryx", "latency/poll/1048576", "shmd/copy", "iceoryx",
            "<=", 0.65, why="pieces"),
        Aim("may sleep / pure spinning, latency 64 B", "latency/block/64", "shmd", "shmd/spin", "<=", 1.1),
        Aim("may sleep / pure spinning, 64 B messages", "rate/block/64", "shmd", "shmd/spin", "<=", 1.1),
        Aim("blocking on one core 1,023 B / pipe", "latency/one-core/1023", "shmd", "pipe", "<=", 1.0,
            why="core"),
        Aim("messages/s 64 B / libqb", "rate/poll/64", "shmd", "libqb", ">=", 5, speed=True,
            why="single"),
        Aim("messages/s 64 B by 16 / libqb", "rate/poll/64", "shmd/16", "libqb", ">=", 5, speed=True,
            why="single"),
        Aim("messages/s 1,023 B / best peer", "rate/poll/1023", "shmd", best, ">=", 2, speed=True,
            why="single"),
        Aim("messages/s 1,023 B by 16 / best peer", "rate/poll/1023", "shmd/16", best, ">=", 2, speed=True,
            why="single"),
        Aim("messages/s 1,023 B blocking / best peer", "rate/block/1023", "shmd", best, ">=", 3.5, speed=True,
            why="single"),
        Aim("messages/s 1,023 B blocking by 16 / best peer", "rate/block/1023", "shmd/16", best, ">=", 3.5, speed=True,
            why="single"),
        Aim("messages/s 1,023 B copying / best peer", "rate/poll/1023", "shmd/copy", best, ">=", 1.3, speed=True,
            why="single"),
    ]
    for size in (4096, 65536, 1048576):
        rows.append(Aim(f"bytes/s at {size:,} B / bare ring", f"rate/poll/{size}", "shmd", "bare", ">=", 0.9,
                        speed=True, why="bytes"))
        rows.append(Aim(f"bytes/s at {size:,} B / libqb", f"rate/poll/{size}", "shmd", "libqb", ">=", 1.05,
                        speed=True, why="bytes"))
    for kind in ("single", "by-16"):
        for size in (64, 1023):
            series = f"readers/{kind}/{size}"
            for n, limit in ((2, 0.75), (4, 0.5)):
                rows.append(Aim(f"{n} readers, {kind}, {size:,} B, polling / 1", series, f"poll/{n}", "poll/1",
                                ">=", limit, speed=True, why="readers"))
                rows.append(Aim(f"{n} readers, {kind}, {size:,} B, sleeping / polling", series, f"sleep/{n}",
                                f"poll/{n}", ">=", 0.5, speed=True, why="sleepers"))
    return rows


def read(lines):
    """{series: {subject: {round: (ns, ns of the line)}}}, and how many values were dropped."""
    table, dropped = collections.OrderedDict(), 0
    for text in lines:
        series, number, subject, value, line = text.rstrip("\n").split("\t")
        subjects = table.setdefault(series, collections.OrderedDict()).setdefault(subject, {})
        if float(line) > 0:
            subjects[int(number)] = float(value), float(line)
        else:
            dropped += 1
    return table, dropped


def same_line(one, other):
    """Was it the same two cores, or two that are as far from each other?"""
    return max(one, other) <= LINE_CHANGED * min(one, other)


def below(aim, subjects, number, line):
    """What a value of that round, with that line beside it, is compared with."""
    if aim.base == LINE:
        return line
    found = [subjects[base][number] for base in (aim.base if isinstance(aim.base, list) else [aim.base])
             if number in subjects.get(base, {})]
    return min((ns for ns, other in found if same_line(line, other)), default=None)


def ratio(aim, table):
    subjects, ratios = table.get(aim.series, {}), []
    for number, (ns, line) in subjects.get(aim.subject, {}).items():
        base = below(aim, subjects, number, line)
        if base:
            ratios.append(base / ns if aim.speed else ns / base)
    return spread(ratios) if ratios else None


def judge(table):
    rows = []
    for aim in aims():
        result = ratio(aim, table)
        row = {"what": aim.what, "aim": "", "verdict": "not measured"}
        if aim.limit:
            row["aim"] = f"{aim.relation} {aim.limit:g}"
        if result:
            row.update(result, verdict=verdict(result, aim.relation, aim.limit) if aim.limit else "limit")
        if row["verdict"] == "missed" and aim.why:
            row["limited_by"] = LIMITS[aim.why]
        rows.append(row)
    for what in ("one-way latency 1,023 B / Aeron", "messages/s 64 B / Aeron"):
        rows.append({"what": what, "aim": "<= 0.75" if "latency" in what else ">= 1",
                     "verdict": "not measured: Aeron is not in Debian"})
    return rows


def measured(table):
    for series, subjects in table.items():
        lines = [line for rounds in subjects.values() for _, line in rounds.values()]
        if lines:
            yield series, "bounced line", spread(lines)
        for subject, rounds in subjects.items():
            if rounds:
                yield series, subject, spread([ns for ns, _ in rounds.values()])


def plot(folder, table):
    os.makedirs(folder, exist_ok=True)
    for name, label in (("latency/poll", "one-way latency, polling: ns"),
                        ("latency/block", "one-way latency, sleeping: ns"),
                        ("rate/poll", "time of a message, polling: ns"),
                        ("rate/block", "time of a message, sleeping: ns")):
        curves = collections.OrderedDict()
        for series, subjects in table.items():
            if not series.startswith(name + "/"):
                continue
            for subject, rounds in subjects.items():
                if rounds and subject not in ("memcpy", "shmd/spin"):
                    curves.setdefault(subject, []).append(
                        (int(series.rsplit("/", 1)[1]), statistics.median(ns for ns, _ in rounds.values())))
        if not curves:
            continue
        script = []
        for kind, terminal in (("png", "pngcairo size 1000,700"), ("svg", "svg size 1000,700")):
            script += [f"set terminal {terminal}",
                       f"set output '{os.path.join(folder, name.replace('/', '-'))}.{kind}'",
                       "set logscale xy", "set grid", "set key left top",
                       "set xlabel 'bytes of a message'", f"set ylabel '{label}'",
                       "plot " + ", ".join(f"'-' with linespoints title '{subject}'" for subject in curves)]
            for points in curves.values():
                script += [f"{x} {y}" for x, y in sorted(points)] + ["e"]
        subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="DIR")
    args = parser.parse_args()
    table, dropped = read(sys.stdin)
    if not table:
        sys.exit("bench: nothing was measured")
    rows = list(measured(table))
    print_table(["NANOSECONDS OF A MESSAGE", "MEDIAN", "MIN", "MAX", "ROUNDS"],
                [[f"{series} {subject}", *numbers(r), str(r["rounds"])]
                 for series, subject, r in rows])
    kept = sum(len(rounds) for subjects in table.values() for rounds in subjects.values())
    print(f"{dropped} of {dropped + kept} values dropped: "
          "the two virtual CPUs were on one core, or moved\n")
    judged = judge(table)
    print_table(["AIM", "MEDIAN", "MIN", "MAX", "ROUNDS", "AIM", ""],
                [[row["what"], *numbers(row), str(row.get("rounds", 0)), row["aim"], row["verdict"]]
                 for row in judged])
    for why in dict.fromkeys(row["limited_by"] for row in judged if "limited_by" in row):
        print(textwrap.fill("What limits " + why, 110), end="\n\n")
    if args.json:
        save(args.json, dropped=dropped,
             measured=[{"series": s, "subject": u, "unit": "ns", **r} for s, u, r in rows],
             aims=judged)
    if args.plot:
        plot(args.plot, table)


if __name__ == "__main__":
    main()
