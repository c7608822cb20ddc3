"""A conversation is opened: one call of the client, and what the server does until it is answered.

Two servers on one Redis and one permanent store. Each conversation is opened three times: *cold*,
where neither Redis nor a server has it; *on another server*, which has to take up its log; and once
more on the first, which follows it already. Beside it what any server must ask of Redis for that,
in one pipeline.
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import aiohttp
import jwt
import orjson
from redis.asyncio import Redis

from benchmarks import corpus
from benchmarks.report import Missing, Row, against, compared
from benchmarks.samples import ENDED_TURNS_A_CONVERSATION
from benchmarks.servers import mongod, ours, redis_server
from benchmarks.timing import cpu_seconds
from benchmarks.users import ENGINE
from embedded.store import EmbeddedStore
from memory.keys import conversation_keys
from server.feed.keys import events_channel, feed_keys
from tests.support.app import App

A_ROUND = 20
"""Conversations."""
MESSAGES = 50
HOT_GOAL = 3
"""Times the Redis floor, at most."""
COLD_GOAL_MS = 5
"""More than a hot one, at most."""

SECRET = "a benchmark's secret, which opens nothing else"

HERE, ELSEWHERE, COLD = "hot, followed here", "hot, on another server", "cold"
FLOOR_HERE, FLOOR_ELSEWHERE, EMPTY = "Redis here", "Redis elsewhere", "an empty call"
WAYS = (COLD, ELSEWHERE, HERE, FLOOR_HERE, FLOOR_ELSEWHERE, EMPTY)
"""In this order for each round's conversations: the first makes hot what the others open."""

Open = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Window:
    """One way in one round; of one conversation."""

    seconds: float
    cpu: float
    """Of the server that was asked."""


class Tab:
    """A connection of the user to whom the conversations belong."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, server: int) -> None:
        self._socket = socket
        self.server = server
        self.round_trips = 0
        """Calls that were answered."""

    async def say(self, text: str) -> None:
        await self._socket.send_str(text)

    async def call(self, name: str, body: dict[str, str]) -> str:
        """What it is answered."""
        await self.say("420" + orjson.dumps([name, body]).decode())
        while not (text := await self.hear()).startswith("430"):
            pass
        self.round_trips += 1
        return text

    async def hear(self) -> str:
        """The next that is no ping."""
        while True:
            message = await self._socket.receive()
            assert message.type is aiohttp.WSMsgType.TEXT, "the server ended the connection"
            text: str = message.data
            if text != "2":
                return text
            await self.say("3")

    async def open(self, conversation_id: str) -> None:
        text = await self.call("conversation:open", {"conversation_id": conversation_id})
        assert '"recovery":"snapshot"' in text, text[:500]
        assert text.count('"turn_id"') == MESSAGES, "the snapshot lacks messages"

    async def ask_nothing(self, _: str) -> None:
        assert "There is no such call" in await self.call("nothing", {})


@asynccontextmanager
async def tab(session: aiohttp.ClientSession, app: App) -> AsyncIterator[Tab]:
    assert app.process is not None
    token = jwt.encode({"sub": "user"}, SECRET, "HS256")
    async with session.ws_connect(f"{app.url}{ENGINE}", max_msg_size=0) as socket:
        one = Tab(socket, app.process.pid)
        await one.hear()  # the handshake
        await one.say("40" + orjson.dumps({"token": token}).decode())
        while not (text := await one.hear()).startswith("40"):
            assert not text.startswith("44"), f"refused: {text}"
        yield one


async def measure(long: bool) -> list[Row]:
    if sys.platform != "linux":
        raise Missing("what a process uses is read from Linux's /proc")
    rounds = 30 if long else 8
    rows = _rows("SQLite", await opens("SQLite", rounds=rounds))
    try:
        rows += _rows("MongoDB", await opens("MongoDB", rounds=rounds))
    except Missing as missing:
        rows.append(Row(f"MongoDB: not measured, {missing}", "", math.nan))
    return rows


async def opens(store: str, *, rounds: int) -> dict[str, list[Window]]:
    """Of each way a window a round, after one that does not count."""
    count = (rounds + 1) * A_ROUND
    async with AsyncExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="mnemosio-bench-")))
        redis = running.enter_context(redis_server())
        settings = await _filled(running, store, folder, count)
        settings |= {
            "REDIS_URL": redis.url,
            "AUTH_JWT_SECRET": SECRET,
            # Calls are counted, as everywhere, but never refused.
            "RATE_LIMIT_CALLS_PER_MINUTE": "1000000",
        }
        first, second = [await ours(running, folder, **settings) for _ in range(2)]
        session = await running.enter_async_context(aiohttp.ClientSession())
        cold, other, hot = [
            await running.enter_async_context(tab(session, app)) for app in (first, second, first)
        ]
        floor = await running.enter_async_context(_redis_alone(redis.url))
        ways: dict[str, tuple[Open, int | None]] = {
            COLD: (cold.open, cold.server),
            ELSEWHERE: (other.open, other.server),
            HERE: (hot.open, hot.server),
            FLOOR_HERE: (partial(floor.ask, follows=True), None),
            FLOOR_ELSEWHERE: (partial(floor.ask, follows=False), None),
            EMPTY: (hot.ask_nothing, hot.server),
        }
        windows: dict[str, list[Window]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            places = range(number * A_ROUND, (number + 1) * A_ROUND)
            conversations = [f"conversation-{place}" for place in places]
            for name in WAYS:
                work, server = ways[name]
                window = await _window(work, server, conversations)
                if number:
                    windows[name].append(window)
        assert cold.round_trips == other.round_trips == count, "an open takes one round trip"
        return windows


async def _window(work: Open, server: int | None, conversations: Sequence[str]) -> Window:
    used, seconds = cpu_seconds(server) if server else 0.0, []
    for each in conversations:
        began = time.perf_counter()
        await work(each)
        seconds.append(time.perf_counter() - began)
    cpu = cpu_seconds(server) - used if server else 0.0
    return Window(median(seconds), cpu / len(conversations))


async def _filled(
    running: AsyncExitStack, store: str, folder: Path, conversations: int
) -> dict[str, str]:
    """A permanent store with so many conversations, and the settings that name it."""
    (folder / "data").mkdir()
    turns = conversations * ENDED_TURNS_A_CONVERSATION
    if store == "MongoDB":
        server = running.enter_context(mongod(folder / "mongod"))
        await asyncio.to_thread(corpus.fill_mongodb, server.uri, "mnemosio", turns)
        return {"MONGODB_URI": server.uri}
    path = folder / "data" / "mnemosio.db"
    embedded = EmbeddedStore(path)  # makes the file
    await embedded.connect()
    await embedded.close()
    await asyncio.to_thread(corpus.fill_embedded, path, turns)
    return {}


class RedisAlone:
    """What opening asks of Redis at the least, bare: nothing is decoded or checked."""

    def __init__(self, redis: Redis, subscribing: Redis) -> None:
        self._redis = redis
        self._subscription = subscribing.pubsub()

    async def ask(self, conversation_id: str, *, follows: bool) -> None:
        keys = conversation_keys(conversation_id)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.lrange(keys.messages, 0, -1)
        pipeline.get(keys.summary)
        pipeline.get(keys.turns)
        if not follows:
            pipeline.xrevrange(feed_keys(conversation_id).log, count=1)
            await self._subscription.subscribe(events_channel(conversation_id))
            # Heard of before anything is read, or something may be missed in between.
            await self._subscription.get_message(timeout=1.0)
        messages, *_ = await pipeline.execute()
        assert len(messages) == MESSAGES, "the floor lacks messages"


@asynccontextmanager
async def _redis_alone(url: str) -> AsyncIterator[RedisAlone]:
    async with Redis.from_url(url) as redis, Redis.from_url(url) as subscribing:
        yield RedisAlone(redis, subscribing)


def _rows(store: str, windows: dict[str, list[Window]]) -> list[Row]:
    rows = []
    for way, floor in ((HERE, FLOOR_HERE), (ELSEWHERE, FLOOR_ELSEWHERE)):
        beside = {"here": windows[way], "Redis alone": windows[floor], EMPTY: windows[EMPTY]}
        row = compared(
            f"{store}: open, {way}", "µs", beside, lambda w: 1e6 * w.seconds, "Redis alone", EMPTY
        )
        redis_alone, empty = row.floors
        rows.append(replace(row, floors=(replace(redis_alone, goal=HOT_GOAL), empty)))
    cold, hot = (median(w.seconds for w in windows[way]) for way in (COLD, HERE))
    rows.append(
        Row(f"{store}: open, {COLD}", "µs", 1e6 * cold, (against(HERE, 1e6 * cold, 1e6 * hot),))
    )
    later = Row(f"{store}: later than a hot one (goal {COLD_GOAL_MS} ms)", "ms", 1e3 * (cold - hot))
    cpu = {"here": windows[HERE], EMPTY: windows[EMPTY]}
    return [
        *rows,
        later,
        compared(f"{store}: server CPU, {HERE}", "µs", cpu, lambda w: 1e6 * w.cpu, EMPTY),
        compared(
            f"{store}: server CPU, {COLD}",
            "µs",
            {"here": windows[COLD], EMPTY: windows[EMPTY]},
            lambda w: 1e6 * w.cpu,
            EMPTY,
        ),
    ]
