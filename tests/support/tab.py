"""A client of a feed that believes what it is told, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

from server.edge.connections import Connection

ENDS = ("turn:completed", "turn:stopped", "turn:failed")

Running = tuple[str, int, str, int]
"""A turn's status, attempt, text, and the index of its next delta."""


class Tab:
    def __init__(self, name: str, user_id: str) -> None:
        self.connection = Connection(name, user_id, guest=True)
        self.messages: dict[int, str] = {}
        """By ``seq``."""
        self.turns: dict[str, Running] = {}
        self.tools: dict[str, dict[str, str]] = {}
        """Of each running turn that uses any: by the use's id, how it stands."""
        self.cursor: str | None = None
        self.told: list[tuple[str, str]] = []
        """The events' names and cursors."""
        self.opening: asyncio.Task[Any] | None = None
        self._ids: dict[str, int] = {}
        """The ``seq`` of each message that is there."""

    @property
    def sid(self) -> str:
        return self.connection.sid

    def show(self, snapshot: dict[str, Any]) -> None:
        self.messages, self._ids = {}, {}
        for message in snapshot["messages"]:
            self._add(message)
        self.turns = {
            each["id"]: (each["status"], each["attempt"], each["text"], each["next_index"])
            for each in snapshot["turns"]
        }
        self.tools = {
            each["id"]: {tool["id"]: tool["status"] for tool in each["tools"]}
            for each in snapshot["turns"]
            if each["tools"]
        }
        self.cursor = snapshot["cursor"]

    def hear(self, name: str, payload: dict[str, Any]) -> None:
        self.told.append((name, payload["cursor"]))
        if name == "conversation:snapshot":
            self.show(payload)
            return
        assert self.cursor is not None, "an event before any verdict"
        assert is_next(payload["cursor"], self.cursor), "a gap, a double or another order"
        self.cursor = payload["cursor"]
        turn_id = payload.get("turn_id", "")
        if name == "message:created":
            self._add(payload["message"])
            self.turns[payload["message"]["turn_id"]] = ("queued", 0, "", 0)
        elif name == "message:removed":
            self._remove(payload["message_ids"])
        elif name == "turn:queued":
            self.turns.setdefault(turn_id, ("queued", 0, "", 0))  # one that is answered anew
        elif name == "turn:started":
            assert payload["message_id"] in self._ids
            self.turns[turn_id] = ("running", payload["attempt"], "", 0)
            self.tools.pop(turn_id, None)
        elif name == "turn:delta":
            status, attempt, text, next_index = self.turns[turn_id]
            assert (status, attempt, next_index) == (
                "running",
                payload["attempt"],
                payload["index"],
            )
            self.turns[turn_id] = (status, attempt, text + payload["text"], next_index + 1)
        elif name == "turn:tool":
            assert self.turns[turn_id][:2] == ("running", payload["attempt"])
            tool, used = payload["tool"], self.tools.setdefault(turn_id, {})
            assert (tool["status"] == "started") == (tool["id"] not in used), "a use told twice"
            used[tool["id"]] = tool["status"]
        elif name in ENDS:
            self.tools.pop(turn_id, None)
            # One that was to be answered anew may end before anything was told of it.
            _, _, text, _ = self.turns.pop(turn_id, ("queued", 0, "", 0))
            if (message := payload["message"]) is not None:
                assert message["content"] == text, "the deltas joined are the answer"
                self._add(message)

    def _add(self, message: dict[str, Any]) -> None:
        assert message["seq"] not in self.messages, "two messages for one place"
        self.messages[message["seq"]] = message["content"]
        self._ids[message["id"]] = message["seq"]

    def _remove(self, message_ids: list[str]) -> None:
        for message_id in message_ids:
            del self.messages[self._ids.pop(message_id)]
        there = set(self._ids)
        assert len(there) == len(self.messages)


def is_next(cursor: str, before: str) -> bool:
    """Whether ``cursor`` may follow ``before``: within an epoch each number follows the last."""
    epoch, number = cursor.split("-")
    epoch_before, number_before = before.split("-")
    return epoch != epoch_before or int(number) == int(number_before) + 1
