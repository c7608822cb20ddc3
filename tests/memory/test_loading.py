"""Cold conversations: loaded once, and never over something newer."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import redis

from memory import RedisConversationMemory
from memory.errors import NotFound, Unavailable
from memory.records import Summary
from tests.memory.conftest import Make
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until


@pytest.fixture
def memory(make: Make, server: RedisServer, archive: ArchiveInMemory) -> RedisConversationMemory:
    return make(redis_url=server.url, archive=archive)


async def loading(archive: ArchiveInMemory) -> None:
    await wait_until(lambda: archive.waiting, "a load has read the store")


async def test_three_servers_with_a_hundred_readers_load_once(
    make: Make, server: RedisServer, archive: ArchiveInMemory
) -> None:
    position = archive.fill("c", 30)
    servers = [make(redis_url=server.url, archive=archive) for _ in range(3)]
    transcripts = await asyncio.gather(
        *(memory.read("c", at_least=position) for memory in servers for _ in range(100))
    )
    assert all(t.messages == archive.messages("c")[-50:] for t in transcripts)
    assert archive.loads == 1


@pytest.mark.parametrize("change", ["question", "answer", "summary", "forget"])
async def test_a_change_between_load_and_install_refuses_the_install(
    make: Make,
    server: RedisServer,
    memory: RedisConversationMemory,
    archive: ArchiveInMemory,
    keys: redis.Redis,
    change: str,
) -> None:
    archive.fill("c", 2)
    archive.ask("c")
    archive.hold()
    reader = asyncio.create_task(memory.read("c"))
    await loading(archive)
    writer = make(redis_url=server.url, archive=archive)  # another server
    if change == "question":
        await writer.remember("c", *archive.ask("c"))
    elif change == "answer":
        await writer.remember("c", *archive.answer("c", 3))
    elif change == "summary":
        summary = Summary(text="s", upto=4, turns=2, version=1)
        assert await writer.save_summary("c", summary, revision=0)
    else:
        archive.delete("c")
        await writer.forget("c")
    archive.let_go()
    await reader
    assert keys.keys("conversation:messages:*") == []
    assert memory.counts["overtaken"] == 1
    if change == "forget":
        with pytest.raises(NotFound):
            await memory.read("c")
    else:
        transcript = await memory.read("c")
        assert transcript.messages == archive.messages("c")
        assert (transcript.summary is not None) == (change == "summary")


@pytest.mark.parametrize("kind", ["message", "summary"])
async def test_what_finds_the_conversation_in_place_still_ends_an_older_load(
    make: Make, server: RedisServer, archive: ArchiveInMemory, keys: redis.Redis, kind: str
) -> None:
    """Whoever loads may have read before it was there; installing that would take it away."""
    memory = make(redis_url=server.url, archive=archive)
    archive.fill("c", 2)
    await memory.read("c")
    keys.set("conversation:loading:c", "another server", px=60_000)
    if kind == "message":
        await memory.remember("c", *archive.ask("c"))
    else:
        await memory.save_summary("c", Summary(text="s", upto=4, turns=2, version=1), revision=0)
    assert not keys.exists("conversation:loading:c")


async def test_a_reader_does_not_join_a_load_that_misses_its_own_message(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    archive.fill("c", 2)
    archive.hold()
    early = asyncio.create_task(memory.read("c"))
    await loading(archive)
    question, asked = archive.ask("c")
    await memory.remember("c", question, asked)
    late = asyncio.create_task(memory.read("c"))
    await wait_until(lambda: archive.waiting == 2, "the second load has read the store")
    archive.let_go()
    assert (await late).messages[-1] == question
    assert len((await early).messages) == 4


async def test_a_cancelled_reader_does_not_take_the_load_from_the_others(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    archive.fill("c", 2)
    archive.hold()
    first = asyncio.create_task(memory.read("c"))
    await loading(archive)
    second = asyncio.create_task(memory.read("c"))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    archive.let_go()
    assert (await second).messages == archive.messages("c")
    assert archive.loads == 1


async def test_a_failed_load_frees_the_lease(
    memory: RedisConversationMemory, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    archive.fill("c", 2)
    archive.is_away = True
    with pytest.raises(Unavailable):
        await memory.read("c")
    assert keys.dbsize() == 0
    archive.is_away = False
    await memory.read("c")
    assert memory.counts["installed"] == 1


async def test_a_slow_loader_does_not_hold_up_other_servers(
    make: Make, server: RedisServer, archive: ArchiveInMemory, keys: redis.Redis
) -> None:
    archive.fill("c", 2)
    keys.set("conversation:loading:c", "another server", px=60_000)
    memory = make(redis_url=server.url, archive=archive)
    begun = time.monotonic()
    assert (await memory.read("c")).messages == archive.messages("c")
    assert time.monotonic() - begun < 2
    assert keys.keys("conversation:messages:*") == []


async def test_when_the_loader_is_killed_another_loads_within_three_seconds(
    make: Make, server: RedisServer, archive: ArchiveInMemory, keys: redis.Redis, tmp_path: Path
) -> None:
    archive.fill("c", 2)
    script = tmp_path / "loader.py"
    script.write_text(
        textwrap.dedent(f"""
        import asyncio
        from memory import RedisConversationMemory
        from tests.support.archive import ArchiveInMemory

        async def main():
            archive = ArchiveInMemory()
            archive.fill("c", 2)
            archive.hold()
            await RedisConversationMemory(redis_url={server.url!r}, archive=archive).read("c")

        asyncio.run(main())
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, str(script)], env=environment)
    try:
        await wait_until(lambda: keys.exists("conversation:loading:c"), "it holds the lease")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = time.monotonic()
    memory = make(redis_url=server.url, archive=archive)
    while not memory.counts["installed"]:
        assert (await memory.read("c")).messages == archive.messages("c")
        assert time.monotonic() - killed < 4
    assert time.monotonic() - killed < 3.5


async def test_a_load_under_way_at_close_ends_as_unavailable(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    archive.fill("c", 2)
    archive.hold()
    reader = asyncio.create_task(memory.read("c"))
    await loading(archive)
    await memory.close()
    with pytest.raises(Unavailable):
        await reader


async def test_of_two_servers_one_summarises(
    make: Make, server: RedisServer, archive: ArchiveInMemory
) -> None:
    one, two = (make(redis_url=server.url, archive=archive) for _ in range(2))
    assert sorted(await asyncio.gather(one.claim_summary("c"), two.claim_summary("c"))) == [
        False,
        True,
    ]
    for memory in (one, two):
        await memory.release_summary("c")
    assert await two.claim_summary("c")
    await one.release_summary("c")  # not its own
    assert not await one.claim_summary("c")
