"""The logs in Redis without the feeds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from redislink.link import Link
from server.feed.shared import SharedLogs


class NothingToRepair:
    wanting = False

    async def repair(self, link: Link) -> None:
        pass


async def nothing_to_read() -> None:
    pass


@asynccontextmanager
async def shared_logs(
    url: str, server: str = "us", *, changed: Callable[[str], None] = lambda state: None
) -> AsyncIterator[SharedLogs]:
    logs = SharedLogs(
        url, server=server, repairs=NothingToRepair(), look=nothing_to_read, on_change=changed
    )
    await logs.connect()
    try:
        yield logs
    finally:
        await logs.close()
