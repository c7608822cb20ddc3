"""Tokens checked with a key set from a real HTTP server: rotation, outages, floods."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from server.errors import Away, Unauthorized
from server.identity.identity import Identity
from server.identity.keys import MOST_FETCHES, KeysAway, KeySet, usable_keys

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(private_key: Any, key_id: str | None, **more: Any) -> dict[str, Any]:
    kinds: list[tuple[type, Any]] = [
        (rsa.RSAPrivateKey, RSAAlgorithm),
        (ec.EllipticCurvePrivateKey, ECAlgorithm),
        (ed25519.Ed25519PrivateKey, OKPAlgorithm),
    ]
    algorithm = next(of for kind, of in kinds if isinstance(private_key, kind))
    shape: dict[str, Any] = json.loads(algorithm.to_jwk(private_key.public_key()))
    return shape | ({} if key_id is None else {"kid": key_id}) | more


def token(private_key: Any, algorithm: str, key_id: str | None) -> str:
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode({"sub": "ada"}, private_key, algorithm, headers=headers)


class Issuer:
    """An HTTP server that hands out a key set, and counts how often it was asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.body: bytes | None = None
        self.status = 200
        self.encoding: str | None = None
        self.drops = False
        """It sends a byte now and then, and never comes to an end."""
        self.asked = 0
        self.paths: list[str] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        self.paths.append(request.path)
        if self.drops:
            drops = web.StreamResponse()
            await drops.prepare(request)
            with suppress(ConnectionError):
                while self.drops:
                    await drops.write(b" ")
                    await asyncio.sleep(0.01)
            return drops
        await self.answering.wait()
        body = self.body if self.body is not None else json.dumps({"keys": self.keys}).encode()
        headers = {"location": "/elsewhere"} if self.status == 302 else {}
        if self.encoding:
            headers["content-encoding"] = self.encoding
        return web.Response(body=body, status=self.status, headers=headers)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/{any}", issuer.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    yield issuer
    issuer.answering.set()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")], ids=["RSA", "EC", "Ed"]
)
async def test_a_user_gets_in_by_a_key_of_the_set(issuer: Issuer, key: Any, algorithm: str) -> None:
    issuer.keys = [jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "d")]
    identity = Identity(guest_secret=None, jwks_url=issuer.url)
    key_id = {"RS256": "r", "ES256": "e", "EdDSA": "d"}[algorithm]
    for _ in range(3):
        assert (await identity.identify(token(key, algorithm, key_id))).user_id == "ada"
    assert (await identity.identify(token(key, algorithm, None))).user_id == "ada"
    assert issuer.asked == 1


async def test_a_rotated_key_is_fetched_when_it_is_first_seen(issuer: Issuer) -> None:
    identity = Identity(guest_secret=None, jwks_url=issuer.url)
    issuer.keys = [jwk(RSA, "old")]
    await identity.identify(token(RSA, "RS256", "old"))
    new = rsa.generate_private_key(65537, 2048)
    issuer.keys = [jwk(new, "new")]
    assert (await identity.identify(token(new, "RS256", "new"))).user_id == "ada"
    with pytest.raises(Unauthorized):
        await identity.identify(token(RSA, "RS256", "old"))


async def test_unknown_key_ids_can_not_make_it_fetch_without_end(issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA, "r")]
    identity = Identity(guest_secret=None, jwks_url=issuer.url)
    for number in range(20):
        with pytest.raises(Unauthorized):
            await identity.identify(token(RSA, "RS256", f"unknown-{number}"))
    assert issuer.asked == MOST_FETCHES
    assert (await identity.identify(token(RSA, "RS256", "r"))).user_id == "ada"


async def test_many_callers_at_once_make_one_fetch(issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA, "r")]
    identity = Identity(guest_secret=None, jwks_url=issuer.url)
    callers = [identity.identify(token(RSA, "RS256", "r")) for _ in range(50)]
    assert {caller.user_id for caller in await asyncio.gather(*callers)} == {"ada"}
    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (302, b'{"keys": []}'),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"keys": {}}'),
        (200, b" " * 2_000_000),
    ],
)
async def test_while_no_keys_can_be_had_the_answer_is_unavailable(
    issuer: Issuer, status: int, body: bytes
) -> None:
    issuer.status, issuer.body = status, body
    identity = Identity(guest_secret="guests", jwks_url=issuer.url)
    with pytest.raises(Away):
        await identity.identify(token(RSA, "RS256", "r"))
    assert (await identity.identify(None)).guest

    issuer.status, issuer.body, issuer.keys = 200, None, [jwk(RSA, "r")]
    assert (await identity.identify(token(RSA, "RS256", "r"))).user_id == "ada"


async def test_a_silent_issuer_costs_a_caller_no_more_than_the_time_out(issuer: Issuer) -> None:
    issuer.answering.clear()
    keys = KeySet(issuer.url, timeout_seconds=0.1)
    callers = [keys.find("r", "RS256") for _ in range(20)]
    results = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 2)
    assert [type(result) for result in results] == [KeysAway] * 20
    assert issuer.asked == 1


async def test_known_keys_stay_good_while_the_issuer_is_away(issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA, "r")]
    keys = KeySet(issuer.url, refresh_seconds=0.0, most_fetches_seconds=0.0)
    known = await keys.find("r", "RS256")
    assert known is not None
    issuer.status = 500
    assert await keys.find("r", "RS256") is known
    assert issuer.asked == 2


async def test_a_withdrawn_key_is_refused_after_the_next_refresh(issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA, "r"), jwk(EC, "e")]
    keys = KeySet(issuer.url, refresh_seconds=0.0, most_fetches_seconds=0.0)
    assert await keys.find("r", "RS256")
    issuer.keys = [jwk(EC, "e")]
    assert await keys.find("r", "RS256") is None


async def test_a_token_without_a_key_id_is_refused_where_several_keys_fit(issuer: Issuer) -> None:
    other = rsa.generate_private_key(65537, 2048)
    issuer.keys = [jwk(RSA, "r"), jwk(other, "other")]
    identity = Identity(guest_secret=None, jwks_url=issuer.url)
    with pytest.raises(Unauthorized):
        await identity.identify(token(RSA, "RS256", None))


async def test_a_symmetric_key_in_the_set_signs_nothing(issuer: Issuer) -> None:
    issuer.keys = [{"kty": "oct", "kid": "s", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]
    identity = Identity(guest_secret=None, jwks_url=issuer.url)
    forged = token("secretsecretsecretsecretsecret" + "secret", "HS256", "s")
    with pytest.raises(Unauthorized):
        await identity.identify(forged)


@pytest.mark.parametrize(
    "headers",
    [
        {"kid": "../../dev/null"},
        {"kid": "r' OR 1=1"},
        {"kid": "R"},
        {"kid": "r\0"},
        {"kid": "x" * 10_000},
        {"kid": "r", "jwk": jwk(EC, "r")},
        {"jku": "{url}", "kid": "theirs"},
        {"x5u": "{url}", "kid": "theirs"},
        {"x5c": ["MIIB"], "kid": "r"},
    ],
    ids=lambda headers: ",".join(headers),
)
async def test_no_header_of_a_token_brings_its_key(issuer: Issuer, headers: dict[str, Any]) -> None:
    issuer.keys = [jwk(RSA, "r")]
    identity = Identity(guest_secret=None, jwks_url=issuer.url)
    theirs = issuer.url.replace("/jwks", "/theirs")
    named = {name: theirs if value == "{url}" else value for name, value in headers.items()}
    own = rsa.generate_private_key(65537, 2048)
    with pytest.raises(Unauthorized):
        await identity.identify(jwt.encode({"sub": "ada"}, own, "RS256", headers=named))
    assert "/theirs" not in issuer.paths


async def test_a_public_key_of_the_set_is_no_secret(issuer: Issuer) -> None:
    issuer.keys = [jwk(RSA, "r")]
    identity = Identity(guest_secret=None, jwks_url=issuer.url, jwt_secret="x" * 32)
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, claims = ({"alg": "HS256", "kid": "r"}, {"sub": "ada"})
    signed = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (head, claims)
    )
    for secret in (pem, pem.strip(), json.dumps(issuer.keys[0]).encode()):
        signature = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256"))
        with pytest.raises(Unauthorized):
            await identity.identify(f"{signed}.{signature.rstrip(b'=').decode()}")


async def test_a_set_that_comes_in_drops_or_blown_up_is_given_up(
    issuer: Issuer,
) -> None:
    issuer.keys = [jwk(RSA, "r")]
    issuer.drops = True
    keys = KeySet(issuer.url, timeout_seconds=0.3, most_fetches_seconds=0.0)
    with pytest.raises(KeysAway):
        await asyncio.wait_for(keys.find("r", "RS256"), 2)
    issuer.drops = False
    issuer.encoding, issuer.body = "gzip", gzip.compress(b" " * 50_000_000)
    with pytest.raises(KeysAway):
        await keys.find("r", "RS256")
    issuer.encoding, issuer.body = None, None
    assert await keys.find("r", "RS256")


@pytest.mark.parametrize(
    "entry",
    [
        jwk(RSA, "x", use="enc"),
        jwk(RSA, "x", alg="RS512"),
        jwk(RSA, "x", alg="PS256"),
        jwk(RSA, None, kid=7),
        jwk(rsa.generate_private_key(65537, 1024), "x"),
        jwk(ec.generate_private_key(ec.SECP384R1()), "x"),
        json.loads(RSAAlgorithm.to_jwk(RSA)),
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA", "n": 7, "e": None},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "Ed25519"},
        {"kty": "new"},
        {"kty": ["RSA"]},
        {},
        "x",
        None,
    ],
    ids=[
        "for encryption",
        "of RS512",
        "of PS256",
        "its name a number",
        "short",
        "of another curve",
        "nameless",
        "symmetric",
        "RSA of no numbers",
        "no point of its curve",
        "without its point",
        "of a new kind",
        "its kind a list",
        "empty",
        "a text",
        "nothing",
    ],
)
def test_a_key_of_no_use_is_passed_over(entry: object) -> None:
    assert list(usable_keys({"keys": [entry, jwk(EC, "e")]})) == [("e", "ES256")]
