"""Looks for the number of users at which a server is no longer in real time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.capacity import levels
from benchmarks.capacity.levels import Result
from benchmarks.capacity.targets import Target, Targets
from benchmarks.timing import in_turns

GRID = 5
"""Numbers of users between two levels are multiples of it."""
FAR_ABOVE = 1.5
"""Times the first level that failed: there a server says as many tokens as it can."""

Tell = Callable[[Target, Result], None]


@dataclass(frozen=True)
class Plan:
    rising: Mapping[str, Sequence[int]]
    """Levels of each target, as ``targets.STARTS`` names them."""
    window: float
    """Seconds."""
    passes: int = 1
    bisections: int = 0


@dataclass
class Found:
    """Of one server: the passes of every level that was measured."""

    results: dict[int, list[Result]] = field(default_factory=dict)

    @property
    def held(self) -> int:
        """The most users in real time of all levels below the first that failed; 0 for none."""
        most = 0
        for users in sorted(self.results):
            if not self.is_real_time(users):
                break
            most = users
        return most

    def is_real_time(self, users: int) -> bool:
        """Most passes were; those that somebody else disturbed count only if all were."""
        passes = self.results[users]
        quiet = [each for each in passes if not each.is_noise] or passes
        return median(each.is_real_time for each in quiet) > 0.5

    def at(self, users: int, figure: Callable[[Result], float]) -> float:
        """The median of the level's passes."""
        return median(figure(each) for each in self.results[users])

    @property
    def rate(self) -> float:
        """The most tokens a second of any level."""
        return max(self.at(users, lambda each: each.rate) for users in self.results)

    @property
    def all(self) -> list[Result]:
        return [each for passes in self.results.values() for each in passes]


def search(rising: Sequence[int], bisections: int) -> Generator[int, bool, None]:
    """The levels to measure: rising up to the first that fails, far above it, and in between.

    Is sent whether the last one was in real time.
    """
    held, failed = 0, None
    for users in rising:
        if not (yield users):
            failed = users
            break
        held = users
    if failed is None:
        return
    yield round(failed * FAR_ABOVE)
    for _ in range(bisections):
        middle = round((held + failed) / 2 / GRID) * GRID
        if not held < middle < failed:
            return
        if (yield middle):
            held = middle
        else:
            failed = middle


async def run(targets: Targets, plan: Plan, tell: Tell) -> dict[str, Found]:
    """Each target's next level in turns, so that what else this machine does falls on all."""
    found = {name: Found() for name in targets.running}
    searches = {name: search(plan.rising[name], plan.bisections) for name in found}
    for target in targets.running.values():
        await levels.warm_up(targets, target)
    due = {name: next(each) for name, each in searches.items()}
    while due:
        for _, name in in_turns(list(due), plan.passes):
            target, passes = targets.running[name], found[name].results.setdefault(due[name], [])
            result = await levels.run_when_quiet(targets, target, due[name], window=plan.window)
            passes.append(result)
            tell(target, result)
        held = {name: found[name].is_real_time(users) for name, users in due.items()}
        due = {}
        for name, was_held in held.items():
            try:
                due[name] = searches[name].send(was_held)
            except StopIteration:
                continue
    return found
