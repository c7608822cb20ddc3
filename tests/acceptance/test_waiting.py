"""Turns that wait: for their conversation, and for room on the server."""

from __future__ import annotations

import asyncio

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client
from tests.support.provider import Provider, Script
from tests.support.wait import wait_until


async def test_a_turn_that_waits_for_room_starts_when_another_conversation_ends(
    start_app: StartApp, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two"], gate=gate)
    app = start_app(**with_provider(provider, MAX_RUNNING_TURNS="1"))
    async with Client(app.url) as guest:
        sent = [await guest.send(f"conversation {number}") for number in range(4)]
        assert [each["turn"]["status"] for each in sent] == ["running"] + 3 * ["queued"]
        await wait_until(lambda: guest.all("turn:delta"), "the first answer begins")
        gate.set()
        for each in sent:
            await guest.completed(each["turn"]["id"], timeout=5)
        # In the order in which they came, one at a time.
        assert [request.texts[-1] for request in provider.chats] == [
            f"conversation {number}" for number in range(4)
        ]


async def test_a_full_server_still_answers_each_conversation_in_order(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, MAX_RUNNING_TURNS="2"))
    async with Client(app.url) as guest:
        begun = [await guest.send(f"begin {number}") for number in range(4)]
        later = [
            await guest.send(f"then {number}.{again}", each["conversation_id"])
            for again in range(2)
            for number, each in enumerate(begun)
        ]
        for each in begun + later:
            await guest.completed(each["turn"]["id"], timeout=10)
        for each in begun:
            history = await guest.ok(
                "conversation:history", conversation_id=each["conversation_id"]
            )
            assert [message["seq"] for message in history["messages"]] == [1, 2, 3, 4, 5, 6]


async def test_one_may_wait_where_one_may_wait(start_app: StartApp, provider: Provider) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two"], gate=gate)
    app = start_app(**with_provider(provider, MAX_QUEUED_TURNS="1"))
    async with Client(app.url) as guest:
        first = await guest.send("first")
        second = await guest.send("second", first["conversation_id"])
        refused = await guest.refusal(
            "message:send",
            message_id="third",
            content="third",
            conversation_id=first["conversation_id"],
        )
        assert (refused["code"], refused["retryable"]) == ("busy", True)
        gate.set()
        await guest.completed(second["turn"]["id"])
        third = await guest.send("third", first["conversation_id"], message_id="third")
        await guest.completed(third["turn"]["id"])
        assert third["message"]["seq"] == 5
