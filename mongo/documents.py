"""Records as documents and back."""

from __future__ import annotations

from typing import Any

import msgspec

from memory.records import Answer, Choice, Conversation, Position, Question, Summary, Turn
from mongo.collections import Document
from stores.turn_archive import Standing

_RENAMED = {"id": "_id", "conversation_id": "conversation", "user_id": "user"}


def turn_document(turn: Turn) -> Document:
    """All but the lease, whose time only the store itself can tell, and but what of it is kept
    elsewhere."""
    document: Document = msgspec.to_builtins(turn)
    document.pop("spooled", None)
    for name, stored in _RENAMED.items():
        document[stored] = document.pop(name)
    # Left out where there is nothing to say, as in what older servers wrote.
    if turn.choice == Choice():
        del document["choice"]
    if not turn.tools:
        del document["tools"]
    else:
        document["tools"] = as_text(turn.tools)
    if turn.feedback is None:
        del document["feedback"]
    document["question"] = question_document(turn.question)
    document["answer"] = answer_document(turn.answer)
    return document


def question_document(question: Question) -> Document:
    """Under ``message_id`` stands the key, which is unique and what a call is looked up by; the
    message's id beside it where it is another."""
    document: Document = {
        "message_id": question.call_key,
        "content": question.content,
        "created_at": question.created_at,
    }
    if question.message_id != question.call_key:
        document["shown_id"] = question.message_id
    if question.attachments:
        document["attachments"] = msgspec.to_builtins(question.attachments)
    return document


def answer_document(answer: Answer | None) -> Document | None:
    if answer is None:
        return None
    document: Document = msgspec.to_builtins(answer)
    if answer.usage is not None:
        document["usage"] = as_text(answer.usage)
    return document


def as_text(value: Any) -> str:
    """As JSON: a provider, or a tool, may name its fields as BSON can't."""
    return msgspec.json.encode(value).decode()


def turn_record(document: Document) -> Turn:
    fields: dict[str, Any] = {**document}
    for name, stored in _RENAMED.items():
        fields[name] = fields.pop(stored)
    question = fields["question"]
    if "shown_id" in question:
        key, shown = question["message_id"], question["shown_id"]
        fields["question"] = {**question, "message_id": shown, "key": key}
    answer = fields["answer"]
    if answer is not None and answer["usage"] is not None:
        fields["answer"] = {**answer, "usage": msgspec.json.decode(answer["usage"])}
    if "tools" in fields:
        fields["tools"] = msgspec.json.decode(fields["tools"])
    return msgspec.convert(fields, Turn)


def conversation_document(
    conversation_id: str, user_id: str, title: str, digest: str | None, at: int, choice: Choice
) -> Document:
    document: Document = {
        "_id": conversation_id,
        "user": user_id,
        "title": title,
        "created_at": at,
        "updated_at": at,
        "digest": digest,
        "revision": 0,
        "turn": 0,
        "answers": 0,
        "deleted": False,
    }
    if choice != Choice():
        document["choice"] = msgspec.to_builtins(choice)
    return document


def conversation_record(document: Document) -> Conversation:
    return Conversation(
        id=document["_id"],
        user_id=document["user"],
        title=document["title"],
        # The driver gives a type of its own for long integers, which not every encoder takes.
        created_at=int(document["created_at"]),
        updated_at=int(document["updated_at"]),
        position=position_record(document),
        digest=document["digest"],
        choice=msgspec.convert(document.get("choice", {}), Choice),
    )


def position_record(document: Document) -> Position:
    return Position(
        revision=int(document["revision"]),
        turn=int(document["turn"]),
        answers=int(document["answers"]),
    )


def standing_record(document: Document) -> Standing:
    summary = document.get("summary")
    return Standing(
        revision=document["revision"],
        summary=None if summary is None else msgspec.convert(summary, Summary),
    )
