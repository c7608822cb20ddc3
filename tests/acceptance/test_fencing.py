"""A server that stood still past its lease: not another word of what it had begun."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_edit import edit
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.client import Client
from tests.support.provider import Body, Provider, Script, echo
from tests.support.redis_server import RedisServer
from tests.support.story import Story, words
from tests.support.wait import wait_until


@pytest.mark.parametrize("fault", ["stopped", "stopped, and Redis emptied", "without Redis"])
async def test_after_another_server_took_over_no_tab_hears_a_word_of_the_stopped_one(
    start_app: StartApp,
    provider: Provider,
    shared: dict[str, str],
    redis_server: RedisServer,
    fault: str,
) -> None:
    stale, fresh = asyncio.Event(), asyncio.Event()

    def respond(body: Body) -> Script:
        if len(provider.chats) == 1:
            return Script(["old ", *["stale "] * 20], gate=stale)
        return Script(["new ", "whole ", "answer"], gate=fresh)

    provider.respond = respond
    paused, other = start_app(**shared), start_app(**shared)
    async with (
        Client(paused.url) as guest,
        Client(paused.url, guest.token) as beside,
        Client(other.url, guest.token) as across,
        Client(other.url, guest.token) as back,
    ):
        sent = await guest.send("tell me")
        conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id), Story(conversation_id)]
        await stories[1].open(beside)
        await stories[2].open(across)
        for story in stories:
            await story.until(lambda told: told.text(turn_id) == "old ", "the answer begins")
        if fault == "without Redis":
            redis_server.kill()
        paused.signal(signal.SIGSTOP)
        if fault == "stopped, and Redis emptied":
            redis_command(redis_server, "FLUSHALL")
        await wait_until(lambda: len(provider.chats) == 2, "the other one takes over", timeout=8)
        stale.set()
        await wait_until(lambda: provider.open_streams == 1, "the stale words lie ready")
        await stories[2].until(lambda told: told.text(turn_id) == "new ", "attempt 2 streams")
        paused.signal(signal.SIGCONT)
        # One of its tabs stays, one moves to the other server.
        await beside.ok("conversation:list")
        await beside.vanish()
        await stories[1].resume(back)
        fresh.set()
        for story in stories:
            await story.shows(["tell me", "new whole answer"])
        await guest.send("and?", conversation_id)
        for story in stories:
            await story.shows(["tell me", "new whole answer", "and?", "new whole answer"])
            assert "stale" not in str(story.events)
        if fault == "stopped":
            told = stories[2].told
            assert (told.snapshots, told.attempts[turn_id][-1]) == (0, 2)
        assert provider.chats[-1].texts[1:] == ["tell me", "new whole answer", "and?"]
        assert len(provider.chats) == 3


async def test_a_server_that_wakes_after_the_answer_was_given_elsewhere_changes_nothing(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    stale = asyncio.Event()

    def respond(body: Body) -> Script:
        if len(provider.chats) == 1:
            return Script(["old ", "stale"], gate=stale)
        return Script([f"to {body['messages'][-1]['content']}"])

    provider.respond = respond
    paused, other = start_app(**shared), start_app(**shared)
    async with Client(paused.url) as guest, Client(other.url, guest.token) as across:
        sent = await guest.send("one")
        conversation_id = sent["conversation_id"]
        story = Story(conversation_id)
        await story.open(across)
        await story.until(lambda told: told.deltas or told.text(sent["turn"]["id"]), "it begins")
        paused.signal(signal.SIGSTOP)
        await story.end_of(sent["turn"]["id"])
        await across.ask("two", conversation_id)
        transcript = await across.transcript(conversation_id)
        stale.set()
        await wait_until(lambda: not provider.open_streams, "the stale words lie ready")
        paused.signal(signal.SIGCONT)
        # The woken server goes on as one of two: its tab is told all, and it answers.
        own = Story(conversation_id).on(guest)
        await own.shows(["one", "to one", "two", "to two"])
        await guest.ask("three", conversation_id)
        told = await story.until(lambda told: len(told.contents) == 6, "the other tab is told")
        assert told.contents == ["one", "to one", "two", "to two", "three", "to three"]
        assert (await across.transcript(conversation_id))[:4] == transcript
        assert "stale" not in str(story.events) + str(own.events)
        assert len(provider.chats) == 4


async def test_an_edit_made_while_the_answering_server_stands_still_is_all_that_is_left(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    stale = asyncio.Event()
    provider.respond = lambda body: (
        Script(["old ", "stale"], gate=stale)
        if body["messages"][-1]["content"] == "wrong"
        else echo(body)
    )
    settings = shared | {"TURN_LEASE_SECONDS": "6"}
    paused, other = start_app(**settings), start_app(**settings)
    async with Client(paused.url) as guest, Client(other.url, guest.token) as across:
        sent = await guest.send("wrong")
        conversation_id = sent["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        for story in stories:
            await story.until(lambda told: told.text(sent["turn"]["id"]), "the answer begins")
        paused.signal(signal.SIGSTOP)
        edited = await edit(across, sent["message"], "right")
        # Long before the lease of the one that stands still is over.
        await stories[1].end_of(edited["turn"]["id"], timeout=4)
        stale.set()
        await wait_until(lambda: not provider.open_streams, "the stale words lie ready")
        paused.signal(signal.SIGCONT)
        for story in stories:
            await story.shows(["right", "echo: right"])
        await guest.send("and?", conversation_id)
        for story in stories:
            await story.shows(["right", "echo: right", "and?", "echo: and?"])
            assert "stale" not in str(story.events)
        assert await across.contents(conversation_id) == story.told.contents


async def test_a_pause_shorter_than_the_lease_is_no_more_than_a_pause(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    provider.respond = lambda body: Script(words(60), delay=0.03)
    settings = shared | {"TURN_LEASE_SECONDS": "10"}
    paused, other = start_app(**settings), start_app(**settings)
    async with Client(paused.url) as guest, Client(other.url, guest.token) as across:
        sent = await guest.send("tell me")
        story = Story(sent["conversation_id"])
        await story.open(across)
        await story.until(lambda told: told.deltas > 3, "the answer streams")
        paused.signal(signal.SIGSTOP)
        await wait_until(lambda: not provider.open_streams, "it stood still for the whole answer")
        paused.signal(signal.SIGCONT)
        told = await story.end_of(sent["turn"]["id"])
        assert told.contents == ["tell me", "".join(words(60))]
        assert (told.snapshots, len(provider.chats)) == (0, 1)
