"""Guards of the hot paths: has one become slower than it was, beside work that never changes?

Each path's own code, without I/O, is timed against a fixed floor in the same process: by the CPU
time of this thread, in rounds that alternate, the median of the rounds' ratios. That ratio is held
against the one in ``guards.json``; more than 1.5 times it is a fault. A path that seems slower is
measured again before that is believed, so that no moment of a busy machine is one.

``--record`` writes the file anew: after a change that is meant, and on a machine where the paths'
C and Python parts stand differently to each other.
"""

from __future__ import annotations

import gc
import json
import platform
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from benchmarks.guarded_paths import guarded_paths
from benchmarks.report import Floor, Row

RECORDED = Path(__file__).with_name("guards.json")
ALLOWED = 1.5
ROUNDS = 81
TRIES = 4
"""Only what is slower in all of them is slower."""
RUN_SECONDS = 0.002
"""About what one path takes in a round: long beside a clock's step, short beside what else the
machine does."""

Work = Callable[[], None]
Clock = Callable[[], float]


async def measure(long: bool, *, record: bool = False) -> list[Row]:
    async with guarded_paths() as paths:
        recorded = {} if record else _read()
        gc.disable()  # whose garbage it collects is chance
        try:
            ratios = judged(paths, recorded, rounds=2 * ROUNDS if long else ROUNDS)
        finally:
            gc.enable()
    if record:
        _write(ratios)
    return rows(ratios, ratios if record else recorded)


def judged(
    paths: Mapping[str, Work],
    recorded: Mapping[str, float],
    *,
    rounds: int = ROUNDS,
    clock: Clock = time.thread_time,
) -> dict[str, float]:
    """How many floors each path takes: the least of several tries where that is too many."""
    ratios = {name: ratio(work, rounds=rounds, clock=clock) for name, work in paths.items()}
    for _ in range(TRIES - 1):
        for name in ratios:
            if is_slower(ratios[name], recorded.get(name)):
                again = ratio(paths[name], rounds=rounds, clock=clock)
                ratios[name] = min(ratios[name], again)
    return ratios


def ratio(work: Work, *, rounds: int = ROUNDS, clock: Clock = time.thread_time) -> float:
    times = {each: _times(each, clock) for each in (floor, work)}

    def seconds(each: Work) -> float:
        began = clock()
        for _ in range(times[each]):
            each()
        return (clock() - began) / times[each]

    return median(seconds(work) / seconds(floor) for _ in range(rounds))


def is_slower(now: float, recorded: float | None) -> bool:
    return recorded is not None and now > ALLOWED * recorded


def rows(ratios: Mapping[str, float], recorded: Mapping[str, float]) -> list[Row]:
    found = []
    for name, now in ratios.items():
        known = recorded.get(name)
        is_fault = is_slower(now, known)
        beside = () if known is None else (Floor("recorded", known, now / known, goal=ALLOWED),)
        what = f"{name}: SLOWER" if is_fault else name if known else f"{name}: not recorded"
        found.append(Row(what, "floors", now, beside, is_fault=is_fault))
    return found


def _times(work: Work, clock: Clock) -> int:
    """How often it is done for a round."""
    work()
    began = clock()
    work()
    return max(1, round(RUN_SECONDS / max(clock() - began, 1e-9)))


EVENT: dict[str, Any] = {
    "conversation_id": "5f0c4c7e-98f4-4f0e-a1c8-6a2d3a0a1b11",
    "cursor": "2251799813685249-41",
    "turn_id": "0f7a8a56-6f0b-4a45-9b3c-0a7b0ff1f0a2",
    "attempt": 1,
    "index": 41,
    "text": "words that are said 🙂 ",
}


def floor() -> None:
    """As the paths are: some of it is Python, some of it C. Never to be changed: all that is
    recorded is in these."""
    waiting: deque[tuple[int, str]] = deque()
    seen: dict[str, int] = {}
    for number in range(50):
        text = orjson.dumps([number, EVENT]).decode()
        again = orjson.loads(text)[1]
        name = f"{again['turn_id']}-{number}"
        seen[name] = seen.get(name, 0) + len(text)
        waiting.append((number, name))
        while len(waiting) > 20:
            first, name = waiting.popleft()
            if first >= 0:
                del seen[name]


def _version() -> str:
    return f"{platform.python_implementation()} {platform.python_version().rpartition('.')[0]}"


def _read() -> dict[str, float]:
    """Nothing where it was recorded with another Python: that is faster or slower as it likes."""
    if not RECORDED.exists():
        return {}
    kept = json.loads(RECORDED.read_text())
    found: dict[str, float] = kept["floors"] if kept["python"] == _version() else {}
    return found


def _write(ratios: Mapping[str, float]) -> None:
    kept = {
        "python": _version(),
        "floors": {name: round(value, 4) for name, value in ratios.items()},
    }
    RECORDED.write_text(json.dumps(kept, indent=2) + "\n")
