# SPDX-License-Identifier: MIT
"""Make a table, and with --json FILE a file, of what the programs of the bench printed.

A ratio is made in every round of its own, from what was measured in that round; shown are the
median, the least and the greatest of them. An aim is judged by the median.
"""

import argparse
import collections
import sys

from table import numbers, print_table, save, spread, verdict

# What, series, subject, in relation to which subject (none: as it is), aim.
AIMS = [
    ("look-up over the socket, 1 client", "socket/1x1/same", "shmd", "redis", ">=", 1.3),
    ("look-up over the socket, 50 clients", "socket/50x1/same", "shmd", "redis", ">=", 1.5),
    ("look-up over the socket, 50 clients of 16", "socket/50x16/same", "shmd", "redis", ">=", 3.0),
    ("look-up over the socket, 1 client", "socket/1x1/same", "shmd", "epoll", ">=", 0.9),
    ("look-up over the socket, 50 clients", "socket/50x1/same", "shmd", "epoll", ">=", 0.9),
    ("create and remove, 16 in flight", "cycle/same", "shmd", "bare", ">=", 0.8),
    ("shmd_open, shmat, shmdt", "attach/same", "open", "bare", "<=", 1.1),
    ("shmd_attach, shmd_detach", "attach/across", "attach", "bare", "<=", 1.1),
    ("shmd_attach, shmd_detach", "attach/same", "attach", "bare", "<=", 1.1),
    ("connect, create, attach (ms)", "begin/same", "libshmd", None, "<=", 0.15),
    ("connect, create, attach (ms)", "begin/across", "libshmd", None, "<=", 0.15),
]
LOOKUPS = ("reg_lookup", "hash+lookup", "shmd_open")
# Without an aim, of interest beside them.
RATIOS = [
    ("socket/1x1/same", "epoll", "redis"),
    ("socket/50x1/same", "epoll", "redis"),
    ("socket/50x16/same", "epoll", "redis"),
    ("socket/50x16/same", "shmd", "epoll"),
    ("socket/1x1/same", "shmd", "event"),
    ("socket/50x1/same", "shmd", "event"),
    ("socket/50x16/same", "shmd", "event"),
    ("socket/1x1/across", "shmd", "redis"),
    ("socket/50x1/across", "shmd", "redis"),
    ("socket/50x16/across", "shmd", "redis"),
    ("socket/1x1/across", "shmd", "epoll"),
    ("socket/50x1/across", "shmd", "epoll"),
    ("socket/50x16/across", "shmd", "epoll"),
    ("server-time/1x1/same", "redis", "shmd"),
    ("server-time/50x1/same", "redis", "shmd"),
    ("server-time/50x16/same", "redis", "shmd"),
    ("server-time/50x16/same", "epoll", "shmd"),
    ("cycle-time/same", "bare", "shmd"),
    ("cycle/across", "shmd", "bare"),
    ("attach/across", "open", "bare"),
]


def read(lines):
    """{(series, subject): ({round: value}, unit)} in the order of appearance."""
    table = collections.OrderedDict()
    for line in lines:
        series, number, subject, value, unit = line.rstrip("\n").split("\t")
        table.setdefault((series, subject), ({}, unit))[0][int(number)] = float(value)
    return table


def ratio(table, series, subject, base):
    if (series, subject) not in table or (base and (series, base) not in table):
        return None
    rounds = table[series, subject][0]
    if not base:
        return spread(list(rounds.values()))
    others = table[series, base][0]
    common = sorted(rounds.keys() & others.keys())
    return spread([rounds[n] / others[n] for n in common]) if common else None


def aims_of(table):
    aims = list(AIMS)
    for series in dict.fromkeys(series for series, _ in table if series.startswith("lookup/")):
        _, names, how = series.split("/")
        for subject in LOOKUPS:
            what = f"{subject} of {names} names, {how} (ns)"
            aims.append((what, series, subject, None, "<=", 25.0))
    return aims


def judge(table):
    rows = []
    for what, series, subject, base, relation, limit in aims_of(table):
        result = ratio(table, series, subject, base)
        row = {"what": what, "series": series, "subject": subject, "base": base,
               "aim": f"{relation} {limit:g}", "verdict": "skipped"}
        if result:
            row.update(result, verdict=verdict(result, relation, limit))
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    table = read(sys.stdin)
    if not table:
        sys.exit("bench: nothing was measured")

    print_table(["MEASURED", "MEDIAN", "MIN", "MAX", "UNIT"],
                [[f"{series} {subject}", *numbers(spread(list(rounds.values()))), unit]
                 for (series, subject), (rounds, unit) in table.items()])

    ratios = [(f"{series}: {subject} / {base}", ratio(table, series, subject, base))
              for series, subject, base in RATIOS]
    print_table(["RATIO WITHOUT AN AIM", "MEDIAN", "MIN", "MAX"],
                [[label, *numbers(result)] for label, result in ratios if result])

    rows = judge(table)
    print_table(["AIM", "MEDIAN", "MIN", "MAX", "AIM", ""],
                [[row["what"] + (f" / {row['base']}" if row["base"] else "") +
                  f" [{row['series']}]",
                  *numbers(row), row["aim"], row["verdict"]]
                 for row in rows])

    if args.json:
        save(args.json,
             measured=[{"series": series, "subject": subject, "unit": unit,
                        **spread(list(rounds.values())),
                        "values": [rounds[n] for n in sorted(rounds)]}
                       for (series, subject), (rounds, unit) in table.items()],
             ratios=[{"ratio": label, **result} for label, result in ratios if result],
             aims=rows)


if __name__ == "__main__":
    main()
