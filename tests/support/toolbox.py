"""Tools for a server's TOOLS=tests.support.toolbox:tools, and what they reach out to.

shop = Shop()
await shop.start()
start_app(TOOLS="tests.support.toolbox:tools", SHOP_URL=shop.url)
shop.gate = asyncio.Event()      # holds every call from now on
assert shop.calls == ["/pay?n=1"]
"""

from __future__ import annotations

import asyncio
import os
import time
import urllib.request

import aiohttp
from aiohttp import web
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool


class Shop:
    """A service that notes each call before it answers it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.left = 0
        """Calls whose caller went away before the answer."""
        self.gate: asyncio.Event | None = None
        self.answer = "done"
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{what}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        self.calls.append(request.path_qs)
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        return web.Response(text=f"{self.answer} {request.path_qs}")


async def _asked(path: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(os.environ["SHOP_URL"] + path) as response,
    ):
        return await response.text()


@tool
async def pay(n: int) -> str:
    """Pay a bill."""
    return await _asked(f"/pay?n={n}")


pay.metadata = {"changes": True, "repeat": False}


@tool
async def look(what: str) -> str:
    """Look something up."""
    return await _asked(f"/look?what={what}")


def look_slowly(what: str) -> str:
    """Look something up, and hold the thread meanwhile."""
    with urllib.request.urlopen(f"{os.environ['SHOP_URL']}/slow?what={what}") as response:
        return str(response.read().decode())


def who(config: RunnableConfig) -> str:
    """Whose conversation it is."""
    known = config["configurable"]
    return f"{known['user_id']} {known['conversation_id']} {known['turn_id']} {known['question']}"


def hang() -> str:
    """Never come back."""
    time.sleep(600)
    return "never"


tools = [pay, look, look_slowly, who, hang]
