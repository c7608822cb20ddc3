"""One soak: the clients, what the server's process takes, and whether that goes on growing."""

from __future__ import annotations

import asyncio
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from tests.support.app import App
from tests.support.mongod import Mongod
from tests.support.process import connections_of, resident_mb
from tests.support.provider import Provider
from tests.support.redis_server import RedisServer

SOCKET = "/socket.io/?EIO=4&transport=websocket"
STEP_SECONDS = 10.0
ANSWER_SECONDS = 120.0

# Of the second half. What is being done varies by some MB from one moment to the next; a leak of a
# hundred bytes a token, or of one object a turn that holds its conversation, is far above.
MAX_SLOPE_MB_A_MINUTE = 1.0


class Clients:
    """They are counted, and none may be lost."""

    def __init__(self, url: str, pause: float) -> None:
        self._url = url
        self._pause = pause
        self.here = 0
        self.answered = 0
        self.repeated = 0
        self.slowest = 0.0

    async def idle(self, http: aiohttp.ClientSession) -> None:
        async with http.ws_connect(self._url + SOCKET, max_msg_size=0) as socket:
            await socket.send_str("40")
            await self._hear(socket, '42["session"')
            self.here += 1
            try:
                await self._hear(socket, "never")
            finally:
                self.here -= 1

    async def chatting(self, http: aiohttp.ClientSession, number: int) -> None:
        """One long conversation."""
        async with http.ws_connect(self._url + SOCKET, max_msg_size=0) as socket:
            await socket.send_str("40")
            await self._hear(socket, '42["session"')
            self.here += 1
            await self._call(socket, ["conversation:create", {"conversation_id": f"soak-{number}"}])
            count = 0
            try:
                while True:
                    count += 1
                    await self._ask(socket, number, count)
                    await self._rest(socket)
            finally:
                self.here -= 1

    async def _ask(self, socket: aiohttp.ClientWebSocketResponse, number: int, count: int) -> None:
        begun = time.monotonic()
        message = {
            "conversation_id": f"soak-{number}",
            "message_id": f"m-{number}-{count}",
            "content": f"question {count} and some more of it",
        }
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._call(socket, ["message:send", message])
            await self._hear(socket, '42["turn:completed"')
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.answered += 1

    async def _call(self, socket: aiohttp.ClientWebSocketResponse, data: list[object]) -> None:
        """As clients do, again where the answer says that it may work later."""
        while True:
            await socket.send_str(f"421{json.dumps(data)}")
            answer = await self._hear(socket, "431[")
            if '"ok":true' in answer:
                return
            assert '"retryable":true' in answer, answer[:300]
            self.repeated += 1
            await asyncio.sleep(1)

    async def _rest(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            async with asyncio.timeout(self._pause):
                await self._hear(socket, "never")
        except TimeoutError:
            pass

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse, start: str) -> str:
        """The next packet that begins so; pings are answered."""
        while True:
            text: str = await socket.receive_str()
            if text == "2":
                await socket.send_str("3")
            elif text.startswith(start):
                return text


async def run(*, seconds: float, idle: int, chatting: int, pause: float) -> int:
    """0 where memory is flat and nobody was lost."""
    allow_files(2 * (idle + chatting) + 500)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-"))
        redis = stack.enter_context(RedisServer())
        # With the embedded store it grows by about a kilobyte a turn, for longer than this.
        mongod = stack.enter_context(Mongod(Path(folder)))
        provider = Provider()
        await provider.start()
        stack.push_async_callback(provider.stop)
        app = App(
            Path(folder) / "data",
            REDIS_URL=redis.url,
            MONGODB_URI=mongod.uri,
            OPENAI_API_KEY="test",
            OPENAI_BASE_URL=provider.base_url,
            OPENAI_MODEL="test-model",
            RATE_LIMIT_MESSAGES_PER_MINUTE="0",
            MEMORY_MAX_MESSAGES="10",  # conversations are soon as large as they get
        )
        stack.enter_context(app)
        connector = aiohttp.TCPConnector(limit=0)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        return await soak(app, http, seconds, idle, chatting, pause)


async def soak(
    app: App, http: aiohttp.ClientSession, seconds: float, idle: int, chatting: int, pause: float
) -> int:
    clients = Clients(app.url, pause)
    before = resident_mb(app)
    tasks = []
    for number in range(0, idle, 50):
        more = min(50, idle - number)
        tasks += [asyncio.create_task(clients.idle(http)) for _ in range(more)]
        while clients.here < number + more:
            await asyncio.sleep(0.01)
    each = (resident_mb(app) - before) * 1024 / max(1, idle)
    print(f"{before:.1f} MB at the start, {each:.1f} kB for each of {idle} idle clients")
    tasks += [asyncio.create_task(clients.chatting(http, number)) for number in range(chatting)]
    samples: list[tuple[float, float]] = []
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds and not any(map(asyncio.Task.done, tasks)):
        samples.append((now, resident_mb(app)))
        print(
            f"{now:5.0f} s  {samples[-1][1]:7.1f} MB  {clients.here} clients, "
            f"{clients.answered} answers, at the slowest in {clients.slowest:.1f} s"
            + (f", {clients.repeated} calls repeated" if clients.repeated else ""),
            flush=True,
        )
        await asyncio.sleep(STEP_SECONDS)
    lost = [task for task in tasks if task.done()]
    found = [f"{len(lost)} clients were lost: {lost[0].exception()!r}"] if lost else []
    if connections_of(app) < idle + chatting:
        found.append(f"only {connections_of(app)} connections are left")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    slope = slope_of(samples[len(samples) // 2 :]) * 60
    if slope > MAX_SLOPE_MB_A_MINUTE:
        found.append("memory goes on growing")
    if "Traceback" in app.output:
        found.append("there is a traceback in the log")
    print(f"second half: {slope:+.2f} MB a minute (at most {MAX_SLOPE_MB_A_MINUTE:+.2f})")
    print("\n".join(found) or "flat")
    return 1 if found else 0


def slope_of(samples: Sequence[tuple[float, float]]) -> float:
    """By least squares, in y a unit of x."""
    if len(samples) < 2:
        return 0.0
    x0 = sum(x for x, _ in samples) / len(samples)
    y0 = sum(y for _, y in samples) / len(samples)
    spread = sum((x - x0) ** 2 for x, _ in samples)
    return sum((x - x0) * (y - y0) for x, y in samples) / spread


def allow_files(wanted: int) -> None:
    """The server inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
