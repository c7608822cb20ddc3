"""Memory of the person: short facts that the user's messages tell of them, noted in the background
after a turn's end, and given to the model in later conversations.

A conversation is read from where it was read last: how far that is stands in the same record as
what was found, and both are kept in one step, on condition that the record is as it was read. So of
two servers that read the same at the same time one is refused, and sees; and what a server did not
come to, because it died or its provider failed, is read at the conversation's next turn's end.

Between reading a conversation and keeping what was found, it may be deleted or edited. Both change
the record, after the conversation: who is refused looks at the conversation again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

from langchain_core.language_models import BaseChatModel

from agent.background import Background
from agent.fact_findings import findings_in, related, request_for, said_in
from agent.memory_port import ConversationMemory
from agent.streaming import Patience, stream_answer
from agent.tokens import TokenCounter
from agent.tracing import NO_TRACES, Traces
from memory.facts import Fact, Finding, Remembered, Source
from memory.records import Message, Position, is_imported

log = logging.getLogger(__name__)

# Exchanges read at most, of what was not read: also of a conversation from before there were facts.
MAX_BEHIND = 10

# Requests to the model at one turn's end; what is left then is read at the next one's.
MAX_REQUESTS = 5

# Of one request, however large a prompt may be: it is paid for with each turn.
MAX_REQUEST_TOKENS = 8_000

# Of one answer, against a model that rambles. JSON that is cut is no JSON, and says nothing.
MAX_ANSWER_CHARS = 8_000

# Each is another change of the same user's facts within the moment between two operations.
MAX_TRIES = 20

# One is due after each answer, ten times as often as a summary, and is shorter.
MAX_RUNNING = 16
MAX_WAITING = 2_000

# Of one user; each is read at the latest at its own next turn's end.
MAX_CONVERSATIONS_WAITING = 20


class PersonMemory(Protocol):
    """What the agent asks of it. Raises memory's ``Unavailable``."""

    async def known(self, user_id: str, conversation_id: str, revision: int) -> list[Fact]:
        """For a prompt: the best, as they are with that revision of the conversation, and otherwise
        as they were a moment ago. Without their sources."""
        ...

    async def of(self, user_id: str) -> Remembered: ...

    async def keep(self, user_id: str, remembered: Remembered, *, over: str) -> bool:
        """False where another has changed it since it had the stamp ``over``."""
        ...

    async def forget(self, user_id: str, *, over: str) -> None: ...

    async def position(self, conversation_id: str) -> Position | None:
        """None where it was deleted."""
        ...


class FactKeeper:
    """Reads conversations in the background; ``close`` ends what runs."""

    def __init__(
        self,
        person: PersonMemory,
        memory: ConversationMemory,
        model: BaseChatModel,
        *,
        token_budget: int,
        counter: TokenCounter,
        patience: Patience,
        traces: Traces = NO_TRACES,
    ) -> None:
        """``token_budget``: of one request to the model; what doesn't fit goes in several."""
        self._person = person
        self._memory = memory
        self._model = model
        self._budget = min(token_budget, MAX_REQUEST_TOKENS)
        self._counter = counter
        self._patience = patience
        self._traces = traces
        self._waiting: dict[str, dict[str, None]] = {}
        """Of each user, the conversations that are to be read."""
        self._background = Background(
            "facts",
            "What a user told of themselves is noted at the next turn's end: it could not be now.",
            key="user_id",
            max_running=MAX_RUNNING,
            max_waiting=MAX_WAITING,
        )

    @property
    def idle(self) -> bool:
        return self._background.idle

    def start(self, conversation_id: str, user_id: str) -> None:
        """Read what is new in this conversation: one at a time of each user. Returns at once; where
        there is too much to do, it is read at its next turn's end."""
        waiting = self._waiting.setdefault(user_id, {})
        if len(waiting) < MAX_CONVERSATIONS_WAITING:
            waiting[conversation_id] = None
        if self._background.holds(user_id):
            return
        if not self._background.start(user_id, lambda: self._read_all(user_id)):
            del self._waiting[user_id]

    async def close(self) -> None:
        await self._background.close()

    async def _read_all(self, user_id: str) -> None:
        try:
            while waiting := self._waiting.get(user_id):
                conversation_id = next(iter(waiting))
                del waiting[conversation_id]
                await self._read(user_id, conversation_id)
        finally:
            self._waiting.pop(user_id, None)

    async def _read(self, user_id: str, conversation_id: str) -> None:
        for _ in range(MAX_REQUESTS):
            if not await self._read_some(user_id, conversation_id):
                return

    async def _read_some(self, user_id: str, conversation_id: str) -> bool:
        """Read as much as one request holds; whether there may be more."""
        known = await self._person.of(user_id)
        if not known.stamp:
            # Before the conversation is read, so that who deletes or edits it finds a record to
            # change. Not for whom is deleted with all that was theirs.
            if await self._person.position(conversation_id) is None:
                return False
            known, none = known.changed(), known.stamp
            if not await self._person.keep(user_id, known, over=none):
                return True
        position = await self._person.position(conversation_id)
        if position is None:
            if not (known.facts or known.settled or known.progress):
                await self._person.forget(user_id, over=known.stamp)
            return False
        after = max(known.progress.get(conversation_id, 0), 2 * (position.turn - MAX_BEHIND))
        messages = await self._memory.messages_after(conversation_id, after, 2 * MAX_BEHIND)
        if not messages:
            return False
        upto = messages[-1].seq or 0
        own = [each for each in messages if _is_own(each, user_id, conversation_id)]
        shown = related(known.facts, own)
        batch, first_left = self._batch(own, shown)
        if first_left is not None:
            upto = (first_left.seq or 1) - 1
        found: list[Finding] = []
        if batch:
            sources = [_source(conversation_id, message, position.revision) for message in batch]
            found = findings_in(await self._ask(batch, shown), sources, shown)
        more = upto < (messages[-1].seq or 0) or len(messages) == 2 * MAX_BEHIND
        return await self._keep(user_id, conversation_id, known, position, found, upto) or more

    def _batch(
        self, messages: list[Message], shown: list[Fact]
    ) -> tuple[list[Message], Message | None]:
        """As many as one request may hold, one at least; and the first that is left. ``shown``
        loses what would not leave half of it to them."""
        while shown and self._counter.count(request_for([], shown)) > self._budget // 2:
            shown.pop()
        batch: list[Message] = []
        for message in messages:
            costs = self._counter.count(request_for([*batch, message], shown))
            if batch and costs > self._budget:
                return batch, message
            batch.append(message)
        return batch, None

    async def _ask(self, messages: Sequence[Message], facts: Sequence[Fact]) -> str:
        text = ""
        request = request_for(messages, facts)
        answer = stream_answer(self._model, request, self._patience, self._traces)
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                text += chunk.text
                if len(text) > MAX_ANSWER_CHARS:
                    break
        return text

    async def _keep(
        self,
        user_id: str,
        conversation_id: str,
        known: Remembered,
        position: Position,
        found: list[Finding],
        upto: int,
    ) -> bool:
        """Keep what was found and how far was read, unless the conversation was read, edited or
        deleted meanwhile; whether it is to be read again."""
        was_read = known.progress.get(conversation_id)
        for _ in range(MAX_TRIES):
            learned = known.learned(found, now=time.time_ns() // 1_000_000)
            wanted = learned.read_upto(conversation_id, upto)
            if await self._person.keep(user_id, wanted, over=known.stamp):
                extra = {"action": "facts", "conversation_id": conversation_id, "found": len(found)}
                log.debug("A conversation was read for what it tells of its user.", extra=extra)
                return False
            known = await self._person.of(user_id)
            now_at = await self._person.position(conversation_id)
            if now_at is None:
                return False
            if now_at.revision != position.revision:
                return True
            # Where there is no record any more, a deletion would find none to change.
            if not known.stamp or known.progress.get(conversation_id) != was_read:
                return True
        return False


def _is_own(message: Message, user_id: str, conversation_id: str) -> bool:
    """Whether the user has said something by it, here: not what an imported document has them say,
    whoever wrote that."""
    if message.type != "human" or not said_in(message):
        return False
    return not is_imported(message, user_id, conversation_id)


def _source(conversation_id: str, message: Message, revision: int) -> Source:
    return Source(
        conversation_id=conversation_id,
        message_id=message.id,
        turn_id=message.turn_id,
        seq=message.seq or 0,
        revision=revision,
        at=message.created_at,
    )
