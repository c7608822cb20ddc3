"""One level: so many users of one server, and whether they saw their answers in real time."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from dataclasses import asdict, dataclass

from benchmarks.capacity.generator import Level, Seen
from benchmarks.capacity.targets import TOKENS_PER_SECOND, Target, Targets
from benchmarks.servers import HOME
from benchmarks.timing import cpu_seconds

GAP_P99_SECONDS = 0.25
FIRST_P99_SECONDS = 1.0
PACE = 0.97
"""Of the tokens that the provider says to so many users who ask without a pause."""

LONGEST_SECONDS = 120.0
"""Beyond the ramp and the window: to connect, and to read the last answers."""

REST_SECONDS = 30.0
REST_LOOK_SECONDS = 0.3

NOISE_CORES = 0.5
"""Foreign load beyond which a level that failed says nothing."""


@dataclass(frozen=True)
class Result:
    seen: Seen

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.seen.tokens / self.seen.seconds

    @property
    def pace(self) -> float:
        """1: as many as the provider can have said."""
        return self.rate / (self.seen.users * TOKENS_PER_SECOND)

    def cpu(self, name: str) -> float:
        """Milliseconds of this process for 1,000 tokens."""
        cores = self.seen.cpu.get(name, 0.0)
        return 1e6 * cores * self.seen.seconds / max(1, self.seen.tokens)

    @property
    def foreign(self) -> float:
        """Cores."""
        return self.seen.cpu["foreign"]

    @property
    def faults(self) -> list[str]:
        """Why it was not in real time; none where it was."""
        seen = self.seen
        found = [f"{count} × {error}" for error, count in seen.errors.items()]
        if seen.wrong:
            found.append(f"{seen.wrong} tokens wrong")
        if self.pace < PACE:
            found.append(f"{self.pace:.0%} of the pace")
        if seen.gaps[1] > GAP_P99_SECONDS:
            found.append(f"gaps of {1e3 * seen.gaps[1]:.0f} ms")
        if seen.firsts[1] > FIRST_P99_SECONDS:
            found.append(f"first token after {1e3 * seen.firsts[1]:.0f} ms")
        return found

    @property
    def is_real_time(self) -> bool:
        return not self.faults

    @property
    def is_noise(self) -> bool:
        """It failed, and somebody else may be the reason."""
        return not self.is_real_time and self.foreign > NOISE_CORES


async def run(
    targets: Targets, target: Target, users: int, *, window: float, ramp: float = 4.0
) -> Result:
    if target.pid is not None:
        await _at_rest(target.pid)
    level = Level(
        target.user, target.port, users, window=window, ramp=ramp, pids=targets.pids(target)
    )
    return Result(await generated(level))


async def run_when_quiet(targets: Targets, target: Target, users: int, *, window: float) -> Result:
    """Once more where somebody else may be the reason for a failure."""
    result = await run(targets, target, users, window=window)
    if result.is_noise:
        result = await run(targets, target, users, window=window)
    return result


async def _at_rest(pid: int) -> None:
    """It has done with what the level before has left it to do; at most ``REST_SECONDS``."""
    end = time.monotonic() + REST_SECONDS
    busy = cpu_seconds(pid)
    while time.monotonic() < end:
        await asyncio.sleep(REST_LOOK_SECONDS)
        before, busy = busy, cpu_seconds(pid)
        if busy - before < REST_LOOK_SECONDS / 10:
            return


async def generated(level: Level) -> Seen:
    """What the users of a process of their own saw."""
    generator = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.capacity.generator", json.dumps(asdict(level))),
        cwd=HOME,
        stdout=PIPE,
    )
    try:
        async with asyncio.timeout(level.ramp + level.window + LONGEST_SECONDS):
            printed, _ = await generator.communicate()
    finally:
        if generator.returncode is None:
            generator.kill()
            await generator.wait()
    if generator.returncode != 0:
        raise RuntimeError("the users' process failed; what it said is above")
    return Seen(**json.loads(printed))


async def warm_up(target: Target) -> None:
    """What a server does only once is not to be measured."""
    await generated(Level(target.user, target.port, 5, tokens=20, ramp=0.2, window=0.5))
