"""A call that is made again, on any server, at any time, does its work once."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.story import Story
from tests.support.wait import wait_until


async def test_a_message_sent_again_after_everything_was_restarted_is_answered_as_the_first_time(
    start_app: StartApp, provider: Provider, shared: dict[str, str], redis_server: RedisServer
) -> None:
    apps = [start_app(**shared), start_app(**shared)]
    call = {"message_id": new_id(), "content": "once"}
    async with Client(apps[0].url) as guest:
        first = await guest.ok("message:send", **call)
        await guest.completed(first["turn"]["id"])
    for app in apps:
        app.kill()
    redis_command(redis_server, "FLUSHALL")
    for app in apps:
        app.start()
    conversation_id = first["conversation_id"]
    async with Client(apps[0].url, guest.token) as one, Client(apps[1].url, guest.token) as other:
        again = await asyncio.gather(
            *(tab.ok("message:send", **call) for tab in (one, other) for _ in range(10))
        )
        assert all(answer == first for answer in again)
        for tab in (one, other):
            refused = await tab.refusal("message:send", **call | {"content": "something else"})
            assert (refused["code"], refused["retryable"]) == ("conflict", False)
            elsewhere = await tab.ask("another conversation")
            refused = await tab.refusal(
                "message:send", **call, conversation_id=elsewhere["conversation_id"]
            )
            assert refused["code"] == "conflict"
        assert await other.contents(conversation_id) == ["once", "echo: once"]
        assert [request.texts[-1] for request in provider.chats].count("once") == 1


async def test_twenty_sends_at_once_into_a_conversation_that_both_servers_follow_are_one_event(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        conversation_id = (await guest.ask("begin"))["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(tab)
        call = {"message_id": new_id(), "content": "once", "conversation_id": conversation_id}
        answers = await asyncio.gather(
            *(client.ok("message:send", **call) for client in (guest, tab) for _ in range(10))
        )
        assert all(answer == answers[0] for answer in answers)
        turn_id = answers[0]["turn"]["id"]
        for story, client in zip(stories, (guest, tab), strict=True):
            told = await story.end_of(turn_id)
            assert told.contents == ["begin", "echo: begin", "once", "echo: once"]
            created = [each["message"]["id"] for each in client.all("message:created")]
            assert created.count(call["message_id"]) == 1
            assert len(client.all("turn:started", turn_id=turn_id)) == 1
        assert len(provider.chats) == 2


async def test_a_retry_on_another_server_while_the_answer_runs_asks_the_model_once(
    provider: Provider, two: tuple[App, App]
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["half ", "whole"], gate=gate)
    here, there = two
    call = {"message_id": new_id(), "content": "once"}
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        first = await guest.ok("message:send", **call)
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        again = await asyncio.gather(*(tab.ok("message:send", **call) for _ in range(10)))
        assert all(answer == first for answer in again)
        gate.set()
        completed = await guest.completed(first["turn"]["id"])
        assert completed["message"]["content"] == "half whole"
        assert await tab.ok("message:send", **call) == first
        assert len(provider.chats) == 1
        assert [name for name, _ in guest.feed(first["conversation_id"])].count(
            "message:created"
        ) == 1


@pytest.mark.parametrize("moment", [0.0, 0.004, 0.012])
async def test_a_message_whose_server_died_before_the_acknowledgement_is_taken_once(
    start_app: StartApp, provider: Provider, shared: dict[str, str], moment: float
) -> None:
    dying, other = start_app(**shared), start_app(**shared)
    guest = await Client(dying.url).connect()
    conversation_id = (await guest.ask("begin"))["conversation_id"]
    call = {"message_id": new_id(), "content": "once", "conversation_id": conversation_id}
    async with Client(other.url, guest.token) as tab:
        story = Story(conversation_id)
        await story.open(tab)
        await guest.socket.emit("message:send", call)
        await asyncio.sleep(moment)  # somewhere between its arrival and its acknowledgement
        dying.kill()
        answer = await tab.ok("message:send", **call)
        assert await tab.ok("message:send", **call) == answer
        told = await story.end_of(answer["turn"]["id"])
        assert told.contents == ["begin", "echo: begin", "once", "echo: once"]
        assert await tab.contents(conversation_id) == told.contents
        asked = [request for request in provider.chats if request.texts[-1] == "once"]
        assert all(request.texts.count("once") == 1 for request in asked)
        # Of one that was answered before anybody here was told, only the end is shown.
        assert len(asked) <= max(told.attempts.get(answer["turn"]["id"], [1]))
    await guest.close()


async def test_a_retry_is_recognised_where_a_new_message_would_be_refused(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two"], gate=gate)
    settings = shared | {"MAX_QUEUED_TURNS": "1"}
    here, there = start_app(**settings), start_app(**settings)
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        calls = [{"message_id": new_id(), "content": f"message {number}"} for number in range(3)]
        answers = [await guest.ok("message:send", **calls[0])]
        conversation_id = answers[0]["conversation_id"]
        calls[1]["conversation_id"] = calls[2]["conversation_id"] = conversation_id
        answers.append(await guest.ok("message:send", **calls[1]))
        for client in (guest, tab):
            refused = await client.refusal("message:send", **calls[2])
            assert (refused["code"], refused["retryable"]) == ("busy", True)
            for call, answer in zip(calls, answers, strict=False):
                assert await client.ok("message:send", **call) == answer
                assert await client.ok("message:send", **call, if_busy="reject") == answer
        gate.set()
        await guest.completed(answers[1]["turn"]["id"])
        assert len(provider.chats) == 2


async def test_a_retry_of_a_message_whose_answer_was_stopped_or_failed_answers_nothing_again(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        for end in ("turn:stopped", "turn:failed"):
            provider.respond = (
                (lambda body: Script(["half ", "never"], gate=asyncio.Event()))
                if end == "turn:stopped"
                else (lambda body: Script(["half ", "lost"], cut_after=1))
            )
            call = {"message_id": new_id(), "content": "once"}
            first = await guest.ok("message:send", **call)
            conversation_id, turn_id = first["conversation_id"], first["turn"]["id"]
            if end == "turn:stopped":
                await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
                await guest.stop(conversation_id, turn_id)
            assert (await guest.ended(turn_id))[0] == end
            before = len(provider.requests)
            assert await tab.ok("message:send", **call) == first
            assert await tab.contents(conversation_id) == ["once", "half "]
            opened = await tab.open(conversation_id)
            assert opened["turns"] == []
            assert len(provider.requests) == before


async def test_a_conversation_made_twenty_times_at_once_on_two_servers_is_one(
    two: tuple[App, App],
) -> None:
    here, there = two
    call = {"conversation_id": new_id(), "title": "Plans"}
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        answers = await asyncio.gather(
            *(client.ok("conversation:create", **call) for client in (guest, tab) * 10)
        )
        assert all(answer == answers[0] for answer in answers)
        for client in (guest, tab):
            listed = await client.ok("conversation:list")
            assert listed["conversations"] == [answers[0]["conversation"]]
            await client.next_event("conversation:created")
            refused = await client.refusal("conversation:create", **call | {"title": "Other"})
            assert refused["code"] == "conflict"
            told = client.all("conversation:created")
            assert told == [{"conversation": answers[0]["conversation"]}]
        async with Client(there.url) as stranger:
            refused = await stranger.refusal("conversation:create", **call)
            assert refused["code"] == "conflict"
            assert stranger.all("conversation:created") == []
