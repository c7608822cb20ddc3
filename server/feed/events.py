"""What can happen on a feed: each event as the protocol shows it, and the rule that places it.

A rule is what a log needs to know, and no more, to tell a new event from one that it has, one that
comes too late and one before which something is missing. It makes every append safe to repeat. The
rules themselves are in ``log.py``, and once more, for logs in Redis, in ``scripts/rules.lua``; one
suite holds both to the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from memory.records import (
    Answer,
    Message,
    ToolUse,
    Turn,
    TurnError,
    TurnStatus,
    answer_of,
    question_of,
)
from server import shapes

Rule = tuple[Any, ...]
"""The kind, then the turn's number and id, then what the kind asks for; see each event below."""

VERSION = 1
"""Of the form of a log's entries. A reader passes on what it does not understand."""


class Event(msgspec.Struct, frozen=True):
    name: str
    rule: Rule
    fields: dict[str, Any]
    """Besides ``conversation_id`` and ``cursor``."""

    def rule_text(self) -> bytes:
        return orjson.dumps(self.rule)

    def body(self, conversation_id: str) -> bytes:
        """Its JSON but for the cursor, which the log gives it: the first brace goes before that."""
        return orjson.dumps({"conversation_id": conversation_id, **self.fields})[1:]


def created(turn: Turn) -> Event:
    """("created", n, id, place)"""
    message = shapes.message_shape(turn.conversation_id, question_of(turn))
    return Event("message:created", ("created", turn.n, turn.id, turn.place), {"message": message})


def removed(turn: Turn, superseded: Sequence[Turn], *, answers: int) -> Event:
    """("removed", n, id, place, revision, answers, asks, taken): ``turn`` takes the place of these.

    ``answers`` is how many were left when the store was asked, ``taken`` how many these had. Where
    ``turn`` asks something new, ``created`` follows it; a regenerated answer's
    question stays.
    """
    asks = turn.question.key is None
    taken = sum(each.answer is not None for each in superseded)
    gone = []
    for each in superseded:
        if asks or each.place > turn.place:
            gone.append(each.question.message_id)
        if each.answer is not None:
            gone.append(each.answer.message_id)
    rule = ("removed", turn.n, turn.id, turn.place, turn.revision, answers, asks, taken)
    return Event("message:removed", rule, {"message_ids": gone})


def queued(turn: Turn) -> Event:
    """("queued", n, id)"""
    fields = {"turn_id": turn.id, "message_id": turn.question.message_id}
    return Event("turn:queued", ("queued", turn.n, turn.id), fields)


def started(turn: Turn) -> Event:
    """("started", n, id, attempt)"""
    fields = {
        "turn_id": turn.id,
        "attempt": turn.attempt,
        "message_id": turn.question.message_id,
    }
    return Event("turn:started", ("started", turn.n, turn.id, turn.attempt), fields)


def stored(turn: Turn, message: Message) -> Event:
    """("stored", n, id, mark); ``mark`` rises with each message of each later turn."""
    is_answer = message.id != turn.question.message_id
    rule = ("stored", turn.n, turn.id, 2 * turn.n - 1 + is_answer)
    return Event("message:stored", rule, {"message_id": message.id, "seq": message.seq})


def delta(turn: Turn, index: int, text: str) -> Event:
    """("delta", n, id, attempt, index, size); ``size`` in characters."""
    fields = {"turn_id": turn.id, "attempt": turn.attempt, "index": index, "text": text}
    return Event("turn:delta", ("delta", turn.n, turn.id, turn.attempt, index, len(text)), fields)


def tool(turn: Turn, index: int, use: ToolUse) -> Event:
    """("tool", n, id, attempt, index); ``index`` counts the attempt's events of this kind."""
    fields = {"turn_id": turn.id, "attempt": turn.attempt, "tool": shapes.tool_shape(use)}
    return Event("turn:tool", ("tool", turn.n, turn.id, turn.attempt, index), fields)


class Ending(msgspec.Struct, frozen=True):
    """How a turn ended, as it was told."""

    status: TurnStatus
    answer: Answer | None
    error: TurnError | None


def ending_of(name: str, fields: dict[str, Any]) -> Ending:
    """What ``ended`` had told. Raises ``LookupError`` and ``ValueError`` for anything else."""
    status = msgspec.convert(name.removeprefix("turn:"), TurnStatus)
    told, error = fields["message"], fields.get("error")
    answer = told and Answer(
        message_id=told["id"],
        content=told["content"],
        status=told["status"],
        created_at=shapes.time_of(told["created_at"]),
        usage=fields.get("usage"),
    )
    return Ending(status, answer, error and msgspec.convert(error, TurnError))


def ended(turn: Turn) -> Event:
    """("ended", n, id, answers, attempt, size, whole)

    ``answers`` is None where the turn never ran; ``size``, that of its deltas together, where it
    has no answer. One that is not ``whole`` may keep what an attempt before it has said.
    """
    message = answer_of(turn)
    shape = message and shapes.message_shape(turn.conversation_id, message)
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
    size = len(turn.answer.content) if turn.answer is not None else None
    is_whole = turn.status == "completed"
    rule = ("ended", turn.n, turn.id, turn.answers, turn.attempt, size, is_whole)
    return Event(f"turn:{turn.status}", rule, fields)
