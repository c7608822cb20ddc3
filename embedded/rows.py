"""Records as rows and back."""

from __future__ import annotations

import sqlite3
from typing import Any, TypeVar

import msgspec

from embedded.database import Parameters
from memory.records import (
    Answer,
    Attachment,
    Choice,
    Conversation,
    Feedback,
    Position,
    Question,
    Summary,
    ToolUse,
    Turn,
    TurnError,
)
from stores.turn_archive import Standing

Struct = TypeVar("Struct", bound=msgspec.Struct)


def turn_row(turn: Turn) -> Parameters:
    """All but the lease, which runs from the moment of the insert.

    ``message_id`` is the key, which is unique and what a call is looked up by; the message's id
    stands beside it where it is another.
    """
    question = turn.question
    return {
        "id": turn.id,
        "conversation": turn.conversation_id,
        "user": turn.user_id,
        "n": turn.n,
        "place": turn.place,
        "revision": turn.revision,
        "rewrites": turn.rewrites,
        "superseded": turn.superseded,
        "message_id": question.call_key,
        "shown_id": question.message_id if question.message_id != question.call_key else None,
        "content": question.content,
        "asked_at": question.created_at,
        "digest": turn.digest,
        "accepted": turn.accepted,
        "created_at": turn.created_at,
        "status": turn.status,
        "open": turn.open,
        "attempt": turn.attempt,
        "stop_requested": turn.stop_requested,
        "owner": turn.owner,
        "answer": as_json(turn.answer),
        "error": as_json(turn.error),
        "answers": turn.answers,
        "attachments": as_json(question.attachments or None),
        "choice": choice_json(turn.choice),
        "tools": as_json(turn.tools or None),
        "feedback": as_json(turn.feedback),
        "context": None,
    }


def turn_record(row: sqlite3.Row) -> Turn:
    key, shown = row["message_id"], row["shown_id"]
    question = Question(
        message_id=key if shown is None else shown,
        key=None if shown is None else key,
        content=row["content"],
        created_at=row["asked_at"],
        attachments=list_from_json(row["attachments"], Attachment),
    )
    return Turn(
        id=row["id"],
        conversation_id=row["conversation"],
        user_id=row["user"],
        n=row["n"],
        place=row["place"] or row["n"],
        revision=row["revision"],
        rewrites=bool(row["rewrites"]),
        superseded=bool(row["superseded"]),
        question=question,
        digest=row["digest"],
        accepted=row["accepted"],
        created_at=row["created_at"],
        status=row["status"],
        open=bool(row["open"]),
        attempt=row["attempt"],
        stop_requested=bool(row["stop_requested"]),
        owner=row["owner"],
        answer=from_json(row["answer"], Answer),
        error=from_json(row["error"], TurnError),
        answers=row["answers"],
        choice=from_json(row["choice"], Choice) or Choice(),
        tools=list_from_json(row["tools"], ToolUse),
        feedback=from_json(row["feedback"], Feedback),
    )


def conversation_record(row: sqlite3.Row) -> Conversation:
    return Conversation(
        id=row["id"],
        user_id=row["user"],
        title=row["title"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        position=position_record(row),
        digest=row["digest"],
        choice=from_json(row["choice"], Choice) or Choice(),
    )


def position_record(row: sqlite3.Row) -> Position:
    return Position(revision=row["revision"], turn=row["turn"], answers=row["answers"])


def standing_record(row: sqlite3.Row) -> Standing:
    return Standing(revision=row["revision"], summary=from_json(row["summary"], Summary))


def choice_json(choice: Choice) -> str | None:
    return as_json(choice) if choice != Choice() else None


def as_json(record: Any) -> str | None:
    return None if record is None else msgspec.json.encode(record).decode()


def from_json(text: str | None, kind: type[Struct]) -> Struct | None:
    return None if text is None else msgspec.json.decode(text, type=kind)


def list_from_json(text: str | None, kind: type[Struct]) -> list[Struct]:
    return [] if text is None else msgspec.json.decode(text, type=list[kind])  # type: ignore[valid-type]
