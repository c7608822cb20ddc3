"""Who gets in, and what nobody but its owner sees."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
import socketio

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client, new_id
from tests.support.provider import Provider

SECRET = "a secret of more than thirty-two bytes"


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "ada", "exp": time.time() + 60, **claims}, SECRET, "HS256")


async def test_nobody_sees_anothers_conversation_by_any_call(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as owner, Client(app.url) as stranger:
        asked = await owner.ask("private")
        mine = {"conversation_id": asked["conversation_id"]}
        nowhere = {"conversation_id": new_id()}
        calls: dict[str, dict[str, Any]] = {
            "conversation:open": {},
            "conversation:history": {},
            "conversation:close": {},
            "conversation:rename": {"title": "mine now"},
            "conversation:delete": {},
            "message:send": {"message_id": new_id(), "content": "hello?"},
            "turn:stop": {"turn_id": asked["turn_id"]},
        }
        for name, fields in calls.items():
            not_yours = await stranger.refusal(name, **fields, **mine)
            not_there = await stranger.refusal(name, **fields, **nowhere)
            assert not_yours == not_there, name
            assert not_yours["code"] == "not_found", name
        taken = await stranger.refusal("conversation:create", **mine)
        assert taken["code"] == "conflict"
        assert (await stranger.ok("conversation:list"))["conversations"] == []
        await owner.ask("still private", asked["conversation_id"])
        assert {name for name, _ in stranger.events} <= {"session", "server:status"}


async def test_the_same_message_id_of_two_users_is_two_messages(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as one, Client(app.url) as two:
        shared = new_id()
        first = await one.send("mine", message_id=shared)
        second = await two.send("also mine", message_id=shared)
        assert first["conversation_id"] != second["conversation_id"]
        await one.completed(first["turn"]["id"])
        await two.completed(second["turn"]["id"])


async def test_a_guest_comes_back_as_the_same_guest_after_a_restart(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        first = guest.session["user_id"]
    app.stop()
    app = start_app(app.data_dir, **with_provider(provider))
    async with Client(app.url, guest.token) as back, Client(app.url) as other:
        assert back.session["user_id"] == first
        assert other.session["user_id"] != first


async def test_with_a_jwt_secret_only_good_tokens_get_in(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, AUTH_JWT_SECRET=SECRET))
    async with Client(app.url, token()) as user:
        assert user.session["user_id"] == "ada"
        assert user.session["guest"] is False
        assert "token" not in user.session
    bad = {
        "missing": None,
        "expired": token(exp=time.time() - 60),
        "forged": jwt.encode({"sub": "ada"}, "another secret of enough bytes, really", "HS256"),
        "unsigned": jwt.encode({"sub": "ada"}, None, "none"),
        "a guest's id": token(sub="guest:1"),
        "garbage": "garbage",
    }
    for what, given in bad.items():
        client = Client(app.url, given)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.socket.connect(
                app.url, auth={"token": given} if given else {}, transports=["websocket"]
            )
        assert client.refused["data"]["code"] == "unauthorized", what
        await client.socket.shutdown()


async def test_a_token_that_expires_while_connected_ends_the_connection(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, AUTH_JWT_SECRET=SECRET, AUTH_JWT_LEEWAY_SECONDS="0"))
    client = await Client(app.url, token(exp=time.time() + 2)).connect()
    await client.next_event("session:expired", timeout=5)
    await client.socket.wait()
    assert not client.socket.connected
    await client.socket.shutdown()
