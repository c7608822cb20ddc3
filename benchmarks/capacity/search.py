"""Looks for the number of users at which a server is no longer in real time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.capacity import levels
from benchmarks.capacity.levels import Result
from benchmarks.capacity.targets import Target, Targets
from benchmarks.timing import in_turns

GRID = 5
"""Numbers of users between two levels are multiples of it."""
SATURATED = 0.9
"""Below so much of the pace a server says as many tokens as it can."""
FAR_ABOVE = 1.5
"""Times the first level that failed: what is not saturated there, is here."""

Tell = Callable[[Target, Result], None]


@dataclass(frozen=True)
class Plan:
    rising: Mapping[str, Sequence[int]]
    """Levels of each target, as ``targets.STARTS`` names them."""
    window: float
    """Seconds."""
    passes: int = 1
    bisections: int = 0
    is_patient: bool = False
    """A level that failed while others used the machine is measured again."""


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


def search(found: Found, rising: Sequence[int], bisections: int) -> Iterator[int]:
    """The levels to measure: rising up to the first that fails, far above it, and in between.

    ``found`` has to hold the results of each by the time the next one is asked for.
    """
    for users in rising:
        yield users
        if not found.is_real_time(users):
            break
    else:
        return
    failed = users
    if found.at(failed, lambda each: each.pace) > SATURATED:
        yield round(failed * FAR_ABOVE)
    for _ in range(bisections):
        middle = round((found.held + failed) / 2 / GRID) * GRID
        if not found.held < middle < failed:
            return
        yield middle
        if not found.is_real_time(middle):
            failed = middle


async def run(targets: Targets, plan: Plan, tell: Tell) -> dict[str, Found]:
    """Each target's next level in turns, so that what else this machine does falls on all."""
    found = {name: Found() for name in targets.running}
    searches = {
        name: search(each, plan.rising[name], plan.bisections) for name, each in found.items()
    }
    for target in targets.running.values():
        await levels.warm_up(target)
    measure = levels.run_when_quiet if plan.is_patient else levels.run
    while due := {name: users for name, each in searches.items() if (users := next(each, None))}:
        for _, name in in_turns(list(due), plan.passes):
            target, users = targets.running[name], due[name]
            result = await measure(targets, target, users, window=plan.window)
            found[name].results.setdefault(users, []).append(result)
            tell(target, result)
    return found
