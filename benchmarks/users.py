"""A user of each kind of server: connects, asks, and takes in the answer token by token.

The websockets offer compression, as browsers do, and do as little as can be, because they share the
machine with the server they measure.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
import orjson

from benchmarks.provider import question
from benchmarks.tokens import Received

COMPRESSION = 15
ENGINE = "/socket.io/?EIO=4&transport=websocket"


class User(Protocol):
    async def connect(self) -> None: ...

    async def ask(self, tokens: int) -> Received:
        """The answer, whole. Raises ``AssertionError`` where the server fails to give one."""
        ...

    async def close(self) -> None: ...


class DirectUser:
    """Of no server: asks the provider itself."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def connect(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def ask(self, tokens: int) -> Received:
        received = Received(tokens)
        body = {"messages": [{"role": "user", "content": question(tokens)}], "stream": True}
        async with self._session.post(self._url, json=body) as stream:
            async for line in stream.content:
                if line.startswith(b"data: {"):
                    text = orjson.loads(line[6:])["choices"][0]["delta"].get("content")
                    if text:
                        received.add(text)
        received.end()
        return received


class _WebSocketUser:
    path = "/"

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}{self.path}"
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def connect(self) -> None:
        self._socket = await self._session.ws_connect(
            self._url, compress=COMPRESSION, max_msg_size=0
        )

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def _send(self, text: str) -> None:
        assert self._socket is not None, "not connected"
        await self._socket.send_str(text)

    async def _next(self) -> str:
        assert self._socket is not None, "not connected"
        message = await self._socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, "the server ended the connection"
        text: str = message.data
        return text


class RelayUser(_WebSocketUser):
    async def ask(self, tokens: int) -> Received:
        received = Received(tokens)
        await self._send(question(tokens))
        while text := await self._next():
            received.add(text)
        received.end()
        return received


class SocketIOUser(_WebSocketUser):
    """As much of Engine.IO 4 and Socket.IO 5 as it takes."""

    path = ENGINE

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        super().__init__(session, port)
        self._resting: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await super().connect()
        await self._next()  # the handshake
        await self._send("40")
        while not (text := await self._next()).startswith("40"):
            assert not text.startswith("44"), f"refused: {text}"

    async def close(self) -> None:
        await self._wake()
        await super().close()

    def _rest(self) -> None:
        """Answer the server's pings until the next question: who does not is cut off."""
        self._resting = asyncio.create_task(self._answer_pings())

    async def _answer_pings(self) -> None:
        while True:
            await self._event()

    async def _wake(self) -> None:
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.cancel()
            with suppress(asyncio.CancelledError):
                await resting

    async def _event(self) -> tuple[str, Any]:
        """The next event and its first argument; an answer to a call is the event "ack"."""
        while True:
            text = await self._next()
            if text == "2":
                await self._send("3")
            elif text.startswith("42"):
                name, *arguments = orjson.loads(text[2:])
                return name, arguments[0] if arguments else None
            elif text.startswith("43"):
                return "ack", orjson.loads(text[text.index("[") :])[0]


class PlainUser(SocketIOUser):
    async def ask(self, tokens: int) -> Received:
        await self._wake()
        received = Received(tokens)
        await self._send("42" + orjson.dumps(["message", question(tokens)]).decode())
        while True:
            name, payload = await self._event()
            if name == "token":
                received.add(payload)
            elif name == "end":
                received.end()
                self._rest()
                return received


class MnemosioUser(SocketIOUser):
    """All its questions are of one conversation."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        super().__init__(session, port)
        self._conversation_id: str | None = None

    async def ask(self, tokens: int) -> Received:
        await self._wake()
        received = Received(tokens)
        call = {"message_id": str(uuid.uuid4()), "content": question(tokens)}
        if self._conversation_id is not None:
            call["conversation_id"] = self._conversation_id
        await self._send("420" + orjson.dumps(["message:send", call]).decode())
        texts = []
        while True:
            name, payload = await self._event()
            if name == "turn:delta":
                texts.append(payload["text"])
                received.add(payload["text"])
            elif name == "ack":
                assert payload["ok"], payload
                self._conversation_id = payload["conversation_id"]
            elif name == "turn:completed":
                assert payload["message"]["content"] == "".join(texts), "not what was streamed"
                received.end()
                self._rest()
                return received
            assert name != "turn:failed", payload
