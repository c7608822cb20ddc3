"""Group commit: turns that 100 callers insert at once, beside the same without it.

Two things are called "one by one", and differ: a caller at a time, each waiting for its own
acknowledgement; and 100 callers at once, each with a write of its own. Both stand beside ours, so
does our own insert with one caller at a time, which group commit can do nothing for.
"""

from __future__ import annotations

import asyncio
import math
import random
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from benchmarks import corpus
from benchmarks.report import Floor, Missing, Row
from benchmarks.samples import new_turn
from benchmarks.servers import mongod
from benchmarks.timing import Timings, compare
from embedded.store import EmbeddedStore
from memory.records import Turn
from mongo.client import OPTIONS
from mongo.collections import Collections
from mongo.documents import turn_document
from mongo.store import MongoStore

AT_ONCE = 100
LEASE_MS = 60_000
GOAL = 0.2
"""Of what inserting one after another takes, at most: group commit is five times as fast."""

Insert = Callable[[Turn], Awaitable[Any]]


async def measure(long: bool) -> list[Row]:
    rounds = 30 if long else 10
    with tempfile.TemporaryDirectory(prefix="mnemosio-bench-") as folder:
        rows = [await _embedded(Path(folder), rounds)]
        try:
            with mongod(Path(folder, "mongod")) as server:
                for name, driver in (("Motor", AsyncIOMotorClient), ("PyMongo", AsyncMongoClient)):
                    rows.append(await _mongodb(name, driver, server.uri, rounds))
        except Missing as missing:
            rows.append(Row(f"MongoDB: not measured, {missing}", "", math.nan))
    return rows


async def _embedded(folder: Path, rounds: int) -> Row:
    store, other = EmbeddedStore(folder / "store.db"), EmbeddedStore(folder / "plain.db")
    await other.connect()  # makes the file
    await other.close()
    await store.connect()
    try:
        insert = partial(store.turns.insert, lease_ms=LEASE_MS)
        with corpus.plain_sqlite_insert(folder / "plain.db") as plain:
            works = {"here": together(insert), "ours": alone(insert), "plain": alone(plain)}
            timings = await compare(works, rounds=rounds)
    finally:
        await store.close()
    return _row(
        "SQLite",
        timings,
        floor("ours, one by one", timings, "ours", GOAL),
        floor("plain sqlite3, one by one", timings, "plain"),
    )


async def _mongodb(name: str, driver: Any, uri: str, rounds: int) -> Row:
    store = MongoStore(uri, f"bench_{name}", driver=driver)
    client: Any = driver(uri, **OPTIONS)
    plain = Collections.of(client[f"plain_{name}"])
    await store.connect()
    try:
        await plain.make_indexes()

        async def insert_one(turn: Turn) -> None:
            await plain.turns.insert_one(turn_document(turn))

        insert = partial(store.turns.insert, lease_ms=LEASE_MS)
        works = {
            "here": together(insert),
            "plain at once": together(insert_one),
            "plain": alone(insert_one),
            "ours": alone(insert),
        }
        timings = await compare(works, rounds=rounds)
    finally:
        await store.close()
        closing = client.close()
        if closing is not None:  # PyMongo's
            await closing
    return _row(
        f"MongoDB, {name}",
        timings,
        floor("insert_one, one by one", timings, "plain", GOAL),
        floor("ours, one by one", timings, "ours", GOAL),
        floor(f"insert_one, {AT_ONCE} at once", timings, "plain at once"),
    )


def together(insert: Insert) -> Callable[[], Awaitable[None]]:
    """Turns of 100 conversations, all inserted at once."""

    async def work() -> None:
        await asyncio.gather(*(insert(new_turn(f"new-{random.random()}")) for _ in range(AT_ONCE)))

    return work


def alone(insert: Insert) -> Callable[[], Awaitable[None]]:
    """The same, each when the one before it was acknowledged."""

    async def work() -> None:
        for _ in range(AT_ONCE):
            await insert(new_turn(f"new-{random.random()}"))

    return work


def floor(what: str, timings: Timings, name: str, goal: float | None = None) -> Floor:
    value = timings.median(name) / AT_ONCE * 1e6
    return Floor(what, value, timings.ratio("here", name), goal)


def _row(name: str, timings: Timings, *floors: Floor) -> Row:
    here = timings.median("here") / AT_ONCE * 1e6
    return Row(f"{name}: insert a turn; {AT_ONCE} at once", "µs", here, floors)
