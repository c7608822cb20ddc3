"""How many users watch their answers stream in real time on one process.

``python -m benchmarks.capacity --targets ours,node --levels 50,200,400``: one line a level.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import uvloop

from benchmarks.capacity import levels, report
from benchmarks.capacity.targets import STARTS, started
from benchmarks.report import machine
from benchmarks.timing import in_turns, settle_garbage_collector


async def main(names: list[str], users: list[int], passes: int, window: float) -> None:
    print(f"{machine()}\n\n{report.heading()}", flush=True)
    async with started(names) as targets:
        for name, why in targets.missing.items():
            print(f"{name}: not measured: {why}", flush=True)
        for target in targets.running.values():
            await levels.warm_up(targets, target)
        for level in users:
            for _, name in in_turns(list(targets.running), passes):
                target = targets.running[name]
                result = await levels.run(targets, target, level, window=window)
                print(report.line(target.name, result), flush=True)


def numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--targets", default="ours,node,plain", help=",".join(STARTS))
    parser.add_argument("--levels", type=numbers, default=[50, 200, 400], help="users")
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--window", type=float, default=8.0, help="seconds measured at each level")
    arguments = parser.parse_args()
    settle_garbage_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            main(
                arguments.targets.split(","),
                arguments.levels,
                arguments.passes,
                arguments.window,
            )
        )
    sys.exit(0)
