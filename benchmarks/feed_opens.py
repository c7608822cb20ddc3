"""The coming of a reader: where its conversation is followed already, and on a server where not.

Three servers' feeds share one Redis: *there* the answers are told, *here* somebody follows them,
and *elsewhere* nobody does, so that each who comes must have the log's channel listened to and its
end read.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from math import inf
from typing import Literal

from redis.asyncio import Redis

from benchmarks.audience import Audience, audience
from benchmarks.feed_answers import TEXT
from benchmarks.report import Row, compared
from benchmarks.samples import EveryConversation, new_turn
from benchmarks.servers import redis_server
from benchmarks.timing import in_turns
from memory import RedisConversationMemory
from memory.records import Conversation, Position
from server.feed.feeds import Feeds
from tests.support.wait import wait_until

CONVERSATIONS = 20
"""Opened one after another in a round."""
TURNS = 25
"""That each has had, 50 messages; one more is being answered."""
DELTAS = 150
EVENTS = DELTAS + 2
"""Of the answer so far: also its question, and its beginning."""
MISSED = 100
"""By a reader that comes back."""

WHAT = {
    "open": "open what is followed here, 50 messages",
    "come back": f"come back to it, {MISSED} events missed",
    "open elsewhere": "open it on another server, 50 messages",
    "come back elsewhere": f"come back to another, {MISSED} events missed",
}

Recovery = Literal["snapshot", "replayed"]
Open = Callable[[str], Awaitable[float]]
"""Of one conversation: the seconds until the verdict, and what was missed, are on their way."""


async def measure(long: bool) -> list[Row]:
    seconds = await opens(rounds=60 if long else 10)
    rows = []
    for name, what in WHAT.items():
        windows = {"here": seconds[name], "PING": seconds["PING"]}
        rows.append(compared(what, "µs", windows, lambda each: 1e6 * each, "PING"))
    return rows


async def opens(*, rounds: int) -> dict[str, list[float]]:
    """Of each way and round, after one that does not count: the mean seconds of one."""
    async with AsyncExitStack() as running:
        redis = running.enter_context(redis_server())
        pinged = await running.enter_async_context(Redis.from_url(redis.url))
        readers = await running.enter_async_context(audience(2))
        memory = RedisConversationMemory(2 * TURNS, redis.url, archive=EveryConversation(TURNS))
        await memory.connect()
        running.push_async_callback(memory.close)
        there, here, elsewhere = [
            await running.enter_async_context(_feeds(name, redis.url, readers, memory))
            for name in ("there", "here", "elsewhere")
        ]
        cursors = await _answered(there, here, readers)

        async def ping(_: str) -> float:
            began = time.perf_counter()
            await pinged.ping()
            return time.perf_counter() - began

        async def come(feeds: Feeds, recovery: Recovery, conversation_id: str) -> float:
            connection = readers.connections[1]
            after = cursors[conversation_id] if recovery == "replayed" else None
            began = time.perf_counter()
            opening = await feeds.open(connection, _conversation(conversation_id), after)
            opening.release()
            seconds = time.perf_counter() - began
            assert opening.recovery == recovery, f"{opening.recovery} instead of {recovery}"
            assert recovery == "replayed" or len(opening.messages or ()) == 2 * TURNS
            feeds.leave(connection, conversation_id)
            feeds.let_go(inf, inf, lambda _: False)
            await readers.has_heard()
            return seconds

        ways: dict[str, Open] = {
            "PING": ping,
            "open": partial(come, here, "snapshot"),
            "come back": partial(come, here, "replayed"),
            "open elsewhere": partial(come, elsewhere, "snapshot"),
            "come back elsewhere": partial(come, elsewhere, "replayed"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number, name in in_turns(list(ways), rounds + 1):
            took = sum([await ways[name](each) for each in cursors])
            if number:
                seconds[name].append(took / CONVERSATIONS)
        return seconds


@asynccontextmanager
async def _feeds(
    server: str, redis_url: str, readers: Audience, memory: RedisConversationMemory
) -> AsyncIterator[Feeds]:
    store = EveryConversation(TURNS)
    feeds = Feeds(readers.deliver, store, memory, redis_url=redis_url, server=server)
    await feeds.connect()
    try:
        yield feeds
    finally:
        await feeds.close()


async def _answered(there: Feeds, here: Feeds, readers: Audience) -> dict[str, str]:
    """The cursor of each conversation that a reader had before it missed the last events."""
    standing = readers.connections[0]
    cursors = {}
    for place in range(CONVERSATIONS):
        name = f"conversation-{place}"
        opening = await here.open(standing, _conversation(name), None)
        opening.release()
        turn = new_turn(name, TURNS + 1)
        there.started(turn)
        for index in range(DELTAS):
            there.delta(turn, index, TEXT)
        log, _, number = opening.cursor.partition("-")
        cursors[name] = f"{log}-{int(number) + EVENTS - MISSED}"
    told = CONVERSATIONS * EVENTS
    await wait_until(lambda: readers.told == told, "the answers are told", timeout=30.0)
    await readers.has_heard()
    return cursors


def _conversation(conversation_id: str) -> Conversation:
    return Conversation(
        id=conversation_id,
        user_id="user",
        title="",
        created_at=1,
        updated_at=1,
        position=Position(turn=TURNS, answers=TURNS),
    )
