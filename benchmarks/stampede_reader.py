"""One process of the stampede: ``python -m benchmarks.stampede_reader REDIS_URL STORE READERS``.

Reads lines ``[way, conversation_id, when]``, rushes at that moment (of the monotonic clock, which
processes of one machine share), and answers with a line ``{loads, ms}``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

from benchmarks.timing import settle_garbage_collector
from embedded.store import EmbeddedStore
from memory import RedisConversationMemory
from memory.entries import decode_messages, encode_message
from memory.records import Message, Summary, Transcript
from redislink.link import MAX_CONNECTIONS

MESSAGES = 50
TTL_SECONDS = 24 * 3600

Read = Callable[[str], Awaitable[int]]


class Counted:
    """The permanent store, and how often it was asked for a conversation."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self.loads = 0

    async def load(self, conversation_id: str, max_messages: int) -> Transcript:
        self.loads += 1
        return await self._store.load(conversation_id, max_messages)

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        return await self._store.messages_after(conversation_id, seq, limit)

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        return await self._store.save_summary(conversation_id, summary, revision=revision)


def through_memory(memory: RedisConversationMemory) -> Read:
    async def read(conversation_id: str) -> int:
        return len((await memory.read(conversation_id)).messages)

    return read


def cache_aside(redis: Redis, archive: Counted) -> Read:
    async def read(conversation_id: str) -> int:
        key = f"aside:{conversation_id}"
        entries = cast("list[bytes]", await redis.lrange(key, 0, -1))
        if entries:
            return len(decode_messages(entries))
        messages = (await archive.load(conversation_id, MESSAGES)).messages
        async with redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(key)
            pipeline.rpush(key, *map(encode_message, messages))
            pipeline.expire(key, TTL_SECONDS)
            await pipeline.execute()
        return len(messages)

    return read


async def rush(
    read: Read, archive: Counted, conversation_id: str, readers: int, at: float
) -> dict[str, Any]:
    async def one() -> float:
        began = time.perf_counter()
        assert await read(conversation_id) == MESSAGES, "a reader got less than the conversation"
        return (time.perf_counter() - began) * 1e3

    before = archive.loads
    await asyncio.sleep(at - time.monotonic())
    waits = await asyncio.gather(*(one() for _ in range(readers)))
    return {"loads": archive.loads - before, "ms": waits}


async def main(redis_url: str, store_path: str, readers: int) -> None:
    store = EmbeddedStore(Path(store_path))
    archive = Counted(store)
    memory = RedisConversationMemory(MESSAGES, redis_url, archive=archive)
    pool = BlockingConnectionPool.from_url(redis_url, max_connections=MAX_CONNECTIONS)
    async with Redis.from_pool(pool) as redis:
        await store.connect()
        await memory.connect()
        try:
            ways = {"memory": through_memory(memory), "cache-aside": cache_aside(redis, archive)}
            settle_garbage_collector()
            print("ready", flush=True)
            while line := await asyncio.to_thread(sys.stdin.readline):
                way, conversation_id, at = json.loads(line)
                answer = await rush(ways[way], archive, conversation_id, readers, at)
                print(json.dumps(answer), flush=True)
        finally:
            await memory.close()
            await store.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
