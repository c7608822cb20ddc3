"""In Redis a conversation is complete or absent, and every key of it lives equally long."""

from __future__ import annotations

import asyncio

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage, message_to_dict

from memory import RedisConversationMemory
from memory.records import Summary, Transcript
from tests.memory.conftest import Make
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

NAMES = ["conversation:messages:c", "conversation:summary:c", "conversation:turns:c"]


@pytest.fixture
async def memory(
    make: Make, server: RedisServer, archive: ArchiveInMemory
) -> RedisConversationMemory:
    """With a warm conversation c of three turns."""
    memory = make(redis_url=server.url, archive=archive)
    archive.fill("c", 3)
    await memory.read("c")
    return memory


def present(keys: redis.Redis) -> list[str]:
    return sorted(name.decode() for name in keys.scan_iter("conversation:*"))


@pytest.mark.parametrize("missing", NAMES)
@pytest.mark.parametrize("kind", ["question", "answer", "summary"])
async def test_a_write_completes_no_partial_conversation(
    memory: RedisConversationMemory,
    archive: ArchiveInMemory,
    keys: redis.Redis,
    missing: str,
    kind: str,
) -> None:
    question, asked = archive.ask("c")
    if kind == "answer":
        await memory.remember("c", question, asked)
    keys.delete(missing)
    if kind == "question":
        await memory.remember("c", question, asked)
    elif kind == "answer":
        await memory.remember("c", *archive.answer("c", 4))
    else:
        await memory.save_summary("c", Summary(text="s", upto=6, turns=3, version=1), revision=0)
    assert present(keys) == []
    assert (await memory.read("c")).messages == archive.messages("c")
    assert present(keys) == sorted(NAMES)


@pytest.mark.parametrize("missing", NAMES)
async def test_a_partial_conversation_is_loaded_whole(
    memory: RedisConversationMemory, archive: ArchiveInMemory, keys: redis.Redis, missing: str
) -> None:
    keys.delete(missing)
    assert (await memory.read("c")).messages == archive.messages("c")
    assert present(keys) == sorted(NAMES)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        (NAMES[0], lambda keys: keys.rpush(NAMES[0], "{not json")),
        (NAMES[0], lambda keys: keys.lset(NAMES[0], 0, b'{"v":1,"h":"\xff')),
        (NAMES[0], lambda keys: keys.lset(NAMES[0], 1, '{"v":1,"h":"x"}')),
        (NAMES[0], lambda keys: keys.lset(NAMES[0], 2, '{"v":2,"text":"of the future"}')),
        (NAMES[0], lambda keys: keys.rpush(NAMES[0], '{"v":2,"text":"of the future"}')),
        (NAMES[0], lambda keys: keys.lset(NAMES[0], 0, '{"type":"robot","data":{}}')),
        (NAMES[0], lambda keys: keys.set(NAMES[0], "a string")),
        (NAMES[1], lambda keys: keys.set(NAMES[1], '{"v":2,"r":0}')),
        (NAMES[1], lambda keys: keys.set(NAMES[1], '{"v":1,"r":0,"n":1,"ops":"","text":')),
        (NAMES[1], lambda keys: keys.set(NAMES[1], b"\xff\xfe")),
        (NAMES[1], lambda keys: (keys.delete(NAMES[1]), keys.hset(NAMES[1], "a", "b"))),
        (NAMES[2], lambda keys: keys.set(NAMES[2], "three")),
        (NAMES[2], lambda keys: keys.set(NAMES[2], "-1")),
        (NAMES[2], lambda keys: (keys.delete(NAMES[2]), keys.rpush(NAMES[2], "1"))),
    ],
)
async def test_poison_is_thrown_away_and_loaded_anew(
    memory: RedisConversationMemory,
    archive: ArchiveInMemory,
    keys: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    name: str,
    spoil: object,
) -> None:
    spoil(keys)  # type: ignore[operator]
    keys.expire(name, 1000)
    assert (await memory.read("c")).messages == archive.messages("c")
    assert memory.state == "redis"
    assert memory.counts["broken"] == 1
    assert "could not be read" in caplog.text
    await memory.read("c")
    assert archive.loads == 2


@pytest.mark.parametrize("name", NAMES)
async def test_a_message_meeting_a_key_of_another_type_drops_the_conversation(
    memory: RedisConversationMemory, archive: ArchiveInMemory, keys: redis.Redis, name: str
) -> None:
    keys.delete(name)
    keys.hset(name, "a", "b")
    await memory.remember("c", *archive.ask("c"))
    assert present(keys) == []
    assert memory.state == "redis"


async def test_all_keys_live_equally_long_after_every_read_and_write(
    memory: RedisConversationMemory, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    async def write() -> None:
        await memory.remember("c", *archive.ask("c"))

    async def repeat() -> None:
        question = archive.messages("c")[-1]
        await memory.remember("c", question, archive.position("c"))

    async def answer() -> None:
        await memory.remember("c", *archive.answer("c", 4))

    async def summarise() -> None:
        summary = Summary(text="s", upto=6, turns=3, version=1)
        await memory.save_summary("c", summary, revision=0)

    async def read() -> None:
        await memory.read("c")

    for act in (read, write, repeat, answer, summarise, read):
        for name, ttl in zip(NAMES, (100, 200, 300), strict=True):
            keys.expire(name, ttl)
        await act()
        lives = {keys.pexpiretime(name) for name in NAMES}
        assert len(lives) == 1, act.__name__
        assert 86_390 <= keys.ttl(NAMES[0]) <= 86_400, act.__name__


async def test_no_tick_of_the_clock_comes_between_the_ends_of_a_conversations_keys(
    memory: RedisConversationMemory, keys: redis.Redis
) -> None:
    for _ in range(3000):
        await memory.read("c")
        assert len({keys.pexpiretime(name) for name in NAMES}) == 1


async def test_the_time_to_live_is_a_setting(
    make: Make, server: RedisServer, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    memory = make(ttl_hours=0.5, redis_url=server.url, archive=archive)
    archive.fill("c", 1)
    await memory.read("c")
    assert {keys.ttl(name) for name in NAMES} <= {1799, 1800}


async def test_an_expiry_in_mid_turn_loses_nothing(
    memory: RedisConversationMemory, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    question, asked = archive.ask("c")
    await memory.remember("c", question, asked)
    for name in NAMES:
        keys.pexpire(name, 1)
    await wait_until(lambda: not present(keys), "the conversation has expired")
    await memory.remember("c", *archive.answer("c", asked.turn))
    transcript = await memory.read("c", at_least=archive.position("c"))
    assert transcript.messages == archive.messages("c")
    assert transcript.position == archive.position("c")


async def test_two_writers_leave_the_stores_order(
    make: Make, server: RedisServer, memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    other = make(redis_url=server.url, archive=archive)
    waiting = [archive.ask("c") for _ in range(10)]
    await asyncio.gather(
        *(
            (memory if n % 2 else other).remember("c", question, asked)
            for n, (question, asked) in enumerate(waiting)
        )
    )
    for reader in (memory, other):
        transcript = await reader.read("c", at_least=archive.position("c"))
        assert transcript.messages == archive.messages("c")


async def test_a_forgotten_conversation_leaves_no_key(
    memory: RedisConversationMemory, keys: redis.Redis
) -> None:
    await memory.claim_summary("c")
    await memory.forget("c")
    assert keys.dbsize() == 0


async def test_an_empty_conversation_is_not_installed(
    memory: RedisConversationMemory, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    archive.fill("empty", 0)
    await memory.read("empty")
    assert present(keys) == sorted(NAMES)


# Where Redis is the only copy


async def test_alone_every_write_makes_and_refreshes_all_it_needs(
    make: Make, server: RedisServer, keys: redis.Redis
) -> None:
    memory = make(redis_url=server.url)
    await memory.register_turn("c")
    assert present(keys) == sorted(NAMES[1:])
    for act in (
        memory.add_message("c", HumanMessage("q")),
        memory.register_turn("c"),
        memory.set_summary("c", "s"),
        memory.get_conversation_history("c"),
        memory.get_summary("c"),
    ):
        for name in NAMES:
            keys.expire(name, 100)
        await act
        assert {keys.ttl(name) for name in NAMES} <= {86_399, 86_400}
    await memory.clear_conversation("c")
    assert keys.dbsize() == 0


async def test_alone_a_read_creates_nothing(
    make: Make, server: RedisServer, keys: redis.Redis
) -> None:
    memory = make(redis_url=server.url)
    await memory.get_conversation_history("c")
    await memory.get_summary("c")
    await memory.clear_conversation("c")
    assert keys.dbsize() == 0


@pytest.mark.parametrize("missing", NAMES)
async def test_alone_an_addition_makes_a_partial_conversation_whole(
    make: Make, server: RedisServer, keys: redis.Redis, missing: str
) -> None:
    memory = make(redis_url=server.url)
    await memory.add_message("c", HumanMessage("first"))
    await memory.register_turn("c")
    keys.delete(missing)
    await memory.add_message("c", HumanMessage("second"))
    assert present(keys) == sorted(NAMES)


async def test_alone_poison_is_dropped_with_a_warning(
    make: Make, server: RedisServer, keys: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    memory = make(redis_url=server.url)
    await memory.add_message("c", HumanMessage("lost"))
    keys.rpush(NAMES[0], '{"v":9}')
    assert await memory.read("c") == Transcript(messages=[])
    assert "it is lost and begins anew" in caplog.text
    await memory.add_message("c", HumanMessage("anew"))
    keys.set(NAMES[2], "many", ex=1000)
    await memory.add_message("c", HumanMessage("anew again"))
    assert [m.content for m in await memory.get_conversation_history("c")] == ["anew again"]


async def test_what_the_seeds_own_program_left_is_read(
    make: Make, server: RedisServer, keys: redis.Redis
) -> None:
    import json

    calls = [{"name": "f", "args": {"x": 1}, "id": "call", "type": "tool_call"}]
    left = [HumanMessage("hello"), AIMessage("hi", id="kept", tool_calls=calls)]
    for message in left:
        keys.rpush(NAMES[0], json.dumps(message_to_dict(message)))
    keys.set(NAMES[1], 'they greeted "each" other')
    keys.set(NAMES[2], 7)
    memory = make(redis_url=server.url)
    assert await memory.get_summary("c") == 'they greeted "each" other'
    await memory.add_message("c", HumanMessage("more", id="more"))
    assert await memory.register_turn("c") == 8
    first, *rest = await memory.get_conversation_history("c")
    assert first.content == "hello"
    assert rest == [left[1], HumanMessage("more", id="more")]
    assert await memory.get_summary("c") == 'they greeted "each" other'
    assert keys.lrange(NAMES[0], 0, 0) == [json.dumps(message_to_dict(left[0])).encode()]


async def test_a_summary_alone_that_the_seeds_own_program_left_is_read(
    make: Make, server: RedisServer, keys: redis.Redis
) -> None:
    keys.set(NAMES[1], "a lone summary")
    memory = make(redis_url=server.url)
    assert await memory.get_summary("c") == "a lone summary"
    await memory.set_summary("c", "a better one")
    assert await memory.get_summary("c") == "a better one"
