"""The breaker: while MongoDB is away nothing is asked of it, so an outage costs nobody time.

It opens when MongoDB was silent for ``SILENCE_SECONDS`` while somebody waited, or when an operation
has failed and a write right after it fails as well. Either way a write of our own has the say: one
slow operation, one refused write or one lost connection leaves it closed, for that write passes.

While it is open one task goes on writing; the first write that a majority acknowledges closes it. A
read, or MongoDB's own ping, would pass where no majority is left.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, TypeVar

from pymongo.errors import PyMongoError

from memory.errors import RememberingError, Unavailable
from mongo.errors import wrapped
from mongo.silence import Silence

log = logging.getLogger(__name__)

Given = TypeVar("Given")

Told = Callable[[bool], None]
"""Hears of each change in its moment: True when MongoDB is away. Must not raise."""

# Answers take milliseconds, and an election that somebody has asked for some hundreds of them.
SILENCE_SECONDS = 0.6
# Then it is asked itself, so that one operation that is merely slow does not count as silence.
DOUBT_SECONDS = 0.35

# Jittered, so that many servers don't fall on a returning MongoDB in one instant.
PROBE_PAUSE_SECONDS = (0.1, 0.2)

# Where our own loop, or process, stood still for so long, a write that failed is tried once more.
STALL_SECONDS = 0.25


class Operation(Generic[Given]):
    """What ``Breaker.operation`` gives; a class, because every operation pays for it."""

    __slots__ = ("_breaker", "_doubts", "_given", "_limit")

    def __init__(self, breaker: Breaker, seconds: float, given: Given, *, doubts: bool) -> None:
        self._breaker = breaker
        self._given = given
        self._doubts = doubts
        self._limit = asyncio.timeout(seconds)

    async def __aenter__(self) -> Given:
        await self._limit.__aenter__()
        self._breaker.began(self._limit)
        return self._given

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        cause = error
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError as timeout:
            cause = timeout
        meant = wrapped(cause) if isinstance(cause, PyMongoError | TimeoutError) else cause
        self._breaker.ended(self._limit, meant, doubts=self._doubts)
        if meant is not None and meant is not error:
            raise meant from cause


class Breaker:
    """Belongs to the event loop it is used in.

    ``probe`` makes one write; it raises ``Unavailable`` within a second or so, whatever happens.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]], on_change: Told | None) -> None:
        self.away = False
        self._is_watching = False
        self._probe = probe
        self._on_change = on_change
        self._silence = Silence(self._heard_nothing)
        self._waiting: set[asyncio.Timeout] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._check: asyncio.Task[None] | None = None
        self._away_since = 0.0

    def watch(self) -> None:
        """Before this, and after ``close``, it leaves MongoDB alone."""
        self._is_watching = True

    def operation(self, seconds: float, given: Given) -> Operation[Given]:
        """For ``async with``, which gives ``given``. What is done inside is broken off after
        ``seconds``, and as soon as the breaker opens.

        Raises ``Unavailable`` for that, for the driver's errors, and at once while it is open. What
        was broken off may have taken effect, or may yet do so: what Motor's threads have begun they
        go on with, up to the driver's own time-out; so do PyMongo's calls (``mongo/detached.py``).
        What still waits for one of Motor's threads is taken back; were it left there, the probes
        would have to queue behind it.
        """
        if self.away:
            raise Unavailable("MongoDB is away.")
        return Operation(self, seconds, given, doubts=True)

    def began(self, limit: asyncio.Timeout) -> None:
        self._waiting.add(limit)
        self._silence.begin()

    def ended(self, limit: asyncio.Timeout, error: BaseException | None, *, doubts: bool) -> None:
        """``error`` is of ours where the driver raised it."""
        self._waiting.discard(limit)
        self._silence.end()
        if isinstance(error, Unavailable):
            if doubts:
                self._doubt()
        elif error is None or isinstance(error, Exception):  # it answered, if only to refuse
            self._silence.answered()

    def open(self, reason: str) -> None:
        """MongoDB is away; harmless when it is already."""
        if not self._is_watching:
            return
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep_probing(), name="mongo-probes")
        if self.away:
            return
        self.away = True
        self._away_since = time.monotonic()
        log.warning("MongoDB is away", extra={"reason": reason})
        now = asyncio.get_running_loop().time()
        for limit in self._waiting:
            if not limit.expired():
                limit.reschedule(now)
        if self._on_change is not None:
            self._on_change(True)

    def shut(self) -> None:
        """MongoDB has taken a write; harmless when that is no news."""
        if not self.away:
            return
        self.away = False
        seconds = round(time.monotonic() - self._away_since, 3)
        log.warning("MongoDB is back", extra={"away_seconds": seconds})
        if self._on_change is not None:
            self._on_change(False)

    async def close(self) -> None:
        """Ends its tasks; it stays open or closed as it is."""
        self._is_watching = False
        tasks = [task for task in (self._keeper, self._check) if task is not None]
        self._keeper = self._check = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._silence.close()

    def _heard_nothing(self, seconds: float) -> None:
        if self.away:
            return
        if seconds >= SILENCE_SECONDS:
            self.open("silent")
        elif seconds >= DOUBT_SECONDS:
            self._doubt()

    def _doubt(self) -> None:
        if self.away or not self._is_watching:
            return
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._check_now(), name="mongo-check")

    async def _check_now(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.away:
            began, awake = loop.time(), self._silence.awake()
            try:
                # Its own time-out is shorter; this one is for the breaker to break it off.
                async with Operation(self, SILENCE_SECONDS + 1, None, doubts=False):
                    await self._probe()
            except RememberingError as error:
                stalled = loop.time() - began - (self._silence.awake() - awake)
                if stalled < STALL_SECONDS:
                    self.open(str(error))
            except Exception:  # whatever it is, it is no silence
                log.exception("MongoDB could not be checked")
                return
            else:
                return

    async def _keep_probing(self) -> None:
        while self.away:
            await asyncio.sleep(random.uniform(*PROBE_PAUSE_SECONDS))
            try:
                await self._probe()
            except RememberingError:
                continue
            except Exception:  # the top of a task that must not end
                log.exception("MongoDB could not be probed")
                continue
            self.shut()
