"""A conversation as a document: out, and in again, on either store and on several servers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

Document = dict[str, Any]


@pytest.fixture(params=["embedded", "mongo"])
def start_one(
    request: pytest.FixtureRequest, start_app: StartApp, provider: Provider, tmp_path: Path
) -> Callable[..., App]:
    """A server on either store; each time with the same data."""
    if request.param == "mongo":
        return lambda **more: start_app(**request.getfixturevalue("shared"), **more)
    return lambda **more: start_app(tmp_path / "data", **with_provider(provider, **more))


async def exported(client: Client, conversation_id: str, **fields: Any) -> tuple[str, int]:
    """The document, and in how many pieces it came."""
    pieces: list[str] = []
    after: str | None = None
    while True:
        piece = await client.ok(
            "conversation:export", conversation_id=conversation_id, after=after, **fields
        )
        pieces.append(piece["content"])
        assert len(json.dumps(piece)) < 700_000
        after = piece["next"]
        if after is None:
            return "".join(pieces), len(pieces)


async def document_of(client: Client, conversation_id: str) -> Document:
    text, _ = await exported(client, conversation_id)
    document: Document = json.loads(text)
    return document


def parts_of(document: Document, size: int) -> list[Document]:
    """In runs of so many messages, which begin with a user's."""
    messages = document["messages"]
    return [
        document | {"messages": messages[first : first + size]}
        for first in range(0, len(messages), size)
    ]


async def taken_in(client: Client, document: Document, size: int = 10_000) -> str:
    conversation_id = new_id()
    for part in parts_of(document, size):
        await client.ok("conversation:import", conversation_id=conversation_id, document=part)
    return conversation_id


def without_ids(document: Document, *left_out: str) -> Document:
    for each in (document["conversation"], *document["messages"]):
        for name in ("id", "turn_id", *left_out):
            each.pop(name, None)
    return document


def made_up(count: int, chars: int = 60) -> Document:
    """A document of so many exchanges, by hand."""
    messages: list[dict[str, Any]] = []
    for n in range(1, count + 1):
        at = f"2026-01-{1 + n // 1440:02d}T{n // 60 % 24:02d}:{n % 60:02d}:00.000Z"
        for seq, role in ((2 * n - 1, "user"), (2 * n, "assistant")):
            content = f"{role} {n} ".ljust(chars, "x")
            messages.append({"seq": seq, "role": role, "content": content, "created_at": at})
            messages[-1]["status"] = "complete"
    about = {"title": "Long", "created_at": messages[0]["created_at"], "model": None}
    about |= {"updated_at": messages[-1]["created_at"], "system_prompt": None}
    return {
        "format": "mnemosio-conversation",
        "version": 1,
        "conversation": about,
        "messages": messages,
    }


async def test_what_was_said_goes_out_and_in_again(
    start_one: Callable[..., App], provider: Provider
) -> None:
    async with Client(start_one(MODELS="larger").url) as guest:
        call = {"conversation_id": new_id(), "title": "A *title*", "model": "larger"}
        await guest.ok("conversation:create", **call)
        conversation_id = call["conversation_id"]
        first = await guest.ask("one", conversation_id)
        where = {"conversation_id": conversation_id, "message_id": first["message"]["id"]}
        await guest.ok("message:feedback", **where, value=-1, comment="Too short.")
        replaced = await guest.send("edited away", conversation_id)
        await guest.completed(replaced["turn"]["id"])
        edit = {"message_id": replaced["message"]["id"], "new_message_id": new_id()}
        edited = await guest.ok(
            "message:edit", conversation_id=conversation_id, **edit, content="two"
        )
        await guest.completed(edited["turn"]["id"])
        provider.respond = lambda body: Script(["half"], gate=asyncio.Event(), gate_after=1)
        stopped = await guest.send("three", conversation_id)
        await wait_until(
            lambda: guest.all("turn:delta", turn_id=stopped["turn"]["id"]), "it begins"
        )
        await guest.stop(conversation_id, stopped["turn"]["id"])
        provider.respond = lambda body: Script(status=400)
        failed = await guest.send("four", conversation_id)
        await guest.ended(failed["turn"]["id"])

        document = await document_of(guest, conversation_id)
        messages = document["messages"]
        assert [message["content"] for message in messages] == [
            *("one", "echo: one", "two", "echo: two", "three", "half", "four")
        ]
        assert messages[1]["usage"]["total_tokens"] > 0
        assert messages[1]["feedback"] == {"value": -1, "comment": "Too short."}
        shown = (await guest.open(conversation_id))["messages"]
        for message, kept in zip(messages, shown, strict=True):
            kept.pop("conversation_id")
            message.pop("usage", None)
            assert message == kept

        asked = len(provider.requests)
        again = await guest.ok("conversation:import", conversation_id=new_id(), document=document)
        new = again["conversation"]
        assert (again["imported"], new["message_count"]) == (7, 7)
        assert new["id"] != conversation_id
        created = {"conversation": new}
        await wait_until(lambda: created in guest.all("conversation:created"), "it is told")
        assert without_ids(await document_of(guest, new["id"])) == without_ids(document, "usage")
        assert len(provider.requests) == asked

        # It is a conversation as any other.
        provider.respond = lambda body: Script(["five it is"])
        await guest.ask("five", new["id"])
        request = provider.chats[-1]
        assert request.body["model"] == "larger"
        assert request.texts[-1] == "five"
        assert {"one", "echo: one", "two", "echo: two"} <= set(request.texts)
        assert (await guest.contents(new["id"]))[-2:] == ["five", "five it is"]
        shown = (await guest.open(new["id"]))["messages"]
        turn_id, new_turn_id = shown[1]["turn_id"], new_id()
        await guest.ok(
            "turn:regenerate",
            conversation_id=new["id"],
            turn_id=turn_id,
            new_turn_id=new_turn_id,
        )
        await guest.completed(new_turn_id)
        assert await guest.contents(new["id"]) == ["one", "five it is"]


async def test_a_conversation_of_ten_thousand_messages_goes_out_and_in(
    start_one: Callable[..., App],
) -> None:
    document = made_up(5_000)
    async with Client(start_one().url) as guest:
        began = time.monotonic()
        conversation_id = await taken_in(guest, document, size=2_000)
        took_in = time.monotonic() - began
        began = time.monotonic()
        text, pieces = await exported(guest, conversation_id)
        took_out = time.monotonic() - began
        print(f"in: {took_in:.1f} s, out: {took_out:.1f} s in {pieces} pieces, {len(text)} chars")
        assert without_ids(json.loads(text)) == without_ids(document)
        assert pieces > 10
        shown = await guest.open(conversation_id)
        assert shown["conversation"]["message_count"] == 10_000
        assert shown["messages"][-1]["seq"] == 10_000
        markdown, _ = await exported(guest, conversation_id, format="markdown")
        assert markdown.count("\n## User · ") == markdown.count("\n## Assistant · ") == 5_000
        # What is longer than a piece, and what is one character too many.
        document = made_up(2, chars=99_000)
        document["messages"][1]["content"] = '"\x01' * 40_000
        await guest.ok(
            "conversation:import", conversation_id=(large := new_id()), document=document
        )
        assert without_ids(await document_of(guest, large)) == without_ids(document)
        document["messages"][2]["content"] = "x" * 100_001
        refused = await guest.refusal(
            "conversation:import", conversation_id=new_id(), document=document
        )
        assert (refused["code"], refused["field"]) == (
            "too_large",
            "document.messages[2].content",
        )


async def test_pieces_are_of_one_mind(two: tuple[App, App]) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        conversation_id = await taken_in(guest, made_up(1_000, chars=200))
        about = {"conversation_id": conversation_id}
        first = await guest.ok("conversation:export", **about)
        # A server is as good as another, and what is said meanwhile is not part of it.
        await guest.ask("later", conversation_id)
        second = await tab.ok("conversation:export", **about, after=first["next"])
        assert await guest.ok("conversation:export", **about, after=first["next"]) == second
        rest: list[str] = []
        after = second["next"]
        while after is not None:
            piece = await tab.ok("conversation:export", **about, after=after)
            rest.append(piece["content"])
            after = piece["next"]
        whole = json.loads(first["content"] + second["content"] + "".join(rest))
        assert len(whole["messages"]) == 2_000

        shown = await tab.open(conversation_id)
        edited = await tab.ok(
            "message:edit",
            **about,
            message_id=shown["messages"][-2]["id"],
            new_message_id=new_id(),
            content="other",
        )
        await tab.completed(edited["turn"]["id"])
        refused = await guest.refusal("conversation:export", **about, after=first["next"])
        assert (refused["code"], refused["field"]) == ("conflict", "after")
        for junk in ("", "x", first["next"][:-4], first["next"] + "x"):
            refused = await guest.refusal("conversation:export", **about, after=junk)
            assert (refused["code"], refused["field"]) == ("invalid", "after")


async def test_an_import_that_is_repeated_or_broken_off_is_one_conversation(
    two: tuple[App, App],
) -> None:
    here, there = two
    document = made_up(30)
    parts = parts_of(document, 20)
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        conversation_id = new_id()
        about = {"conversation_id": conversation_id}
        late = await guest.refusal("conversation:import", **about, document=parts[1])
        assert (late["code"], late["field"]) == ("invalid", "document.messages[0].seq")
        answers = await asyncio.gather(
            *(
                each.ok("conversation:import", **about, document=parts[0])
                for each in (guest, tab, guest, tab)
            )
        )
        assert {answer["imported"] for answer in answers} == {20}
        await tab.open(conversation_id)
        await tab.ok("conversation:import", **about, document=parts[1])
        # Whoever has it open is shown what has come.
        await wait_until(
            lambda: any(len(each["messages"]) == 40 for each in tab.all("conversation:snapshot")),
            "it is shown",
            timeout=15,
        )
        for part in (parts[1], parts[0], parts[1], parts[2]):
            await tab.ok("conversation:import", **about, document=part)
        assert without_ids(await document_of(guest, conversation_id)) == without_ids(document)
        created = guest.all("conversation:created")
        assert len([each for each in created if each["conversation"]["id"] == conversation_id]) == 1

        other = parts[0] | {"conversation": parts[0]["conversation"] | {"title": "Another"}}
        changed = json.loads(json.dumps(parts[0]))
        changed["messages"][0]["content"] = "something else"
        for wrong in (other, changed):
            refused = await guest.refusal("conversation:import", **about, document=wrong)
            assert refused["code"] == "conflict"
        await guest.ask("it goes on", conversation_id)
        longer = made_up(40)
        refused = await guest.refusal(
            "conversation:import",
            **about,
            document=parts_of(longer, 60)[1] | {"conversation": document["conversation"]},
        )
        assert refused["code"] == "conflict"
        await guest.ok("conversation:delete", **about)
        refused = await tab.refusal("conversation:import", **about, document=parts[0])
        assert refused["code"] == "not_found"


async def test_an_import_goes_on_after_its_server_was_killed(
    start_app: StartApp, shared: dict[str, str]
) -> None:
    document = made_up(3_000)
    first, second = start_app(**shared), start_app(**shared)
    guest = await Client(first.url).connect()
    conversation_id = new_id()

    async def give_it() -> None:
        for part in parts_of(document, 3_000):
            await guest.ok("conversation:import", conversation_id=conversation_id, document=part)

    giving = asyncio.create_task(give_it())
    async with Client(second.url, guest.token) as tab:

        async def begun() -> bool:
            answer = await tab.call("conversation:history", {"conversation_id": conversation_id})
            return bool(answer.get("messages"))

        await wait_until(begun, "some of it is there", timeout=15, interval=0.01)
        first.kill()
        giving.cancel()
        await asyncio.gather(giving, return_exceptions=True)
        for part in parts_of(document, 3_000):
            answer = await tab.ok(
                "conversation:import", conversation_id=conversation_id, document=part
            )
        assert answer["imported"] == 6_000
        assert without_ids(await document_of(tab, conversation_id)) == without_ids(document)


async def test_while_the_store_is_away_nothing_goes_out_or_in(
    start_app: StartApp, provider: Provider, redis_server: RedisServer, own_mongod: Mongod
) -> None:
    settings = with_provider(provider, REDIS_URL=redis_server.url, MONGODB_URI=own_mongod.uri)
    app = start_app(**settings)
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        own_mongod.kill()
        sent = await guest.send("two", conversation_id)
        await guest.completed(sent["turn"]["id"])
        fresh = {"conversation_id": new_id(), "document": made_up(1)}
        for name, fields in (
            ("conversation:export", {"conversation_id": conversation_id}),
            ("conversation:import", fresh | {"conversation_id": conversation_id}),
            ("conversation:import", fresh),
        ):
            refused = await guest.refusal(name, **fields)
            assert (refused["code"], refused["retryable"]) == ("unavailable", True), name
        own_mongod.start()
        await wait_until(lambda: guest.all("message:stored"), "it is stored", timeout=20)

        async def whole() -> bool:
            answer = await guest.call("conversation:export", {"conversation_id": conversation_id})
            return bool(answer["ok"] and '"two"' in answer["content"])

        await wait_until(whole, "it goes out", timeout=20)
        assert (await guest.ok("conversation:import", **fresh))["imported"] == 2
