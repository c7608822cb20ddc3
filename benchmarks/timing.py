"""Timing in turns: what is compared runs alternately, so that foreign load falls on all alike."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

Work = Callable[[], Awaitable[None]]

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Timings:
    """Seconds of each round of each work, by its name."""

    def __init__(self, seconds: dict[str, list[float]]) -> None:
        self.seconds = seconds

    def median(self, name: str) -> float:
        return median(self.seconds[name])

    def ratio(self, name: str, floor: str) -> float:
        """The median of the rounds' ratios: a load that comes and goes is in both halves of one."""
        pairs = zip(self.seconds[name], self.seconds[floor], strict=True)
        return median(mine / theirs for mine, theirs in pairs)


def in_turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Each once a round, with the round's number, in a turning order."""
    for number in range(rounds):
        shift = number % len(names)
        for name in [*names[shift:], *names[:shift]]:
            yield number, name


async def compare(works: Mapping[str, Work], *, rounds: int) -> Timings:
    """Run each work once a round, in a turning order, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number, name in in_turns(list(works), rounds + 1):
        began = time.perf_counter()
        await works[name]()
        if number:
            seconds[name].append(time.perf_counter() - began)
    return Timings(seconds)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of ``values`` that ``percent`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def cpu_seconds(pid: int) -> float:
    """What the process has used until now. Linux only; in steps of 10 ms."""
    # The second field, the program's name in brackets, may itself hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def resident_bytes(pid: int) -> int:
    """Linux only."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def settle_garbage_collector() -> None:
    """As main.py does: what is loaded by now need not be looked through again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
