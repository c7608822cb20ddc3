"""What ``conversation:open`` asks of the permanent store, and what it answers of the counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from memory.errors import NotFound
from memory.records import Conversation, Position, Transcript
from server.calls.conversations import ConversationCalls
from server.choices import Choices
from server.edge.connections import Connections
from tests.support.feed_world import CONVERSATION, USER, World, world

Meanwhile = Callable[[], Awaitable[None]]


class Watched:
    """The store's conversations, counting who is looked for; something happens after the first."""

    def __init__(self, here: World, meanwhile: Meanwhile | None = None) -> None:
        self._here = here
        self._meanwhile = meanwhile
        self.looks = 0

    async def get(self, conversation_id: str, user_id: str) -> Conversation:
        found = await self._here.store.conversations.get(conversation_id, user_id)
        self.looks += 1
        if self.looks == 1 and self._meanwhile is not None:
            await self._meanwhile()
        return found


class Interrupted:
    """A memory in whose reading something happens."""

    def __init__(self, here: World, meanwhile: Meanwhile) -> None:
        self._here = here
        self._meanwhile = meanwhile

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript:
        transcript = await self._here.store.load(conversation_id, 50)
        await self._meanwhile()
        return transcript


async def opened(here: World, watched: Watched) -> dict[str, Any]:
    nobody: Any = None
    connections = Connections(here.deliver)
    calls = ConversationCalls(
        connections=connections,
        conversations=cast("Any", watched),
        turns=here.store.turns,
        deletion=nobody,
        feeds=here.feeds,
        choices=Choices(),
    )
    connection = here.tabs[0].connection
    connections.add(connection)
    reply = await calls.open(connection, ({"conversation_id": CONVERSATION},))
    assert reply.then is not None
    reply.then()
    return reply.body


async def answer_one(here: World) -> None:
    await here.accept()
    await here.start()
    await here.delta()
    await here.end()


async def test_a_conversation_that_stands_still_is_looked_for_once(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await answer_one(here)
        watched = Watched(here)
        body = await opened(here, watched)
        assert watched.looks == 1
        assert body["conversation"]["message_count"] == len(body["messages"]) == 2


async def test_what_is_counted_is_at_least_what_is_shown(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await answer_one(here)
        watched = Watched(here, meanwhile=here.accept)
        body = await opened(here, watched)
        assert watched.looks == 2
        assert body["conversation"]["message_count"] == len(body["messages"]) == 3


async def test_what_is_deleted_while_it_is_opened_is_not_there(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await answer_one(here)

        async def delete() -> None:
            await here.store.conversations.delete(CONVERSATION, USER)
            here.feeds.forget(CONVERSATION)

        here.feeds._openings._memory = Interrupted(here, delete)
        watched = Watched(here)
        with pytest.raises(NotFound):
            await opened(here, watched)
        assert watched.looks == 1
        assert not here.tabs[0].connection.following
