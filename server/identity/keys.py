"""The public keys that users' tokens are verified with: one given as text, or a set at a URL."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from typing import Any

import aiohttp
import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

log = logging.getLogger(__name__)

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

FETCH_TIMEOUT_SECONDS = 5.0
MAX_BODY_BYTES = 1_000_000
REFRESH_SECONDS = 300.0
# Anyone can send tokens with unknown key ids, so these may not make us fetch more often than this;
# yet a few at once, so that a key rotated just after a fetch is found.
MOST_FETCHES = 3
MOST_FETCHES_SECONDS = 10.0

# What a key set's entry can raise that is malformed, or of a kind unknown to PyJWT or OpenSSL.
UNUSABLE = (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError)


class KeyRefused(Exception):
    """Not a public key of a kind that tokens may be signed with."""


class KeysAway(Exception):
    """The key set could not be fetched, so that nothing can be said about a token."""


def algorithm_of(key: object) -> str:
    """The one algorithm that this key verifies. The key decides, never the token: otherwise a token
    signed with the public key as an HS256 secret would pass. Raises ``KeyRefused``."""
    if isinstance(key, RSAPublicKey) and key.key_size >= 2048:
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    if isinstance(key, Ed25519PublicKey):
        return "EdDSA"
    raise KeyRefused


def load_public_key(pem: str) -> tuple[PublicKey, str]:
    """The key and its algorithm. Raises ``KeyRefused``."""
    try:
        key: Any = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyRefused from error
    return key, algorithm_of(key)


class KeySet:
    """A JWKS behind a URL: fetched when first needed, then every few minutes, and at once for a key
    id it does not have. While it can't be fetched, the keys it had stay good."""

    def __init__(
        self,
        url: str,
        *,
        refresh_seconds: float = REFRESH_SECONDS,
        most_fetches_seconds: float = MOST_FETCHES_SECONDS,
        timeout_seconds: float = FETCH_TIMEOUT_SECONDS,
    ) -> None:
        self._url = url
        self._refresh = refresh_seconds
        self._window = most_fetches_seconds
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._keys: dict[tuple[str | None, str], PublicKey] | None = None
        self._fetched_at = -math.inf
        self._ended_at = -math.inf  # of the last try, whatever came of it
        self._tried_at: deque[float] = deque([-math.inf] * MOST_FETCHES, maxlen=MOST_FETCHES)
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        """The key, or None where the set has no such key. Raises ``KeysAway``.

        A token without a key id means the only key of its algorithm, where there is only one.
        """
        asked_at = time.monotonic()
        key = self._look_up(key_id, algorithm)
        stale = asked_at - self._fetched_at > self._refresh
        # One caller waits for the refresh; the others go on with the key they have.
        if key is None or (stale and not self._lock.locked()):
            async with self._lock:
                # Whoever waited here while another tried takes what that one brought.
                if self._ended_at < asked_at and self._tried_at[0] < asked_at - self._window:
                    await self._fetch()
            key = self._look_up(key_id, algorithm)
        if key is None and self._keys is None:
            raise KeysAway
        return key

    def _look_up(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        keys = self._keys or {}
        if key_id is not None:
            return keys.get((key_id, algorithm))
        fitting = [key for (_, of), key in keys.items() if of == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    async def _fetch(self) -> None:
        self._tried_at.append(time.monotonic())
        try:
            async with (
                # Not compressed: what is counted below is then what it takes.
                aiohttp.ClientSession(
                    timeout=self._timeout,
                    trust_env=True,
                    auto_decompress=False,
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                ) as session,
                session.get(self._url, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise ValueError(f"answered with {response.status}")
                body = bytearray()
                async for chunk in response.content.iter_chunked(65_536):
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise ValueError("too long for a JSON Web Key Set")
            self._keys = usable_keys(orjson.loads(body))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning(
                "The keys for users' tokens can't be fetched",
                extra={
                    "error": str(error) or type(error).__name__,
                    "has_earlier_keys": self._keys is not None,
                },
            )
        else:
            self._fetched_at = time.monotonic()
            log.info("Fetched the keys for users' tokens", extra={"keys": len(self._keys)})
        finally:
            self._ended_at = time.monotonic()


def usable_keys(jwks: Any) -> dict[tuple[str | None, str], PublicKey]:
    """Those that verify signatures by an algorithm of ours, by key id and algorithm. Keys of other
    kinds may stand in a set and are passed over. Raises ``ValueError`` where it is no set."""
    if not isinstance(jwks, dict) or not isinstance(jwks.get("keys"), list):
        raise ValueError("not a JSON Web Key Set")
    keys: dict[tuple[str | None, str], PublicKey] = {}
    for entry in jwks["keys"]:
        if not isinstance(entry, dict) or entry.get("use") not in (None, "sig"):
            continue
        try:
            key: Any = jwt.PyJWK(entry).key
            algorithm = algorithm_of(key)
        except (KeyRefused, *UNUSABLE):
            continue
        key_id = entry.get("kid")
        if entry.get("alg") in (None, algorithm) and isinstance(key_id, str | None):
            keys[key_id, algorithm] = key
    return keys
