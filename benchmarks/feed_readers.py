"""The readers of a benchmark: ``python -m benchmarks.feed_readers PORT COUNT``.

They connect one after another. Reads lines, each how many events all together are to have heard by
then, and answers with a line when they have: how many more came out of place. A reader knows the
place by the cursor, ``{log}-{number}``: one more than the last of that log.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import uvloop

from benchmarks.timing import settle_garbage_collector
from benchmarks.users import SocketIOUser


class Heard:
    """By all readers here."""

    def __init__(self) -> None:
        self.events = 0
        self.out_of_place = 0
        self._wanted = 0
        self._reached = asyncio.Event()

    def count(self, *, out_of_place: bool) -> None:
        self.events += 1
        self.out_of_place += out_of_place
        if self.events >= self._wanted:
            self._reached.set()

    async def so_many(self, wanted: int) -> None:
        self._wanted = wanted
        if self.events < wanted:
            self._reached.clear()
            await self._reached.wait()


class Reader(SocketIOUser):
    async def read_forever(self, heard: Heard) -> None:
        last: dict[str, int] = {}
        while True:
            _, payload = await self._event()
            log, _, number = payload["cursor"].partition("-")
            place = int(number)
            heard.count(out_of_place=place != last.get(log, place - 1) + 1)
            last[log] = place


async def main(port: int, count: int) -> None:
    heard = Heard()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as tasks:
        readers = []
        for _ in range(count):
            reader = Reader(session, port)
            await reader.connect()
            readers.append(tasks.create_task(reader.read_forever(heard)))
        settle_garbage_collector()
        print("ready", flush=True)
        told = 0
        while line := await asyncio.to_thread(sys.stdin.readline):
            await heard.so_many(int(line))
            print(heard.out_of_place - told, flush=True)
            told = heard.out_of_place
        for task in readers:
            task.cancel()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2])))
