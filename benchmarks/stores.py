"""The permanent stores: what group commit brings, and a cold load beside its plain query."""

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
from server.stores import Store

AT_ONCE = 100
LEASE_MS = 60_000
MESSAGES = 50
LOADS = 100
"""Conversations loaded in one round, one after another."""

Insert = Callable[[Turn], Awaitable[Any]]


async def measure(long: bool) -> list[Row]:
    turns, rounds = (500_000, 30) if long else (100_000, 10)
    with tempfile.TemporaryDirectory(prefix="mnemosio-bench-") as folder:
        rows = await _embedded(Path(folder, "store.db"), turns, rounds)
        try:
            with mongod(Path(folder, "mongod")) as server:
                rows += await _mongodb(server.uri, turns, rounds)
        except Missing as missing:
            rows.append(Row(f"MongoDB: not measured, {missing}", "", math.nan))
    return rows


async def _embedded(path: Path, turns: int, rounds: int) -> list[Row]:
    store = EmbeddedStore(path)
    await store.connect()
    try:
        insert = partial(store.turns.insert, lease_ms=LEASE_MS)
        timings = await compare(
            {"together": together(insert), "alone": alone(insert)}, rounds=rounds
        )
        rows = [inserts("SQLite", timings, "alone", "one commit each")]
        corpus.fill_embedded(path, turns)
        with corpus.plain_sqlite_query(path) as query:
            rows.append(await _cold_loads("SQLite", store, query, turns, rounds))
        return rows
    finally:
        await store.close()


async def _mongodb(uri: str, turns: int, rounds: int) -> list[Row]:
    rows = []
    for name, driver in (("Motor", AsyncIOMotorClient), ("PyMongo", AsyncMongoClient)):
        store = MongoStore(uri, f"bench_{name}", driver=driver)
        client: Any = driver(uri, **OPTIONS)
        plain = Collections.of(client[f"plain_{name}"])
        await store.connect()
        try:
            await plain.make_indexes()

            async def insert_one(turn: Turn, plain: Collections = plain) -> None:
                await plain.turns.insert_one(turn_document(turn))

            insert = partial(store.turns.insert, lease_ms=LEASE_MS)
            works = {"together": together(insert), "plain": together(insert_one)}
            timings = await compare(works, rounds=rounds)
            rows.append(inserts(f"MongoDB, {name}", timings, "plain", "insert_one each"))
            kept = client[f"bench_{name}"]
            await corpus.fill_mongodb(kept, turns)
            query = corpus.plain_mongodb_query(kept)
            rows.append(await _cold_loads(f"MongoDB, {name}", store, query, turns, rounds))
            await client.drop_database(f"bench_{name}")
        finally:
            await store.close()
            closing = client.close()
            if closing is not None:  # PyMongo's
                await closing
    return rows


def together(insert: Insert) -> Callable[[], Awaitable[None]]:
    """Turns of 100 conversations, all inserted at once."""

    async def work() -> None:
        await asyncio.gather(*(insert(new_turn(f"new-{random.random()}")) for _ in range(AT_ONCE)))

    return work


def alone(insert: Insert) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        for _ in range(AT_ONCE):
            await insert(new_turn(f"new-{random.random()}"))

    return work


def inserts(name: str, timings: Timings, other: str, which: str) -> Row:
    floor = Floor(which, timings.median(other) / AT_ONCE * 1e6, timings.ratio("together", other))
    here = timings.median("together") / AT_ONCE * 1e6
    return Row(f"{name}: insert a turn; {AT_ONCE} at once", "µs", here, (floor,))


async def _cold_loads(name: str, store: Store, query: corpus.Query, turns: int, rounds: int) -> Row:
    async def load_all() -> None:
        for _ in range(LOADS):
            transcript = await store.load(corpus.any_conversation(turns), MESSAGES)
            assert len(transcript.messages) == MESSAGES, "a cold load lacks messages"

    async def query_all() -> None:
        for _ in range(LOADS):
            found = await query(corpus.any_conversation(turns))
            assert len(found) == MESSAGES // 2, "the plain query lacks turns"

    timings = await compare({"load": load_all, "query": query_all}, rounds=rounds)
    per_load = {name: timings.median(name) / LOADS * 1e6 for name in ("load", "query")}
    floor = Floor("the plain query", per_load["query"], timings.ratio("load", "query"))
    what = f"{name}: load {MESSAGES} of {2 * turns:,} messages"
    return Row(what, "µs", per_load["load"], (floor,))
