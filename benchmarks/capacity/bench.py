"""The capacity of this server beside others': as a part of ``make bench``, and whole."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.capacity import chart, report
from benchmarks.capacity.levels import Result
from benchmarks.capacity.search import Found, Plan, Tell, run
from benchmarks.capacity.targets import DIRECT, NAMES, OURS, Target, started
from benchmarks.report import Missing, Row

SHORT = Plan(
    {
        "ours": (50, 200, 400, 600),
        "node": (50, 200, 400, 600),
        "plain": (20, 40),
        "direct": (50,),
    },
    window=4.0,
    bisections=1,
)
LONG = replace(SHORT, window=10.0, passes=3, bisections=2, is_patient=True)
WHOLE = Plan(
    {
        "ours": (50, 100, 200, 300, 400, 500, 600, 800),
        "node": (50, 100, 200, 300, 400, 500, 600, 800),
        "chainlit": (10, 20, 30, 50, 80),
        "plain": (10, 20, 30, 50, 80),
        "direct": (50,),
    },
    window=10.0,
    passes=3,
    bisections=2,
    is_patient=True,
)


async def measure(long: bool, draw_to: Path | None = None) -> list[Row]:
    """``draw_to``: a file for the chart, if there is to be one."""
    return await compared(LONG if long else SHORT, _silently, draw_to)


async def compared(plan: Plan, tell: Tell, draw_to: Path | None) -> list[Row]:
    """Raises ``Missing`` where this server can't be started; others are left out."""
    async with started(list(plan.rising)) as targets:
        if OURS in targets.missing:
            raise Missing(targets.missing[OURS])
        found = await run(targets, plan, tell)
    if draw_to is not None:
        _draw(found, draw_to)
    return report.rows(found, targets.missing)


def _draw(found: Mapping[str, Found], path: Path) -> None:
    servers = {NAMES[name]: each for name, each in found.items() if name != DIRECT}
    cpu = report.cpu_when_held("server")
    picture = chart.drawn(
        {
            "Users who watch their answers in real time, one process (more is better)": {
                name: each.held for name, each in servers.items()
            },
            "Server CPU for 1,000 tokens, in ms (less is better)": {
                name: cpu(each) for name, each in servers.items()
            },
        },
        NAMES[OURS],
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores for everything; 50 tokens a second "
        "each, 99 % of them within 250 ms of the one before.",
    )
    path.write_text(picture, encoding="utf-8")


def _silently(target: Target, result: Result) -> None:
    pass
