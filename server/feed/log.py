"""A conversation's feed: one ordered log of events, and those who follow it.

The log begins with a checkpoint of the store: what was announced already, and which turns are open.
From there it knows, without asking anybody, what a snapshot at any of its cursors must hold; so a
reader is given every event once, whichever moment it comes in at. Free of I/O: feeds.py beside it
reads the store and the memory for it, and writes to the connections.

The cursor is ``{epoch}-{number}``; an epoch is new whenever the log is.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from typing import Any

import msgspec

from memory.records import ENDED, Message, Position, Turn, answer_of, question_of
from server import protocol

# What a reader may have missed and still be given as events; beyond it, a snapshot.
MAX_EVENTS = 4096
MAX_EVENT_CHARS = 2_000_000

_CURSOR = re.compile(r"([0-9a-f]{12})-(\d{1,15})")

Event = tuple[int, str, dict[str, Any]]


class LiveTurn:
    """A turn that was announced and has not ended: what a snapshot shows of it."""

    __slots__ = ("attempt", "id", "n", "next_index", "status", "text")

    def __init__(self, turn: Turn) -> None:
        self.id = turn.id
        self.n = turn.n
        self.status = turn.status
        self.attempt = turn.attempt
        self.text: list[str] = []
        self.next_index = 0

    def differs(self, stored: Turn | None) -> bool:
        """Whether the store knows of more. An end is told by whoever concludes the turn."""
        if stored is None:
            return True
        is_open = stored.status not in ENDED
        return is_open and (stored.status, stored.attempt) != (self.status, self.attempt)

    def shape(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "status": self.status,
            "attempt": self.attempt,
            "text": "".join(self.text),
            "next_index": self.next_index,
        }


class Moment:
    """What had been announced at one cursor, and which turns were open then."""

    __slots__ = ("cursor", "open", "position", "turns")

    def __init__(self, log: Log) -> None:
        self.cursor = log.cursor
        self.position = log.position
        self.open = {turn.n for turn in log.live.values()}
        self.turns = [turn.shape() for turn in log.live.values()]

    def holds(self, message: Message) -> bool:
        """False for a message that follows as an event after this moment."""
        n = ((message.seq or 0) + 1) // 2
        return n <= self.position.turn and not (message.type == "ai" and n in self.open)


class Log:
    """The ordered events of one conversation, from a checkpoint on.

    ``position`` is what has been announced: the last question, and how many answers.
    """

    def __init__(self, conversation_id: str, position: Position, open_turns: list[Turn]) -> None:
        self.conversation_id = conversation_id
        self.epoch = secrets.token_hex(6)
        self.number = 0
        # A turn later than the position is not announced yet: it will say so itself.
        self.live = {
            turn.id: LiveTurn(turn)
            for turn in open_turns
            if turn.status not in ENDED and turn.n <= position.turn
        }
        for turn in open_turns:
            if turn.status in ENDED and (turn.answers or 0) > position.answers:
                # It ended after the position was read, and is not told as an event any more.
                position = msgspec.structs.replace(position, answers=turn.answers)
        self.position = position
        self.turning = 0
        """Rises with every event but the deltas."""
        self._events: deque[Event] = deque()
        self._chars = 0

    def take_over(self, earlier: Log) -> None:
        """Go on with what an earlier log has heard of the answers that still run."""
        for turn_id, live in self.live.items():
            heard = earlier.live.get(turn_id)
            if heard is not None and (heard.attempt, heard.status) == (live.attempt, live.status):
                self.live[turn_id] = heard

    @property
    def chars(self) -> int:
        """About what its events take in memory."""
        return self._chars

    @property
    def cursor(self) -> str:
        return f"{self.epoch}-{self.number}"

    def moment(self) -> Moment:
        return Moment(self)

    def since(self, cursor: str | None) -> list[Event] | None:
        """The events after ``cursor``; None when the log cannot prove that these are all."""
        match = _CURSOR.fullmatch(cursor or "")
        if match is None or match[1] != self.epoch:
            return None
        number = int(match[2])
        first = self._events[0][0] if self._events else self.number + 1
        if not first - 1 <= number <= self.number:
            return None
        return [event for event in self._events if event[0] > number]

    def append(self, name: str, fields: dict[str, Any]) -> Event:
        self.number += 1
        self.turning += name != "turn:delta"
        payload = {"conversation_id": self.conversation_id, "cursor": self.cursor, **fields}
        event = (self.number, name, payload)
        self._events.append(event)
        self._chars += _size(payload)
        while len(self._events) > MAX_EVENTS or self._chars > MAX_EVENT_CHARS:
            self._chars -= _size(self._events.popleft()[2])
        return event

    def lacks(self, turn: Turn) -> bool:
        """Whether something before ``turn`` happened on another server and was never told here."""
        if turn.n > self.position.turn + 1:
            return True
        # A turn that has run began when all before it had ended. One stopped in line has not.
        return turn.attempt > 0 and any(live.n < turn.n for live in self.live.values())

    # Each of the following gives the event, or None where the log has it already: what a takeover
    # or a repeated call says again is said to nobody twice.

    def created(self, turn: Turn) -> Event | None:
        if turn.n <= self.position.turn:
            return None
        self.position = msgspec.structs.replace(self.position, turn=turn.n)
        self.live[turn.id] = LiveTurn(turn)
        shape = protocol.message_shape(self.conversation_id, question_of(turn))
        return self.append("message:created", {"message": shape})

    def queued(self, turn: Turn) -> Event | None:
        live = self.live.get(turn.id)
        if live is None or live.status != "queued":
            return None
        return self.append(
            "turn:queued", {"turn_id": turn.id, "message_id": turn.question.message_id}
        )

    def started(self, turn: Turn) -> Event | None:
        live = self.live.get(turn.id)
        if live is None or turn.attempt < live.attempt:
            return None
        self.live[turn.id] = live = LiveTurn(turn)
        live.status = "running"
        return self.append(
            "turn:started",
            {
                "turn_id": turn.id,
                "attempt": turn.attempt,
                "message_id": turn.question.message_id,
            },
        )

    def delta(self, turn: Turn, index: int, text: str) -> Event | None:
        live = self.live.get(turn.id)
        if live is None or live.attempt != turn.attempt or live.next_index != index:
            return None
        live.text.append(text)
        live.next_index = index + 1
        return self.append(
            "turn:delta",
            {"turn_id": turn.id, "attempt": turn.attempt, "index": index, "text": text},
        )

    def ended(self, turn: Turn) -> Event | None:
        if self.live.pop(turn.id, None) is None:
            return None
        if turn.answers is not None and turn.answers > self.position.answers:
            self.position = msgspec.structs.replace(self.position, answers=turn.answers)
        message = answer_of(turn)
        shape = message and protocol.message_shape(self.conversation_id, message)
        fields: dict[str, Any] = {"turn_id": turn.id, "message": shape}
        if turn.status == "failed" and turn.error is not None:
            error = turn.error
            fields["error"] = {
                "code": error.code,
                "message": error.message,
                "retryable": error.retryable,
            }
        if turn.status == "completed" and turn.answer is not None and turn.answer.usage:
            fields["usage"] = turn.answer.usage
        return self.append(f"turn:{turn.status}", fields)


def _size(payload: dict[str, Any]) -> int:
    text = payload.get("text")
    if isinstance(text, str):
        return 100 + len(text)
    message = payload.get("message")
    return 300 + (len(message["content"]) if message else 0)
