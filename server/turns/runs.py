"""The runs of this server: what it answers now, and whether it may answer more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from agent.answering import Agent
from memory.errors import NotFound, Unavailable
from memory.records import Position, Transcript, Turn
from server.feed.checkpoints import SoFar
from server.feed.feeds import Feeds
from server.observability import logs
from server.observability.traces import Traces
from server.tasks import Tasks
from server.turns.counts import TurnCounts
from server.turns.frames import Pace
from server.turns.run import Run
from stores.contract import TurnStore

log = logging.getLogger(__name__)


class Runs:
    def __init__(
        self,
        *,
        turns: TurnStore,
        feeds: Feeds,
        agent: Agent,
        tasks: Tasks,
        counts: TurnCounts,
        traces: Traces,
        lease_ms: int,
        most: int,
        over: Callable[[Run, Turn | None], Awaitable[None]],
        has_place: Callable[[], None],
    ) -> None:
        """``most`` at once; 0 is no limit. With each run that is no longer one ``has_place`` is
        called, however it ended; then ``over`` with it, and its turn as it ended, if it ended
        here."""
        self._turns = turns
        self._feeds = feeds
        self._agent = agent
        self._tasks = tasks
        self._counts = counts
        self._traces = traces
        self._lease_ms = lease_ms
        self._most = most
        self._over = over
        self._has_place = has_place
        self._by_id: dict[str, Run] = {}
        self._pace = Pace(lambda: len(self._by_id))
        self._reserved = 0
        self._all_begun = asyncio.Event()
        """Set while no place is reserved."""
        self._all_begun.set()
        self._ahead = 0
        """Runs that were begun ahead: each has its reserved place yet."""
        self.has_let_go = False
        """Of all, for good: this server ends."""

    def __len__(self) -> int:
        """With those about to run."""
        return len(self._by_id) + self._reserved - self._ahead

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._by_id.values()))

    def __contains__(self, turn_id: str) -> bool:
        return turn_id in self._by_id

    def get(self, turn_id: str) -> Run | None:
        return self._by_id.get(turn_id)

    def of(self, conversation_id: str) -> list[Run]:
        return [run for run in self if run.turn.conversation_id == conversation_id]

    def said(self, turn_id: str) -> SoFar | None:
        """What was told of a turn that runs here."""
        run = self._by_id.get(turn_id)
        return run.said() if run is not None else None

    @property
    def has_room(self) -> bool:
        return not self._most or len(self) < self._most

    @contextmanager
    def reserving(self, *, is_wanted: bool = True) -> Iterator[None]:
        """A place is kept for a turn that is about to run, where that ``is_wanted``."""
        self._reserve(int(is_wanted))
        try:
            yield
        finally:
            self._reserve(-int(is_wanted))

    def _reserve(self, places: int) -> None:
        self._reserved += places
        if self._reserved:
            self._all_begun.clear()
        else:
            self._all_begun.set()

    @contextmanager
    def ahead(
        self, turn: Turn, transcript: Transcript | None, *, leased_at: float
    ) -> Iterator[Run | None]:
        """Begin a turn that was just accepted as running while all that is left to do about its
        acceptance is done, by what the conversation was when it was last read (``transcript`` has
        the question). Nothing of it is told before ``begin``; without that it is given up at the
        end. None without a ``transcript``."""
        run = None
        if transcript is not None and turn.status == "running" and not self.has_let_go:
            run = self._start(turn, transcript.position, leased_at, transcript)
        if run is None:
            yield None
            return
        self._ahead += 1
        try:
            yield run
        finally:
            self._ahead -= 1
            if not run.is_decided:
                run.abandon()

    def begin(
        self, turn: Turn, position: Position, *, leased_at: float, ahead: Run | None = None
    ) -> None:
        """As ``Answering.begin`` says."""
        if ahead is not None and ahead.turn.choice == turn.choice:
            ahead.admit()
            return
        if ahead is not None:
            ahead.abandon()
            self._by_id.pop(turn.id, None)
        if self.has_let_go:
            return  # so slow a call that this server has ended: another one takes it on
        known = self._by_id.get(turn.id)
        if known is not None and known.turn.attempt >= turn.attempt:
            return  # so long on its way here that the sweep has taken it on
        self._start(turn, position, leased_at)

    def _start(
        self, turn: Turn, position: Position, leased_at: float, transcript: Transcript | None = None
    ) -> Run:
        run = Run(
            turn,
            position,
            agent=self._agent,
            feeds=self._feeds,
            turns=self._turns,
            counts=self._counts,
            lease_until=leased_at + self._lease_ms / 1000,
            doubted=self._verify_soon,
            pace=self._pace,
            transcript=transcript,
        )
        self._by_id[turn.id] = run
        self._tasks.start(self._run(run), f"turn {turn.id}")
        return run

    async def _run(self, run: Run) -> None:
        try:
            with logs.about(run.turn), self._traces.turn(run.turn) as span:
                try:
                    ended = await run.result()
                finally:
                    if self._by_id.get(run.turn.id) is run:
                        del self._by_id[run.turn.id]
                    run.ended.set()
                    self._has_place()
                span.note({"mnemosio.outcome": ended.status if ended is not None else "lost"})
                if ended is not None and ended.error is not None:
                    span.failed(ended.error.code)
                await self._over(run, ended)
        except Unavailable:
            log.warning(
                "A turn waits for the store; the sweep goes on with it.",
                extra={"action": "turn_waits", "turn_id": run.turn.id},
            )

    def _verify_soon(self, run: Run) -> None:
        self._tasks.start(self._verify(run), f"doubt {run.turn.id}")

    async def _verify(self, run: Run) -> None:
        """The feed's log takes a run for one that is over: it is, or the log is wrong."""
        held = run.turn
        try:
            turn = await self._turns.get(held.conversation_id, held.id)
            as_held = ("running", held.attempt, held.owner)
            if turn is None or (turn.status, turn.attempt, turn.owner) != as_held:
                run.abandon()
            elif not turn.superseded and run.holds():
                await self._feeds.renew(held.conversation_id)
        except (NotFound, Unavailable):
            log.debug("Whether a turn is still held can't be seen.", extra={"turn_id": held.id})

    async def settle(self, timeout: float) -> None:
        """Let what runs come to its end for so many seconds, and what is about to run first; then
        give up what is left."""
        ends = time.monotonic() + timeout
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._all_begun.wait()
        await self._tasks.settle(max(0.0, ends - time.monotonic()))
        for run in self:
            run.abandon()
