"""Who gets in, as whom, and until when: with the server as a process and stock clients."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
import socketio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.acceptance.conftest import StartApp, with_provider
from tests.server.identity.test_identity import hand_made
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.issuer import Issuer, Key
from tests.support.provider import Provider
from tests.support.wait import wait_until

SECRET = "a secret of more than thirty-two bytes"


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "ada", "exp": time.time() + 60, **claims}, SECRET, "HS256")


async def refused(app: App, given: str | None, **headers: str) -> dict[str, Any]:
    """What a client is told who is not let in."""
    client = Client(app.url)
    try:
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.socket.connect(
                app.url,
                auth={} if given is None else {"token": given},
                headers=headers,
                transports=["websocket"],
            )
        data: dict[str, Any] = client.refused["data"]
        return data
    finally:
        await client.socket.shutdown()


async def who(app: App, given: str | None) -> str:
    async with Client(app.url, given) as client:
        return str(client.session["user_id"])


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    await issuer.start()
    yield issuer
    await issuer.stop()


async def test_a_guest_comes_back_as_the_same_guest_after_a_restart(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        first = guest.session["user_id"]
    app.stop()
    app = start_app(app.data_dir, **with_provider(provider))
    assert await who(app, guest.token) == first
    assert await who(app, None) != first
    assert (await refused(app, "garbage"))["code"] == "unauthorized"


async def test_only_good_tokens_get_in_and_only_as_long_as_they_last(
    start_app: StartApp, provider: Provider
) -> None:
    key, other = Key("EdDSA", "k"), Key("EdDSA", "k")
    pem = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    app = start_app(
        **with_provider(
            provider,
            AUTH_JWT_SECRET=SECRET,
            AUTH_JWT_PUBLIC_KEY=pem.decode().replace("\n", "\\n"),
            AUTH_JWT_LEEWAY_SECONDS="0",
            AUTH_JWT_AUDIENCE="chat",
            AUTH_JWT_ISSUER="idp",
            LOG_LEVEL="debug",
        )
    )
    ours = {"aud": "chat", "iss": "idp"}
    async with Client(app.url, token(**ours)) as user:
        assert user.session["user_id"] == "ada"
        assert user.session["guest"] is False
        assert "token" not in user.session
    assert await who(app, key.token("bob", **ours)) == "bob"
    bad = {
        "missing": None,
        "expired": token(**ours, exp=time.time() - 1),
        "not valid yet": token(**ours, nbf=time.time() + 60),
        "for others": token(**ours | {"aud": "mail"}),
        "of others": token(**ours | {"iss": "eve"}),
        "without an audience": token(iss="idp"),
        "forged": jwt.encode(
            {"sub": "ada", **ours}, "another secret of enough bytes, yes", "HS256"
        ),
        "signed by another key": other.token("ada", **ours),
        "with the public key as secret": hand_made({"alg": "HS256"}, {"sub": "ada", **ours}, pem),
        "unsigned": jwt.encode({"sub": "ada", **ours}, None, "none"),
        "a guest's id": token(**ours, sub="guest:1"),
        "garbage": "garbage",
    }
    for what, given in bad.items():
        assert (await refused(app, given))["code"] == "unauthorized", what

    await _somebody_else_on_the_same_client(app, ours)

    client = await Client(app.url, token(**ours, exp=time.time() + 2), reconnection=True).connect()
    await client.next_event("session:expired", timeout=5)
    await wait_until(lambda: client.refused, "the same token is refused when it comes back")
    assert client.refused["data"]["code"] == "unauthorized"
    await client.socket.shutdown()
    for secret in (SECRET, client.token, *bad.values()):
        assert secret in (None, "garbage") or secret not in app.output


async def _somebody_else_on_the_same_client(app: App, ours: dict[str, str]) -> None:
    """One stock client, as ada and then as bob; what ada followed goes on meanwhile."""
    tab = await Client(app.url, token(**ours)).connect()
    asked = await tab.ask("private")
    conversation_id = asked["conversation_id"]
    await tab.socket.disconnect()
    tab.events.clear()
    tab.token = token(**ours, sub="bob")
    await tab.connect()
    assert tab.session["user_id"] == "bob"
    assert (await tab.ok("conversation:list"))["conversations"] == []
    after = {"conversation_id": conversation_id, "after": asked["cursor"]}
    assert (await tab.refusal("conversation:open", **after))["code"] == "not_found"
    async with Client(app.url, token(**ours)) as ada:
        await ada.ask("more of it", conversation_id)
        await ada.ok("conversation:rename", conversation_id=conversation_id, title="secret")
    await tab.ok("conversation:list")  # what was sent before this answer has come
    assert {name for name, _ in tab.events} <= {"session", "server:status"}
    # The other way round: as ada again, all of hers is there.
    await tab.socket.disconnect()
    tab.token = token(**ours)
    await tab.connect()
    assert len(await tab.contents(conversation_id)) == 4
    await tab.close()


async def test_a_key_set_is_fetched_when_needed_and_rotated_without_a_restart(
    start_app: StartApp, issuer: Issuer
) -> None:
    app = start_app(AUTH_JWKS_URL=issuer.url, AUTH_ALLOW_GUESTS="true")
    first, *others = keys = [Key(name, name.lower()) for name in ("RS256", "ES256", "EdDSA")]
    issuer.away = True
    assert (await refused(app, first.token("ada")))["code"] == "unavailable"
    assert (await who(app, None)).startswith("guest:")

    issuer.away, issuer.keys = False, keys
    for key in keys:
        assert await who(app, key.token("ada")) == "ada"
    asked = issuer.asked
    assert asked == 2

    rotated = Key("RS256", "rotated")
    issuer.keys = [rotated, *others]
    assert await who(app, rotated.token("ada")) == "ada"
    assert (await refused(app, first.token("ada")))["code"] == "unauthorized"

    # A flood of ids that nobody knows is no flood of fetches, and holds up nobody else.
    for _ in range(10):
        stranger = Key("ES256", new_id())
        assert (await refused(app, stranger.token("ada")))["code"] == "unauthorized"
    assert issuer.asked <= asked + 3

    issuer.away = True
    assert await who(app, others[0].token("ada")) == "ada"
    assert "Traceback" not in app.output
