"""The turns this server answers or keeps waiting: begun, ended, handed on.

What is begun is one of the ``runs``; what has ended is concluded (``concluding.py``), and then the
conversation's next turn begins.

Every turn that waits begins through one line, ``_ready``: conversations whose next turn may begin
once there is room. Whoever comes new does not pass it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from agent.answering import Agent
from memory.errors import NotFound, Unavailable
from memory.records import (
    ENDED,
    Answer,
    Conversation,
    Position,
    Turn,
    TurnError,
    TurnStatus,
    current,
    derived_id,
)
from server.clock import now_ms
from server.feed.feeds import Feeds
from server.observability.traces import Traces
from server.signals import Signals
from server.tasks import Tasks
from server.turns.concluding import Concluding, Memory
from server.turns.counts import TurnCounts
from server.turns.run import MESSAGE_STATUS, Run
from server.turns.runs import Runs
from server.turns.waiting import Joining, Waiting
from stores.contract import ConversationStore, TurnStore

log = logging.getLogger(__name__)

# How long a stop's answer waits for the end of the turn.
STOP_SECONDS = 2.0
# How often it looks meanwhile, where another server runs it.
STOP_LOOK_SECONDS = 0.05

# Conversations looked at again in one sweep, of those that wait for no run of this server.
MAX_LOOKS = 100


def _none(turn: Turn, tokens: int) -> None:
    """Nobody asks."""


def _nothing(turn: Turn) -> None:
    """Of an answer nothing follows."""


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
        signals: Signals,
        owner: str,
        lease_ms: int,
        max_running: int,
        max_attempts: int,
        max_waiting_per_user: int = 0,
        ended: Callable[[Turn], None] = _nothing,
        untold: Callable[[Turn, int], None] = _none,
        first_answered: Callable[[Turn], None] = _nothing,
        answered: Callable[[Turn], None] = _nothing,
        traces: Traces | None = None,
    ) -> None:
        """``ended`` is called with each turn that ended here, once that is kept; ``untold`` with
        the tokens that a turn used without a word of it in what is kept; ``answered`` with each
        that has an answer, once it is concluded, and ``first_answered`` with a conversation's
        first such turn. None of them may wait."""
        self.owner = owner
        self.lease_ms = lease_ms
        self.draining = False
        self.counts = TurnCounts()
        self._ended = ended
        self._untold = untold
        self._conversations = conversations
        self._turns = turns
        self._feeds = feeds
        self._signals = signals
        self._max_attempts = max_attempts
        self._waiting = Waiting(max_waiting_per_user)
        self._ready: dict[str, None] = {}
        self._concluding = Concluding(
            turns=turns,
            memory=memory,
            feeds=feeds,
            agent=agent,
            answered=answered,
            first_answered=first_answered,
        )
        self.renewing = asyncio.Lock()
        """Held while leases are renewed, and while they are let go for good."""
        self.tasks = Tasks()
        """What goes on in the background; a drain waits for it."""
        self.runs = Runs(
            turns=turns,
            feeds=feeds,
            agent=agent,
            tasks=self.tasks,
            counts=self.counts,
            traces=traces or Traces(),
            lease_ms=lease_ms,
            most=max_running,
            over=self._over,
            has_place=self._fill_soon,
        )

    @property
    def waiting(self) -> int:
        """Accepted here, and not begun yet; and conversations that wait for room here."""
        return len(self._waiting) + len(self._ready)

    @property
    def has_room(self) -> bool:
        """Whether another turn may run here now."""
        return not self.draining and self.runs.has_room

    @contextmanager
    def reserving(self) -> Iterator[bool]:
        """Keep a place for a new turn that is about to run; False where it must wait for one."""
        has_room = self.has_room and not self._ready
        with self.runs.reserving(is_wanted=has_room):
            yield has_room

    def held(self) -> dict[str, Run | Turn]:
        """The turns whose leases this server must renew: running ones, and those that wait."""
        return {**self._waiting.by_id, **{run.turn.id: run for run in self.runs}}

    def still_holds(self, turn_id: str, held: Run | Turn) -> bool:
        """Whether it is held as it was: since then it may have been claimed, or begun anew."""
        return (self.runs.get(turn_id) or self._waiting.by_id.get(turn_id)) is held

    def holds(self, turn_id: str) -> bool:
        return turn_id in self.runs or turn_id in self._waiting

    def begin(
        self, turn: Turn, position: Position, *, leased_at: float, ahead: Run | None = None
    ) -> None:
        """Run a turn that this server has claimed or accepted as running.

        ``position`` is where the conversation stands with it; ``leased_at`` (monotonic seconds) is
        a moment before the lease was asked for. What was begun ``ahead`` goes on, unless the turn
        is to be answered otherwise than was known then.
        """
        self._waiting.remove(turn.id)
        self.runs.begin(turn, position, leased_at=leased_at, ahead=ahead)

    def joining(self, user_id: str) -> AbstractContextManager[Joining]:
        """While a new turn is stored that may have to wait here."""
        return self._waiting.joining(user_id)

    def keep(self, turn: Turn) -> None:
        """A turn accepted here waits for its conversation."""
        if turn.owner == self.owner:
            self._waiting.add(turn)

    async def _over(self, run: Run, ended: Turn | None) -> None:
        if untold := run.untold(ended):
            self._untold(run.turn, untold)
        if ended is not None:
            self.counts.ended(ended)
            self._ended(ended)
            await self.conclude(ended, ran_here=True)
        elif not self.draining:
            await self.advance(run.turn.conversation_id)  # who looked left it to this run

    async def conclude(self, turn: Turn, *, ran_here: bool = False) -> None:
        """An ended turn: see ``Concluding``. Then the conversation's next one begins.

        Raises ``Unavailable`` when the store is away; the sweep concludes it later.
        """
        self._waiting.remove(turn.id)
        soon = not ran_here or bool(self._waiting.of(turn.conversation_id))
        has_more = await self._concluding.conclude(turn, ran_here=ran_here, soon=soon)
        # What runs here already is the next one, and looks for more at its own end.
        if has_more and not self.runs.of(turn.conversation_id):
            await self.advance(turn.conversation_id)

    async def concluded(self, conversation_id: str) -> None:
        """Returns when none of its turns is being concluded here."""
        await self._concluding.concluded(conversation_id)

    async def advance(self, conversation_id: str) -> None:
        """Begin the conversation's earliest open turn, if it waits, once there is room for it:
        here, or on another server, if one has room before."""
        self._ready[conversation_id] = None
        await self._fill()
        if conversation_id in self._ready:
            await self._share(conversation_id)

    async def _share(self, conversation_id: str) -> None:
        """There is no room here: what waits is left to whoever has some."""
        await self.leave(self._waiting.of(conversation_id))

    async def leave(self, turn_ids: Iterable[str]) -> None:
        """Let go of turns that wait here: the next sweep, on any server, goes on with them."""
        left = list(turn_ids)
        for turn_id in left:
            self._waiting.remove(turn_id)
        try:
            if left:
                await self._turns.renew(left, self.owner, lease_ms=0)
        except Unavailable:
            log.debug("Leases end by themselves: the store is away.")
        self._signals.send("work")

    async def look_again(self) -> None:
        """Advance the conversations of turns that wait here though nothing of theirs runs here.

        They wait for another server, which may have had no room for them, or for a store that was
        away when it was their turn.
        """
        answered = {run.turn.conversation_id for run in self.runs}
        waiting = {turn.conversation_id for turn in self._waiting} - answered
        some = random.sample(sorted(waiting), min(MAX_LOOKS, len(waiting)))
        self._ready.update(dict.fromkeys(some))
        await self._fill()

    def _fill_soon(self) -> None:
        if self._ready and self.has_room:
            self.tasks.start(self._fill(), "begin what is ready")

    async def _fill(self) -> None:
        """Begin what is ready, as far as there is room."""
        while self._ready and self.has_room:
            conversation_id = next(iter(self._ready))
            del self._ready[conversation_id]
            try:
                with self.runs.reserving():
                    await self._begin_next(conversation_id)
            except NotFound:
                continue  # the conversation was deleted meanwhile
            except Unavailable:
                log.warning(
                    "The next turn can't be begun yet.",
                    extra={"action": "advance_waits", "conversation_id": conversation_id},
                )

    async def _begin_next(self, conversation_id: str) -> None:
        open_turns = await self._settled(await self._turns.open_turns(conversation_id))
        if open_turns and open_turns[0].status == "queued":
            await self._claim(open_turns[0])

    async def _settled(self, open_turns: list[Turn]) -> list[Turn]:
        """Less what one of the others supersedes: its server died before it marked that."""
        valid = current(open_turns)
        if len(valid) == len(open_turns):
            return open_turns
        for turn in open_turns:
            if turn.rewrites:
                await self._turns.supersede(turn)
        return valid

    async def adopt(self, turn: Turn) -> None:
        """Take on an open turn: claim and run it, or conclude it if only that is missing."""
        if turn.id in self.runs:
            return
        open_turns = await self._turns.open_turns(turn.conversation_id)
        if turn.id not in {valid.id for valid in await self._settled(open_turns)}:
            return
        if turn.status in ENDED:
            await self.conclude(turn)
        elif self.has_room:
            with self.runs.reserving():
                await self._claim(turn)

    async def _claim(self, turn: Turn) -> None:
        asked = time.monotonic()
        try:
            claimed = await self._turns.claim(turn, self.owner, lease_ms=self.lease_ms)
        except Unavailable:
            # It may be running in this server's name now. Nobody renews it: the sweep will see.
            self._waiting.remove(turn.id)
            raise
        if claimed is None:
            return
        self._waiting.remove(turn.id)
        try:
            if claimed.rewrites:  # its server may have died before it had superseded anything
                await self._turns.supersede(claimed)
            conversation = await self._conversations.get(turn.conversation_id, turn.user_id)
        except NotFound:
            await self._turns.remove(claimed)
            return
        self.counts.taken_over += claimed.attempt > 1
        log.info(
            "A turn was claimed.",
            extra={
                "action": "turn_claimed",
                "conversation_id": turn.conversation_id,
                "turn_id": turn.id,
                "attempt": claimed.attempt,
            },
        )
        if claimed.attempt > 1 and (told := await self._feeds.told_end(claimed)) is not None:
            await self._end(claimed, told.status, told.answer, told.error)
            return
        if self._max_attempts and claimed.attempt > self._max_attempts:
            await self._give_up(claimed)
            return
        if claimed.stop_requested:  # of an earlier attempt, whose server died before it saw it
            await self._end_for(claimed, "stopped", None)
            return
        self.begin(claimed, position_at(conversation, claimed), leased_at=asked)

    async def _give_up(self, turn: Turn) -> None:
        error = TurnError(
            code="internal",
            message=f"The answer could not be made in {self._max_attempts} attempts.",
            retryable=True,
        )
        await self._end_for(turn, "failed", error)

    async def _end_for(self, turn: Turn, status: TurnStatus, error: TurnError | None) -> None:
        """End a claimed turn without another try: what the attempt before it has said is kept."""
        said = await self._feeds.heard(turn)
        answer = Answer(
            message_id=derived_id("answer", turn.id),
            content=said,
            status=MESSAGE_STATUS[status],
            created_at=now_ms(),
        )
        await self._end(turn, status, answer if said else None, error)

    async def _end(
        self, turn: Turn, status: TurnStatus, answer: Answer | None, error: TurnError | None
    ) -> None:
        ended = await self._turns.finish(turn, status, answer, error)
        if ended is not None:
            self.counts.ended(ended)
            self._ended(ended)
            await self.conclude(ended)

    async def stop(self, conversation_id: str, turn_id: str) -> Turn | None:
        """Stop a turn; as it is then. One that has ended stays as it is. None: no such turn.

        The turn has ended when this returns, wherever it runs, unless its server or the store is
        slow: a signal tells that server; where none comes, the next renewal of the lease does.
        """
        run = self.runs.get(turn_id)
        try:
            turn = await self._turns.request_stop(conversation_id, turn_id)
        except Unavailable:
            if run is not None:
                run.stop()  # no store is needed for that; how it ended is told when one has it
            raise
        run = self.runs.get(turn_id) or run  # it may have been begun meanwhile
        if run is not None and turn is not None:
            run.stop()
            await run.wait_ended(STOP_SECONDS)
            turn = await self._turns.get(conversation_id, turn_id)
        elif turn is not None and turn.status in ENDED and turn.open:
            await self.conclude(turn)  # it was stopped while it waited; nobody runs it
        elif turn is not None and turn.status == "running":
            self._signals.send("stop", turn_id=turn_id)
            turn = await self._ended_elsewhere(turn)
        return turn

    async def _ended_elsewhere(self, turn: Turn) -> Turn | None:
        """The turn once another server has ended it, or after a while as it is."""
        end = time.monotonic() + STOP_SECONDS
        found: Turn | None = turn
        while found is not None and found.status not in ENDED and time.monotonic() < end:
            await asyncio.sleep(STOP_LOOK_SECONDS)
            found = await self._turns.get(turn.conversation_id, turn.id)
        return found

    def stop_here(self, turn_id: str) -> None:
        """Another server was asked to stop this turn, and has noted that in the store."""
        if (run := self.runs.get(turn_id)) is not None:
            run.stop()

    def lost(self, turn_ids: Iterable[str]) -> None:
        """Leases of these are no longer this server's."""
        for turn_id in turn_ids:
            self._waiting.remove(turn_id)
            if (run := self.runs.get(turn_id)) is not None:
                log.warning("A turn's lease is lost.", extra={"turn_id": turn_id})
                run.abandon()

    def forget(self, conversation_id: str) -> None:
        """The conversation is deleted: nothing of it is answered any more."""
        for run in self.runs.of(conversation_id):
            run.abandon()
        for turn_id in self._waiting.of(conversation_id):
            self._waiting.remove(turn_id)
        self._ready.pop(conversation_id, None)

    async def drain(self, grace: float) -> None:
        """Let running answers end for ``grace`` seconds, and those that calls are just about to
        begin; then let go of what is left.

        What is let go stays open in the store, without a lease: another server, or this one when
        it is back, begins it anew at once.
        """
        self.draining = True
        await self.runs.settle(grace)
        await self.tasks.close()
        self._waiting.clear()
        try:
            async with self.renewing:  # a renewal on its way would take back what is let go
                self.runs.has_let_go = True
                await self._turns.release(self.owner)
        except Unavailable:
            log.warning("Leases end by themselves: the store is away.")
        self._signals.send("work")


def position_at(conversation: Conversation, turn: Turn, *, answers_before: int = 0) -> Position:
    """Where the conversation stands with ``turn``, all before it having ended. What ended last may
    not be counted yet, and ``answers_before`` know of it."""
    answers = max(conversation.position.answers, answers_before)
    return Position(revision=turn.revision, turn=turn.place, answers=answers)
