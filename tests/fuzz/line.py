"""A websocket without a Socket.IO library: it may say anything, and knows what it was answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

SOCKET = "/socket.io/?EIO=4&transport=websocket"
ANSWER_SECONDS = 20.0


class Line:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.heard = ""  # the latest packet that is no answer
        self.ended = asyncio.Event()
        self.connected = asyncio.Event()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._hear(message.data)
        except (ConnectionError, aiohttp.ClientError):
            pass
        finally:
            self.ended.set()
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_result(None)

    async def _hear(self, text: str) -> None:
        self.heard = text
        if text == "2":
            await self.socket.send_str("3")
        elif text.startswith("40{"):
            self.connected.set()
        elif text.startswith("43"):
            number, bracket, rest = text[2:].partition("[")
            waiting = self._asked.pop(int(number or "-1"), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(json.loads(bracket + rest))

    async def say(self, text: str | bytes) -> None:
        """Nothing happens where the server has ended it."""
        with suppress(ConnectionError, aiohttp.ClientError):
            if isinstance(text, bytes):
                await self.socket.send_bytes(text)
            else:
                await self.socket.send_str(text)

    def ask(self, number: int, text: str) -> asyncio.Future[Any]:
        """The arguments of the answer to call ``number``; None where the connection ended first."""
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[number] = waiting
        if self.ended.is_set():
            waiting.set_result(None)
        return waiting

    async def call(self, number: int, data: str) -> Any:
        """``TimeoutError`` where there is no answer."""
        waiting = self.ask(number, data)
        await self.say(f"42{number}{data}")
        async with asyncio.timeout(ANSWER_SECONDS):
            return await waiting

    async def connect(self) -> bool:
        await self.say("40")
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.wait(
                [
                    both := asyncio.ensure_future(self.connected.wait()),
                    end := asyncio.ensure_future(self.ended.wait()),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        for each in (both, end):
            each.cancel()
        return self.connected.is_set()

    async def leave(self, *, rudely: bool) -> None:
        if rudely:
            response = self.socket._response
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
        with suppress(ConnectionError, aiohttp.ClientError, TimeoutError):
            await self.socket.close()
        self._reading.cancel()
        await asyncio.wait([self._reading])


@asynccontextmanager
async def line(url: str, *, rudely: bool = False) -> AsyncIterator[Line]:
    timeout = aiohttp.ClientWSTimeout(ws_close=2.0)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url + SOCKET, timeout=timeout, max_msg_size=0) as socket,
    ):
        its = Line(socket)
        try:
            yield its
        finally:
            await its.leave(rudely=rudely)
