"""Three processes, 100 readers each, one cold conversation: how often is it loaded?

The floor is the usual cache-aside: read Redis; where there is nothing, load and set.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from asyncio.subprocess import Process
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import corpus
from benchmarks.report import Row, against
from benchmarks.samples import ENDED_TURNS_A_CONVERSATION
from benchmarks.servers import module, redis_server
from benchmarks.timing import percentile
from embedded.store import EmbeddedStore

PROCESSES = 3
READERS = 100
AHEAD_SECONDS = 0.05
"""All processes have heard of the start by then."""

WAYS = ("memory", "cache-aside")


async def measure(long: bool) -> list[Row]:
    found = await stampedes(50 if long else 15, READERS)
    loads = {way: max(rush["loads"] for rush in found[way]) for way in WAYS}
    p99 = {way: median(percentile(rush["ms"], 99) for rush in found[way]) for way in WAYS}
    what = f"{PROCESSES} × {READERS} readers of a cold conversation, "
    return [
        Row(f"{what}most loads", "", loads["memory"], _floor(loads)),
        Row(f"{what}p99", "ms", p99["memory"], _floor(p99)),
    ]


def _floor(values: dict[str, float]) -> tuple[Any, ...]:
    return (against("cache-aside", values["memory"], values["cache-aside"]),)


async def stampedes(rounds: int, readers: int) -> dict[str, list[dict[str, Any]]]:
    """Of each way and round: how many loads there were, and how long each reader waited."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with redis_server() as redis, tempfile.TemporaryDirectory(prefix="mnemosio-bench-") as folder:
        path = Path(folder, "store.db")
        store = EmbeddedStore(path)
        await store.connect()
        await store.close()
        corpus.fill_embedded(path, rounds * ENDED_TURNS_A_CONVERSATION)
        async with AsyncExitStack() as running:
            processes = []
            for _ in range(PROCESSES):
                reader = module("benchmarks.stampede_reader", redis.url, str(path), str(readers))
                processes.append((await running.enter_async_context(reader)).process)
            for number in range(rounds):
                for way in WAYS:
                    found[way].append(await _rush(processes, way, f"conversation-{number}"))
    return found


async def _rush(processes: list[Process], way: str, conversation_id: str) -> dict[str, Any]:
    """All readers of all processes at one moment."""
    at = time.monotonic() + AHEAD_SECONDS
    told = await asyncio.gather(*(_ask(process, way, conversation_id, at) for process in processes))
    return {
        "loads": sum(one["loads"] for one in told),
        "ms": [ms for one in told for ms in one["ms"]],
    }


async def _ask(process: Process, way: str, conversation_id: str, at: float) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([way, conversation_id, at]).encode() + b"\n")
    async with asyncio.timeout(30):
        answer: dict[str, Any] = json.loads(await process.stdout.readline())
    return answer
