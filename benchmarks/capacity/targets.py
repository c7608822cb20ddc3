"""The servers that are compared, each in a process of its own, all before one provider."""

from __future__ import annotations

import asyncio
import os
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.capacity import peers
from benchmarks.report import Missing
from benchmarks.servers import Running, module, mongod, ours, pid_of, process, redis_server
from tests.support.ports import free_port

TOKENS_PER_SECOND = 50
START_SECONDS = 60.0
DOES_NOT_START = "it is installed, but does not start"


@dataclass(frozen=True)
class Target:
    name: str
    user: str
    """One of ``users.USERS``."""
    port: int
    pid: int | None
    """None where there is no server."""
    helpers: dict[str, int] = field(default_factory=dict)
    """Processes that work for it, by name."""


@dataclass(frozen=True)
class Targets:
    provider: Running
    running: dict[str, Target]
    missing: dict[str, str]
    """Why the others are not there."""

    def pids(self, target: Target) -> dict[str, int]:
        """Of all that runs here, by name; what works for another target is named after it."""
        pids = {"provider": self.provider.process.pid, **target.helpers, "bench": os.getpid()}
        if target.pid is not None:
            pids["server"] = target.pid
        for other in self.running.values():
            if other is not target and other.pid is not None:
                at_rest = {"server": other.pid, **other.helpers}
                pids |= {f"{other.name}, {name}": pid for name, pid in at_rest.items()}
        return pids


Start = Callable[[AsyncExitStack, Running, Path], Awaitable[Target]]
"""Ended with the stack; the provider; a folder for data. Raises ``Missing``."""


async def _ours(stack: AsyncExitStack, provider: Running, folder: Path) -> Target:
    redis = stack.enter_context(redis_server())
    mongo = mongod(folder / "mongod")
    await asyncio.to_thread(mongo.start)
    stack.callback(mongo.kill)
    app = await ours(
        stack,
        folder,
        REDIS_URL=redis.url,
        MONGODB_URI=mongo.uri,
        OPENAI_API_KEY="none",
        OPENAI_BASE_URL=f"http://127.0.0.1:{provider.port}/v1",
    )
    helpers = {"redis": redis.pid, "mongod": mongo.pid}
    return Target(NAMES[OURS], "mnemosio", app.port, pid_of(app), helpers)


async def _plain(stack: AsyncExitStack, provider: Running, folder: Path) -> Target:
    server = await stack.enter_async_context(module("benchmarks.plain_server", str(provider.port)))
    return Target(NAMES["plain"], "plain", server.port, server.process.pid)


async def _node(stack: AsyncExitStack, provider: Running, folder: Path) -> Target:
    command = await peers.node()
    try:
        server = await stack.enter_async_context(process(*command, str(provider.port)))
    except RuntimeError:
        raise Missing(DOES_NOT_START) from None
    return Target(NAMES["node"], "plain", server.port, server.process.pid)


async def _chainlit(stack: AsyncExitStack, provider: Running, folder: Path) -> Target:
    command = await peers.chainlit()
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        *(*command, "--host", "127.0.0.1", "--port", str(port)),
        cwd=peers.folder("chainlit"),
        env={**os.environ, "PROVIDER": f"http://127.0.0.1:{provider.port}/v1"},
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    stack.push_async_callback(_ended, server)
    await _listening(server, port)
    return Target(NAMES["chainlit"], "chainlit", port, server.pid)


async def _no_server(stack: AsyncExitStack, provider: Running, folder: Path) -> Target:
    return Target(NAMES[DIRECT], "provider", provider.port, None)


OURS, DIRECT = "ours", "direct"
STARTS: dict[str, Start] = {
    OURS: _ours,
    "node": _node,
    "chainlit": _chainlit,
    "plain": _plain,
    DIRECT: _no_server,
}
NAMES = {
    OURS: "this server",
    "node": "bare Node",
    "chainlit": "Chainlit",
    "plain": "plain server",
    DIRECT: "no server",
}


@asynccontextmanager
async def started(
    names: Sequence[str], tokens_per_second: float = TOKENS_PER_SECOND
) -> AsyncIterator[Targets]:
    """All of these that this machine has."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mnemosio-bench-")))
        provider = await stack.enter_async_context(
            module("benchmarks.provider", str(tokens_per_second))
        )
        targets = Targets(provider, {}, {})
        for name in names:
            try:
                targets.running[name] = await STARTS[name](stack, provider, folder)
            except Missing as missing:
                targets.missing[name] = str(missing)
        yield targets


async def _listening(server: asyncio.subprocess.Process, port: int) -> None:
    """Raises ``Missing`` where it does not come to that."""
    end = asyncio.get_running_loop().time() + START_SECONDS
    while asyncio.get_running_loop().time() < end and server.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise Missing(DOES_NOT_START)


async def _ended(server: asyncio.subprocess.Process) -> None:
    if server.returncode is None:
        server.kill()
        await server.wait()
