"""Whoever follows a conversation, from whatever moment on, sees all of it once."""

from __future__ import annotations

import asyncio

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client
from tests.support.provider import Provider, Script
from tests.support.wait import wait_until


async def test_a_reader_who_comes_in_mid_answer_sees_all_of_it(
    start_app: StartApp, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["before ", "after"], gate=gate)
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        sent = await guest.send("tell me")
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        async with Client(app.url, guest.token) as reader:
            opened = await reader.ok("conversation:open", conversation_id=sent["conversation_id"])
            assert opened["recovery"] == "snapshot"
            [message] = opened["messages"]
            assert message["content"] == "tell me"
            [live] = opened["turns"]
            assert (live["status"], live["text"], live["next_index"]) == ("running", "before ", 1)
            gate.set()
            completed = await reader.completed(sent["turn"]["id"])
            rest = "".join(delta["text"] for delta in reader.all("turn:delta"))
            assert live["text"] + rest == completed["message"]["content"] == "before after"


async def test_a_reader_who_comes_back_with_a_cursor_is_given_what_it_missed(
    start_app: StartApp, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["before ", "after"], gate=gate)
    app = start_app(**with_provider(provider))
    guest = await Client(app.url).connect()
    sent = await guest.send("tell me")
    conversation_id = sent["conversation_id"]
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    await guest.vanish()
    cursor = guest.feed(conversation_id)[-1][1]["cursor"]
    gate.set()
    async with Client(app.url, guest.token) as back:
        opened = await back.ok("conversation:open", conversation_id=conversation_id, after=cursor)
        assert opened["recovery"] == "replayed"
        await back.completed(sent["turn"]["id"])
        feed = guest.feed(conversation_id) + back.feed(conversation_id)
        text = "".join(payload["text"] for name, payload in feed if name == "turn:delta")
        assert text == "before after"
        cursors = [payload["cursor"] for _, payload in feed]
        assert len(set(cursors)) == len(cursors)
        for garbage in ("", "x", "0-0", cursor[:-1] + "999"):
            fresh = await back.ok(
                "conversation:open", conversation_id=conversation_id, after=garbage
            )
            assert fresh["recovery"] == "snapshot"
            assert [message["seq"] for message in fresh["messages"]] == [1, 2]
            assert fresh["turns"] == []


async def test_a_tab_that_sends_into_a_conversation_it_has_not_opened_gets_a_snapshot_first(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        first = await guest.ask("first")
        conversation_id = first["conversation_id"]
        async with Client(app.url, guest.token) as tab:
            sent = await tab.send("second", conversation_id)
            await tab.completed(sent["turn"]["id"])
            feed = tab.feed(conversation_id)
            assert [name for name, _ in feed][:3] == [
                "conversation:snapshot",
                "message:created",
                "turn:started",
            ]
            assert [message["seq"] for message in feed[0][1]["messages"]] == [1, 2]


async def test_everything_can_be_read_once_the_end_is_told(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url, guest.token) as reader:
        conversation_id = None
        for number in range(10):
            completed = await guest.ask(f"question {number}", conversation_id)
            conversation_id = completed["conversation_id"]
            opened = await reader.ok("conversation:open", conversation_id=conversation_id)
            assert opened["messages"][-1] == completed["message"]
            assert opened["turns"] == []
            history = await reader.ok("conversation:history", conversation_id=conversation_id)
            assert history["messages"][-1] == completed["message"]


async def test_whoever_sends_on_hearing_the_end_finds_the_conversation_free(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("first"))["conversation_id"]
        for number in range(20):
            sent = await guest.send(f"{number}", conversation_id, if_busy="reject")
            assert sent["turn"]["status"] == "running"
            await guest.completed(sent["turn"]["id"])
