"""Does anything get dearer as there is more of it? Small beside large, as ratios: 1 is flat.

Conversations that are followed, messages that are stored, connections that are there. Small and
large run in turns: the feeds in processes of their own (``growing_feeds.py``), each with a Redis of
its own.
"""

from __future__ import annotations

import asyncio
import math
import random
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

import orjson

from benchmarks import corpus, feed_delivery
from benchmarks.audience import audience
from benchmarks.feed_delivery import deliveries
from benchmarks.report import Missing, Row, compared
from benchmarks.samples import ANSWER, ENDED_TURNS_A_CONVERSATION, new_turn
from benchmarks.servers import Running, module, mongod, redis_server
from benchmarks.timing import Timings, compare
from embedded.store import EmbeddedStore
from memory.records import Answer, Turn
from mongo.store import MongoStore

FEW, MANY = 10, 10_000
"""Conversations."""
STORED, STORED_LONG = 200_000, 1_000_000
"""Messages; beside those of two conversations."""
FEW_CONNECTIONS, MANY_CONNECTIONS = 20, 1_000
TABS = (1, 10)
TIMES = 20
"""Of a store in a round."""
MESSAGES = 50
LEASE_MS = 60_000
GOAL = 1.25
"""Times the small one, at most: flat, as far as a shared machine can tell."""
PATIENCE_SECONDS = 120.0

Store = EmbeddedStore | MongoStore
Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Window:
    """For one event, or one opening."""

    seconds: float
    cpu: float


async def measure(long: bool) -> list[Row]:
    rows = await _conversations(rounds=30 if long else 9)
    rows += await _messages(STORED_LONG if long else STORED, rounds=60 if long else 20)
    return rows + await _connections(rounds=30 if long else 8)


# Conversations


async def _conversations(*, rounds: int) -> list[Row]:
    found = await conversations(FEW, MANY, rounds=rounds)
    small = f"{FEW} of them"
    rows = []
    for what, name in (("a token", "tell"), ("an opening", "open")):
        windows = {"here": found[MANY][name], small: found[FEW][name]}
        title = f"{MANY:,} followed conversations: CPU of {what}"
        rows.append(_flat(title, windows, lambda w: w.cpu, small))
        title = f"{MANY:,} followed conversations: time of {what}"
        rows.append(_flat(title, windows, lambda w: w.seconds, small))
    rest = {count: median(w.cpu / w.seconds for w in found[count]["rest"]) for count in found}
    title = f"{MANY:,} followed conversations: CPU at rest"
    return [*rows, Row(title, "%", 100 * rest[MANY])]


async def conversations(few: int, many: int, *, rounds: int) -> dict[int, dict[str, list[Window]]]:
    """Of each work a window a round, after one that does not count, with few and with many."""
    async with AsyncExitStack() as running:
        feeds = {}
        for count in (few, many):
            redis = running.enter_context(redis_server())
            arguments = (redis.url, str(count))
            feeds[count] = await running.enter_async_context(
                module("benchmarks.growing_feeds", *arguments, patience=PATIENCE_SECONDS)
            )
        found: dict[int, dict[str, list[Window]]] = {
            count: {"open": [], "tell": [], "rest": []} for count in feeds
        }
        for number in range(rounds + 1):
            for work in ("open", "tell"):
                for count in (few, many) if number % 2 else (many, few):
                    window = await _asked(feeds[count], work)
                    if number:
                        found[count][work].append(window)
        for count, process in feeds.items():
            found[count]["rest"].append(await _asked(process, "rest"))
        return found


async def _asked(feeds: Running, work: str) -> Window:
    stdin, stdout = feeds.process.stdin, feeds.process.stdout
    assert stdin is not None
    assert stdout is not None
    stdin.write(f"{work}\n".encode())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return Window(**orjson.loads(await stdout.readline()))
    except (TimeoutError, ValueError):
        raise AssertionError(f"the feeds did not {work}") from None


# Messages


async def _messages(stored: int, *, rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="mnemosio-bench-") as folder:
        async with sqlite_stores(Path(folder), stored // 2) as stores:
            rows = await _rows_of_stores("SQLite", stored, stores, rounds)
        try:
            async with mongodb_stores(Path(folder), stored // 2) as stores:
                rows += await _rows_of_stores("MongoDB", stored, stores, rounds)
        except Missing as missing:
            rows.append(Row(f"MongoDB: not measured, {missing}", "", math.nan))
    return rows


SMALL_TURNS = 2 * ENDED_TURNS_A_CONVERSATION


@asynccontextmanager
async def sqlite_stores(folder: Path, turns: int) -> AsyncIterator[dict[int, Store]]:
    """One with few turns and one with so many, by how many these are."""
    async with AsyncExitStack() as running:
        found: dict[int, Store] = {}
        for count in (SMALL_TURNS, turns):
            path = folder / f"{count}.db"
            store = found[count] = EmbeddedStore(path)
            await store.connect()
            running.push_async_callback(store.close)
            await asyncio.to_thread(corpus.fill_embedded, path, count)
        yield found


@asynccontextmanager
async def mongodb_stores(folder: Path, turns: int) -> AsyncIterator[dict[int, Store]]:
    """The same in one mongod."""
    async with AsyncExitStack() as running:
        server = running.enter_context(mongod(folder / "mongod"))
        found: dict[int, Store] = {}
        for count in (SMALL_TURNS, turns):
            await asyncio.to_thread(corpus.fill_mongodb, server.uri, f"of-{count}", count)
            store = found[count] = MongoStore(server.uri, f"of-{count}")
            await store.connect()
            running.push_async_callback(store.close)
        yield found


async def _rows_of_stores(
    name: str, stored: int, stores: dict[int, Store], rounds: int
) -> list[Row]:
    timings = await of_stores(stores, rounds=rounds)
    small, large = stores
    of = f"{2 * small} messages"
    rows = []
    for what, work in (("50 of a cold one", "load"), ("a turn and its end", "store")):
        seconds = timings.seconds
        windows = {"here": seconds[f"{work} {large}"], of: seconds[f"{work} {small}"]}
        rows.append(_flat(f"{name}, {stored:,} messages: {what}", windows, lambda s: s, of))
    return rows


async def of_stores(stores: dict[int, Store], *, rounds: int) -> Timings:
    """The seconds of one."""
    works = {}
    for turns, store in stores.items():
        works[f"load {turns}"] = partial(_load_some, store, turns)
        works[f"store {turns}"] = partial(_store_some, store)
    timings = await compare(works, rounds=rounds)
    return Timings({name: [s / TIMES for s in each] for name, each in timings.seconds.items()})


async def _load_some(store: Store, turns: int) -> None:
    for _ in range(TIMES):
        transcript = await store.load(corpus.any_conversation(turns), MESSAGES)
        assert len(transcript.messages) == MESSAGES, "a cold load lacks messages"


async def _store_some(store: Store) -> None:
    for _ in range(TIMES):
        kept = await store.turns.insert(new_turn(f"new-{random.random()}"), lease_ms=LEASE_MS)
        ended = await store.turns.finish(kept, "completed", _answer(kept))
        assert ended is not None, "a turn was not ended"


def _answer(turn: Turn) -> Answer:
    return Answer(
        message_id=str(uuid.uuid4()), content=ANSWER, status="complete", created_at=turn.n
    )


# Connections


async def _connections(*, rounds: int) -> list[Row]:
    of = f"{FEW_CONNECTIONS} connections"
    rows = []
    async with audience(FEW_CONNECTIONS) as few, audience(MANY_CONNECTIONS) as many:
        for tabs in TABS:
            windows: dict[str, list[feed_delivery.Window]] = {"here": [], of: []}
            for number in range(rounds):
                for name, readers in (("here", many), (of, few)):
                    found = await deliveries(
                        readers, tabs, rounds=1, names=("here",), label=str(number)
                    )
                    windows[name] += found["here"]
            tab = "one tab" if tabs == 1 else f"{tabs} tabs"
            title = f"{MANY_CONNECTIONS:,} connections: CPU of an event to {tab}"
            rows.append(_flat(title, windows, lambda w: w.cpu, of))
    return rows


def _flat(
    what: str,
    windows: Mapping[str, Sequence[Measured]],
    seconds: Callable[[Measured], float],
    small: str,
) -> Row:
    row = compared(what, "µs", windows, lambda each: 1e6 * seconds(each), small)
    [floor] = row.floors
    return replace(row, floors=(replace(floor, goal=GOAL),))
