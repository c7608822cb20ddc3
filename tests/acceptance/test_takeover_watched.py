"""A server dies in mid-answer: who watches elsewhere sees the answer begun anew, and its end."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.app import App
from tests.support.client import Client
from tests.support.provider import Body, Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.story import Story, words


def half_then_whole(provider: Provider) -> None:
    """The first request for an answer is never finished; the next ones are."""

    def respond(body: Body) -> Script:
        if len(provider.chats) == 1:
            return Script(["half ", "never"], gate=asyncio.Event())
        return Script(["the ", "whole ", "answer"])

    provider.respond = respond


@pytest.mark.parametrize("emptied", [False, True], ids=["alone", "with Redis emptied"])
async def test_who_watches_a_killed_servers_answer_elsewhere_sees_it_begun_anew_and_ended(
    start_app: StartApp,
    provider: Provider,
    shared: dict[str, str],
    redis_server: RedisServer,
    emptied: bool,
) -> None:
    half_then_whole(provider)
    dying, other = start_app(**shared), start_app(**shared)
    guest = await Client(dying.url).connect()
    async with Client(other.url, guest.token) as tab, Client(other.url, guest.token) as back:
        sent = await guest.send("tell me")
        conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
        own, watching = Story(conversation_id).on(guest), Story(conversation_id)
        await watching.open(tab)
        for story in (own, watching):
            await story.until(lambda told: told.text(turn_id) == "half ", "the answer begins")
        dying.kill()
        if emptied:
            redis_command(redis_server, "FLUSHALL")
        told = await watching.end_of(turn_id)
        assert told.ended[turn_id][1]["message"]["content"] == "the whole answer"
        assert told.contents == ["tell me", "the whole answer"]
        if emptied:
            assert told.snapshots <= 1
        else:
            assert told.snapshots == 0
            assert told.attempts[turn_id][-1] == 2
        # The tab of the dead server comes to the other one.
        verdict = await own.resume(back)
        assert verdict == ("snapshot" if emptied else "replayed")
        await own.shows(["tell me", "the whole answer"])
        assert await back.contents(conversation_id) == ["tell me", "the whole answer"]
        assert [request.texts[1:] for request in provider.chats] == [["tell me"], ["tell me"]]
        completed = await tab.ask("and?", conversation_id)
        assert completed["message"]["seq"] == 4
        assert provider.chats[-1].texts[1:] == ["tell me", "the whole answer", "and?"]
    await guest.close()


async def test_a_server_restarted_after_a_kill_goes_on_for_the_clients_that_come_back_to_it(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    half_then_whole(provider)
    app = start_app(**shared)
    guest = await Client(app.url).connect()
    sent = await guest.send("tell me")
    story = Story(sent["conversation_id"]).on(guest)
    turn_id = sent["turn"]["id"]
    await story.until(lambda told: told.text(turn_id) == "half ", "the answer begins")
    app.kill()
    app.start()
    async with Client(app.url, guest.token) as back:
        assert await story.resume(back) == "replayed"
        told = await story.end_of(turn_id)
        assert told.contents == ["tell me", "the whole answer"]
        assert told.attempts[turn_id] == [1, 2]
        assert len(provider.chats) == 2
    await guest.close()


async def test_servers_that_share_one_data_folder_and_redis_take_over_from_each_other(
    start_app: StartApp, provider: Provider, redis_server: RedisServer, tmp_path: Path
) -> None:
    half_then_whole(provider)
    settings = with_provider(provider, REDIS_URL=redis_server.url, TURN_LEASE_SECONDS="2")
    dying, other = (start_app(tmp_path / "data", **settings) for _ in range(2))
    guest = await Client(dying.url).connect()
    async with Client(other.url, guest.token) as tab:
        sent = await guest.send("tell me")
        turn_id = sent["turn"]["id"]
        story = Story(sent["conversation_id"])
        await story.open(tab)
        await story.until(lambda told: told.text(turn_id) == "half ", "the answer begins")
        dying.kill()
        told = await story.end_of(turn_id)
        assert told.contents == ["tell me", "the whole answer"]
        assert (told.attempts[turn_id][-1], told.snapshots) == (2, 0)
        assert [request.texts[1:] for request in provider.chats] == [["tell me"], ["tell me"]]
    await guest.close()


async def test_an_answer_that_has_ended_is_not_given_again_when_its_server_dies_at_that_moment(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    dying, other = start_app(**shared), start_app(**shared)
    guest = await Client(dying.url).connect()
    async with Client(other.url, guest.token) as tab:
        conversation_id = (await guest.ask("begin"))["conversation_id"]
        story = Story(conversation_id)
        await story.open(tab)
        for number in range(3):
            sent = await guest.send(f"question {number}", conversation_id)
            await guest.completed(sent["turn"]["id"])
            dying.kill()  # in the very moment in which its own tab hears the end
            await guest.close()
            told = await story.end_of(sent["turn"]["id"])
            assert told.ended[sent["turn"]["id"]][0] == "turn:completed"
            dying.start()
            guest = await Client(dying.url, guest.token).connect()
            await guest.open(conversation_id)
        # Long enough for a sweep that would do it again to have done so.
        sent = await tab.send("the last", conversation_id)
        told = await story.end_of(sent["turn"]["id"])
        assert told.snapshots == 0
        asked = [request.texts[-1] for request in provider.chats]
        assert asked == ["begin", "question 0", "question 1", "question 2", "the last"]
        assert await tab.contents(conversation_id) == told.contents
        assert len(told.contents) == 10
    await guest.close()


async def test_all_servers_killed_at_once_in_mid_answer_end_what_they_owe_after_their_restart(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    apps = [start_app(**shared), start_app(**shared)]
    guests = [await Client(app.url).connect() for app in apps]
    sent = [await guest.send("tell me") for guest in guests]
    stories = [
        Story(each["conversation_id"]).on(guest) for each, guest in zip(sent, guests, strict=True)
    ]
    for story in stories:
        await story.until(lambda told: told.deltas, "the answer begins")
    for app in apps:
        app.kill()
    provider.respond = lambda body: Script(words(5))
    for app in apps:
        app.start()
    for place, story in enumerate(stories):
        async with Client(apps[1 - place].url, guests[place].token) as back:
            assert await story.resume(back) == "replayed"
            told = await story.end_of(sent[place]["turn"]["id"])
            assert told.contents == ["tell me", "".join(words(5))]
    assert len(provider.chats) == 4
    for guest in guests:
        await guest.close()


@pytest.mark.long
async def test_with_the_lease_as_it_is_set_by_default_an_answer_is_finished_within_15_seconds(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    half_then_whole(provider)
    settings = {name: value for name, value in shared.items() if name != "TURN_LEASE_SECONDS"}
    dying, other = start_app(**settings), start_app(**settings)
    guest = await Client(dying.url).connect()
    async with Client(other.url, guest.token) as tab:
        sent = await guest.send("tell me")
        turn_id = sent["turn"]["id"]
        story = Story(sent["conversation_id"])
        await story.open(tab)
        await story.until(lambda told: told.text(turn_id) == "half ", "the answer begins")
        killed = time.monotonic()
        dying.kill()
        await story.end_of(turn_id, timeout=20)
        assert time.monotonic() - killed < 15
    await guest.close()


async def test_a_full_server_leaves_what_waits_to_one_that_has_room(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    gates = {"first": asyncio.Event(), "second": asyncio.Event()}
    provider.respond = lambda body: Script(
        ["half ", "whole"], gate=gates.get(body["messages"][-1]["content"])
    )
    full: App = start_app(**shared | {"MAX_RUNNING_TURNS": "1"})
    async with Client(full.url) as guest:
        first = await guest.send("first")
        story = Story(first["conversation_id"]).on(guest)
        await story.until(lambda told: told.deltas, "the only place is taken")
        second = await guest.send("second")
        assert second["turn"]["status"] == "queued"
        start_app(**shared | {"MAX_RUNNING_TURNS": "1"})
        waiting = Story(second["conversation_id"]).on(guest)
        await waiting.until(lambda told: told.deltas, "the other server takes it", timeout=5)
        gates["second"].set()
        await waiting.end_of(second["turn"]["id"])
        gates["first"].set()
        await story.end_of(first["turn"]["id"])
        assert len(provider.chats) == 2
