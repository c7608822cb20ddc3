"""The turns this server answers or keeps waiting: begun, ended, handed on.

After its end is in the store a turn is concluded: into memory, onto the feed, then closed. Only
then may the conversation's next turn begin, on any server. A crash between two of these steps
leaves an ended turn open; the sweep concludes it, and each step is harmless when repeated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Protocol

import msgspec

from agent.answering import Agent
from memory.errors import NotFound, Unavailable
from memory.records import (
    ENDED,
    Answer,
    Conversation,
    Message,
    Position,
    Turn,
    TurnError,
    answer_of,
)
from server.feed.feeds import Feeds
from server.stores import ConversationStore, TurnStore
from server.tasks import Tasks
from server.turns.run import Run

log = logging.getLogger(__name__)

# How long a stop's answer waits for the end of the turn.
STOP_SECONDS = 2.0


class Memory(Protocol):
    async def remember(
        self, conversation_id: str, message: Message, position: Position
    ) -> None: ...


class Answering:
    """Owner of the runs. ``owner`` is this server's name in leases; times are in milliseconds."""

    def __init__(
        self,
        *,
        conversations: ConversationStore,
        turns: TurnStore,
        memory: Memory,
        feeds: Feeds,
        agent: Agent,
        owner: str,
        lease_ms: int,
        max_running: int,
        max_attempts: int,
    ) -> None:
        self.owner = owner
        self.lease_ms = lease_ms
        self.draining = False
        self._conversations = conversations
        self._turns = turns
        self._memory = memory
        self._feeds = feeds
        self._agent = agent
        self._max_running = max_running
        self._max_attempts = max_attempts
        self._runs: dict[str, Run] = {}
        self._waiting: dict[str, Turn] = {}
        self._tasks = Tasks()

    @property
    def running(self) -> int:
        return len(self._runs)

    @property
    def has_room(self) -> bool:
        """Whether another turn may run here now."""
        return not self.draining and (not self._max_running or self.running < self._max_running)

    def held(self) -> list[str]:
        """The turns whose leases this server must renew: running ones, and those that wait."""
        return [*self._runs, *self._waiting]

    def runs(self, turn_id: str) -> Run | None:
        return self._runs.get(turn_id)

    def begin(self, turn: Turn, position: Position, *, leased_at: float) -> None:
        """Run a turn that this server has claimed or accepted as running.

        ``position`` is where the conversation stands with it; ``leased_at`` (monotonic seconds) is
        a moment before the lease was asked for.
        """
        self._waiting.pop(turn.id, None)
        run = Run(
            turn,
            position,
            agent=self._agent,
            feeds=self._feeds,
            turns=self._turns,
            lease_until=leased_at + self.lease_ms / 1000,
        )
        self._runs[turn.id] = run
        self._tasks.start(self._run(run), f"turn {turn.id}")

    def keep(self, turn: Turn) -> None:
        """A turn accepted here waits for its conversation."""
        self._waiting[turn.id] = turn

    async def _run(self, run: Run) -> None:
        try:
            ended = await run.result()
        finally:
            del self._runs[run.turn.id]
            run.ended.set()
        if ended is not None:
            await self.conclude(ended)

    async def conclude(self, turn: Turn) -> None:
        """An ended turn goes into memory and onto the feed, and is closed; then the next begins.

        Raises ``Unavailable`` when the store is away; the sweep concludes it later.
        """
        self._waiting.pop(turn.id, None)
        answer = answer_of(turn)
        if answer is not None:
            position = Position(revision=turn.revision, turn=turn.n, answers=turn.answers or 0)
            await self._memory.remember(turn.conversation_id, answer, position)
        await self._feeds.ended(turn)
        try:
            await self._turns.close(turn)
        except Unavailable:
            log.warning(
                "An ended turn can't be closed yet.",
                extra={"action": "close_waits", "turn_id": turn.id},
            )
            return
        if answer is not None:
            self._agent.turn_ended(turn.conversation_id, turn.user_id)
        await self.advance(turn.conversation_id)

    async def advance(self, conversation_id: str) -> None:
        """Begin the conversation's earliest open turn if it waits and there is room for it."""
        try:
            open_turns = await self._turns.open_turns(conversation_id)
            if open_turns and open_turns[0].status == "queued" and self.has_room:
                await self.adopt(open_turns[0])
        except Unavailable:
            log.warning(
                "The next turn can't be looked up yet.",
                extra={"action": "advance_waits", "conversation_id": conversation_id},
            )

    async def adopt(self, turn: Turn) -> None:
        """Take on an open turn: claim and run it, or conclude it if only that is missing."""
        if turn.id in self._runs:
            return
        if turn.status in ENDED:
            await self.conclude(turn)
            return
        if not self.has_room:
            return
        asked = time.monotonic()
        claimed = await self._turns.claim(turn, self.owner, lease_ms=self.lease_ms)
        if claimed is None:
            return
        try:
            conversation = await self._conversations.get(turn.conversation_id, turn.user_id)
        except NotFound:
            await self._turns.remove(claimed)
            return
        log.info(
            "A turn was claimed.",
            extra={
                "action": "turn_claimed",
                "conversation_id": turn.conversation_id,
                "turn_id": turn.id,
                "attempt": claimed.attempt,
            },
        )
        if self._max_attempts and claimed.attempt > self._max_attempts:
            await self._give_up(claimed)
            return
        self.begin(claimed, position_at(conversation, claimed), leased_at=asked)

    async def _give_up(self, turn: Turn) -> None:
        error = TurnError(
            code="internal",
            message=f"The answer could not be made in {self._max_attempts} attempts.",
            retryable=True,
        )
        answer: Answer | None = None
        ended = await self._turns.finish(turn, "failed", answer, error)
        if ended is not None:
            await self.conclude(ended)

    async def stop(self, conversation_id: str, turn_id: str) -> Turn | None:
        """Stop a turn; as it is then. One that has ended stays as it is. None: no such turn.

        A turn that runs here has ended when this returns, unless the store is slow to keep its
        end; one that runs on another server ends when that server renews its lease.
        """
        run = self._runs.get(turn_id)
        turn = await self._turns.request_stop(conversation_id, turn_id)
        if run is not None and turn is not None:
            run.stop()
            await run.wait_ended(STOP_SECONDS)
            turn = await self._turns.get(conversation_id, turn_id)
        elif turn is not None and turn.status in ENDED and turn.open:
            await self.conclude(turn)  # it was stopped while it waited; nobody runs it
        return turn

    def lost(self, turn_ids: Iterable[str]) -> None:
        """Leases of these are no longer this server's."""
        for turn_id in turn_ids:
            self._waiting.pop(turn_id, None)
            if (run := self._runs.get(turn_id)) is not None:
                log.warning("A turn's lease is lost.", extra={"turn_id": turn_id})
                run.abandon()

    def forget(self, conversation_id: str) -> None:
        """The conversation is deleted: nothing of it is answered any more."""
        for run in list(self._runs.values()):
            if run.turn.conversation_id == conversation_id:
                run.abandon()
        for turn in list(self._waiting.values()):
            if turn.conversation_id == conversation_id:
                del self._waiting[turn.id]

    async def drain(self, grace: float) -> None:
        """Let running answers end for ``grace`` seconds, then let go of what is left.

        What is let go stays open in the store, without a lease: another server, or this one when
        it is back, begins it anew at once.
        """
        self.draining = True
        await self._tasks.settle(grace)
        for run in list(self._runs.values()):
            run.abandon()
        await self._tasks.close()
        self._waiting.clear()
        try:
            await self._turns.release(self.owner)
        except Unavailable:
            log.warning("Leases end by themselves: the store is away.")


def position_at(conversation: Conversation, turn: Turn) -> Position:
    """Where the conversation stands with ``turn``, all before it being closed."""
    return msgspec.structs.replace(conversation.position, turn=turn.n)
