"""The client that docs/protocol.md prints: run, and cut off in the middle."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import HOME
from tests.support.node import JS_FOLDER, require_node
from tests.support.provider import Provider, Script
from tests.support.wait import wait_until
from tests.support.way import Way

PAGE = (HOME / "docs" / "protocol.md").read_text(encoding="utf-8")
MAX_LINES = 40


class Typist:
    """Someone at the client's keyboard, who sees what it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.seen = ""

    async def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def sees(self, text: str) -> None:
        await wait_until(lambda: text in self.seen, f"it printed {text!r}", timeout=20)

    async def read(self) -> None:
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(1 << 16):
            self.seen += data.decode()


@asynccontextmanager
async def example(folder: Path, url: str) -> AsyncIterator[Typist]:
    """The printed client, run against ``url``; it must end well when its input ends."""
    node = require_node()
    [code] = re.findall(r"^```js\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(code.splitlines()) <= MAX_LINES
    assert "http://127.0.0.1:8000" in code
    (folder / "chat.mjs").write_text(code.replace("http://127.0.0.1:8000", url))
    (folder / "node_modules").symlink_to(JS_FOLDER / "node_modules")
    process = await asyncio.create_subprocess_exec(
        node,
        "chat.mjs",
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    typist = Typist(process)
    reading = asyncio.create_task(typist.read())
    try:
        yield typist
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0, typist.seen
    finally:
        if process.returncode is None:
            process.stdin.close()
            process.kill()
            await process.wait()
        await reading


async def test_cut_off_in_an_answer_it_prints_the_rest_and_nothing_twice(
    start_app: StartApp, provider: Provider, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two ", "three."], gate=gate)
    app = start_app(**with_provider(provider))
    async with Way(app.port) as way, example(tmp_path, way.url) as typist:
        await typist.type("Count.")
        await typist.sees("one ")
        way.open = False
        await way.cut()
        gate.set()
        await wait_until(lambda: not provider.open_streams, "the answer ended meanwhile")
        way.open = True
        await typist.sees("three.\n")
        await typist.type("Again.")
        await typist.sees("three.\none two three.\n")
        # Replayed: a snapshot would have been told as "user: Count."
        assert typist.seen == "one two three.\n" * 2


async def test_a_message_whose_acknowledgement_was_lost_is_answered_once(
    start_app: StartApp, provider: Provider, tmp_path: Path
) -> None:
    app = start_app(**with_provider(provider))
    async with Way(app.port) as way, example(tmp_path, way.url) as typist:
        await typist.type("first")
        await typist.sees("echo: first\n")
        way.mute = True
        await typist.type("second")
        await wait_until(lambda: len(provider.chats) == 2, "it was accepted")
        await way.cut()
        way.mute = False
        await typist.sees("echo: second\n")
        await typist.type("third")
        await typist.sees("echo: third\n")
        assert typist.seen == "echo: first\necho: second\necho: third\n"
        assert len(provider.chats) == 3


async def test_after_a_killed_server_it_tells_the_conversation_anew(
    start_app: StartApp, provider: Provider, tmp_path: Path
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    app = start_app(**with_provider(provider))
    async with example(tmp_path, app.url) as typist:
        await typist.type("Hello!")
        await typist.sees("half ")
        app.kill()
        gate = asyncio.Event()
        provider.respond = lambda body: Script(["whole."], gate=gate, gate_after=0)
        app.start()
        await typist.sees("user: Hello!\n")
        gate.set()
        await typist.sees("whole.\n")
        assert typist.seen == "half \nuser: Hello!\nwhole.\n"
