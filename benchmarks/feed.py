"""What the feed costs: an event on its way to its readers, and the coming of a reader.

The server's own parts, Redis and websockets; no provider and no permanent store. What an event
takes is measured from ``Feeds.delta`` to the client's read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from unittest.mock import patch

from redis.asyncio import Redis

from benchmarks import feed_delivery, feed_opens
from benchmarks.audience import audience
from benchmarks.feed_answers import answers
from benchmarks.feed_plain import Plain
from benchmarks.report import Row, compared
from benchmarks.servers import redis_server
from benchmarks.timing import in_turns
from redislink.link import Link

EVENTS = 4_000
"""About so many of each way in a round."""


class Level(NamedTuple):
    conversations: int
    ahead: int
    """Deltas of each that are on their way at a time."""
    readers: int = 1
    """Of each conversation."""

    def __str__(self) -> str:
        readers = f", {self.readers} readers each" if self.readers > 1 else ""
        deltas = "one delta" if self.ahead == 1 else f"{self.ahead} deltas"
        return f"{self.conversations} answers, {deltas} at a time{readers}"


LEVELS = (Level(50, 1), Level(200, 8), Level(50, 8, readers=4))
LONG = (Level(50, 1), Level(200, 1), Level(50, 8), Level(200, 8), Level(50, 8, readers=10))

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Window:
    """What one way took for all events of a round."""

    events: int
    seconds: float
    cpu: float
    """Seconds of this process, which is the server."""
    redis_cpu: float
    calls: int
    """Of scripts in Redis."""
    exchanges: int
    """With Redis: what was sent together, and answered."""


async def measure(long: bool) -> list[Row]:
    rows: list[Row] = []
    for level in LONG if long else LEVELS:
        windows = await load(level, deltas=EVENTS // level.conversations, rounds=9 if long else 5)
        rows += _rows(level, windows)
    rows += await feed_delivery.measure(long)
    return rows + await feed_opens.measure(long)


async def load(level: Level, *, deltas: int, rounds: int) -> dict[str, list[Window]]:
    """Of each way a window a round, after one that does not count. They take turns."""
    async with AsyncExitStack() as running:
        redis = running.enter_context(redis_server())
        asking = await running.enter_async_context(Redis.from_url(redis.url))
        exchanges = running.enter_context(counted_exchanges())
        readers = await running.enter_async_context(audience(level.conversations * level.readers))
        told = {
            name: await running.enter_async_context(
                answers(
                    readers,
                    conversations=level.conversations,
                    deltas=deltas,
                    ahead=level.ahead,
                    redis_url=url,
                )
            )
            for name, url in (("here", redis.url), ("local log", None))
        }
        plain = Plain(asking, level.conversations, deltas)
        await running.enter_async_context(plain.heard())
        ways: dict[str, Work] = {name: one.tell for name, one in told.items()}
        ways["plain scripts"] = plain.tell

        async def window(name: str) -> Window:
            before, sent = await asking.info("all"), exchanges.count + plain.exchanges
            began, used = time.perf_counter(), time.process_time()
            await ways[name]()
            seconds, cpu = time.perf_counter() - began, time.process_time() - used
            sent = exchanges.count + plain.exchanges - sent
            after = await asking.info("all")
            return Window(
                events=plain.events,
                seconds=seconds,
                cpu=cpu,
                redis_cpu=_redis_cpu(after) - _redis_cpu(before),
                calls=_script_calls(after) - _script_calls(before),
                exchanges=sent,
            )

        windows: dict[str, list[Window]] = {name: [] for name in ways}
        for number, name in in_turns(list(ways), rounds + 1):
            measured = await window(name)
            if number:
                windows[name].append(measured)
        return windows


def _rows(level: Level, windows: dict[str, list[Window]]) -> list[Row]:
    def row(what: str, unit: str, figure: Callable[[Window], float], *floors: str) -> Row:
        return compared(f"  {what}", unit, windows, figure, *floors)

    speed = row("events a second", "", lambda w: w.events / w.seconds, "local log", "plain scripts")
    # More is better here: its ratio would say the opposite of all the others.
    unrated = tuple(replace(floor, ratio=math.nan) for floor in speed.floors)
    return [
        Row(str(level), "", math.nan),
        replace(speed, floors=unrated),
        row(
            "server CPU for an event",
            "µs",
            lambda w: 1e6 * w.cpu / w.events,
            "local log",
            "plain scripts",
        ),
        row(
            "Redis CPU for an event", "µs", lambda w: 1e6 * w.redis_cpu / w.events, "plain scripts"
        ),
        row(
            "Redis calls for 1,000 events", "", lambda w: 1e3 * w.calls / w.events, "plain scripts"
        ),
        row(
            "round trips for 1,000 events",
            "",
            lambda w: 1e3 * w.exchanges / w.events,
            "plain scripts",
        ),
    ]


def _redis_cpu(info: dict[str, Any]) -> float:
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def _script_calls(info: dict[str, Any]) -> int:
    calls = (info.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))
    return sum(calls)


class Exchanges:
    """How often the server's links have sent something to Redis, and waited for the answers."""

    def __init__(self) -> None:
        self.count = 0


@contextmanager
def counted_exchanges() -> Iterator[Exchanges]:
    exchanges = Exchanges()
    exchange = Link._exchange

    async def counted(link: Link, *arguments: Any) -> Any:
        exchanges.count += 1
        return await exchange(link, *arguments)

    with patch.object(Link, "_exchange", counted):
        yield exchanges
