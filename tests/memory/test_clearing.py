"""A conversation that is cleared while it is answered: nothing of it comes back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage

from memory import RedisConversationMemory
from memory.errors import NotFound
from memory.records import Summary, Transcript
from tests.memory.conftest import Make
from tests.memory.steps import exchange, state
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer, Relay

ROUNDS = 60
SUMMARY = Summary(text="s", upto=2, turns=1, version=1)


class SlowArchive(ArchiveInMemory):
    """What it has read may be out of date when it arrives."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice

    async def load(self, conversation_id: str, max_messages: int) -> Transcript:
        transcript = await super().load(conversation_id, max_messages)
        await asyncio.sleep(self._dice.choice([0, 0.001, 0.005]))
        return transcript


async def test_a_clear_racing_an_answer_a_summary_and_readers_on_two_servers_leaves_nothing(
    make: Make, server: RedisServer, keys: redis.Redis
) -> None:
    dice = random.Random(11)
    archive = SlowArchive(dice)
    here, there = (make(redis_url=server.url, archive=archive) for _ in range(2))

    async def soon(then: Coroutine[Any, Any, object]) -> None:
        await asyncio.sleep(dice.choice([0, 0.001, 0.003]))
        await then

    async def delete(name: str) -> None:
        archive.delete(name)
        await here.forget(name)

    async def read(memory: RedisConversationMemory, name: str) -> None:
        try:
            await memory.read(name)
        except NotFound:  # it came after the clear
            return

    for number in range(ROUNDS):
        name = f"c{number}"
        await exchange(here, archive, name)
        question, asked = archive.ask(name)
        await here.remember(name, question, asked)
        answer, answered = archive.answer(name, asked.turn)
        if number % 3 == 0:
            keys.flushdb()  # cold: readers load it while it is cleared
        await asyncio.gather(
            soon(delete(name)),
            soon(there.remember(name, answer, answered)),
            soon(there.save_summary(name, SUMMARY, revision=0)),
            *(soon(read(dice.choice([here, there]), name)) for _ in range(4)),
        )
        for memory in (here, there):
            with pytest.raises(NotFound):
                await memory.read(name)
        assert keys.keys(f"conversation:*:{name}") == []


async def test_a_clear_on_a_server_that_is_cut_off_is_made_good_where_an_answer_came_meanwhile(
    make: Make,
    server: RedisServer,
    relay: Relay,
    archive: ArchiveInMemory,
    keys: redis.Redis,
) -> None:
    here = make(redis_url=relay.url, archive=archive)
    there = make(redis_url=server.url, archive=archive)
    await exchange(here, archive)
    question, asked = archive.ask("c")
    await here.remember("c", question, asked)
    answer, answered = archive.answer("c", asked.turn)
    relay.cut()
    archive.delete("c")
    await here.forget("c")
    await there.remember("c", answer, answered)
    with pytest.raises(NotFound):
        await here.read("c")
    relay.mend()
    await state(here, "redis")
    for memory in (here, there):
        with pytest.raises(NotFound):
            await memory.read("c")
    assert keys.keys("conversation:*") == []


async def test_used_alone_what_comes_after_a_clear_stays_and_what_came_before_goes(
    make: Make, url: str
) -> None:
    memory = make(redis_url=url)
    for _ in range(20):
        await asyncio.gather(
            memory.add_message("c", HumanMessage("question")),
            memory.register_turn("c"),
            memory.clear_conversation("c"),
            memory.add_message("c", AIMessage("after")),
        )
        transcript = await memory.read("c")
        assert [message.content for message in transcript.messages] == ["after"]
        assert transcript.position.answers == 0
