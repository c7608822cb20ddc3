"""How much group commit brings: 100 turns inserted at once, against one after the other.

    python -m benchmarks.stores

Both in one run on the same store, because only their ratio travels from machine to machine.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from pymongo import AsyncMongoClient

from embedded.store import EmbeddedStore
from memory.records import Question, Turn
from mongo.store import MongoStore
from server.stores import Store
from tests.support.mongod import Mongod, find_mongod

ROUNDS = 10
AT_ONCE = 100


def a_turn() -> Turn:
    conversation_id, message_id = str(uuid.uuid4()), str(uuid.uuid4())
    return Turn(
        id=str(uuid.uuid4()),
        conversation_id=conversation_id,
        user_id="user",
        n=1,
        question=Question(message_id=message_id, content="x" * 200, created_at=1),
        digest="digest",
        accepted="running",
        status="running",
        attempt=1,
        owner="slot:boot",
        created_at=1,
    )


async def rate(insert_all: Callable[[list[Turn]], Awaitable[None]]) -> float:
    """Inserts a second, the median of some rounds."""
    rates = []
    for _ in range(ROUNDS):
        turns = [a_turn() for _ in range(AT_ONCE)]
        began = time.perf_counter()
        await insert_all(turns)
        rates.append(AT_ONCE / (time.perf_counter() - began))
    return median(rates)


async def measure(name: str, store: Store) -> None:
    async def one_by_one(turns: list[Turn]) -> None:
        for turn in turns:
            await store.turns.insert(turn, lease_ms=10_000)

    async def at_once(turns: list[Turn]) -> None:
        await asyncio.gather(*(store.turns.insert(turn, lease_ms=10_000) for turn in turns))

    await store.connect()
    try:
        await at_once([a_turn() for _ in range(AT_ONCE)])  # warm
        alone, together = await rate(one_by_one), await rate(at_once)
    finally:
        await store.close()
    print(
        f"{name:10} one by one {alone:7,.0f}/s   "
        f"{AT_ONCE} at once {together:7,.0f}/s   {together / alone:.1f} ×"
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await measure("embedded", EmbeddedStore(Path(folder, "store.db")))
        if find_mongod() is None:
            print("there is no mongod on this machine")
            return
        with Mongod(Path(folder, "mongod")) as server:
            await measure("motor", MongoStore(server.uri, "motor"))
            await measure("pymongo", MongoStore(server.uri, "pymongo", driver=AsyncMongoClient))


if __name__ == "__main__":
    asyncio.run(main())
