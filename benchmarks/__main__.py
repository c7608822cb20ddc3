"""Measure this machine: ``make bench``, or ``python -m benchmarks [--only NAME] [--long]``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import uvloop

from benchmarks import (
    chat,
    cold,
    connections,
    feed,
    growth,
    guards,
    memory,
    opening,
    page,
    stampede,
    stores,
)
from benchmarks.capacity import bench as capacity
from benchmarks.report import Missing, Row, heading, machine
from benchmarks.timing import settle_garbage_collector

Benchmark = Callable[[bool], Awaitable[list[Row]]]

BENCHMARKS: dict[str, Benchmark] = {
    "guards": guards.measure,
    "memory": memory.measure,
    "stores": stores.measure,
    "cold": cold.measure,
    "stampede": stampede.measure,
    "feed": feed.measure,
    "opening": opening.measure,
    "growth": growth.measure,
    "chat": chat.measure,
    "capacity": capacity.measure,
    "connections": connections.measure,
    "page": page.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--long", action="store_true", help="more rounds, more users, more data")
    parser.add_argument("--messages", type=int, help="that are stored for the cold loads")
    parser.add_argument("--chart", type=Path, help="draw the capacity there (SVG)", metavar="PATH")
    parser.add_argument("--record", action="store_true", help="what the guards find from now on")
    arguments = parser.parse_args()
    names = [arguments.only] if arguments.only else list(BENCHMARKS)
    BENCHMARKS["cold"] = partial(cold.measure, stored=arguments.messages)
    BENCHMARKS["guards"] = partial(guards.measure, record=arguments.record)
    BENCHMARKS["capacity"] = partial(capacity.measure, draw_to=arguments.chart)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(names, long=arguments.long))


async def measure(names: list[str], *, long: bool) -> int:
    """Print the table as it grows. 1 where a benchmark found something wrong, not just slow."""
    settle_garbage_collector()
    began = time.monotonic()
    print(f"{machine()}\n\n{heading()}", flush=True)
    code = 0
    for name in names:
        print(f"\n{name}", flush=True)
        try:
            rows = await BENCHMARKS[name](long)
        except Missing as missing:
            print(f"not measured: {missing}")
            continue
        except AssertionError as wrong:
            print(f"WRONG: {wrong}")
            code = 1
            continue
        for row in rows:
            print("\n".join(row.lines()), flush=True)
            code |= row.is_fault
    print(f"\n{time.monotonic() - began:.0f} s. A ratio below 1 is better than its floor.")
    return code


if __name__ == "__main__":
    sys.exit(main())
