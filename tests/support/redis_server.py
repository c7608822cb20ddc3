"""A real redis-server for a test, on a free port, with the faults a test wants of it.

Also a link through which it is reached, that can lose a reply or be cut (``Relay``).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.freezing import freeze
from tests.support.ports import free_port


def redis_server_binary() -> str:
    """Its path; without it the test is skipped, or fails where ``CI=true``."""
    binary = shutil.which("redis-server")
    if binary is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    return binary


class RedisServer:
    """Keeps nothing on disk unless ``persistent`` (then: AOF, synced at every write).

    ``start`` after ``stop`` or ``kill`` uses the same port and folder.
    """

    def __init__(self, *options: str, persistent: bool = False) -> None:
        self.port = free_port()
        self._options = options
        self._persistent = persistent
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self, *options: str, timeout: float = 10.0) -> RedisServer:
        """Returns when it answers (a Redis that is still loading its data does too).

        ``options`` are for this start only.
        """
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="mnemosio-redis-"))
        keep = ("yes", "always") if self._persistent else ("no", "everysec")
        command = [
            redis_server_binary(),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)),
            *("--save", "", "--appendonly", keep[0], "--appendfsync", keep[1]),
            *self._options,
            *options,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"redis-server did not start: {' '.join(command)}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """End it in order. Harmless when it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        freeze(self.pid)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self, sign: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)  # a stopped process doesn't hear SIGTERM
        process.send_signal(sign)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(b"PING\r\n")
                return bool(link.recv(64))
        except OSError:
            return False


class Relay:
    """A TCP link to a Redis that can lose a reply or a request, or be cut."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lose: bytes | None = None
        self._swallow: bytes | None = None
        self._is_cut = False
        self.port = free_port()
        self.lost = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def lose_the_reply_to(self, command: bytes) -> None:
        """Pass on the next request that contains ``command``, and close instead of its reply."""
        self._lose = command

    def swallow(self, command: bytes) -> None:
        """Don't pass on the next request that contains ``command``: nothing comes back, ever."""
        self._swallow = command

    def cut(self) -> None:
        """Close every connection, and refuse service until ``mend``."""
        self._is_cut = True
        for writer in list(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        self._is_cut = False

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._is_cut:
            writer.transport.abort()
            return
        upstream, forward = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers |= {writer, forward}
        losing = asyncio.Event()
        replies = asyncio.create_task(self._copy_replies(upstream, writer, losing))
        try:
            while data := await reader.read(65536):
                if self._lose is not None and self._lose in data:
                    self._lose = None
                    losing.set()
                if self._swallow is not None and self._swallow in data:
                    self._swallow = None
                    continue
                forward.write(data)
                await forward.drain()
        except OSError:
            pass
        finally:
            replies.cancel()
            await asyncio.gather(replies, return_exceptions=True)
            for end in (writer, forward):
                self._writers.discard(end)
                end.transport.abort()

    async def _copy_replies(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while data := await upstream.read(65536):
            if losing.is_set():
                self.lost += 1
                writer.transport.abort()
                return
            writer.write(data)
            await writer.drain()
        writer.transport.abort()
