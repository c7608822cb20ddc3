"""Edits that meet edits, messages, answers and deaths: one of the possible orders came true."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_edit import edit, edit_of, superseded
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Body, Provider, Script, echo
from tests.support.story import Story
from tests.support.wait import wait_until


async def test_one_edit_made_twenty_times_at_once_on_two_servers_is_one(
    provider: Provider, two: tuple[App, App], mongod: Mongod
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        await guest.ask("two", conversation_id)
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        before = await guest.transcript(conversation_id)
        call = edit_of(before[0], "one, better")
        answers = await asyncio.gather(
            *(tab.ok("message:edit", **call) for tab in (guest, across) * 10)
        )
        assert all(answer == answers[0] for answer in answers)
        for story, tab in zip(stories, (guest, across), strict=True):
            told = await story.end_of(answers[0]["turn"]["id"])
            assert told.contents == ["one, better", "echo: one, better"]
            assert sorted(told.removed) == sorted(each["id"] for each in before)
            assert told.snapshots == 0
            assert len(tab.all("message:removed")) == 1
            assert await tab.contents(conversation_id) == told.contents
        assert len(provider.chats) == 3
        assert len(superseded(mongod, here, conversation_id)) == 2


async def test_different_edits_of_one_message_at_once_leave_one_of_them(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        conversation_id = (await guest.ask("version"))["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        for _ in range(4):
            [question, _answer] = await guest.transcript(conversation_id)
            calls = [edit_of(question, f"version {number}") for number in range(6)]
            answers = await asyncio.gather(
                *(
                    tab.call("message:edit", call)
                    for tab, call in zip((guest, across) * 3, calls, strict=True)
                )
            )
            taken = [answer for answer in answers if answer["ok"]]
            refused = [answer["error"]["code"] for answer in answers if not answer["ok"]]
            # Who came second found nothing left to edit.
            assert len(taken) == 1
            assert set(refused) == {"not_found"}
            content = taken[0]["message"]["content"]
            for story in stories:
                told = await story.end_of(taken[0]["turn"]["id"])
                assert told.contents == [content, f"echo: {content}"]
            assert await across.contents(conversation_id) == [content, f"echo: {content}"]


async def test_messages_sent_while_another_server_edits_come_either_before_or_after_the_edit(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        conversation_id = (await guest.ask("begin"))["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        for number in range(6):
            asked = await guest.ask(f"wrong {number}", conversation_id)
            transcript = await guest.transcript(conversation_id)
            [question] = [m for m in transcript if m["turn_id"] == asked["turn_id"]][:1]
            edited, *sent = await asyncio.gather(
                edit(across, question, f"right {number}"),
                *(guest.send(f"beside {number}.{n}", conversation_id) for n in range(3)),
            )
            turns = [each["turn"]["id"] for each in (edited, *sent)]
            for story in stories:
                for turn_id in turns:
                    told = await story.end_of(turn_id)
                assert told.live == {}
            transcript = await across.transcript(conversation_id)
            for story in stories:
                assert sorted(story.told.messages, key=lambda m: m["seq"]) == transcript
            questions = [m["content"] for m in transcript if m["role"] == "user"]
            place = questions.index(f"right {number}")
            assert f"wrong {number}" not in questions
            # What came before the edit went with it; what came after follows it, in order.
            after = questions[place + 1 :]
            assert after == [f"beside {number}.{n}" for n in range(3)][3 - len(after) :]
        for request in provider.chats:
            if "right" in request.texts[-1]:
                assert not any("wrong" in text for text in request.texts)


@pytest.mark.parametrize("moment", [0.0, 0.006, 0.02])
async def test_an_edit_whose_server_dies_is_either_made_or_not_and_made_once_when_repeated(
    start_app: StartApp, provider: Provider, shared: dict[str, str], moment: float
) -> None:
    dying, other = start_app(**shared), start_app(**shared)
    guest = await Client(dying.url).connect()
    conversation_id = (await guest.ask("one"))["conversation_id"]
    await guest.ask("two", conversation_id)
    async with Client(other.url, guest.token) as across:
        story = Story(conversation_id)
        await story.open(across)
        [question, *_] = await across.transcript(conversation_id)
        call = edit_of(question, "one, better")
        await guest.socket.emit("message:edit", call)
        await asyncio.sleep(moment)  # somewhere between its arrival and its acknowledgement
        dying.kill()
        edited = await across.ok("message:edit", **call)
        assert await across.ok("message:edit", **call) == edited
        told = await story.end_of(edited["turn"]["id"])
        now = ["one, better", "echo: one, better"]
        assert told.contents == await across.contents(conversation_id) == now
        await across.ask("two, better", conversation_id)
        assert provider.chats[-1].texts[1:] == [*now, "two, better"]
    await guest.close()


async def test_the_answer_to_an_edit_is_taken_over_like_any_other(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    def respond(body: Body) -> Script:
        if len(provider.chats) == 3:
            return Script(["half ", "never"], gate=asyncio.Event())
        return echo(body)

    provider.respond = respond
    dying, other = start_app(**shared), start_app(**shared)
    guest = await Client(dying.url).connect()
    conversation_id = (await guest.ask("one"))["conversation_id"]
    await guest.ask("two", conversation_id)
    async with Client(other.url, guest.token) as across:
        story = Story(conversation_id)
        await story.open(across)
        question = (await guest.transcript(conversation_id))[2]
        edited = await edit(guest, question, "two, better")
        await story.until(lambda told: told.text(edited["turn"]["id"]) == "half ", "it begins")
        dying.kill()
        told = await story.end_of(edited["turn"]["id"])
        now = ["one", "echo: one", "two, better", "echo: two, better"]
        assert told.contents == await across.contents(conversation_id) == now
        assert provider.chats[-1].texts[1:] == now[:3]
        assert len(provider.chats) == 4
    await guest.close()


async def test_an_edit_that_meets_the_end_of_the_answer_leaves_only_the_edit(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        conversation_id = (await guest.ask("begin"))["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        call = {"conversation_id": conversation_id}
        sent = await guest.ok("message:send", **call, message_id=new_id(), content="one two three")
        for number in range(15):
            await asyncio.sleep(number * 0.002)  # from before the first word to after the last
            message = sent["message"]
            sent = await edit(across, message, f"one two three {number}")
            await wait_until(
                lambda sent=sent: [
                    m["message"]["id"]
                    for m in guest.all("message:created")
                    if m["message"]["id"] == sent["message"]["id"]
                ],
                "the edit is told",
            )
        last = sent["message"]["content"]
        for story in stories:
            told = await story.end_of(sent["turn"]["id"])
            assert told.contents == ["begin", "echo: begin", last, f"echo: {last}"]
            assert (told.live, told.snapshots) == ({}, 0)
        assert await guest.contents(conversation_id) == told.contents
