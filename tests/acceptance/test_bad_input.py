"""Every malformed call is answered clearly, and the connection lives on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client, new_id
from tests.support.provider import Provider


@pytest.fixture
async def guest(start_app: StartApp, provider: Provider) -> AsyncIterator[Client]:
    app = start_app(**with_provider(provider, MAX_MESSAGE_CHARS="200000"))
    async with Client(app.url) as client:
        yield client


CALLS: list[tuple[str, Any, str, str | None]] = [
    ("message:send", {"content": "x"}, "invalid", "message_id"),
    ("message:send", {"message_id": "m"}, "invalid", "content"),
    ("message:send", {"message_id": 7, "content": "x"}, "invalid", "message_id"),
    ("message:send", {"message_id": "m", "content": 7}, "invalid", "content"),
    ("message:send", {"message_id": "m", "content": ""}, "invalid", "content"),
    ("message:send", {"message_id": "m", "content": "  \n"}, "invalid", "content"),
    ("message:send", {"message_id": "", "content": "x"}, "invalid", "message_id"),
    ("message:send", {"message_id": "m" * 129, "content": "x"}, "invalid", "message_id"),
    ("message:send", {"message_id": "m", "content": "x" * 200_001}, "too_large", "content"),
    ("message:send", {"message_id": "m", "content": ["x"]}, "invalid", "content"),
    ("message:send", {"message_id": "m", "content": b"bytes"}, "invalid", "content"),
    ("message:send", {"message_id": "m", "content": "x", "if_busy": "no"}, "invalid", "if_busy"),
    (
        "message:send",
        {"message_id": "m", "content": "x", "conversation_id": "nowhere"},
        "not_found",
        None,
    ),
    (
        "message:send",
        {"message_id": "m", "content": "x", "conversation_id": {"$ne": None}},
        "invalid",
        "conversation_id",
    ),
    ("conversation:open", {}, "invalid", "conversation_id"),
    ("conversation:open", {"conversation_id": "nowhere"}, "not_found", None),
    ("conversation:open", {"conversation_id": "\x00'; --"}, "not_found", None),
    ("conversation:open", {"conversation_id": "x", "after": 5}, "invalid", "after"),
    ("conversation:history", {"conversation_id": "nowhere"}, "not_found", None),
    ("conversation:history", {"conversation_id": "x", "limit": 201}, "invalid", "limit"),
    ("conversation:history", {"conversation_id": "x", "limit": "5"}, "invalid", "limit"),
    ("conversation:history", {"conversation_id": "x", "before": 0}, "invalid", "before"),
    ("conversation:history", {"conversation_id": "x", "before": 10**30}, "invalid", "before"),
    ("conversation:history", {"conversation_id": "x", "before": 2**64 - 1}, "invalid", "before"),
    ("conversation:list", {"limit": 0}, "invalid", "limit"),
    ("conversation:list", {"limit": True}, "invalid", "limit"),
    ("conversation:list", {"before": "garbage"}, "invalid", "before"),
    ("conversation:create", {"title": ""}, "invalid", "title"),
    ("conversation:create", {"title": "t" * 201}, "invalid", "title"),
    ("conversation:create", {"conversation_id": ["x"]}, "invalid", "conversation_id"),
    ("conversation:rename", {"conversation_id": "nowhere", "title": "t"}, "not_found", None),
    ("conversation:delete", {"conversation_id": "nowhere"}, "not_found", None),
    ("conversation:close", {"conversation_id": "nowhere"}, "not_found", None),
    ("message:feedback", {"conversation_id": "x", "message_id": "m"}, "invalid", "value"),
    (
        "message:feedback",
        {"conversation_id": "nowhere", "message_id": "m", "value": 1},
        "not_found",
        None,
    ),
    ("user:usage", {"days": 91}, "invalid", "days"),
    ("user:usage", {"conversation_id": "nowhere"}, "not_found", None),
    ("turn:stop", {"conversation_id": "nowhere", "turn_id": "t"}, "not_found", None),
    ("turn:stop", {"conversation_id": "nowhere"}, "invalid", "turn_id"),
    ("no:such:call", {}, "invalid", None),
    ("connect", {}, "invalid", None),
    ("disconnect", {}, "invalid", None),
    ("message:send", "text", "invalid", None),
    ("message:send", [], "invalid", None),
    ("message:send", None, "invalid", None),
    ("message:send", (), "invalid", None),
    ("message:send", ({}, {}), "invalid", None),
]


async def test_every_malformed_call_is_answered_and_the_connection_lives_on(guest: Client) -> None:
    for name, data, code, field in CALLS:
        answer = (
            await guest.call(name, *data)
            if isinstance(data, tuple)
            else await guest.call(name, data)
        )
        what = (name, str(data)[:80], answer)
        assert answer["ok"] is False, what
        assert answer["error"]["code"] == code, what
        assert answer["error"].get("field") == field, what
        assert answer["error"]["retryable"] is False, what
    completed = await guest.ask("still here?")
    assert completed["message"]["content"] == "echo: still here?"


TEXTS = [
    "👩🏽‍🚀 family: 👨‍👩‍👧‍👦",
    "مرحبا بالعالم שלום",
    "zero\x00byte",
    "<script>alert(1)</script> $where {$ne: 1} '; DROP TABLE turns; --",
    "line\r\nbreaks\u2028and\u2029more",
    "x" * 100_000,
]


async def test_text_comes_back_as_it_was_sent(guest: Client) -> None:
    for text in TEXTS:
        sent = await guest.send(text)
        assert sent["message"]["content"] == text
        await guest.completed(sent["turn"]["id"])
        history = await guest.ok("conversation:history", conversation_id=sent["conversation_id"])
        assert history["messages"][0]["content"] == text
        opened = await guest.ok("conversation:open", conversation_id=sent["conversation_id"])
        assert opened["messages"][0]["content"] == text


async def test_a_lone_surrogate_becomes_a_replacement_character(guest: Client) -> None:
    sent = await guest.send("half \ud83d emoji")
    assert sent["message"]["content"] == "half \ufffd emoji"
    completed = await guest.completed(sent["turn"]["id"])
    assert completed["message"]["content"] == "echo: half \ufffd emoji"


async def test_unknown_fields_are_ignored_and_null_is_absent(guest: Client) -> None:
    sent = await guest.ok(
        "message:send",
        message_id=new_id(),
        content="fine",
        conversation_id=None,
        if_busy=None,
        colour="blue",
    )
    await guest.completed(sent["turn"]["id"])


async def test_a_call_without_an_ack_does_its_work(guest: Client) -> None:
    await guest.socket.emit("message:send", {"message_id": new_id(), "content": "no ack"})
    completed = await guest.next_event("turn:completed")
    assert completed["message"]["content"] == "echo: no ack"
