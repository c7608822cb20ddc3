"""A chat client for tests: the stock Socket.IO client, and a record of what it was told."""

from __future__ import annotations

import uuid
from types import TracebackType
from typing import Any

import socketio

from tests.support.wait import wait_until

EVENTS = (
    "session",
    "session:expired",
    "server:draining",
    "server:status",
    "conversation:created",
    "conversation:updated",
    "conversation:deleted",
    "conversation:snapshot",
    "message:created",
    "message:stored",
    "message:removed",
    "message:feedback",
    "memory:updated",
    "turn:queued",
    "turn:started",
    "turn:delta",
    "turn:tool",
    "turn:completed",
    "turn:stopped",
    "turn:failed",
)


def new_id() -> str:
    return str(uuid.uuid4())


class Client:
    """One tab. ``events`` has every event in the order it came, as (name, payload)."""

    def __init__(self, url: str, token: str | None = None, *, reconnection: bool = False) -> None:
        self.url = url
        self.token = token
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.openings: list[dict[str, Any]] = []
        self.refused: Any = None
        self.socket = socketio.AsyncClient(reconnection=reconnection, reconnection_delay=0.1)
        for name in EVENTS:
            self.socket.on(name, self._recorder(name))
        self.socket.on("connect_error", self._refusal)

    def _recorder(self, name: str) -> Any:
        def record(payload: dict[str, Any]) -> None:
            self.events.append((name, payload))

        return record

    def _refusal(self, data: Any) -> None:
        self.refused = data

    async def connect(self) -> Client:
        auth = {"token": self.token} if self.token is not None else {}
        await self.socket.connect(self.url, auth=auth, transports=["websocket"], wait_timeout=10)
        session = await self.next_event("session")
        self.token = session.get("token", self.token)
        return self

    @property
    def session(self) -> dict[str, Any]:
        return self.all("session")[-1]

    async def call(self, name: str, *arguments: Any) -> dict[str, Any]:
        """The answer to a call, whatever it is."""
        data: Any = arguments if len(arguments) != 1 else arguments[0]
        answer: dict[str, Any] = await self.socket.call(name, data, timeout=15)
        return answer

    async def ok(self, name: str, **fields: Any) -> dict[str, Any]:
        answer = await self.call(name, fields)
        assert answer["ok"], (name, answer)
        return answer

    async def refusal(self, name: str, **fields: Any) -> dict[str, Any]:
        """The error a call is answered with."""
        answer = await self.call(name, fields)
        assert not answer["ok"], (name, answer)
        error: dict[str, Any] = answer["error"]
        return error

    async def send(
        self, content: str, conversation_id: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        if conversation_id is not None:
            fields["conversation_id"] = conversation_id
        return await self.ok("message:send", **{"message_id": new_id(), **fields}, content=content)

    async def ask(
        self, content: str, conversation_id: str | None = None, *, timeout: float = 30.0
    ) -> dict[str, Any]:
        """Send a message and wait for its answer; the ``turn:completed`` payload."""
        sent = await self.send(content, conversation_id)
        return await self.completed(sent["turn"]["id"], timeout=timeout)

    async def open(self, conversation_id: str, after: str | None = None) -> dict[str, Any]:
        answer = await self.ok("conversation:open", conversation_id=conversation_id, after=after)
        self.openings.append({"conversation_id": conversation_id, **answer})
        return answer

    async def stop(self, conversation_id: str, turn_id: str) -> dict[str, Any]:
        """The turn as it ended, or as it is."""
        answer = await self.ok("turn:stop", conversation_id=conversation_id, turn_id=turn_id)
        turn: dict[str, Any] = answer["turn"]
        return turn

    async def transcript(self, conversation_id: str) -> list[dict[str, Any]]:
        """The latest messages, as the permanent store has them."""
        answer = await self.ok("conversation:history", conversation_id=conversation_id)
        messages: list[dict[str, Any]] = answer["messages"]
        return messages

    async def contents(self, conversation_id: str) -> list[str]:
        return [message["content"] for message in await self.transcript(conversation_id)]

    async def completed(self, turn_id: str, *, timeout: float = 30.0) -> dict[str, Any]:
        ended = await self.ended(turn_id, timeout=timeout)
        assert ended[0] == "turn:completed", ended
        return ended[1]

    async def ended(self, turn_id: str, *, timeout: float = 30.0) -> tuple[str, dict[str, Any]]:
        """How a turn ended: the event and its payload, as far as an opening shows it where it was
        over by then."""

        def end() -> tuple[str, dict[str, Any]] | None:
            for opening in self.openings:
                if opening.get("messages") and (shown := _shown_end(opening, turn_id)):
                    return shown
            for name, payload in self.events:
                ends = name in ("turn:completed", "turn:stopped", "turn:failed")
                if ends and payload["turn_id"] == turn_id:
                    return name, payload
                if name == "conversation:snapshot" and (shown := _shown_end(payload, turn_id)):
                    return shown
            return None

        found: tuple[str, dict[str, Any]] = await wait_until(
            end, f"turn {turn_id} ends", timeout=timeout
        )
        return found

    def all(self, *names: str, turn_id: str | None = None) -> list[dict[str, Any]]:
        """The payloads of these events, in order."""
        return [
            payload
            for name, payload in self.events
            if name in names and (turn_id is None or payload.get("turn_id") == turn_id)
        ]

    async def next_event(self, name: str, *, timeout: float = 10.0) -> dict[str, Any]:
        """The first event of this name, now or soon."""
        await wait_until(lambda: self.all(name), f"{name} comes", timeout=timeout)
        return self.all(name)[0]

    def feed(self, conversation_id: str) -> list[tuple[str, dict[str, Any]]]:
        """What came with a cursor, in order."""
        return [
            (name, payload)
            for name, payload in self.events
            if "cursor" in payload and payload.get("conversation_id") == conversation_id
        ]

    def streamed(self, turn_id: str) -> str:
        """The deltas of the last attempt joined; fails on a gap or a double."""
        deltas = self.all("turn:delta", turn_id=turn_id)
        last = max((delta["attempt"] for delta in deltas), default=0)
        mine = [delta for delta in deltas if delta["attempt"] == last]
        assert [delta["index"] for delta in mine] == list(range(len(mine))), mine
        return "".join(delta["text"] for delta in mine)

    async def close(self) -> None:
        await self.socket.disconnect()
        await self.socket.shutdown()

    async def vanish(self) -> None:
        """Cut the connection without a goodbye."""
        websocket = self.socket.eio.ws
        websocket._response.connection.transport.abort()
        await wait_until(lambda: not self.socket.connected, "the client notices the cut")

    async def __aenter__(self) -> Client:
        return await self.connect()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _shown_end(snapshot: dict[str, Any], turn_id: str) -> tuple[str, dict[str, Any]] | None:
    """The end of a turn where the feed was begun anew over it: then it is in the snapshot."""
    for message in snapshot["messages"]:
        if message["role"] == "assistant" and message["turn_id"] == turn_id:
            ends = {"complete": "completed", "stopped": "stopped", "interrupted": "failed"}
            end = {"turn_id": turn_id, "conversation_id": snapshot["conversation_id"]}
            return f"turn:{ends[message['status']]}", {**end, "message": message}
    return None
