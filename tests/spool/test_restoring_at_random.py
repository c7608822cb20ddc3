"""Whatever has happened in a conversation: what is put together from its card and from memory is
what the permanent store has, as far as anything that comes next can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from memory.errors import Unavailable
from memory.records import Position, Transcript
from spool.card import Card
from spool.cards import Cards
from spool.file import SpoolFile
from spool.restoring import restored
from tests.spool.journeys import STEPS, Journey, PermanentFile, Step
from tests.spool.knowing import session_for
from tests.stores.samples import LEASE
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

T = TypeVar("T")


class World:
    """Two servers' cards, a permanent store and a spool, for tests that are not coroutines."""

    def __init__(self, url: str, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._url = url
        self.permanent = PermanentFile(folder / "permanent.db")
        self.file = SpoolFile(folder / "slot")
        self.mine, self.theirs = Cards(), Cards()
        self.run(self._open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def _open(self) -> None:
        await self.permanent.connect()
        await self.file.connect()
        for cards in (self.mine, self.theirs):
            cards.session = session_for(self._url, cards)
            await cards.session.opened()

    async def _close(self) -> None:
        for cards in (self.mine, self.theirs):
            assert cards.session is not None
            await cards.session.close()
        await self.file.close()
        await self.permanent.close()

    def close(self) -> None:
        self.run(self._close())
        self._runner.close()

    async def cards_of(self, conversation_id: str) -> list[Card]:
        """As this server knows it, and as another one does."""
        mine = await self.mine.read(conversation_id)
        assert mine is not None

        async def theirs() -> Card | None:
            found = await self.theirs.read(conversation_id)
            # An end that is not closed yet is known to its own server alone.
            is_there = found is not None and _outline(found) == _outline(mine)
            return found if is_there else None

        return [mine, await wait_until(theirs, "what was noted is in Redis")]


def _outline(card: Card) -> tuple[list[str], int]:
    return [turn.id for turn in card.open], card.last


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with RedisServer() as server:
        world = World(server.url, tmp_path_factory.mktemp("random"))
        yield world
        world.close()


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(
    steps=[("send", 0), ("send", 0), ("send", 0), ("answer", 0), ("edit", 2), ("stop", 1)],
    memory_keeps=8,
)
@given(steps=STEPS, memory_keeps=st.sampled_from([8, 50]))
def test_what_is_put_together_goes_on_as_the_permanent_store_would(
    world: World, steps: list[Step], memory_keeps: int
) -> None:
    world.run(_goes_on(world, steps, memory_keeps))


async def _goes_on(world: World, steps: list[Step], memory_keeps: int) -> None:
    journey = Journey(world.permanent, world.mine, world.file)
    await journey.go(steps)
    transcript = await world.permanent.load(journey.id, memory_keeps)
    for card in await world.cards_of(journey.id):
        try:
            conversation, turns = restored(card, transcript, None, may_lack=False)
        except Unavailable:
            assert journey.is_cut or await journey.is_tangled()
            continue
        await world.file.lodge(
            conversation, turns, summary=transcript.summary, made=False, lease_ms=LEASE
        )
        expected = _without_answers_of(card, transcript)
        assert conversation.position == expected.position
        await _assert_goes_on(world, journey.id, expected, memory_keeps)
        await world.file.let_go(journey.id)


def _without_answers_of(card: Card, transcript: Transcript) -> Transcript:
    """What is open has its end yet to come; and an answer whose question was trimmed is no turn."""
    opened = {turn.id for turn in card.open if turn.answer is None}
    messages = [m for m in transcript.messages if m.type == "human" or m.turn_id not in opened]
    answers = transcript.position.answers - (len(transcript.messages) - len(messages))
    if messages and messages[0].type == "ai":
        del messages[0]
    position = replace(transcript.position, answers=answers)
    return replace(transcript, messages=messages, position=position)


async def _assert_goes_on(
    world: World, conversation_id: str, expected: Transcript, memory_keeps: int
) -> None:
    here, there = world.file.turns, world.permanent.turns
    assert await world.file.load(conversation_id, memory_keeps) == expected

    opened = await there.open_turns(conversation_id)
    assert [turn.id for turn in await here.open_turns(conversation_id)] == [t.id for t in opened]

    last = await there.last(conversation_id)
    mine = await here.last(conversation_id)
    assert (last is None) == (mine is None)
    if last is not None and mine is not None:
        assert (mine.n, mine.place, mine.revision) == (last.n, last.place, last.revision)
    if expected.position == Position():
        return
    # The count that the next answer will have.
    counted = [turn.answers for turn in await here.before(conversation_id, None, 50)]
    assert max((count for count in counted if count is not None), default=0) == (
        expected.position.answers
    )
