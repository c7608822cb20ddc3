"""``turn:context``: what the model was given for a turn, as its owner may look it up."""

from __future__ import annotations

from typing import Any

import pytest

from agent.tokens import TokenCounter
from memory.chat_messages import to_langchain
from memory.records import Message
from tests.acceptance.conftest import StartApp, with_provider
from tests.acceptance.outages import told_stored
from tests.support.client import Client
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until


async def context(client: Client, turn: dict[str, Any]) -> dict[str, Any]:
    conversation_id, turn_id = turn["conversation_id"], turn["turn_id"]
    answer = await client.ok("turn:context", conversation_id=conversation_id, turn_id=turn_id)
    found: dict[str, Any] = answer["context"]
    return found


async def test_it_names_all_that_the_provider_was_sent(
    start_app: StartApp, provider: Provider
) -> None:
    settings = {"SYSTEM_PROMPT": "Be brief.", "SUMMARY_EVERY_TURNS": "2"}
    app = start_app(**with_provider(provider, CONTEXT_TOKEN_BUDGET="4000", **settings))
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        for question in ("two", "three", "four"):
            await guest.ask(question, conversation_id)
        await wait_until(lambda: provider.summaries, "a summary was made")
        last = await guest.ask("five", conversation_id)
        found = await context(guest, last)

        system, *window, asked = provider.chats[-1].messages
        messages = {m["id"]: m for m in await guest.transcript(conversation_id)}
        sent = [messages[each]["content"] for each in found["window"]["message_ids"]]
        assert sent == [message["content"] for message in window]
        seqs = [messages[each]["seq"] for each in found["window"]["message_ids"]]
        assert (found["window"]["from_seq"], found["window"]["to_seq"]) == (seqs[0], seqs[-1])
        assert found["model"] == provider.chats[-1].body["model"] == "test-model"
        assert found["system_prompt"] == "Be brief."
        assert found["summary"]["text"].startswith("summary of ")
        assert found["summary"]["version"] >= 1
        assert found["summary"]["upto"] in range(2, 9, 2)
        for text in (found["system_prompt"], found["summary"]["text"]):
            assert text in system["content"]
        tokens = dict(found["tokens"])
        assert tokens.pop("total") == sum(tokens.values()) <= found["budget"] == 4000
        question = to_langchain(Message(id="q", type="human", content=asked["content"]))
        assert tokens["question"] == TokenCounter().count([question])
        assert (found["rounds"], found["tools"], found["left_out"]) == (1, [], [])


async def test_it_is_kept_for_turns_that_fail_and_is_null_while_they_run(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    provider.respond = lambda body: Script(["Hel"], silent_after=1)
    async with Client(app.url) as guest:
        sent = await guest.send("one")
        turn = {"conversation_id": sent["conversation_id"], "turn_id": sent["turn"]["id"]}
        await guest.next_event("turn:delta")
        assert await context(guest, turn) is None
        await guest.stop(**turn)
        assert (await context(guest, turn))["tokens"]["question"] > 0
        provider.respond = lambda body: Script(status=400)
        sent = await guest.send("two", sent["conversation_id"])
        turn["turn_id"] = sent["turn"]["id"]
        assert (await guest.ended(turn["turn_id"]))[0] == "turn:failed"
        assert (await context(guest, turn))["model"] == "test-model"


async def test_nobody_else_learns_anything_of_it(start_app: StartApp, provider: Provider) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url) as other:
        turn = await guest.ask("one")
        about = {"conversation_id": turn["conversation_id"], "turn_id": turn["turn_id"]}
        assert (await other.refusal("turn:context", **about))["code"] == "not_found"
        unknown = await guest.refusal("turn:context", **{**about, "turn_id": "nobody's"})
        assert (unknown["code"], unknown["field"]) == ("not_found", "turn_id")
        own = (await other.ask("mine"))["conversation_id"]
        assert (await other.refusal("turn:context", **{**about, "conversation_id": own}))[
            "code"
        ] == "not_found"


@pytest.mark.parametrize("when", ["spooled", "drained"])
async def test_it_goes_through_the_spool(
    start_app: StartApp,
    provider: Provider,
    redis_server: RedisServer,
    own_mongod: Mongod,
    when: str,
) -> None:
    settings = {"REDIS_URL": redis_server.url, "MONGODB_URI": own_mongod.uri}
    app = start_app(**with_provider(provider, **settings))
    async with Client(app.url) as guest:
        first = await guest.ask("one")
        own_mongod.kill()
        turn = await guest.ask("two", first["conversation_id"])
        if when == "drained":
            own_mongod.start()
            await told_stored(guest, [turn["message"]["id"]])
        found = await context(guest, turn)
        assert found["window"]["to_seq"] == 2
        if when == "spooled":
            about = {"conversation_id": first["conversation_id"], "turn_id": first["turn_id"]}
            refused = await guest.refusal("turn:context", **about)
            assert (refused["code"], refused["retryable"]) == ("unavailable", True)
