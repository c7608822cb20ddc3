"""What isn't ours under a conversation's keys: thrown away and loaded anew, and no outage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import redis
from langchain_core.messages import HumanMessage

from memory.records import Summary, Transcript
from tests.memory.conftest import Make
from tests.memory.steps import agrees, exchange
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

MESSAGES, SUMMARY, TURNS = (f"conversation:{kind}:c" for kind in ("messages", "summary", "turns"))
HUGE = "9" * 400

Spoil = Callable[[redis.Redis], object]


def rewritten(keys: redis.Redis, index: int, old: bytes, new: bytes) -> None:
    entry = keys.lindex(MESSAGES, index)
    assert entry is not None
    assert old in entry
    keys.lset(MESSAGES, index, entry.replace(old, new, 1))


SPOILED: dict[str, Spoil] = {
    "the last entry cut short": lambda keys: keys.lset(MESSAGES, -1, '{"v":1,"h":"x"}'),
    "the last entry's order no number": lambda keys: rewritten(keys, -1, b'"o":"', b'"o":"zz'),
    "an earlier order no number": lambda keys: rewritten(keys, 0, b'"o":"', b'"o":"zz'),
    "the last entry without its body": lambda keys: keys.lset(
        MESSAGES, -1, '{"v":1,"h":"0123456789abcdef","o":"0000000000000006","x":1}'
    ),
    "the last entry of a future version": lambda keys: rewritten(keys, -1, b'"v":1', b'"v":2'),
    "an earlier entry of a future version": lambda keys: rewritten(keys, 0, b'"v":1', b'"v":2'),
    "a summary of a future version": lambda keys: keys.set(SUMMARY, '{"v":2,"text":"s"}', ex=99),
    "a summary of a huge version": lambda keys: keys.set(
        SUMMARY, f'{{"v":1,"r":0,"n":{HUGE},"ops":"","text":"s"}}', ex=99
    ),
    "a summary of a huge revision": lambda keys: keys.set(
        SUMMARY, f'{{"v":1,"r":{HUGE},"n":0,"ops":""}}', ex=99
    ),
    "a huge count": lambda keys: keys.set(TURNS, HUGE, ex=99),
    "a count of a set": lambda keys: (
        keys.delete(TURNS),
        keys.sadd(TURNS, "1"),
        keys.expire(TURNS, 9),
    ),
}


@pytest.mark.parametrize("how", list(SPOILED))
@pytest.mark.parametrize("first", ["read", "question", "answer", "summary"])
async def test_whoever_meets_it_first_and_whatever_it_is_it_does_not_stay(
    make: Make,
    server: RedisServer,
    archive: ArchiveInMemory,
    keys: redis.Redis,
    how: str,
    first: str,
) -> None:
    memory = make(redis_url=server.url, archive=archive)
    for _ in range(3):
        await exchange(memory, archive)
    if first == "answer":
        question, asked = archive.ask("c")
        await memory.remember("c", question, asked)
    SPOILED[how](keys)
    if first == "question":
        await memory.remember("c", *archive.ask("c"))
    elif first == "answer":
        await memory.remember("c", *archive.answer("c", 4))
    elif first == "summary":
        summary = Summary(text="s", upto=2, turns=3, version=1)
        assert await memory.save_summary("c", summary, revision=0)
    await agrees(memory, archive)
    assert memory.state == "redis"
    assert memory.counts["failed"] == 0
    loads = archive.loads
    await agrees(memory, archive)
    assert archive.loads == loads, "it is warm again"
    await exchange(memory, archive)
    await agrees(memory, archive)


def hold_otherwise(keys: redis.Redis, lease: str) -> None:
    keys.delete(lease)
    keys.rpush(lease, "not a lease")
    keys.expire(lease, 99)


async def test_a_load_lease_of_another_type_takes_redis_away_from_nobody(
    make: Make, server: RedisServer, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    memory = make(redis_url=server.url, archive=archive)
    archive.fill("c", 2)
    archive.hold()
    reading = asyncio.create_task(memory.read("c"))
    await wait_until(lambda: archive.waiting, "the store is read")
    hold_otherwise(keys, "conversation:loading:c")
    archive.let_go()
    assert (await reading).messages == archive.messages("c")
    assert memory.state == "redis"
    await exchange(memory, archive)
    await agrees(memory, archive)
    assert keys.exists(MESSAGES, SUMMARY, TURNS) == 3


async def test_a_summarisers_lease_of_another_type_takes_redis_away_from_nobody(
    make: Make, server: RedisServer, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    memory = make(redis_url=server.url, archive=archive)
    assert await memory.claim_summary("c")
    hold_otherwise(keys, "conversation:summarising:c")
    await memory.release_summary("c")
    assert memory.state == "redis"
    assert not await memory.claim_summary("c")


@pytest.mark.parametrize("how", [how for how in SPOILED if how != "an earlier order no number"])
async def test_where_redis_is_the_only_copy_that_conversation_begins_anew_and_no_other(
    make: Make, server: RedisServer, keys: redis.Redis, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    memory = make(redis_url=server.url)
    for name in ("c", "beside"):
        await memory.add_message(name, HumanMessage("first", id="first"))
        await memory.add_message(name, HumanMessage("second", id="second"))
        await memory.register_turn(name)
    SPOILED[how](keys)
    assert await memory.read("c") == Transcript(messages=[])
    assert "it is lost and begins anew" in caplog.text
    await memory.add_message("c", HumanMessage("third", id="third"))
    assert await memory.register_turn("c") == 1
    assert [m.content for m in await memory.get_conversation_history("c")] == ["third"]
    assert len(await memory.get_conversation_history("beside")) == 2
    assert memory.state == "redis"
    assert memory.counts["failed"] == 0
