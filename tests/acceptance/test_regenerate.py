"""Another answer to the same question: it replaces the old one and all that followed."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_edit import edit, superseded
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Body, Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.story import Story


def numbered(provider: Provider) -> None:
    """Each answer says which request it was, so that no two are alike."""

    def respond(body: Body) -> Script:
        return Script([f"answer {len(provider.chats)} ", f"to {body['messages'][-1]['content']}"])

    provider.respond = respond


def call_for(conversation_id: str, turn_id: str) -> dict[str, Any]:
    return {"conversation_id": conversation_id, "turn_id": turn_id, "new_turn_id": new_id()}


async def test_a_regenerated_answer_replaces_the_old_one_and_all_after_it_in_every_tab_and_place(
    start_app: StartApp,
    provider: Provider,
    shared: dict[str, str],
    redis_server: RedisServer,
    mongod: Mongod,
) -> None:
    numbered(provider)
    apps = [start_app(**shared), start_app(**shared)]
    async with Client(apps[0].url) as guest, Client(apps[1].url, guest.token) as across:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        second = await guest.ask("two", conversation_id)
        await guest.ask("three", conversation_id)
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        cursor = stories[1].told.cursor
        before = await across.transcript(conversation_id)
        call = call_for(conversation_id, second["turn_id"])
        answer = await across.ok("turn:regenerate", **call)
        assert answer["turn"]["id"] == call["new_turn_id"]
        assert answer["turn"]["message_id"] == before[2]["id"]
        now = ["one", "answer 1 to one", "two", "answer 4 to two"]
        for story, tab in zip(stories, (guest, across), strict=True):
            told = await story.end_of(call["new_turn_id"])
            assert told.contents == now
            # The question is the same one, in its place; the answer is another one.
            assert sorted(told.removed) == sorted(each["id"] for each in before[3:])
            by_place = {message["seq"]: message for message in told.messages}
            assert by_place[3]["id"] == before[2]["id"]
            assert by_place[4]["id"] != before[3]["id"]
            assert by_place[4]["turn_id"] == call["new_turn_id"]
            assert (told.snapshots, len(tab.all("message:removed"))) == (0, 1)
        assert provider.chats[-1].texts[1:] == ["one", "answer 1 to one", "two"]

        async def holds(clients: tuple[Client, ...], asked: int) -> None:
            for client in clients:
                assert await client.ok("turn:regenerate", **call) == answer
                other = call | {"turn_id": before[0]["turn_id"]}
                refused = await client.refusal("turn:regenerate", **other)
                assert refused["code"] == "conflict"
                gone = await client.refusal(
                    "turn:regenerate", **call_for(conversation_id, before[4]["turn_id"])
                )
                assert gone["code"] == "not_found"
                assert await client.contents(conversation_id) == now
            assert len(provider.chats) == asked

        await holds((guest, across), 4)
        assert superseded(mongod, apps[0], conversation_id) == [
            *(("two", "answer 2 to two"), ("three", "answer 3 to three"))
        ]
        async with Client(apps[0].url, guest.token) as late:
            assert (await late.open(conversation_id, cursor))["recovery"] == "replayed"
            await late.completed(call["new_turn_id"])
            assert late.feed(conversation_id) == [
                (name, payload) for name, payload in stories[1].events if name != "opened"
            ]
        for app in apps:
            app.kill()
        redis_command(redis_server, "FLUSHALL")
        for app in apps:
            app.start()
    async with Client(apps[0].url, guest.token) as guest, Client(apps[1].url, guest.token) as tab:
        await holds((guest, tab), 4)
        asked = await tab.ask("three, again", conversation_id)
        assert asked["message"]["seq"] == 6
        assert provider.chats[-1].texts[1:] == [*now, "three, again"]


async def test_one_regenerate_made_twenty_times_at_once_on_two_servers_is_one(
    provider: Provider, two: tuple[App, App], mongod: Mongod
) -> None:
    numbered(provider)
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        first = await guest.ask("one")
        conversation_id = first["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        call = call_for(conversation_id, first["turn_id"])
        answers = await asyncio.gather(
            *(tab.ok("turn:regenerate", **call) for tab in (guest, across) * 10)
        )
        assert all(answer == answers[0] for answer in answers)
        for story, tab in zip(stories, (guest, across), strict=True):
            told = await story.end_of(call["new_turn_id"])
            assert told.contents == ["one", "answer 2 to one"]
            assert len(tab.all("message:removed")) == 1
        assert len(provider.chats) == 2
        assert superseded(mongod, here, conversation_id) == [("one", "answer 1 to one")]


async def test_an_open_turn_is_not_regenerated_and_an_ended_one_is_however_it_ended(
    provider: Provider, two: tuple[App, App]
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["half ", "never"], gate=gate)
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        running = await guest.send("one")
        conversation_id, turn_id = running["conversation_id"], running["turn"]["id"]
        waiting = await guest.send("two", conversation_id)
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        await stories[0].until(lambda told: told.text(turn_id), "the answer begins")
        for tab in (guest, across):
            for each in (running, waiting):
                refused = await tab.refusal(
                    "turn:regenerate", **call_for(conversation_id, each["turn"]["id"])
                )
                assert (refused["code"], refused["retryable"]) == ("busy", True)
        await guest.stop(conversation_id, waiting["turn"]["id"])
        await across.stop(conversation_id, turn_id)
        for story in stories:
            for each in (running, waiting):
                await story.end_of(each["turn"]["id"])
        # One that was stopped with half an answer; its new one fails, and is asked for once more.
        provider.respond = lambda body: Script(["some ", "lost"], cut_after=1)
        call = call_for(conversation_id, turn_id)
        await across.ok("turn:regenerate", **call)
        for story in stories:
            told = await story.end_of(call["new_turn_id"])
            assert told.ended[call["new_turn_id"]][0] == "turn:failed"
            assert told.contents == ["one", "some "]
        numbered(provider)
        again = call_for(conversation_id, call["new_turn_id"])
        await guest.ok("turn:regenerate", **again)
        for story in stories:
            told = await story.end_of(again["new_turn_id"])
            assert told.contents == ["one", "answer 3 to one"]
            assert (told.live, told.snapshots) == ({}, 0)
        # One that was stopped before it had an answer.
        later = await guest.send("three", conversation_id)
        await guest.completed(later["turn"]["id"])
        assert await across.contents(conversation_id) == [
            *("one", "answer 3 to one", "three", "answer 4 to three")
        ]


async def test_what_cannot_be_regenerated_is_told_by_its_code(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with (
        Client(here.url) as guest,
        Client(there.url, guest.token) as across,
        Client(there.url) as stranger,
    ):
        mine = await guest.ask("mine")
        elsewhere = await guest.ask("elsewhere")
        good = call_for(mine["conversation_id"], mine["turn_id"])
        for tab in (guest, across):
            for changed, code in (
                ({"turn_id": "unknown"}, "not_found"),
                ({"turn_id": elsewhere["turn_id"]}, "not_found"),
                ({"conversation_id": "unknown"}, "not_found"),
                ({"turn_id": None}, "invalid"),
                ({"new_turn_id": None}, "invalid"),
                ({"new_turn_id": ["x"]}, "invalid"),
                ({"new_turn_id": mine["turn_id"]}, "conflict"),
                ({"new_turn_id": elsewhere["turn_id"]}, "conflict"),
            ):
                refused = await tab.refusal("turn:regenerate", **good | changed)
                assert (refused["code"], refused["retryable"]) == (code, False), changed
        foreign = await stranger.refusal("turn:regenerate", **good)
        assert foreign["code"] == "not_found"
        assert await across.contents(mine["conversation_id"]) == ["mine", "echo: mine"]
        assert len(provider.chats) == 2


async def test_a_regenerated_and_edited_conversation_is_regenerated_and_edited_again(
    provider: Provider, two: tuple[App, App]
) -> None:
    numbered(provider)
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        first = await guest.ask("one")
        conversation_id = first["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        turn_id = first["turn_id"]
        for number in range(4):
            tab = (guest, across)[number % 2]
            call = call_for(conversation_id, turn_id)
            await tab.ok("turn:regenerate", **call)
            for story in stories:
                await story.end_of(call["new_turn_id"])
            [question, _] = await tab.transcript(conversation_id)
            edited = await edit(tab, question, f"version {number}")
            turn_id = edited["turn"]["id"]
            for story in stories:
                told = await story.end_of(turn_id)
                asked = len(provider.chats)
                assert told.contents == [
                    *(f"version {number}", f"answer {asked} to version {number}")
                ]
                assert (told.live, told.snapshots) == ({}, 0)
        assert all(len(request.texts) == 2 for request in provider.chats)
        assert len(provider.chats) == 9
