"""A Redis that goes silent costs the turn that meets it less than a second, and no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from memory import RedisConversationMemory
from tests.memory.conftest import Make
from tests.memory.steps import agrees, exchange, state
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.wait import wait_until

MOMENTS = ["before the question", "before the reading", "during a load", "before the answer"]

BOUND = 1.0
TRIALS = 3
"""A stall of this machine makes a turn longer, never shorter: the quickest of them counts."""


@pytest.fixture
async def way(own_server: RedisServer) -> AsyncIterator[RedisWay]:
    async with RedisWay(own_server.port) as way:
        yield way


async def a_turn(
    memory: RedisConversationMemory,
    archive: ArchiveInMemory,
    name: str,
    *,
    moment: str,
    break_it: Callable[[], None],
) -> float:
    """Seconds that memory takes of a turn in which Redis breaks at ``moment``."""
    begun = time.monotonic()

    def reached(now: str) -> None:
        nonlocal begun
        if now == moment:
            break_it()
            begun = time.monotonic()

    reached("before the question")
    question, asked = archive.ask(name)
    await memory.remember(name, question, asked)
    if moment == "during a load":
        archive.hold()
    reached("before the reading")
    reading = asyncio.create_task(memory.read(name, at_least=asked))
    if moment == "during a load":
        await wait_until(lambda: archive.waiting, "the store is read", interval=0.001)
        reached("during a load")
        archive.let_go()
    assert (await reading).messages == archive.messages(name)
    reached("before the answer")
    await memory.remember(name, *archive.answer(name, asked.turn))
    return time.monotonic() - begun


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("fault", ["killed", "frozen", "black-holed"])
async def test_the_turn_that_meets_it_loses_less_than_a_second_and_the_next_ones_nothing(
    make: Make,
    own_server: RedisServer,
    way: RedisWay,
    archive: ArchiveInMemory,
    fault: str,
    moment: str,
) -> None:
    break_it = {"killed": own_server.kill, "frozen": own_server.freeze, "black-holed": way.freeze}
    took = []
    for trial in range(TRIALS):
        name = f"c{trial}"
        memory = make(redis_url=way.url, archive=archive)
        await exchange(memory, archive, "warm")
        if moment != "during a load":
            await exchange(memory, archive, name)
        took.append(await a_turn(memory, archive, name, moment=moment, break_it=break_it[fault]))
        await state(memory, "local")
        begun = time.monotonic()
        for _ in range(5):
            await exchange(memory, archive, "warm")
        assert time.monotonic() - begun < 0.25, "an open breaker costs nothing"
        if fault == "killed":
            own_server.start()
        elif fault == "frozen":
            own_server.thaw()
        else:
            way.thaw()
        healed = time.monotonic()
        await state(memory, "redis")
        assert time.monotonic() - healed < 3
        await agrees(memory, archive, name)
        await memory.close()
        if took[-1] < BOUND:
            break
    assert min(took) < BOUND


async def test_a_redis_that_is_always_slow_is_not_given_up_for_it(
    make: Make, way: RedisWay, archive: ArchiveInMemory
) -> None:
    """After a silence less is waited for; a return is decided upon with the longer patience."""
    memory = make(redis_url=way.url, archive=archive)
    await exchange(memory, archive)
    way.delay = 0.35
    await exchange(memory, archive)
    way.freeze()
    await exchange(memory, archive)
    await state(memory, "local")
    way.thaw()
    await state(memory, "redis")
    await agrees(memory, archive)
    assert memory.state == "redis"
