"""A project's own check: the example of docs/operations.md, run as printed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_identity import refused
from tests.support.app import HOME, KEPT, App
from tests.support.client import Client
from tests.support.pages import block

ME = "https://example.com/api/me"
ELSEWHERE = "https://app.example"


class Site:
    """Where the users are signed in: ada has a cookie and a token."""

    def __init__(self) -> None:
        self.status = 200
        self.url = ""

    async def me(self, request: web.Request) -> web.Response:
        if self.status != 200:
            return web.Response(status=self.status)
        proofs = (request.headers.get("Cookie"), request.headers.get("Authorization"))
        if proofs not in (("session=ada", None), (None, "Bearer ada's token")):
            return web.Response(status=401)
        return web.json_response({"id": 17, "name": "Ada"})


@pytest.fixture
async def users() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_get("/api/me", site.me)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/me"
    yield site
    await runner.cleanup()


async def by_cookie(app: App, origin: str) -> str:
    client = Client(app.url)
    headers = {"Cookie": "session=ada", "Origin": origin}
    try:
        await client.socket.connect(app.url, headers=headers, transports=["websocket"])
        return str((await client.next_event("session"))["user_id"])
    finally:
        await client.close()


async def test_the_example_lets_in_whom_the_site_knows(
    start_app: StartApp, users: Site, tmp_path: Path
) -> None:
    code = block("docs/operations.md", "python")
    assert code.count(ME) == 1
    (tmp_path / "chat_auth.py").write_text(code.replace(ME, users.url))
    settings = {"AUTH_CHECK": "chat_auth:check", "CORS_ORIGINS": ELSEWHERE}
    app = await asyncio.to_thread(start_app, **settings)
    async with Client(app.url, "ada's token") as tab:
        assert (tab.session["user_id"], tab.session["guest"]) == ("17", False)
        assert "token" not in tab.session
        assert (await tab.ok("conversation:list"))["conversations"] == []
    for stranger in ("eve's token", None, ""):
        assert (await refused(app, stranger))["code"] == "unauthorized"

    # So does a cookie from the page's own origin; a page of another one that may connect proves
    # nothing by what the browser adds.
    assert await by_cookie(app, app.url) == "17"
    cookie = {"Cookie": "session=ada"}
    assert (await refused(app, None, **cookie, Origin=ELSEWHERE))["code"] == "unauthorized"
    spoofed = {"X-Forwarded-Host": "app.example", "X-Forwarded-Proto": "https"}
    told = await refused(app, None, **cookie, **spoofed, Origin=ELSEWHERE)
    assert told["code"] == "unauthorized"

    users.status = 500
    told = await refused(app, "ada's token")
    assert (told["code"], told["retryable"]) == ("unavailable", True)
    assert "500" not in json.dumps(told)
    assert "AUTH_CHECK failed" in app.output
    assert "ada's token" not in app.output


def test_a_check_that_is_not_there_ends_the_start_with_one_line(tmp_path: Path) -> None:
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    settings = {"AUTH_CHECK": "no_such:check", "PORT": "0", "DATA_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, str(HOME / "main.py")],
        env=environment | settings | {"LOG_LEVEL": "error"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "Mnemosio can't start: AUTH_CHECK is no_such:check; "
        "ModuleNotFoundError: No module named 'no_such'.\n"
    )
