"""Conversation memory over Redis, beside the same bytes moved by plain commands.

The floor: one script that appends two entries, trims and sets the TTL, then LRANGE; redis-py with
hiredis, a pool of as many connections as the memory has. It encodes, decodes and checks nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from redis.asyncio import BlockingConnectionPool, Redis

from benchmarks.report import Floor, Row
from benchmarks.samples import EveryConversation, Growing
from benchmarks.servers import redis_server
from benchmarks.timing import compare
from memory import RedisConversationMemory
from memory.entries import encode_message
from redislink.link import MAX_CONNECTIONS

MESSAGES = 50
AT_ONCE = 100
TTL_SECONDS = 24 * 3600
TURN_GOAL = 2.5
"""Times the plain commands, at most, for a turn and the read that follows it."""

Step = Callable[[Growing], Awaitable[None]]

APPEND = """
redis.call('RPUSH', KEYS[1], ARGV[1], ARGV[2])
redis.call('LTRIM', KEYS[1], -50, -1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""


class Ours:
    """Turns into memory as the server does it: question, answer, then the next prompt's read."""

    def __init__(self, memory: RedisConversationMemory, conversations: list[Growing]) -> None:
        self._memory = memory
        self._conversations = conversations

    async def turn(self, conversation: Growing) -> None:
        asked, answered = conversation.position, conversation.next_turn()
        position = conversation.position
        await self._memory.remember(conversation.id, answered[0], asked)
        await self._memory.remember(conversation.id, answered[1], position)
        await self.read(conversation)

    async def read(self, conversation: Growing) -> None:
        transcript = await self._memory.read(conversation.id, at_least=conversation.position)
        assert len(transcript.messages) == MESSAGES, "the memory lacks messages"

    async def fill(self) -> None:
        await asyncio.gather(*map(self.read, self._conversations))


class Plain:
    """The same with two commands a turn."""

    def __init__(self, redis: Redis, conversations: list[Growing]) -> None:
        self._redis = redis
        self._append = redis.register_script(APPEND)
        self._conversations = conversations
        self._entries = [*map(encode_message, Growing("conversation-0", MESSAGES).next_turn())]

    async def turn(self, conversation: Growing) -> None:
        await self._append(keys=[self._key(conversation)], args=[*self._entries, TTL_SECONDS])
        await self.read(conversation)

    async def read(self, conversation: Growing) -> None:
        entries = await self._redis.lrange(self._key(conversation), 0, -1)
        assert len(entries) == MESSAGES, "the floor lacks messages"

    async def fill(self) -> None:
        for conversation in self._conversations:
            await self._redis.rpush(self._key(conversation), *self._entries * (MESSAGES // 2))

    def _key(self, conversation: Growing) -> str:
        return f"plain:{conversation.id}"


async def measure(long: bool) -> list[Row]:
    conversations = [Growing(f"conversation-{i}", MESSAGES // 2) for i in range(AT_ONCE)]
    with redis_server() as server:
        memory = RedisConversationMemory(
            MESSAGES, server.url, archive=EveryConversation(MESSAGES // 2)
        )
        pool = BlockingConnectionPool.from_url(server.url, max_connections=MAX_CONNECTIONS)
        async with Redis.from_pool(pool) as redis:
            await memory.connect()
            try:
                ours, plain = Ours(memory, conversations), Plain(redis, conversations)
                await ours.fill()
                await plain.fill()
                return await _rows(ours, plain, conversations, rounds=60 if long else 15)
            finally:
                await memory.close()


async def _rows(
    ours: Ours, plain: Plain, conversations: list[Growing], *, rounds: int
) -> list[Row]:
    async def each_alone(step: Step) -> None:
        for conversation in conversations:
            await step(conversation)

    async def all_at_once(step: Step) -> None:
        await asyncio.gather(*map(step, conversations))

    rows = []
    for what, mine, theirs, goal in (
        ("append a turn, read the last 50", ours.turn, plain.turn, TURN_GOAL),
        ("read the last 50", ours.read, plain.read, None),
    ):
        for how, drive in (("one by one", each_alone), (f"{AT_ONCE} at once", all_at_once)):
            works = {
                "ours": partial(drive, mine),
                "plain": partial(drive, theirs),
            }
            timings = await compare(works, rounds=rounds)
            here, floor = (timings.median(name) / len(conversations) for name in works)
            ratio = timings.ratio("ours", "plain")
            floors = (Floor("plain commands", floor * 1e6, ratio, goal),)
            rows.append(Row(f"{what}; {how}", "µs", here * 1e6, floors))
    return rows
