"""The least that Redis can be asked so that others hear an event and could read it again.

One script an event, which adds it to a stream and publishes it; 16 in a pipeline and four pipelines
at once, as the server's link has them; and one plain subscriber that counts. No rules, no state, no
order between pipelines, nothing decoded, and nobody reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

from redis.asyncio import Redis

from benchmarks.feed_answers import BESIDES, TEXT
from benchmarks.samples import new_turn
from redislink.link import MAX_BATCH, MAX_BATCHES
from server.feed import events
from server.feed.keys import LOG_SECONDS, MAX_EVENTS

PLAIN = """
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*',
  'r', ARGV[3], 'e', ARGV[4], 'b', ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[2], id .. '\\n' .. ARGV[3] .. '\\n' .. ARGV[4] .. '\\n' .. ARGV[5])
"""


class Plain:
    """As many events as ``Answers`` of so many deltas have, each of a delta's bytes."""

    def __init__(self, redis: Redis, conversations: int, deltas: int) -> None:
        self._redis = redis
        self._names = [f"{{{place}}}" for place in range(conversations)]
        self.events = conversations * (deltas + BESIDES)
        self.exchanges = 0
        delta = events.delta(new_turn("conversation-0"), 50, TEXT)
        self._event = (delta.rule_text(), delta.name, delta.body("conversation-0"))
        self._script = redis.register_script(PLAIN)
        self._missing = 0
        self._all_heard = asyncio.Event()

    async def tell(self) -> None:
        self._missing = self.events
        self._all_heard.clear()
        names = iter(range(self.events))
        await asyncio.gather(*(self._send(names) for _ in range(MAX_BATCHES)))
        await self._all_heard.wait()

    async def _send(self, places: Iterator[int]) -> None:
        while batch := list(islice(places, MAX_BATCH)):
            self.exchanges += 1
            pipeline = self._redis.pipeline(transaction=False)
            for place in batch:
                name = self._names[place % len(self._names)]
                keys = (f"plain:log:{name}", f"plain:events:{name}")
                limits = (MAX_EVENTS, LOG_SECONDS)
                pipeline.evalsha(self._script.sha, 2, *keys, *limits, *self._event)
            await pipeline.execute()

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        await self._redis.script_load(PLAIN)
        async with self._redis.pubsub() as channels:
            await channels.subscribe(*(f"plain:events:{name}" for name in self._names))
            listening = asyncio.create_task(self._listen(channels))
            try:
                yield
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, channels: Any) -> None:
        async for message in channels.listen():
            if message["type"] == "message":
                self._missing -= 1
                if not self._missing:
                    self._all_heard.set()
