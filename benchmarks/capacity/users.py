"""A user of each kind of server, as little as can be: callbacks on a socket, no task, no queue.

Each asks again as soon as its answer has ended, until it is told that this was the last one.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from typing import Any, cast

import orjson

from benchmarks.capacity import frames
from benchmarks.capacity.tally import Reading, Tally
from benchmarks.provider import question

ENGINE = "/socket.io/"


class User(asyncio.Protocol, ABC):
    """Connects, is ``ready``, and from ``start`` on asks and reads."""

    def __init__(self, port: int, tally: Tally, tokens: int) -> None:
        loop = asyncio.get_running_loop()
        self.port = port
        self.ready: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        """It asks no more: it was told so, or something failed."""
        self._tally = tally
        self._tokens = tokens
        self._answer: Reading | None = None
        self._asks_again = True

    @property
    def deflates(self) -> bool:
        """The server compresses what it sends."""
        return False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ready.done():
            self.refuse("the server hung up")
        else:
            self.fail("the server ended the connection")

    def refuse(self, why: str) -> None:
        """It was not let in."""
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(why))
            self.done.set_result(None)
        self._transport.abort()

    def start(self) -> None:
        self._answer = Reading(self._tokens, self._tally)
        self.ask()

    def finish(self) -> None:
        """Ask no more."""
        self._asks_again = False
        if self._answer is None and not self.done.done():
            self.done.set_result(None)

    def close(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        self._transport.abort()

    def fail(self, why: str) -> None:
        if not self.done.done():
            self._tally.errors.append(why)
            self.done.set_result(None)
        self._answer = None

    @abstractmethod
    def ask(self) -> None:
        """Send the question."""

    def take(self, text: str) -> None:
        """A piece of the answer."""
        if self._answer is None:
            self._tally.wrong += len(text)  # after the end, or before any question
        elif text:
            self._answer.add(text)

    def end(self) -> None:
        """The answer is over."""
        if self._answer is None:
            return
        self._answer.end()
        self._answer = None
        if self._asks_again:
            self.start()
        elif not self.done.done():
            self.done.set_result(None)


class ProviderUser(User):
    """Of no server: asks the provider itself."""

    def __init__(self, port: int, tally: Tally, tokens: int) -> None:
        super().__init__(port, tally, tokens)
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.ready.set_result(None)

    def ask(self) -> None:
        ask = {"messages": [{"role": "user", "content": question(self._tokens)}], "stream": True}
        body = orjson.dumps(ask)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    def data_received(self, data: bytes) -> None:
        *events, self._unread = (self._unread + data).split(b"\n\n")
        for event in events:
            # Before it, what HTTP's chunks put between two events.
            payload = event.partition(b"data: ")[2]
            if payload == b"[DONE]":
                self.end()
            elif text := orjson.loads(payload)["choices"][0]["delta"].get("content"):
                self.take(text)


class SocketIOUser(User):
    """As much of Engine.IO 4 and Socket.IO 5 as it takes."""

    path = ENGINE
    auth: dict[str, str] | None = None

    def __init__(self, port: int, tally: Tally, tokens: int) -> None:
        super().__init__(port, tally, tokens)
        self._frames = frames.Frames()

    @property
    def deflates(self) -> bool:
        return self._frames.deflates

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        query = f"{self.path}?EIO=4&transport=websocket"
        self._transport.write(frames.request(query, self.port))

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._frames.feed(data)
        except frames.Refused as refused:
            self.refuse(str(refused))
            return
        for opcode, payload in messages:
            if opcode == frames.TEXT:
                self._packet(payload)
            elif opcode == frames.PING:
                self._transport.write(frames.frame(payload, frames.PONG))
            elif opcode == frames.CLOSE:
                self._transport.close()

    def _packet(self, packet: bytes) -> None:
        if packet.startswith(b"42"):
            name, *arguments = orjson.loads(packet[2:])
            self.heard(name, arguments[0] if arguments else None)
        elif packet.startswith(b"43"):
            self.heard("ack", orjson.loads(packet[packet.index(b"[") :])[0])
        elif packet == b"2":
            self.send(b"3")
        elif packet.startswith(b"0"):
            self.send(b"40" + (orjson.dumps(self.auth) if self.auth else b""))
        elif packet.startswith(b"40"):
            self.ready.set_result(None)
            self.connected()
        elif packet.startswith(b"44"):
            self.refuse(packet.decode())

    def send(self, packet: bytes) -> None:
        self._transport.write(frames.frame(packet))

    def emit(self, name: str, *payload: Any, ack: str = "") -> None:
        self.send(b"42" + ack.encode() + orjson.dumps([name, *payload]))

    def connected(self) -> None:
        """Say what the server wants to hear first."""

    @abstractmethod
    def heard(self, name: str, payload: Any) -> None:
        """An event and its first argument; the answer to a call is the event "ack"."""


class PlainUser(SocketIOUser):
    """Of plain_server.py, and of the one in Node."""

    def ask(self) -> None:
        self.emit("message", question(self._tokens))

    def heard(self, name: str, payload: Any) -> None:
        if name == "token":
            self.take(payload)
        elif name == "end":
            self.end()


class MnemosioUser(SocketIOUser):
    """Of ours. All its questions are of one conversation."""

    def __init__(self, port: int, tally: Tally, tokens: int) -> None:
        super().__init__(port, tally, tokens)
        self._conversation_id: str | None = None
        self._texts: list[str] = []

    def ask(self) -> None:
        self._texts = []
        call = {"message_id": str(uuid.uuid4()), "content": question(self._tokens)}
        if self._conversation_id is not None:
            call["conversation_id"] = self._conversation_id
        self.emit("message:send", call, ack="0")

    def heard(self, name: str, payload: Any) -> None:
        if name == "turn:delta":
            text = payload["text"]
            self._texts.append(text)
            self.take(text)
        elif name == "ack":
            if payload["ok"]:
                self._conversation_id = payload["conversation_id"]
            else:
                self.fail(f"refused: {payload['error']['code']}")
        elif name == "turn:completed":
            if payload["message"]["content"] == "".join(self._texts):
                self.end()
            else:
                self.fail("the message is not what was streamed")
        elif name == "turn:failed":
            self.fail(f"the turn failed: {payload['error']['code']}")


class ChainlitUser(SocketIOUser):
    """Of Chainlit, as its own React client speaks to it."""

    path = "/ws/socket.io/"

    def __init__(self, port: int, tally: Tally, tokens: int) -> None:
        super().__init__(port, tally, tokens)
        self.auth = {
            "clientType": "webapp",
            "sessionId": str(uuid.uuid4()),
            "threadId": "",
            "userEnv": "{}",
            "chatProfile": "",
        }
        self._has_begun = False

    def connected(self) -> None:
        self.emit("connection_successful")

    def close(self) -> None:
        self.emit("clear_session")
        super().close()

    def ask(self) -> None:
        self._has_begun = False
        message = {
            "id": str(uuid.uuid4()),
            "threadId": "",
            "name": "user",
            "type": "user_message",
            "output": question(self._tokens),
            "createdAt": "2026-01-01T00:00:00.000Z",
            "metadata": {},
        }
        self.emit("client_message", {"message": message, "fileReferences": []})

    def heard(self, name: str, payload: Any) -> None:
        if name == "stream_token":
            self.take(payload["token"])
        elif name == "stream_start":
            self.take(payload["output"])
        elif name == "task_start":
            self._has_begun = True
        elif name == "task_end" and self._has_begun:
            self._has_begun = False
            self.end()


USERS: dict[str, type[User]] = {
    "provider": ProviderUser,
    "plain": PlainUser,
    "mnemosio": MnemosioUser,
    "chainlit": ChainlitUser,
}
