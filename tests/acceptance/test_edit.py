"""An edited message: it and all that followed are replaced, everywhere, and kept in the store."""

from __future__ import annotations

import asyncio
from typing import Any

from agent.wording import fenced
from tests.acceptance.conftest import StartApp
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Body, Provider, Script, echo, is_summary
from tests.support.redis_server import RedisServer
from tests.support.story import Story
from tests.support.wait import wait_until


async def edit(client: Client, message: dict[str, Any], content: str) -> dict[str, Any]:
    return await client.ok("message:edit", **edit_of(message, content))


def edit_of(message: dict[str, Any], content: str) -> dict[str, Any]:
    return {
        "conversation_id": message["conversation_id"],
        "message_id": message["id"],
        "new_message_id": new_id(),
        "content": content,
    }


def superseded(mongod: Mongod, app: App, conversation_id: str) -> list[tuple[str, str | None]]:
    """The questions, each with its answer, that the store keeps of what was replaced."""
    with mongod.client() as client:
        turns = client[app.settings["MONGODB_DATABASE"]]["turns"]
        found = turns.find({"conversation": conversation_id, "superseded": True}).sort("n")
        return [
            (turn["question"]["content"], turn["answer"] and turn["answer"]["content"])
            for turn in found
        ]


async def test_an_edit_replaces_the_message_and_all_after_it_in_every_tab_and_place(
    start_app: StartApp,
    provider: Provider,
    shared: dict[str, str],
    redis_server: RedisServer,
    mongod: Mongod,
) -> None:
    apps = [start_app(**shared), start_app(**shared)]
    async with Client(apps[0].url) as guest, Client(apps[1].url, guest.token) as across:
        original = {"message_id": new_id(), "content": "two"}
        conversation_id = (await guest.ask("one"))["conversation_id"]
        original["conversation_id"] = conversation_id
        sent = await guest.ok("message:send", **original)
        await guest.completed(sent["turn"]["id"])
        await guest.ask("three", conversation_id)
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        cursor = stories[0].told.cursor
        before = await across.transcript(conversation_id)

        call = edit_of(before[2], "two, better")
        edited = await across.ok("message:edit", **call)
        assert edited["durability"] == "permanent"
        assert edited["conversation_id"] == conversation_id
        message = edited["message"]
        assert (message["id"], message["seq"]) == (call["new_message_id"], 3)
        assert (message["role"], message["content"]) == ("user", "two, better")
        assert edited["turn"]["message_id"] == message["id"]
        now = ["one", "echo: one", "two, better", "echo: two, better"]
        for story, tab in zip(stories, (guest, across), strict=True):
            told = await story.end_of(edited["turn"]["id"])
            assert told.contents == now
            assert sorted(told.removed) == sorted(each["id"] for each in before[2:])
            assert (told.snapshots, len(tab.all("message:removed"))) == (0, 1)
        assert provider.chats[-1].texts[1:] == ["one", "echo: one", "two, better"]

        async def holds(clients: tuple[Client, ...]) -> None:
            for client in clients:
                for each in (call, call):
                    assert await client.ok("message:edit", **each) == edited
                other = await client.refusal("message:edit", **call | {"content": "other"})
                assert other["code"] == "conflict"
                # The message that was edited is gone: there is nothing left to edit.
                gone = await client.refusal("message:edit", **edit_of(before[2], "again"))
                assert gone["code"] == "not_found"
                # Nor does a late retry of it bring it back.
                assert await client.ok("message:send", **original) == sent
                assert await client.contents(conversation_id) == now
                [listed] = (await client.ok("conversation:list"))["conversations"]
                assert listed["message_count"] == 4
            assert len(provider.chats) == 4

        await holds((guest, across))
        for client in (guest, across):
            await client.ok("conversation:close", conversation_id=conversation_id)
            opened = await client.open(conversation_id)
            assert [each["content"] for each in opened["messages"]] == now
        assert superseded(mongod, apps[0], conversation_id) == [
            *(("two", "echo: two"), ("three", "echo: three"))
        ]
        # Who was away sees it as events.
        async with Client(apps[1].url, guest.token) as late:
            opened = await late.open(conversation_id, cursor)
            assert opened["recovery"] == "replayed"
            await late.completed(edited["turn"]["id"])
            assert late.feed(conversation_id) == [
                (name, payload) for name, payload in stories[1].events if name != "opened"
            ]
    for app in apps:
        app.kill()
    redis_command(redis_server, "FLUSHALL")
    for app in apps:
        app.start()
    async with Client(apps[0].url, guest.token) as guest, Client(apps[1].url, guest.token) as tab:
        await holds((guest, tab))
        asked = await tab.ask("three, better", conversation_id)
        assert asked["message"]["seq"] == 6
        assert provider.chats[-1].texts[1:] == [*now, "three, better"]


async def test_what_was_edited_away_is_forgotten_by_prompts_and_summaries(
    start_app: StartApp, provider: Provider, shared: dict[str, str], mongod: Mongod
) -> None:
    def respond(body: Body) -> Script:
        """A summary that has every word of the notes and messages that it was made of."""
        if not is_summary(body):
            return echo(body)
        said = [text for _, text in fenced(body["messages"][-1]["content"])]
        return Script([" ".join(dict.fromkeys(" ".join(said).split()))])

    provider.respond = respond
    settings = shared | {"SUMMARY_EVERY_TURNS": "2"}
    apps = [start_app(**settings), start_app(**settings)]
    async with Client(apps[0].url) as guest, Client(apps[1].url, guest.token) as across:
        conversation_id = None
        for number in range(6):
            asked = await guest.ask(f"fact-{number}", conversation_id)
            conversation_id = asked["conversation_id"]
        assert conversation_id is not None
        await across.open(conversation_id)
        await wait_until(lambda: len(provider.summaries) >= 2, "summaries are made")
        asked = await across.ask("remember?", conversation_id)
        assert "fact-2" in provider.chats[-1].texts[0]

        tabs = [across, guest]
        kept = ["fact-0", "fact-1", "fact-2", "fact-3"]
        # From the end towards the beginning, from one server and the other.
        for place, content in ((4, "corrected-4"), (1, "corrected-1")):
            messages = await guest.transcript(conversation_id)
            made = len(provider.summaries)
            edited = await edit(tabs[place % 2], messages[2 * place], content)
            await tabs[place % 2].completed(edited["turn"]["id"])
            kept = kept[:place]
            prompt = str(provider.chats[-1].texts)
            assert all(fact in prompt for fact in kept)
            for number in range(place, 6):
                assert f"fact-{number}" not in prompt
            kept.append(content)
            for number in range(4):
                await tabs[number % 2].ask(f"later-{place}-{number}", conversation_id)
            kept += [f"later-{place}-{number}" for number in range(4)]
            await wait_until(lambda made=made: len(provider.summaries) > made, "a new summary")
            await tabs[0].ask("remember?", conversation_id)
            kept.append("remember?")
            prompt = str(provider.chats[-1].texts)
            assert all(fact in prompt for fact in kept)
            for number in range(place, 6):
                assert f"fact-{number}" not in prompt
                for summary in provider.summaries[made:]:
                    assert f"fact-{number}" not in str(summary.texts)
        assert "later-4" not in prompt
        assert "corrected-4" not in prompt
        replaced = [question for question, _ in superseded(mongod, apps[0], conversation_id)]
        assert replaced[:2] == ["fact-1", "fact-2"]
        assert len(replaced) == 12


async def test_what_cannot_be_edited_is_told_by_its_code(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with (
        Client(here.url) as guest,
        Client(there.url, guest.token) as across,
        Client(there.url) as stranger,
    ):
        conversation_id = (await guest.ask("mine"))["conversation_id"]
        other_id = (await guest.ask("elsewhere"))["conversation_id"]
        question, answer = await guest.transcript(conversation_id)
        [elsewhere, _] = await guest.transcript(other_id)
        good = edit_of(question, "edited")
        for tab in (guest, across):
            for changed, code, at in (
                ({"message_id": "unknown"}, "not_found", None),
                ({"message_id": answer["id"]}, "not_found", None),
                ({"message_id": elsewhere["id"]}, "not_found", None),
                ({"conversation_id": "unknown"}, "not_found", None),
                ({"conversation_id": other_id}, "not_found", None),
                ({"message_id": None}, "invalid", "message_id"),
                ({"new_message_id": None}, "invalid", "new_message_id"),
                ({"new_message_id": 7}, "invalid", "new_message_id"),
                ({"content": " \n"}, "invalid", "content"),
                ({"content": "x" * 100_001}, "too_large", "content"),
                ({"new_message_id": question["id"]}, "conflict", None),
                ({"new_message_id": elsewhere["id"]}, "conflict", None),
            ):
                refused = await tab.refusal("message:edit", **good | changed)
                assert (refused["code"], refused["retryable"]) == (code, False), changed
                assert at is None or refused["field"] == at, changed
        foreign = await stranger.refusal("message:edit", **good)
        assert foreign["code"] == "not_found"
        assert await across.contents(conversation_id) == ["mine", "echo: mine"]
        assert len(provider.chats) == 2
        assert guest.all("message:removed") == []


async def test_an_edit_of_a_message_that_is_being_answered_ends_that_answer_at_once(
    provider: Provider, two: tuple[App, App], mongod: Mongod
) -> None:
    provider.respond = lambda body: (
        Script(["half ", "never"], gate=asyncio.Event())
        if body["messages"][-1]["content"] == "wrong"
        else echo(body)
    )
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        conversation_id = (await guest.ask("begin"))["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        sent = await guest.send("wrong", conversation_id)
        waiting = await guest.send("and then?", conversation_id)
        for story in stories:
            await story.until(lambda told: told.text(sent["turn"]["id"]), "the answer begins")
        edited, _ = await asyncio.gather(
            edit(across, sent["message"], "right"),
            wait_until(lambda: provider.closed_by_client == 1, "its stream ends", timeout=1),
        )
        now = ["begin", "echo: begin", "right", "echo: right"]
        for story in stories:
            told = await story.end_of(edited["turn"]["id"])
            assert told.contents == now
            assert told.live == {}
            assert {sent["message"]["id"], waiting["message"]["id"]} <= set(told.removed)
            for open_turn in (sent, waiting):
                assert told.ended[open_turn["turn"]["id"]][0] == "turn:stopped"
            assert told.snapshots == 0
        assert await across.contents(conversation_id) == now
        assert [request.texts[-1] for request in provider.chats] == ["begin", "wrong", "right"]
        assert (await guest.stop(conversation_id, sent["turn"]["id"]))["status"] == "stopped"
        assert superseded(mongod, here, conversation_id) == [
            ("wrong", "half "),
            ("and then?", None),
        ]


async def test_an_edit_of_a_message_that_waits_lets_the_answer_before_it_go_on(
    provider: Provider, two: tuple[App, App]
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: (
        Script(["one ", "two"], gate=gate)
        if body["messages"][-1]["content"] == "running"
        else echo(body)
    )
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        running = await guest.send("running")
        conversation_id = running["conversation_id"]
        waiting = await guest.send("wrong", conversation_id)
        after = await guest.send("and then?", conversation_id)
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        edited = await edit(across, waiting["message"], "right")
        assert (edited["message"]["seq"], edited["turn"]["status"]) == (3, "queued")
        gate.set()
        for story in stories:
            told = await story.end_of(edited["turn"]["id"])
            assert told.contents == ["running", "one two", "right", "echo: right"]
            assert sorted(told.removed) == sorted(
                [waiting["message"]["id"], after["message"]["id"]]
            )
            assert told.live == {}
        assert [request.texts[-1] for request in provider.chats] == ["running", "right"]
