"""The permanent store goes, for some or for all: what tests of that have in common."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from tests.acceptance.conftest import StartApp
from tests.stores.lossy import LossyWay
from tests.support.app import App
from tests.support.client import Client
from tests.support.health import metric, ready
from tests.support.wait import wait_until

FULL_BYTES = 400_000


async def start_behind(
    start_app: StartApp, way: LossyWay, settings: dict[str, str], **more: str
) -> App:
    """A server whose way to MongoDB the test can break."""
    uri = f"mongodb://127.0.0.1:{way.port}/?directConnection=true"
    # In a thread: the way is in this loop, and the server needs it to start.
    return await asyncio.to_thread(start_app, **settings | {"MONGODB_URI": uri} | more)


async def store_is(app: App, beginning: str) -> None:
    async def is_so() -> bool:
        return str((await ready(app))["store"]).startswith(beginning)

    await wait_until(is_so, f"the store is {beginning}", timeout=15)


async def metric_is(app: App, name: str, value: float) -> None:
    async def is_so() -> bool:
        return await metric(app, name) == value

    await wait_until(is_so, f"{name} is {value}", timeout=5)


async def told_stored(client: Client, message_ids: list[str]) -> dict[str, int]:
    """The places that these messages were told to have, once all are."""

    def all_told() -> bool:
        told = {payload["message_id"] for payload in client.all("message:stored")}
        return told >= set(message_ids)

    await wait_until(all_told, "all is stored", timeout=15)
    return {payload["message_id"]: payload["seq"] for payload in client.all("message:stored")}


async def stored(client: Client, conversation_id: str, expected: list[str]) -> None:
    """The permanent store has these messages, in this order, each once."""

    async def is_so() -> bool:
        answer = await client.call("conversation:history", {"conversation_id": conversation_id})
        if not answer["ok"]:
            return False
        messages = answer["messages"]
        if any(message["seq"] is None for message in messages):
            return False
        assert [message["content"] for message in messages] == expected
        assert [message["seq"] for message in messages] == list(range(1, len(expected) + 1))
        return True

    await wait_until(is_so, "all is in the permanent store", timeout=30)


@contextmanager
def a_full_disk(app: App, largest: int = FULL_BYTES) -> Iterator[None]:
    """No file of this server may grow past so many bytes: its disk is full."""
    assert app.process is not None
    before = resource.prlimit(app.process.pid, resource.RLIMIT_FSIZE, (largest, -1))
    try:
        yield
    finally:
        resource.prlimit(app.process.pid, resource.RLIMIT_FSIZE, before)
