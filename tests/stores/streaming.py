"""Run as a program: writes turns into MongoDB until its input ends, and says how often MongoDB
counted as away meanwhile.

    python -m tests.stores.streaming URI DATABASE motor|pymongo
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from memory.errors import Unavailable
from mongo.client import DRIVERS
from mongo.store import MongoStore
from tests.stores.samples import a_turn, new_id


async def main(uri: str, database: str, driver: str) -> None:
    changes: list[bool] = []
    store = MongoStore(uri, database, driver=DRIVERS[driver], on_change=changes.append)
    await store.connect()

    async def write() -> None:
        while True:
            with suppress(Unavailable):  # it was stopped for longer than an operation may take
                await store.turns.insert(a_turn(new_id()), lease_ms=1_000)
                await store.turns.last("c1")
            await asyncio.sleep(0)

    writers = [asyncio.create_task(write()) for _ in range(10)]
    print("streaming", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    await store.close()
    print("changes:", changes)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
