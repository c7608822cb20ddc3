"""A client that stops reading costs bounded memory, disturbs nobody, and goes on by its cursor."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.acceptance.conftest import StartApp
from tests.support.app import UNLIMITED
from tests.support.client import Client
from tests.support.process import connections_of, resident_mb
from tests.support.provider import Body, Provider, Script, echo
from tests.support.story import Story
from tests.support.wait import wait_until

FLOODS = 30
CHUNK = "x" * 24_000 + " "
CHUNKS = 40  # about 1 MB an answer; the kernel's own buffers take up to some 10 MB a connection


def respond(body: Body) -> Script:
    if body["messages"][-1]["content"].startswith("flood"):
        return Script([CHUNK] * CHUNKS, delay=0.002)
    return echo(body)


def stop_reading(client: Client) -> Any:
    """The kernel's buffers fill up, then the server's; call the result to read on."""
    transport = client.socket.eio.ws._response.connection.transport
    transport.pause_reading()
    return transport.resume_reading


async def test_a_reader_that_stops_reading_is_dropped_and_goes_on_by_its_cursor(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    provider.respond = respond
    settings = shared | UNLIMITED
    app, other = start_app(**settings), start_app(**settings)
    async with (
        Client(app.url) as guest,
        Client(app.url, guest.token) as beside,
        Client(other.url, guest.token) as across,
        Client(other.url, guest.token) as back,
    ):
        conversation_id = (await guest.ask("begin"))["conversation_id"]
        floods = [
            (await guest.ask(f"a flood is coming {number}"))["conversation_id"]
            for number in range(FLOODS)
        ]
        slow = await Client(app.url, guest.token).connect()
        stories = [Story(conversation_id) for _ in range(3)]
        for story, tab in zip(stories, (beside, across, slow), strict=True):
            await story.open(tab)

        async def flood() -> None:
            for first in range(0, FLOODS, 5):
                sent = [await guest.send("flood", each) for each in floods[first : first + 5]]
                for each in sent:
                    await guest.completed(each["turn"]["id"])
            guest.events.clear()

        await flood()  # once with nobody slow, to know what it takes
        for each in floods:
            await slow.open(each)
        held, usual = connections_of(app), resident_mb(app)
        await beside.ask("before", conversation_id)
        await stories[2].until(lambda told: len(told.contents) == 4, "the slow one reads yet")
        resume = stop_reading(slow)
        flooding = asyncio.create_task(flood())
        slowest = 0.0
        questions = 0
        most = usual
        while not flooding.done():
            begun = time.monotonic()
            asked = await beside.ask(f"meanwhile {questions}", conversation_id)
            for story in stories[:2]:
                await story.end_of(asked["turn_id"])
            slowest = max(slowest, time.monotonic() - begun)
            most = max(most, resident_mb(app))
            questions += 1
        await flooding
        assert connections_of(app) == held - 1, "the slow one was dropped"
        assert slowest < 3
        # The flood itself takes 45 to 60 MB: its logs, and texts that are let go late.
        assert most - usual < 80
        resume()
        await wait_until(lambda: not slow.socket.connected, "it notices")
        assert await stories[2].resume(back) == "replayed"
        told = await stories[2].until(
            lambda told: told.contents == stories[0].told.contents, "it is told what it missed"
        )
        assert len(told.contents) == 4 + 2 * questions
        for story in stories:
            assert story.told.snapshots == 0
        await slow.close()
