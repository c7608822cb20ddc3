"""An answer of which the feed's log can't hold all."""

from __future__ import annotations

import asyncio

from tests.support.app import App
from tests.support.client import Client
from tests.support.provider import Provider, Script
from tests.support.story import Story
from tests.support.wait import wait_until


async def test_a_reload_in_an_answer_that_is_longer_than_the_log_shows_all_that_was_said(
    provider: Provider, two: tuple[App, App]
) -> None:
    gate = asyncio.Event()
    chunks = [f"{number} {'x' * 4_000} " for number in range(600)]
    provider.respond = lambda body: Script([*chunks, "end"], gate=gate, gate_after=600, delay=0.01)
    here, there = two
    async with Client(here.url) as guest:
        sent = await guest.send("tell me")
        conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
        said = "".join(chunks)
        await wait_until(lambda: guest.streamed(turn_id) == said, "it is said", timeout=30)
        early = guest.all("turn:delta")[0]["cursor"]
        async with (
            Client(there.url, guest.token) as reloaded,
            Client(there.url, guest.token) as late,
        ):
            stories = [Story(conversation_id), Story(conversation_id)]
            assert await stories[0].open(reloaded) == "snapshot"
            # More than 2 million characters: a cursor from its beginning is too old.
            assert await stories[1].open(late, early) == "snapshot"
            for story in stories:
                assert story.told.text(turn_id) == said
                assert story.told.live[turn_id].next_index == len(guest.all("turn:delta"))
            gate.set()
            for story in stories:
                told = await story.end_of(turn_id, timeout=20)
                assert told.contents == ["tell me", said + "end"]
