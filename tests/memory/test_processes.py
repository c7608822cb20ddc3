"""Several processes, real ones: what they do at once, and what is left when one is killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis

from embedded.store import EmbeddedStore
from memory.records import question_of
from tests.memory.conftest import Make
from tests.stores.samples import a_conversation, exchanges, sent
from tests.support.redis_server import RedisServer

CHECKOUT = Path(__file__).parents[2]

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a Python program with arguments; its standard input and output are pipes."""
    numbers = itertools.count()
    async with AsyncExitStack() as stack:

        async def end(process: asyncio.subprocess.Process) -> None:
            if process.returncode is None:
                process.kill()
            await process.wait()

        async def start(program: str, *arguments: str) -> asyncio.subprocess.Process:
            # One each: who starts reads it while the next is written.
            script = tmp_path / f"program{next(numbers)}.py"
            script.write_text(textwrap.dedent(program))
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(script),
                *arguments,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            stack.push_async_callback(end, process)
            return process

        yield start


READERS = """
    import asyncio, sys
    from memory import RedisConversationMemory
    from tests.support.archive import ArchiveInMemory

    class Told(ArchiveInMemory):
        async def load(self, conversation_id, max_messages):
            print("loads", flush=True)
            await asyncio.sleep(0.02)  # as a real store's answer takes: the others come meanwhile
            return await super().load(conversation_id, max_messages)

    async def main():
        archive = Told()
        position = archive.fill("c", 30)
        memory = RedisConversationMemory(redis_url=sys.argv[1], archive=archive)
        await memory.connect()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        readers = (memory.read("c", at_least=position) for _ in range(100))
        for transcript in await asyncio.gather(*readers):
            assert transcript.messages == archive.messages("c")[-50:]
            assert transcript.position == position
        await memory.close()
        print("all read", flush=True)

    asyncio.run(main())
"""


async def test_three_processes_with_a_hundred_readers_each_load_a_cold_conversation_once(
    server: RedisServer, start: Start
) -> None:
    processes = [await start(READERS, server.url) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    told = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    lines = b"".join(out for out, _ in told).splitlines()
    assert lines.count(b"all read") == 3
    assert lines.count(b"loads") == 1


KILLED = """
    import asyncio, os, signal, sys
    from embedded.store import EmbeddedStore
    from memory import RedisConversationMemory
    from memory.records import Position, answer_of, question_of
    from pathlib import Path
    from tests.stores.samples import an_answer, sent

    async def main():
        url, path, conversation_id, after = sys.argv[1:]
        store = EmbeddedStore(Path(path))
        await store.connect()
        memory = RedisConversationMemory(redis_url=url, archive=store)
        assert len((await memory.read(conversation_id)).messages) == 6
        turn = await sent(store, conversation_id, status="running")
        if after == "answer":
            await memory.remember(conversation_id, question_of(turn), Position(turn=4, answers=3))
            await store.turns.finish(turn, "completed", an_answer(turn))
        os.kill(os.getpid(), signal.SIGKILL)  # before memory hears of it

    asyncio.run(main())
"""


@pytest.mark.parametrize("after", ["question", "answer"])
async def test_what_a_process_kept_before_it_was_killed_is_seen_though_redis_never_heard_of_it(
    make: Make,
    server: RedisServer,
    keys: redis.Redis,
    tmp_path: Path,
    start: Start,
    after: str,
) -> None:
    path = tmp_path / "mnemosio.db"
    store = EmbeddedStore(path)
    await store.connect()
    memory = make(redis_url=server.url, archive=store)
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 3)
    await memory.read(conversation_id)
    process = await start(KILLED, server.url, str(path), conversation_id, after)
    assert await process.wait() == -signal.SIGKILL

    kept = await store.load(conversation_id, 50)
    held = keys.llen(f"conversation:messages:{conversation_id}")
    assert len(kept.messages) == held + 1, "it was killed in between"
    # Who knows of it reads it; and who doesn't, but goes on, notices that something is missing.
    if after == "question":
        assert await memory.read(conversation_id, at_least=kept.position) == kept
    else:
        turn = await sent(store, conversation_id)
        position = (await store.load(conversation_id, 50)).position
        await memory.remember(conversation_id, question_of(turn), position)
        assert await memory.read(conversation_id, at_least=position) == await store.load(
            conversation_id, 50
        )
    turns = keys.get(f"conversation:turns:{conversation_id}")
    assert turns == b"%d" % kept.position.answers
    await store.close()
