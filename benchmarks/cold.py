"""A conversation that nobody has in memory: its last 50 messages out of very many that are stored.

Beside it the one indexed query that a careful hand would write. Loads and queries take turns one by
one, each of a conversation by chance, so that neither warms anything for the other.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from benchmarks import corpus
from benchmarks.report import Floor, Missing, Row
from benchmarks.servers import mongod
from benchmarks.timing import in_turns, percentile
from embedded.store import EmbeddedStore
from mongo.client import OPTIONS
from mongo.store import MongoStore

MESSAGES = 50
STORED = 200_000
STORED_LONG = 1_000_000
LOADS = 2_000
WARM_UP = 50
P99_GOAL = 5
"""Times the plain query's 99th percentile, at most."""

Seconds = dict[str, list[float]]


async def measure(long: bool, stored: int | None = None) -> list[Row]:
    """Out of ``stored`` messages; in conversations of ``ENDED_TURNS_A_CONVERSATION`` turns."""
    turns = (stored or (STORED_LONG if long else STORED)) // 2
    with tempfile.TemporaryDirectory(prefix="mnemosio-bench-") as folder:
        rows = await _embedded(Path(folder, "store.db"), turns)
        try:
            with mongod(Path(folder, "mongod")) as server:
                corpus.fill_mongodb(server.uri, "cold", turns)
                for name, driver in (("Motor", AsyncIOMotorClient), ("PyMongo", AsyncMongoClient)):
                    rows += await _mongodb(f"MongoDB, {name}", server.uri, driver, turns)
        except Missing as missing:
            rows.append(Row(f"MongoDB: not measured, {missing}", "", math.nan))
    return rows


async def _embedded(path: Path, turns: int) -> list[Row]:
    store = EmbeddedStore(path)
    await store.connect()
    try:
        corpus.fill_embedded(path, turns)
        with corpus.plain_sqlite_queries(path) as queries:
            return _rows("SQLite", turns, await loads(store, queries, turns, LOADS))
    finally:
        await store.close()


async def _mongodb(name: str, uri: str, driver: Any, turns: int) -> list[Row]:
    store = MongoStore(uri, "cold", driver=driver)
    client: Any = driver(uri, **OPTIONS)
    await store.connect()
    try:
        queries = {"the plain query": corpus.plain_mongodb_query(client["cold"])}
        return _rows(name, turns, await loads(store, queries, turns, LOADS))
    finally:
        await store.close()
        closing = client.close()
        if closing is not None:  # PyMongo's
            await closing


async def loads(
    store: EmbeddedStore | MongoStore, queries: dict[str, corpus.Query], turns: int, count: int
) -> Seconds:
    """How long each load ("here") and each plain query took. Raises ``AssertionError`` for one that
    lacks something."""

    async def load() -> None:
        transcript = await store.load(corpus.any_conversation(turns), MESSAGES)
        assert len(transcript.messages) == MESSAGES, "a cold load lacks messages"

    async def ask(query: corpus.Query) -> None:
        found = await query(corpus.any_conversation(turns))
        assert len(found) == MESSAGES // 2, "the plain query lacks turns"

    works: dict[str, Callable[[], Awaitable[None]]] = {"here": load}
    works |= {name: partial(ask, query) for name, query in queries.items()}
    seconds: Seconds = {name: [] for name in works}
    for number, name in in_turns(list(works), count + WARM_UP):
        began = time.perf_counter()
        await works[name]()
        if number >= WARM_UP:
            seconds[name].append(time.perf_counter() - began)
    return seconds


def _rows(name: str, turns: int, seconds: Seconds) -> list[Row]:
    rows = []
    for what, figure, goal in (
        ("median", median, None),
        ("p99", partial(percentile, percent=99), P99_GOAL),
    ):
        values = {which: figure(each) * 1e6 for which, each in seconds.items()}
        here = values.pop("here")
        floors = tuple(Floor(which, value, here / value, goal) for which, value in values.items())
        title = f"{name}: {MESSAGES} of {2 * turns:,} messages, {what}"
        rows.append(Row(title, "µs", here, floors))
    return rows
