"""Who signs users' tokens: keys, and an HTTP server that hands out their public halves."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

MAKERS: dict[str, Any] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
SHAPES: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


class Key:
    """A private key that signs by one algorithm."""

    def __init__(self, algorithm: str, key_id: str) -> None:
        self.algorithm = algorithm
        self.key_id = key_id
        self.private = MAKERS[algorithm]()

    def token(self, user_id: str, **claims: Any) -> str:
        return jwt.encode(
            {"sub": user_id, "exp": time.time() + 60, **claims},
            self.private,
            self.algorithm,
            headers={"kid": self.key_id},
        )

    @property
    def jwk(self) -> dict[str, Any]:
        shape: dict[str, Any] = json.loads(SHAPES[self.algorithm].to_jwk(self.private.public_key()))
        return shape | {"kid": self.key_id, "use": "sig"}


class Issuer:
    """Hands out ``keys``; counts how often it was ``asked``. ``away``: it fails."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.away = False
        self.asked = 0
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/jwks", self._hand_out)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/jwks"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _hand_out(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.away:
            return web.Response(status=503)
        return web.json_response({"keys": [key.jwk for key in self.keys]})
