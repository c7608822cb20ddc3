"""How many users watch their answers stream in real time on one process: ``make bench-peers``.

A line a level, and a table in the end. With --levels these levels alone, in turns, and no table.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import uvloop

from benchmarks.capacity import bench, levels, report
from benchmarks.capacity.levels import Result
from benchmarks.capacity.targets import STARTS, Target, started
from benchmarks.report import Missing, machine
from benchmarks.report import heading as table_heading
from benchmarks.timing import in_turns, settle_garbage_collector


async def whole(passes: int | None, window: float | None, draw_to: Path | None) -> int:
    plan = bench.WHOLE
    plan = replace(plan, passes=passes or plan.passes, window=window or plan.window)
    try:
        rows = await bench.compared(plan, tell, draw_to)
    except Missing as missing:
        print(f"not measured: {missing}")
        return 0
    print(f"\n{table_heading()}\n")
    for row in rows:
        print("\n".join(row.lines()))
    return int(any(row.is_fault for row in rows))


async def these(names: list[str], users: list[int], passes: int, window: float) -> int:
    wrong = 0
    async with started(names) as targets:
        for name, why in targets.missing.items():
            print(f"{name} left out: {why}", flush=True)
        for target in targets.running.values():
            await levels.warm_up(target)
        for level in users:
            for _, name in in_turns(list(targets.running), passes):
                target = targets.running[name]
                result = await levels.run(targets, target, level, window=window)
                tell(target, result)
                wrong += result.seen.wrong
    return int(wrong > 0)


def tell(target: Target, result: Result) -> None:
    print(report.line(target.name, result), flush=True)


def numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--levels", type=numbers, help="users: 50,200,400", metavar="USERS")
    parser.add_argument("--targets", default="ours,node,plain", help=f"of {','.join(STARTS)}")
    parser.add_argument("--passes", type=int)
    parser.add_argument("--window", type=float, help="seconds that are measured at each level")
    parser.add_argument("--chart", type=Path, help="a file for a picture (SVG)", metavar="PATH")
    arguments = parser.parse_args()
    passes, window = arguments.passes, arguments.window
    if arguments.levels:
        names = arguments.targets.split(",")
        work = these(names, arguments.levels, passes or 1, window or 8.0)
    else:
        work = whole(passes, window, arguments.chart)
    settle_garbage_collector()
    print(f"{machine()}\n\n{report.heading()}", flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


if __name__ == "__main__":
    sys.exit(main())
