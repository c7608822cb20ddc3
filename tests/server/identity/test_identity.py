"""Who gets in, as whom, and what is tried to get in as somebody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.errors import Unauthorized
from server.identity.identity import GUEST_ISSUER, GUEST_TYPE, Identity

SECRET = "a secret of thirty-two bytes or more"
GUESTS = "another secret of thirty-two bytes or more"
KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def pem_of(private_key: Any) -> str:
    encoded: bytes = private_key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    return encoded.decode()


def user_token(secret: str = SECRET, /, **claims: Any) -> str:
    return jwt.encode({"sub": "ada"} | claims, secret, "HS256")


def part(value: Mapping[str, Any] | bytes) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hand_made(header: Mapping[str, Any], claims: Mapping[str, Any] | bytes, key: bytes) -> str:
    """A token that no library would make, with a valid HS256 signature by ``key``."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(hmac.digest(key, signed.encode(), hashlib.sha256))}"


async def refusal(identity: Identity, token: object) -> str:
    with pytest.raises(Unauthorized) as refused:
        await identity.identify(token)
    return refused.value.message


@pytest.fixture
def users() -> Identity:
    return Identity(guest_secret=None, jwt_secret=SECRET)


@pytest.fixture
def both() -> Identity:
    return Identity(guest_secret=GUESTS, jwt_secret=SECRET)


# Guests


async def test_a_caller_without_a_token_becomes_a_new_guest() -> None:
    identity = Identity(guest_secret=GUESTS)
    one, other = await identity.identify(None), await identity.identify(None)
    assert one.guest
    assert one.user_id.startswith("guest:")
    assert one.token
    assert one.expires_at is None
    assert one.user_id != other.user_id


async def test_a_guests_token_gives_the_same_guest_on_every_server() -> None:
    guest = await Identity(guest_secret=GUESTS).identify(None)
    assert await Identity(guest_secret=GUESTS).identify(guest.token) == guest


async def test_a_guests_token_of_other_servers_is_refused() -> None:
    guest = await Identity(guest_secret="theirs").identify(None)
    assert await refusal(Identity(guest_secret=GUESTS), guest.token) == "This token is not valid."


async def test_guests_are_turned_away_where_they_are_not_allowed(users: Identity) -> None:
    guest = await Identity(guest_secret=GUESTS).identify(None)
    assert await refusal(users, None) == "A token is needed here."
    assert await refusal(users, guest.token) == "Guests are not let in here."


async def test_users_and_guests_both_get_in_where_both_are_allowed(both: Identity) -> None:
    assert (await both.identify(None)).guest
    user = await both.identify(user_token())
    assert (user.user_id, user.guest, user.token, user.expires_at) == ("ada", False, None, None)


# Users


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_user_gets_in_by_a_public_key(algorithm: str) -> None:
    identity = Identity(guest_secret=None, public_key=pem_of(KEYS[algorithm]))
    token = jwt.encode({"sub": "ada"}, KEYS[algorithm], algorithm)
    assert (await identity.identify(token)).user_id == "ada"
    assert identity.description == f"users with a JWT ({algorithm})"


async def test_a_short_secret_works_without_a_warning() -> None:
    token = hand_made({"alg": "HS256"}, {"sub": "ada"}, b"short")
    identity = Identity(guest_secret=None, jwt_secret="short")
    assert (await identity.identify(token)).user_id == "ada"


@pytest.mark.parametrize(
    ("claims", "gets_in"),
    [
        ({"exp": 60}, True),
        ({"exp": -5}, True),
        ({"exp": -15}, False),
        ({"nbf": -60}, True),
        ({"nbf": 5}, True),
        ({"nbf": 15}, False),
        ({"iat": 3600}, True),
    ],
)
async def test_times_count_with_the_leeway(
    users: Identity, claims: dict[str, float], gets_in: bool
) -> None:
    now = int(time.time())
    token = user_token(**{name: now + seconds for name, seconds in claims.items()})
    if gets_in:
        assert (await users.identify(token)).user_id == "ada"
    else:
        assert await refusal(users, token) in (
            "This token has expired.",
            "This token is not valid yet.",
        )


async def test_a_connection_ends_when_its_token_does(users: Identity) -> None:
    now = int(time.time())
    assert (await users.identify(user_token(exp=now + 60))).expires_at == now + 60


async def test_a_token_let_in_by_the_leeway_ends_with_the_leeway(users: Identity) -> None:
    now = int(time.time())
    assert (await users.identify(user_token(exp=now - 2))).expires_at == now + 8


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "chat", "iss": "idp"}, None),
        ({"aud": ["other", "chat"], "iss": "idp"}, None),
        ({"aud": "other", "iss": "idp"}, "This token is meant for another audience."),
        ({"iss": "idp"}, "This token lacks a claim that is needed."),
        ({"aud": "chat", "iss": "other"}, "This token comes from another issuer."),
        ({"aud": "chat"}, "This token lacks a claim that is needed."),
    ],
)
async def test_audience_and_issuer_count_where_configured(
    users: Identity, claims: dict[str, Any], reason: str | None
) -> None:
    strict = Identity(guest_secret=None, jwt_secret=SECRET, audience="chat", issuer="idp")
    token = user_token(**claims)
    assert (await users.identify(token)).user_id == "ada"
    if reason is None:
        assert (await strict.identify(token)).user_id == "ada"
    else:
        assert await refusal(strict, token) == reason


@pytest.mark.parametrize("sub", ["a", "x" * 200, "auth0|5f7c", "José ⚡", "a b"])
async def test_a_sub_may_be_any_text(users: Identity, sub: str) -> None:
    assert (await users.identify(user_token(sub=sub))).user_id == sub


@pytest.mark.parametrize(
    "sub",
    [
        "",
        "x" * 201,
        "a\0b",
        "a\nb",
        "\x85",
        "\ud800",
        "guest:1",
        "guest:",
        None,
        7,
        True,
        ["a"],
        {},
    ],
)
async def test_a_sub_that_can_be_no_users_id_is_refused(both: Identity, sub: object) -> None:
    token = hand_made({"alg": "HS256"}, {"sub": sub}, SECRET.encode())
    await refusal(both, token)


# Bad tokens


@pytest.mark.parametrize(
    "token",
    [
        "",
        " ",
        "x",
        "a.b.c",
        "..",
        "....",
        "\ud800",
        "é.é.é",
        "x" * 20_000,
        7,
        0,
        False,
        b"x",
        [],
        {},
        {"token": "x"},
        part(b'{"alg":' + b"[" * 10_000) + ".e30.",
        part(b'{"alg":"HS256","kid":7}') + ".e30.",
        part(b'{"alg":["HS256"]}') + ".e30.",
        part(b'{"alg":"HS256","kid":' + b"9" * 5_000 + b"}") + ".e30.",
        part(b"[]") + ".e30.",
    ],
    ids=lambda token: repr(token)[:20],
)
async def test_what_is_no_token_is_refused_and_makes_no_guest(both: Identity, token: Any) -> None:
    await refusal(both, token)


@pytest.mark.parametrize(
    "claims",
    [
        b'{"sub":"ada","exp":Infinity}',
        b'{"sub":"ada","exp":NaN}',
        b'{"sub":"ada","exp":[]}',
        b'{"sub":"ada","nbf":1e999}',
        b'{"sub":"ada","nbf":{}}',
        b'{"sub":"ada","exp":null}',
        b'"ada"',
        b'["sub"]',
        b"\xff",
        b"",
    ],
)
async def test_claims_that_make_no_sense_are_refused(both: Identity, claims: bytes) -> None:
    await refusal(both, hand_made({"alg": "HS256"}, claims, SECRET.encode()))


def unsigned(claims: Mapping[str, Any], algorithm: str) -> str:
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}."


PUBLIC = pem_of(KEYS["RS256"])
SUB = {"sub": "ada"}
ATTACKS: dict[str, Callable[[], str]] = {
    "no signature": lambda: unsigned(SUB, "none"),
    "no signature, in capitals": lambda: unsigned(SUB, "NONE"),
    "the signature cut off": lambda: user_token().rpartition(".")[0] + ".",
    "another secret": lambda: user_token("x" * 32),
    "an empty secret": lambda: hand_made({"alg": "HS256"}, SUB, b""),
    "another hash": lambda: jwt.encode(SUB, SECRET * 2, "HS512"),
    "the public key as secret": lambda: hand_made({"alg": "HS256"}, SUB, PUBLIC.encode()),
    "the secret for RS256": lambda: hand_made({"alg": "RS256"}, SUB, SECRET.encode()),
    "a key of one's own": lambda: jwt.encode(SUB, rsa.generate_private_key(65537, 2048), "RS256"),
    "a key of one's own, in the header": lambda: jwt.encode(
        SUB, KEYS["ES256"], "ES256", headers={"jwk": {"kty": "EC"}, "jku": "http://127.0.0.1:9/"}
    ),
    "another padding of the right key": lambda: jwt.encode(SUB, KEYS["RS256"], "PS256"),
    "an unknown critical header": lambda: hand_made(
        {"alg": "HS256", "crit": ["x"], "x": 1}, SUB, SECRET.encode()
    ),
    "other claims under the signature": lambda: ".".join(
        [user_token().split(".")[0], part({"sub": "eve"}), user_token().split(".")[2]]
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_forged_token_is_refused(attack: str) -> None:
    identity = Identity(guest_secret=GUESTS, jwt_secret=SECRET, public_key=PUBLIC)
    assert (await identity.identify(user_token())).user_id == "ada"
    await refusal(identity, ATTACKS[attack]())


GUEST_CLAIMS = {"sub": "guest:0123", "iss": GUEST_ISSUER}
GUEST_HEADER = {"alg": "HS256", "typ": GUEST_TYPE}
GUEST_ATTACKS: dict[str, Callable[[], str]] = {
    "signed with the plain secret": lambda: hand_made(GUEST_HEADER, GUEST_CLAIMS, SECRET.encode()),
    "as a user's token": lambda: hand_made({"alg": "HS256"}, GUEST_CLAIMS, SECRET.encode()),
    "a user's id": lambda: hand_made(GUEST_HEADER, GUEST_CLAIMS | SUB, SECRET.encode()),
    "without a signature": lambda: f"{part(GUEST_HEADER | {'alg': 'none'})}.{part(GUEST_CLAIMS)}.",
}


@pytest.mark.parametrize("attack", GUEST_ATTACKS)
async def test_a_guests_token_can_not_be_forged_even_where_the_secrets_are_equal(
    attack: str,
) -> None:
    identity = Identity(guest_secret=SECRET, jwt_secret=SECRET)
    await refusal(identity, GUEST_ATTACKS[attack]())


async def test_a_guests_token_is_no_users_even_where_the_secrets_are_equal() -> None:
    identity = Identity(guest_secret=SECRET, jwt_secret=SECRET)
    guest = await identity.identify(None)
    assert guest.token
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(guest.token, SECRET, ["HS256"])
    _, claims, signature = guest.token.split(".")
    await refusal(identity, f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{claims}.{signature}")
    assert (await identity.identify(guest.token)).guest


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (Identity(guest_secret=GUESTS), "guests (anyone)"),
        (Identity(guest_secret=None), "nobody"),
        (Identity(guest_secret=None, jwt_secret=SECRET), "users with a JWT (HS256)"),
        (
            Identity(guest_secret=GUESTS, jwt_secret=SECRET),
            "guests (anyone), and users with a JWT (HS256)",
        ),
        (
            Identity(guest_secret=None, jwt_secret=SECRET, jwks_url="http://127.0.0.1:9/"),
            "users with a JWT (HS256, keys by URL)",
        ),
    ],
)
def test_the_description_says_who_may_connect(identity: Identity, said: str) -> None:
    assert identity.description == said
