"""Stop and interrupt, from whichever tab and server: at once, truthfully, and for everybody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.acceptance.conftest import StartApp
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.provider import Body, Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.story import Story
from tests.support.wait import wait_until


def never_ending(body: Body) -> Script:
    return Script(["half ", "never"], gate=asyncio.Event())


async def test_a_stop_on_another_server_ends_the_providers_stream_within_a_second(
    provider: Provider, two: tuple[App, App]
) -> None:
    provider.respond = never_ending
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        for number in range(3):
            sent = await guest.send("go on for ever")
            conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
            stories = [Story(conversation_id).on(guest), Story(conversation_id)]
            await stories[1].open(across)
            await stories[0].until(lambda told: told.deltas, "the answer begins")
            _, turn = await asyncio.gather(
                wait_until(
                    lambda number=number: provider.closed_by_client > number, "it ends", timeout=1
                ),
                across.stop(conversation_id, turn_id),
            )
            assert turn["status"] == "stopped"
            for story in stories:
                told = await story.end_of(turn_id)
                name, ended = told.ended[turn_id]
                assert name == "turn:stopped"
                assert ended["message"]["status"] == "stopped"
                assert told.contents == ["go on for ever", "half "]
            assert (await guest.stop(conversation_id, turn_id)) == turn
            assert await across.contents(conversation_id) == ["go on for ever", "half "]


async def test_a_resumed_answer_is_stopped_where_it_was_resumed(
    provider: Provider, two: tuple[App, App]
) -> None:
    provider.respond = never_ending
    here, there = two
    guest = await Client(here.url).connect()
    sent = await guest.send("go on for ever")
    conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
    story = Story(conversation_id).on(guest)
    await story.until(lambda told: told.deltas, "the answer begins")
    await guest.vanish()
    async with Client(there.url, guest.token) as tab:
        assert await story.resume(tab) == "replayed"
        turn = await tab.stop(conversation_id, turn_id)
        await wait_until(lambda: provider.closed_by_client == 1, "its stream ends", timeout=1)
        assert turn["status"] == "stopped"
        told = await story.end_of(turn_id)
        assert told.contents == ["go on for ever", "half "]


async def test_an_answer_taken_over_is_stopped_from_the_restarted_server(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    provider.respond = never_ending
    dying, other = start_app(**shared), start_app(**shared)
    guest = await Client(dying.url).connect()
    sent = await guest.send("go on for ever")
    conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
    story = Story(conversation_id).on(guest)
    await story.until(lambda told: told.deltas, "the answer begins")
    dying.kill()
    async with Client(other.url, guest.token) as watching:
        await story.resume(watching)
        told = await story.until(
            lambda told: told.live[turn_id].attempt > 1 and told.text(turn_id), "it is begun anew"
        )
        dying.start()
        async with Client(dying.url, guest.token) as tab:
            closed = provider.closed_by_client
            turn = await tab.stop(conversation_id, turn_id)
            await wait_until(lambda: provider.closed_by_client > closed, "it ends", timeout=1)
            assert (turn["status"], turn["attempt"]) == ("stopped", 2)
            told = await story.end_of(turn_id)
            assert told.contents == ["go on for ever", "half "]
        assert len(provider.chats) == 2
    await guest.close()


async def test_a_stop_before_the_start_wins_wherever_it_comes_from(
    provider: Provider, two: tuple[App, App]
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two"], gate=gate)
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        first = await guest.send("first")
        conversation_id = first["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        waiting = [await guest.send(f"waiting {number}", conversation_id) for number in range(2)]
        waiting.append(await across.send("waiting 2", conversation_id))
        for each, tab in zip(waiting, (across, guest, guest), strict=True):
            stopped = await tab.stop(conversation_id, each["turn"]["id"])
            assert (stopped["status"], stopped["attempt"]) == ("stopped", 0)
        gate.set()
        for story in stories:
            told = await story.end_of(first["turn"]["id"])
            for each in waiting:
                told = await story.end_of(each["turn"]["id"])
                name, ended = told.ended[each["turn"]["id"]]
                assert (name, ended["message"]) == ("turn:stopped", None)
            assert told.live == {}
            assert set(told.attempts) <= {first["turn"]["id"]}
        asked = await across.ask("last", conversation_id)
        assert asked["message"]["seq"] == 10
        assert len(provider.chats) == 2


async def test_a_stop_that_meets_the_end_tells_on_both_servers_how_it_ended(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        conversation_id = (await guest.ask("begin"))["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        ends: list[str] = []
        for number in range(25):
            sent = await guest.send("one two three four", conversation_id)
            turn_id = sent["turn"]["id"]
            await asyncio.sleep(number * 0.0015)  # from before the first word to after the last
            call = (conversation_id, turn_id)
            turns = await asyncio.gather(across.stop(*call), guest.stop(*call))
            for story in stories:
                told = await story.end_of(turn_id)
                name, ended = told.ended[turn_id]
                assert [f"turn:{turn['status']}" for turn in turns] == [name, name]
                ends.append(name)
            history = await across.transcript(conversation_id)
            kept = [each for each in history if each["turn_id"] == turn_id]
            assert kept[1:] == [ended["message"]] * (ended["message"] is not None)
        assert set(ends) <= {"turn:stopped", "turn:completed"}
        assert stories[0].told.contents == stories[1].told.contents


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_a_stop_on_another_server_works_without_redis_too(
    provider: Provider, two: tuple[App, App], redis_server: RedisServer, fault: str
) -> None:
    provider.respond = never_ending
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        sent = await guest.send("go on for ever")
        conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
        story = Story(conversation_id).on(guest)
        await story.until(lambda told: told.deltas, "the answer begins")
        if fault == "killed":
            redis_server.kill()
        else:
            redis_server.freeze()
        await across.stop(conversation_id, turn_id)
        # No signal gets through: the owner sees it when it renews its lease.
        await wait_until(lambda: provider.closed_by_client == 1, "its stream ends", timeout=2.5)
        told = await story.end_of(turn_id)
        assert told.contents == ["go on for ever", "half "]
        stopped = await across.stop(conversation_id, turn_id)
        assert stopped["status"] == "stopped"
        if fault == "frozen":
            redis_server.thaw()


async def test_an_interrupt_from_another_server_stops_what_runs_and_goes_next(
    provider: Provider, two: tuple[App, App]
) -> None:
    def respond(body: Body) -> Script:
        question = body["messages"][-1]["content"]
        return Script(["quick"]) if question == "urgent" else never_ending(body)

    provider.respond = respond
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        running = await guest.send("running")
        conversation_id = running["conversation_id"]
        waiting = await guest.send("waiting", conversation_id)
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        call: dict[str, Any] = {"conversation_id": conversation_id, "content": "urgent"}
        refused = await across.refusal(
            "message:send", **call, message_id=new_id(), if_busy="reject"
        )
        assert (refused["code"], refused["retryable"]) == ("busy", True)
        urgent, _ = await asyncio.gather(
            across.ok("message:send", **call, message_id=new_id(), if_busy="interrupt"),
            wait_until(lambda: provider.closed_by_client == 1, "what runs is let go", timeout=1),
        )
        for story in stories:
            told = await story.end_of(urgent["turn"]["id"])
            assert [told.ended[each["turn"]["id"]][0] for each in (running, waiting, urgent)] == [
                *("turn:stopped", "turn:stopped", "turn:completed")
            ]
            assert told.contents == ["running", "half ", "waiting", "urgent", "quick"]
        assert [request.texts[-1] for request in provider.chats] == ["running", "urgent"]


async def test_two_interrupts_at_once_on_two_servers_leave_one_answer_and_every_question(
    provider: Provider, two: tuple[App, App]
) -> None:
    def respond(body: Body) -> Script:
        urgent = "urgent" in body["messages"][-1]["content"]
        return Script(["fine"]) if urgent else never_ending(body)

    provider.respond = respond
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        first = await guest.send("begin")
        conversation_id = first["conversation_id"]
        await guest.send("wait", conversation_id)
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        urgent = await asyncio.gather(
            guest.send("urgent 1", conversation_id, if_busy="interrupt"),
            across.send("urgent 2", conversation_id, if_busy="interrupt"),
        )
        last = max(urgent, key=lambda each: each["message"]["seq"])
        for story in stories:
            told = await story.end_of(last["turn"]["id"])
            assert told.ended[last["turn"]["id"]][0] == "turn:completed"
            for each in (first, *urgent):
                await story.end_of(each["turn"]["id"])
            assert story.told.live == {}
        history = await across.transcript(conversation_id)
        assert [(m["seq"], m["status"]) for m in history][:3] == [
            *((1, "complete"), (2, "stopped"), (3, "complete"))
        ]
        assert history[-1]["content"] == "fine"
        assert [m["content"] for m in history] == story.told.contents
