"""A conversation that was made just now begins in Redis with its first message, unread."""

from __future__ import annotations

import pytest
import redis

from memory import RedisConversationMemory
from memory.records import Message
from tests.memory.conftest import Make
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer, Relay

NAMES = ["conversation:messages:c", "conversation:summary:c", "conversation:turns:c"]


@pytest.fixture
async def memory(
    make: Make, server: RedisServer, archive: ArchiveInMemory
) -> RedisConversationMemory:
    return make(redis_url=server.url, archive=archive)


async def begun(memory: RedisConversationMemory, archive: ArchiveInMemory) -> Message:
    question, position = archive.ask("c", "the first")
    await memory.remember("c", question, position, begins=True)
    return question


async def test_what_follows_is_read_from_the_cache(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await begun(memory, archive)
    await memory.remember("c", *archive.answer("c", 1))
    await memory.remember("c", *archive.ask("c", "the second"))
    transcript = await memory.read("c", at_least=archive.position("c"))
    assert transcript.messages == archive.messages("c")
    assert transcript.position == archive.position("c")
    assert transcript.summary is None
    assert archive.loads == 0


async def test_it_is_all_there_or_nothing(
    memory: RedisConversationMemory, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    await begun(memory, archive)
    assert sorted(key.decode() for key in keys.scan_iter("conversation:*")) == NAMES


async def test_what_is_there_already_stays(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    question = await begun(memory, archive)
    await memory.remember("c", *archive.answer("c", 1))
    await memory.remember("c", question, archive.position("c"), begins=True)
    assert (await memory.read("c")).messages == archive.messages("c")
    assert archive.loads == 0


async def test_where_others_have_gone_on_it_is_read_anew(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    """Another server's was not kept, because nothing was there; then comes the first, late."""
    question, position = archive.ask("c", "the first")
    archive.answer("c", 1)
    await memory.remember("c", *archive.ask("c", "the second"))
    await memory.remember("c", question, position, begins=True)
    transcript = await memory.read("c", at_least=archive.position("c"))
    assert transcript.messages == archive.messages("c")


async def test_a_load_that_is_under_way_is_overtaken(
    make: Make, memory: RedisConversationMemory, archive: ArchiveInMemory, server: RedisServer
) -> None:
    keys_of_another = make(redis_url=server.url, archive=archive)
    archive.fill("c", 0)
    assert (await keys_of_another.read("c")).messages == []
    await begun(memory, archive)
    transcript = await keys_of_another.read("c", at_least=archive.position("c"))
    assert transcript.messages == archive.messages("c")


async def test_without_redis_it_begins_in_this_process(
    make: Make, relay: Relay, archive: ArchiveInMemory
) -> None:
    memory = make(redis_url=relay.url, archive=archive)
    await memory.connect()
    relay.cut()
    await begun(memory, archive)
    await memory.remember("c", *archive.answer("c", 1))
    archive.is_away = True
    transcript = await memory.read("c", at_least=archive.position("c"))
    assert transcript.messages == archive.messages("c")


async def test_it_lives_for_minutes_until_it_is_answered(
    memory: RedisConversationMemory, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    """A late one of a conversation that was deleted meanwhile is not kept for a day."""
    await begun(memory, archive)
    assert all(0 < keys.ttl(name) <= 300 for name in NAMES)
    await memory.remember("c", *archive.answer("c", 1))
    assert all(keys.ttl(name) > 3_000 for name in NAMES)
