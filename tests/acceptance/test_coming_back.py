"""A reader comes back, to the same server or another one: nothing missing, nothing twice."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.app import App
from tests.support.client import Client
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.story import Story, words
from tests.support.wait import wait_until


async def test_a_reader_cut_off_in_mid_answer_goes_on_where_it_was_on_another_server(
    provider: Provider, two: tuple[App, App]
) -> None:
    provider.respond = lambda body: Script(words(60), delay=0.04)
    here, there = two
    guest = await Client(here.url).connect()
    sent = await guest.send("tell me")
    conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
    async with Client(here.url, guest.token) as witness, Client(there.url, guest.token) as tab:
        await witness.open(conversation_id)
        story = Story(conversation_id).on(guest)
        await story.until(lambda told: told.deltas >= 5, "the answer streams")
        await guest.vanish()
        missed = len(witness.all("turn:delta"))
        await wait_until(lambda: len(witness.all("turn:delta")) > missed + 5, "it misses some")
        assert await story.resume(tab) == "replayed"
        assert not tab.all("turn:completed")  # live words follow what was missed
        told = await story.end_of(turn_id)
        assert told.ended[turn_id][1]["message"]["content"] == "".join(words(60))
        assert told.snapshots == 0
        assert told.attempts[turn_id] == [1]
        assert len(provider.chats) == 1


async def test_a_reload_in_mid_answer_on_another_server_shows_what_was_said_and_goes_on(
    provider: Provider, two: tuple[App, App]
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(words(6), gate=gate, gate_after=3, delay=0.05)
    here, there = two
    async with Client(here.url) as guest:
        sent = await guest.send("tell me")
        conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
        said = "".join(words(3))
        await wait_until(lambda: guest.streamed(turn_id) == said, "half of it is said")
        async with Client(there.url, guest.token) as reloaded:
            story = Story(conversation_id)
            assert await story.open(reloaded) == "snapshot"
            told = story.told
            assert told.contents == ["tell me"]
            assert told.text(turn_id) == said
            assert told.live[turn_id].attempt == 1
            assert told.live[turn_id].next_index == len(guest.all("turn:delta"))
            gate.set()
            told = await story.end_of(turn_id)
            assert told.contents == ["tell me", "".join(words(6))]


@pytest.mark.parametrize("given", ["the last cursor", "no cursor"])
async def test_a_reader_may_change_servers_again_and_again_during_an_answer(
    provider: Provider, two: tuple[App, App], given: str
) -> None:
    provider.respond = lambda body: Script(words(150), delay=0.015)
    async with Client(two[0].url) as guest:
        sent = await guest.send("tell me")
        story, tabs = Story(sent["conversation_id"]), list[Client]()
        while True:
            tab = await Client(two[len(tabs) % 2].url, guest.token).connect()
            tabs.append(tab)
            if given == "no cursor":
                assert await story.open(tab) == "snapshot"
            else:
                verdict = await story.resume(tab)
                assert verdict == ("replayed" if len(tabs) > 1 else "snapshot")
            if given == "no cursor" and not story.told.live:
                break
            await wait_until(
                lambda tab=tab: len(tab.events) > 8 or tab.all("turn:completed"), "it hears some"
            )
            if tab.all("turn:completed"):
                break
            await tab.vanish()
        assert story.told.contents == ["tell me", "".join(words(150))]
        assert len(tabs) > 5
        for tab in tabs:
            await tab.close()


async def test_the_answer_that_ended_while_nobody_watched_is_there(
    provider: Provider, two: tuple[App, App]
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["half ", "whole"], gate=gate)
    here, there = two
    guest = await Client(here.url).connect()
    sent = await guest.send("tell me")
    conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
    story = Story(conversation_id).on(guest)
    await story.until(lambda told: told.deltas, "the answer begins")
    await guest.vanish()  # the last tab
    gate.set()
    await wait_until(lambda: not provider.open_streams, "the provider has said all of it")
    async with Client(there.url, guest.token) as back, Client(there.url, guest.token) as new:
        assert await story.resume(back) == "replayed"
        told = await story.end_of(turn_id)
        assert told.contents == ["tell me", "half whole"]
        opened = await new.open(conversation_id)
        assert [message["content"] for message in opened["messages"]] == ["tell me", "half whole"]
        assert opened["turns"] == []
        assert await new.contents(conversation_id) == ["tell me", "half whole"]
        assert len(provider.chats) == 1


def later(cursor: str) -> str:
    """A cursor of the same log that it has not reached yet."""
    return re.sub(r"\d+$", lambda last: str(int(last[0]) + 100_000), cursor)


async def test_a_cursor_that_proves_nothing_is_answered_with_all_there_is(
    provider: Provider, two: tuple[App, App], redis_server: RedisServer
) -> None:
    here, there = two
    async with Client(here.url) as guest:
        other = await guest.ask("another conversation")
        foreign = other["cursor"]
        conversation_id = (await guest.ask("one"))["conversation_id"]
        own = guest.feed(conversation_id)[-1][1]["cursor"]
        garbage = ["", "x", "0-0", "-", "$", "+", "0", "\x00", "é" * 2000, own[1:], own + "-0"]
        useless = [foreign, later(own), later(foreign), own.upper() + "A", *garbage]
        for url in (there.url, here.url):
            async with Client(url, guest.token) as tab:
                for cursor in useless:
                    opened = await tab.open(conversation_id, cursor)
                    assert opened["recovery"] == "snapshot", cursor
                    shown = [message["content"] for message in opened["messages"]]
                    assert shown == ["one", "echo: one"]
                    assert opened["turns"] == []
                    await tab.ok("conversation:close", conversation_id=conversation_id)
                assert (await tab.open(conversation_id, own))["recovery"] == "replayed"
        redis_command(redis_server, "FLUSHALL")
        async with Client(there.url, guest.token) as tab:
            # What is asked for now is told by a log that never knew that cursor.
            await tab.ask("two", conversation_id)
            for url in (there.url, here.url):
                async with Client(url, guest.token) as late:
                    story = Story(conversation_id)
                    assert await story.open(late, own) == "snapshot"
                    assert story.told.contents == ["one", "echo: one", "two", "echo: two"]


async def test_each_cursor_leads_to_exactly_what_came_after_it(
    provider: Provider, two: tuple[App, App]
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(words(5), gate=gate, delay=0.05)
    here, there = two
    async with Client(here.url) as guest:
        first = await guest.send("first")
        conversation_id = first["conversation_id"]
        # Many events in one moment.
        waiting = await asyncio.gather(
            *(guest.send(f"waiting {number}", conversation_id) for number in range(8))
        )
        await asyncio.gather(
            *(guest.stop(conversation_id, each["turn"]["id"]) for each in waiting[1:])
        )
        gate.set()
        await guest.completed(waiting[0]["turn"]["id"])
        feed = guest.feed(conversation_id)
        assert len(feed) > 35
        assert len({payload["cursor"] for _, payload in feed}) == len(feed)
        async with Client(there.url, guest.token) as tab:
            for place, (_, payload) in enumerate(feed):
                tab.events.clear()
                opened = await tab.open(conversation_id, payload["cursor"])
                assert opened["recovery"] == "replayed"
                rest = feed[place + 1 :]
                await wait_until(
                    lambda rest=rest: len(tab.feed(conversation_id)) >= len(rest), "it comes"
                )
                await tab.ok("conversation:close", conversation_id=conversation_id)
                assert tab.feed(conversation_id) == rest


async def test_two_openings_at_once_on_one_connection_show_each_event_once(
    provider: Provider, two: tuple[App, App]
) -> None:
    provider.respond = lambda body: Script(words(40), delay=0.02)
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        sent = await guest.send("tell me")
        conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
        await wait_until(lambda: len(guest.all("turn:delta")) > 3, "the answer streams")
        cursor = guest.all("turn:delta")[0]["cursor"]
        openings = await asyncio.gather(*(tab.open(conversation_id, cursor) for _ in range(5)))
        assert {opened["recovery"] for opened in openings} == {"replayed"}
        await guest.completed(turn_id)
        await tab.completed(turn_id)
        after = [payload["cursor"] for _, payload in guest.feed(conversation_id)]
        after = after[after.index(cursor) + 1 :]
        # Each opening may tell the past once more, but what is live is told once.
        told = [payload["cursor"] for _, payload in tab.feed(conversation_id)]
        live = after[-10:]
        assert [each for each in told if each in live] == live
        assert list(dict.fromkeys(told)) == after


async def test_a_cursor_outlives_all_servers(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    apps = [start_app(**shared), start_app(**shared)]
    guest = await Client(apps[0].url).connect()
    sent = await guest.send("one")
    conversation_id = sent["conversation_id"]
    story = Story(conversation_id).on(guest)
    await story.end_of(sent["turn"]["id"])
    for app in apps:
        app.kill()
    for app in apps:
        app.start()
    async with Client(apps[0].url, guest.token) as asking, Client(apps[1].url, guest.token) as tab:
        asked = await asking.ask("two", conversation_id)
        assert await story.resume(tab) == "replayed"
        told = await story.end_of(asked["turn_id"])
        assert told.contents == ["one", "echo: one", "two", "echo: two"]
    await guest.close()
