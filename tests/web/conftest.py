"""The client of web/client, compiled once, in processes that stand for a browser's tabs."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import (
    _mongod_for_one,
    own_mongod,
    provider,
    redis_server,
    settings,
    start_app,
)
from tests.support.app import HOME
from tests.support.node import require_node
from tests.web.browsing import new_tab, world, world_for_all

__all__ = [
    "_mongod_for_one",
    "built_client",
    "new_tab",
    "open_tab",
    "own_mongod",
    "provider",
    "redis_server",
    "settings",
    "start_app",
    "world",
    "world_for_all",
]

SOURCE = HOME / "web" / "client"


@pytest.fixture(scope="session")
def built_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled client and its tests, as this checkout has them."""
    node = require_node(SOURCE)
    folder = tmp_path_factory.mktemp("client")
    tsc = SOURCE / "node_modules" / "typescript" / "bin" / "tsc"
    subprocess.run([node, tsc, "--project", SOURCE, "--outDir", folder / "dist"], check=True)
    shutil.copytree(SOURCE / "test", folder / "test")
    shutil.copy(SOURCE / "package.json", folder)
    (folder / "node_modules").symlink_to(SOURCE / "node_modules")
    return folder


class Tab:
    """A page with the client in it. ``run`` evaluates JavaScript there: see test/puppet.js."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, code: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(code)}\n".encode())
        line = await asyncio.wait_for(self._process.stdout.readline(), 40)
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    async def get(self, expression: str) -> Any:
        return await self.run(f"return {expression}")

    async def until(self, condition: str) -> None:
        """Wait for what is true of ``state`` (of the conversation), ``last`` (its last message),
        ``connection`` or ``list``."""
        await self.run(
            "await wait(() => { const state = chat()?.state.get(), last = state?.messages.at(-1);"
            " const connection = client.connection.get(), list = client.conversations.get();"
            f" return {condition}; }})"
        )

    async def show(self, conversation_id: str | None = None) -> str:
        """Open a conversation, a new one by default."""
        which = "create()" if conversation_id is None else f"conversation({conversation_id!r})"
        opened: str = await self.get(f"show(client.{which})")
        return opened

    async def send(self, content: str, **options: str) -> str:
        sent: str = await self.get(f"chat().send({json.dumps(content)}, {json.dumps(options)})")
        return sent

    async def ask(self, content: str) -> None:
        """Send a message and wait for its answer's end."""
        sent = await self.send(content)
        await self.until(
            f"last?.status === 'complete' && last.role === 'assistant' && "
            f"state.messages.at(-2).id === {sent!r}"
        )

    async def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.get("chat().state.get().messages")
        return found

    async def contents(self) -> list[str]:
        return [message["content"] for message in await self.messages()]

    async def shown(self, key: str) -> list[tuple[str, int, str]]:
        """All that was ever shown of a message: its status, attempt and content."""
        told: list[str] = await self.get(f"history[{key!r}]")
        return [tuple(json.loads(each)) for each in told]

    async def close(self) -> None:
        """As a browser closes a tab: at once."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


OpenTab = Callable[..., Any]


@pytest.fixture
async def open_tab(built_client: Path, tmp_path: Path) -> AsyncIterator[OpenTab]:
    """Opens tabs of one browser; ``browser`` names another one, with a storage of its own."""
    async with AsyncExitStack() as tabs:

        async def open_one(url: str, browser: str = "browser", **options: Any) -> Tab:
            process = await asyncio.create_subprocess_exec(
                *(require_node(SOURCE), "puppet.js", url, tmp_path / browser),
                json.dumps(options),
                cwd=built_client / "test",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=2**24,
            )
            tab = Tab(process)
            tabs.push_async_callback(tab.close)
            return tab

        yield open_one
