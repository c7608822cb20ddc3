"""The guards notice what has become slower, and nothing else: by a clock that only work moves."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from benchmarks import guards
from benchmarks.guarded_paths import guarded_paths
from benchmarks.guards import ALLOWED, judged, rows

Work = Callable[[], None]


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(guards, "floor", self.work(1.0))

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> Work:
        return self.varying(lambda _: seconds)

    def varying(self, seconds: Callable[[int], float]) -> Work:
        """``seconds`` of the how manieth time it is done."""
        times = count()

        def work() -> None:
            self.now += seconds(next(times))

        return work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_path_that_takes_twice_as_long_is_a_fault_and_the_others_are_none(clock: Clock) -> None:
    paths = {"same": clock.work(0.5), "slow": clock.work(1.0)}
    recorded = {"same": 0.5, "slow": 0.5}
    found = rows(judged(paths, recorded, clock=clock), recorded)
    assert [row.is_fault for row in found] == [False, True]
    assert found[1].what == "slow: SLOWER"
    assert found[1].floors[0].ratio == pytest.approx(2.0)


def test_up_to_the_allowed_nothing_is_a_fault(clock: Clock) -> None:
    recorded = {"a path": 1.0}
    ratios = judged({"a path": clock.work(0.99 * ALLOWED)}, recorded, clock=clock)
    assert not any(row.is_fault for row in rows(ratios, recorded))


def test_rounds_that_were_disturbed_do_not_count(clock: Clock) -> None:
    path = clock.varying(lambda time: 50.0 if time % 3 == 0 else 1.0)
    ratios = judged({"a path": path}, {"a path": 1.0}, clock=clock)
    assert ratios["a path"] == pytest.approx(1.0)


def test_what_is_slow_only_for_a_while_is_measured_again(clock: Clock) -> None:
    path = clock.varying(lambda time: 3.0 if time < guards.ROUNDS + 10 else 1.0)
    ratios = judged({"a path": path}, {"a path": 1.0}, clock=clock)
    assert ratios["a path"] == pytest.approx(1.0)


def test_a_path_that_nobody_recorded_is_said_to_be_so(clock: Clock) -> None:
    ratios = judged({"new": clock.work(1.0)}, {}, clock=clock)
    [row] = rows(ratios, {})
    assert (row.what, row.floors, row.is_fault) == ("new: not recorded", (), False)


async def test_each_guarded_path_does_its_work_and_is_recorded() -> None:
    async with guarded_paths() as paths:
        for _ in range(2):
            for work in paths.values():
                work()
    assert guards._read().keys() in (paths.keys(), set())
