"""What a stopping server has let go of stays let go of."""

from __future__ import annotations

import asyncio
import signal

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_drain import drained
from tests.stores.lossy import LossyWay
from tests.support.client import Client
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.story import Story


async def test_a_renewal_on_its_way_while_the_server_lets_go_takes_nothing_back(
    start_app: StartApp, provider: Provider, shared: dict[str, str], mongod: Mongod
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    lease = {"TURN_LEASE_SECONDS": "20", "DRAIN_GRACE_SECONDS": "0.5"}
    async with LossyWay(mongod.port) as way:
        uri = f"mongodb://127.0.0.1:{way.port}/?directConnection=true"
        settings = shared | lease | {"MONGODB_URI": uri}
        # In a thread: the way is in this loop, and the server needs it to start.
        stopping = await asyncio.to_thread(start_app, **settings)
        guest = await Client(stopping.url).connect()
        sent = await guest.send("tell me")
        story = Story(sent["conversation_id"]).on(guest)
        await story.until(lambda told: told.deltas, "the answer begins")
        way.held = b"$add"  # only a renewal adds to the time, now that the turn runs
        await asyncio.wait_for(way.is_holding.wait(), 10)
        way.held = None
        stopping.signal(signal.SIGTERM)
        await guest.next_event("server:draining")
        await asyncio.sleep(1.5)  # longer than the grace: now it would let go
        way.let_go.set()
        await drained(stopping)
    provider.respond = lambda body: Script(["whole"])
    other = start_app(**shared | lease)
    async with Client(other.url, guest.token) as back:
        assert await story.resume(back) == "replayed"
        told = await story.end_of(sent["turn"]["id"], timeout=5)
        assert told.contents == ["tell me", "whole"]
    await guest.close()
