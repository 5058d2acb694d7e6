# SPDX-License-Identifier: MIT
"""What the reports of the benchmarks have in common: numbers, tables, and the file beside them."""
import json
import os
import platform
import statistics


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "rounds": len(values)}


def show(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def numbers(result):
    """The three of a spread as texts; where nothing was measured, dashes."""
    return [show(result[key]) if result and key in result else "-" for key in ("median", "min", "max")]


def verdict(result, relation, limit):
    good = result["median"] >= limit if relation == ">=" else result["median"] <= limit
    return "reached" if good else "missed"


def print_table(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    print()


def save(path, **found):
    """As JSON, with the machine that it was found on."""
    with open(path, "w", encoding="utf-8") as out:
        json.dump({"kernel": platform.release(), "machine": platform.machine(),
                   "cores": os.cpu_count(), **found}, out, indent=1)
        out.write("\n")
