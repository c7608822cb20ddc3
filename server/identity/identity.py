"""Who is calling: a user with a JWT, or by a project's own check, or a guest with a token of ours.

A guest's token is a JWT too, but it can't be taken for a user's, nor the other way round, even if
both secrets are the same text: its key derives from the secret (``_guest_key``), its header has a
type of its own, and its ids have a prefix that no user's may have.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import jwt
import msgspec
from multidict import CIMultiDict, MultiMapping

from server.errors import Away, Unauthorized
from server.identity.check import Check, handshake
from server.identity.keys import KeysAway, KeySet, PublicKey, load_public_key

log = logging.getLogger(__name__)

GUEST_PREFIX = "guest:"
GUEST_TYPE = "mnemosio-guest+jwt"
GUEST_ISSUER = "mnemosio"

MAX_TOKEN_CHARS = 16_384
MAX_USER_ID_CHARS = 200

NO_HEADERS: MultiMapping[str] = CIMultiDict()

# What decoding a hostile token can raise beside PyJWT's own: an infinite ``exp``, a header nested
# thousands deep, a lone surrogate, a claim of another type.
MALFORMED = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)

REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "This token has expired."),
    (jwt.ImmatureSignatureError, "This token is not valid yet."),
    (jwt.InvalidAudienceError, "This token is meant for another audience."),
    (jwt.InvalidIssuerError, "This token comes from another issuer."),
    (jwt.MissingRequiredClaimError, "This token lacks a claim that is needed."),
)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    guest: bool
    token: str | None = None
    """A guest's, to come back with; None for a user, who has one."""
    expires_at: float | None = None
    """When the connection must end, in seconds since 1970; None: never."""


class Identity:
    def __init__(
        self,
        *,
        guest_secret: str | None,
        jwt_secret: str | None = None,
        jwks_url: str | None = None,
        public_key: str | None = None,
        audience: str | None = None,
        issuer: str | None = None,
        leeway_seconds: float = 10.0,
        check: Check | None = None,
    ) -> None:
        """``guest_secret`` None: no guests. ``public_key``: PEM; raises ``KeyRefused``. Where there
        is a ``check``, it decides about users, and no key does."""
        self._guest_keys = [_guest_key(guest_secret)] if guest_secret else []
        self._secret = _padded(jwt_secret) if jwt_secret else None
        self._key_set = KeySet(jwks_url) if jwks_url else None
        self._public_key = load_public_key(public_key) if public_key else None
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway_seconds
        self._check = check

    def trust_guests_of(self, secrets: Sequence[str]) -> None:
        """From now on guests are signed with the first of these, and known by any."""
        self._guest_keys = [_guest_key(secret) for secret in secrets]

    @property
    def description(self) -> str:
        """For the start-up lines: who may connect."""
        algorithms = ["HS256"] if self._secret else []
        if self._public_key:
            algorithms.append(self._public_key[1])
        if self._key_set:
            algorithms.append("keys by URL")
        users = f"users with a JWT ({', '.join(algorithms)})" if algorithms else ""
        if self._check:
            users = f"users that {self._check.name} lets in"
        guests = "guests (anyone)" if self._guest_keys else ""
        return ", and ".join(filter(None, (guests, users))) or "nobody"

    async def identify(
        self, token: object, headers: MultiMapping[str] = NO_HEADERS, address: str = ""
    ) -> Caller:
        """Who presents ``token``; None is a new guest, where guests are allowed. ``headers`` and
        ``address`` are the handshake's, for a project's own check.

        Raises ``Unauthorized`` for a token that is bad in any way (it never makes a new guest), and
        ``Away`` while the users' keys can't be fetched, or the check does not answer.
        """
        if token is None:
            if self._guest_keys or self._check is None:
                return self._new_guest()
            return await self._checked(self._check, None, headers, address)
        if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_CHARS:
            raise Unauthorized("This is not a token.")
        if self._check is not None and not _is_a_guests(token):
            return await self._checked(self._check, token, headers, address)
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") == GUEST_TYPE:
                return self._guest(token)
            return await self._user(token, header)
        except MALFORMED as error:
            log.info("A token was refused", extra={"reason": type(error).__name__})
            raise Unauthorized(_reason(error)) from error

    async def _checked(
        self, check: Check, token: str | None, headers: MultiMapping[str], address: str
    ) -> Caller:
        user_id = await check.ask(handshake(token, headers, address))
        if user_id is None:
            raise Unauthorized
        return Caller(user_id=_users_own(_usable(user_id, "This user's id")), guest=False)

    def _new_guest(self) -> Caller:
        if not self._guest_keys:
            raise Unauthorized("A token is needed here.")
        user_id = GUEST_PREFIX + secrets.token_hex(16)
        claims = {"sub": user_id, "iss": GUEST_ISSUER}
        token = jwt.encode(claims, self._guest_keys[0], "HS256", headers={"typ": GUEST_TYPE})
        return Caller(user_id=user_id, guest=True, token=token)

    def _guest(self, token: str) -> Caller:
        if not self._guest_keys:
            raise Unauthorized("Guests are not let in here.")
        claims = self._guest_claims(token)
        user_id = _usable(claims.get("sub"), "This token's sub")
        if not user_id.startswith(GUEST_PREFIX):
            raise Unauthorized
        return Caller(user_id=user_id, guest=True, token=token)

    def _guest_claims(self, token: str) -> dict[str, Any]:
        *others, last = self._guest_keys
        for key in others:
            with suppress(jwt.InvalidSignatureError):
                return jwt.decode(token, key, ["HS256"], issuer=GUEST_ISSUER)
        return jwt.decode(token, last, ["HS256"], issuer=GUEST_ISSUER)

    async def _user(self, token: str, header: dict[str, Any]) -> Caller:
        key, algorithm = await self._key_for(header)
        claims = jwt.decode(
            token,
            key,
            [algorithm],
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway,
            options={"verify_aud": self._audience is not None, "verify_iat": False},
        )
        user_id = _users_own(_usable(claims.get("sub"), "This token's sub"))
        return Caller(user_id=user_id, guest=False, expires_at=self._end(claims))

    async def _key_for(self, header: dict[str, Any]) -> tuple[bytes | PublicKey, str]:
        """The key to verify with, and the one algorithm it is for. The header only says which of
        the configured keys to try; what it can't say is how to use them."""
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._secret:
            return self._secret, "HS256"
        if self._public_key and algorithm == self._public_key[1]:
            return self._public_key
        if self._key_set and algorithm in ("RS256", "ES256", "EdDSA"):
            try:
                key = await self._key_set.find(header.get("kid"), algorithm)
            except KeysAway as error:
                raise Away("The keys that tokens are checked with can't be fetched.") from error
            if key is not None:
                return key, algorithm
        raise jwt.InvalidKeyError

    def _end(self, claims: dict[str, Any]) -> float | None:
        if claims.get("exp") is None:
            return None
        expires_at = float(claims["exp"])
        # A token let in by the leeway, because clocks differ, must not end in the same moment.
        return expires_at if expires_at > time.time() else expires_at + self._leeway


def _is_a_guests(token: str) -> bool:
    """Whether it says so of itself; its signature is still to be looked at."""
    try:
        return bool(jwt.get_unverified_header(token).get("typ") == GUEST_TYPE)
    except MALFORMED:  # what a project's own check is given need be no JWT
        return False


def _usable(user_id: object, what: str) -> str:
    if not isinstance(user_id, str) or not 0 < len(user_id) <= MAX_USER_ID_CHARS:
        raise Unauthorized(f"{what} is not a text of 1 to {MAX_USER_ID_CHARS} characters.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in user_id):
        raise Unauthorized(f"{what} has control characters.")
    return user_id


def _users_own(user_id: str) -> str:
    if user_id.startswith(GUEST_PREFIX):
        raise Unauthorized("This is a guest's id, but no guest's token.")
    return user_id


def _guest_key(secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"mnemosio guest tokens", hashlib.sha256)


def _padded(secret: str) -> bytes:
    # HMAC itself fills a short key with zeros, so this changes no signature; it only spares a
    # warning a token from PyJWT (settings warn once, at the start).
    return secret.encode().ljust(32, b"\0")


def _reason(error: Exception) -> str:
    for kind, reason in REASONS:
        if isinstance(error, kind):
            return reason
    return "This token is not valid."
