"""The real servers that benchmarks run against, and processes of our own."""

from __future__ import annotations

import asyncio
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Missing
from tests.support.app import UNLIMITED, App
from tests.support.mongod import Mongod, find_mongod
from tests.support.redis_server import RedisServer

HOME = Path(__file__).resolve().parents[1]

START_SECONDS, END_SECONDS = 30.0, 10.0


def redis_server() -> RedisServer:
    """Not started yet; a context manager. Raises ``Missing``."""
    if shutil.which("redis-server") is None:
        raise Missing("redis-server is not installed")
    return RedisServer()


def mongod(folder: Path) -> Mongod:
    """Not started yet; a context manager. Raises ``Missing``."""
    if find_mongod() is None:
        raise Missing("there is no mongod (`make test` gets one)")
    return Mongod(folder)


@dataclass(frozen=True)
class Running:
    process: Process
    first_line: str

    @property
    def port(self) -> int:
        """Of one that prints it when it listens."""
        return int(self.first_line)


async def ours(running: AsyncExitStack, folder: Path, **settings: str) -> App:
    """Our own server, started, until the end of ``running``; its data in ``folder``. It refuses
    nobody for coming too often."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    app = App(data, LOG_LEVEL="warning", **{**UNLIMITED, **settings})
    await asyncio.to_thread(app.start)
    running.callback(app.kill)
    return app


def pid_of(app: App) -> int:
    assert app.process is not None, "it is not started"
    return app.process.pid


@asynccontextmanager
async def process(*command: str, patience: float = START_SECONDS) -> AsyncIterator[Running]:
    """The command as a process, from when it has printed its first line until the end."""
    process = await asyncio.create_subprocess_exec(*command, cwd=HOME, stdin=PIPE, stdout=PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(patience):
            first_line = await process.stdout.readline()
        if not first_line:
            raise RuntimeError(f"{' '.join(command)} did not start")
        yield Running(process, first_line.decode())
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(END_SECONDS):
                await process.wait()


def module(
    name: str, *arguments: str, patience: float = START_SECONDS
) -> AbstractAsyncContextManager[Running]:
    """``python -m name``, as ``process`` has it."""
    return process(sys.executable, "-m", name, *arguments, patience=patience)
