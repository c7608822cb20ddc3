"""Answers told on feeds as fast as these take them, and heard by readers on websockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from benchmarks.audience import PATIENCE_SECONDS, Audience
from benchmarks.samples import EveryConversation, new_turn
from memory.records import Answer, Conversation
from server.feed.feeds import SAID_EVERY, Feeds

TEXT = "The sea was there before anybody asked. "
"""Of a delta: what a model says in a frame or two."""

BESIDES = 3
"""Events of an answer that are no deltas: its question, its beginning and its end."""


class Answers:
    """An answer in each conversation, all at once; each conversation has its own readers.

    Each says its next delta as soon as one was told; ``ahead`` of them are on their way.
    """

    def __init__(self, audience: Audience, *, deltas: int, ahead: int) -> None:
        self._audience = audience
        self._deltas = deltas
        self._ahead = ahead
        self._answers: dict[str, _Answer] = {}

    async def follow(self, feeds: Feeds, conversations: int) -> None:
        """The audience is spread over so many of them."""
        for place, connection in enumerate(self._audience.connections):
            name = f"conversation-{place % conversations}"
            self._answers.setdefault(name, _Answer(feeds, name, self._deltas))
            known = Conversation(id=name, user_id="user", title="", created_at=1, updated_at=1)
            opening = await feeds.open(connection, known, None)
            opening.release()

    def deliver(self, event: str, payload: dict[str, Any], sids: list[str]) -> None:
        self._audience.deliver(event, payload, sids)
        if event == "turn:delta":
            self._answers[payload["conversation_id"]].told()

    async def tell(self) -> None:
        """Returns when all readers have heard all of it, each event once and in its place."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answers = (answer.tell(self._ahead) for answer in self._answers.values())
                await asyncio.gather(*answers)
        except TimeoutError:
            raise AssertionError("the answers were not told to their end") from None
        assert await self._audience.has_heard() == 0, "events were lost, doubled or out of order"

    @property
    def events(self) -> int:
        """Of one ``tell``."""
        return len(self._answers) * (self._deltas + BESIDES)


class _Answer:
    """In one conversation, turn after turn. Also who holds the turn (``line.Holder``)."""

    def __init__(self, feeds: Feeds, conversation_id: str, deltas: int) -> None:
        self._feeds = feeds
        self._deltas = deltas
        self._turn = new_turn(conversation_id, 0)
        self._said: list[str] = []
        self._told = 0
        self._all_told = asyncio.Event()

    async def tell(self, ahead: int) -> None:
        self._turn = new_turn(self._turn.conversation_id, self._turn.n + 1)
        self._said, self._told = [], 0
        self._all_told.clear()
        self._feeds.started(self._turn, self)
        for _ in range(ahead):
            self._say()
        await self._all_told.wait()
        answer = Answer(
            message_id=f"{self._turn.id}/answer",
            content="".join(self._said),
            status="complete",
            created_at=1,
        )
        ended = replace(self._turn, status="completed", answer=answer, answers=self._turn.n)
        await self._feeds.ended(ended)

    def told(self) -> None:
        self._told += 1
        if self._told == self._deltas:
            self._all_told.set()
        else:
            asyncio.get_running_loop().call_soon(self._say)

    def _say(self) -> None:
        index = len(self._said)
        if index < self._deltas:
            self._said.append(TEXT)
            said = "".join(self._said) if (index + 1) % SAID_EVERY == 0 else ""
            self._feeds.delta(self._turn, index, TEXT, self, said)

    def holds(self) -> bool:
        return True

    def is_stale(self) -> None:
        raise AssertionError("the log took an answer for one that is over")


@asynccontextmanager
async def answers(
    audience: Audience, *, conversations: int, deltas: int, ahead: int, redis_url: str | None
) -> AsyncIterator[Answers]:
    """Through Redis, or by this process's own logs where there is none."""
    told = Answers(audience, deltas=deltas, ahead=ahead)
    store = EveryConversation(0)
    feeds = Feeds(told.deliver, store, store, redis_url=redis_url, server="benchmark")
    await feeds.connect()
    try:
        assert feeds.state == ("local" if redis_url is None else "shared")
        await told.follow(feeds, conversations)
        await audience.has_heard()
        yield told
    finally:
        await feeds.close()
