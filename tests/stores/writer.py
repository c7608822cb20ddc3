"""Run as a program: writes turns into an embedded store, and says which were acknowledged.

    python -m tests.stores.writer FILE NAME COUNT [WIDTH]

COUNT turns, each in its own conversation; up to WIDTH at once.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from embedded.store import EmbeddedStore
from tests.stores.samples import a_turn


async def main(file: str, name: str, count: int, width: int = 10) -> None:
    store = EmbeddedStore(Path(file))
    await store.connect()
    room = asyncio.Semaphore(width)

    async def write(i: int) -> None:
        async with room:
            await store.turns.insert(a_turn(f"{name}-{i}"), lease_ms=1_000)
            print(f"{name}-{i}", flush=True)

    await asyncio.gather(*(write(i) for i in range(count)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
