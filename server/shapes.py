"""The shapes that go out over the wire, made from records. No I/O.

docs/protocol.md has them in words.
"""

from __future__ import annotations

import contextlib
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from memory.facts import Fact
from memory.records import Attachment, Conversation, Feedback, Message, ToolUse, Turn, TurnStatus
from stores.usage import DAY_MS, Budget, Used

MAX_TOOL_CHARS = 4_000
"""Of a tool's output, and of its input, on the feed. The model is told more, and so is the turn."""


def time_text(at: int) -> str:
    """Milliseconds since 1970 as RFC 3339 in UTC, with milliseconds."""
    # A snapshot has 50 of them: the library's way takes twice as long.
    day, ms = divmod(at, DAY_MS)
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{day_text(day)}T{hours:02d}:{minutes:02d}:{seconds:02d}.{ms:03d}Z"


@lru_cache(maxsize=64)
def day_text(day: int) -> str:
    """A day by its number since 1970: ``2026-11-22``."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def time_of(text: str) -> int:
    """The other way round."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def conversation_shape(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "title": conversation.title,
        "created_at": time_text(conversation.created_at),
        "updated_at": time_text(conversation.updated_at),
        "message_count": conversation.message_count,
        "model": conversation.choice.model,
        "system_prompt": conversation.choice.system_prompt,
    }


def message_shape(conversation_id: str, message: Message) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "id": message.id,
        "conversation_id": conversation_id,
        "seq": None if message.spooled else message.seq,
        "role": "user" if message.type == "human" else "assistant",
        "content": message.content,
        "status": message.status,
        "turn_id": message.turn_id,
        "created_at": time_text(message.created_at),
    }
    if message.attachments:
        shape["attachments"] = [attachment_shape(each) for each in message.attachments]
    if message.feedback is not None:
        shape["feedback"] = feedback_shape(message.feedback)
    return shape


def attachment_shape(attachment: Attachment) -> dict[str, Any]:
    return {
        "id": attachment.id,
        "type": attachment.type,
        "media_type": attachment.media_type,
        "size": attachment.size,
    }


def feedback_shape(feedback: Feedback) -> dict[str, Any]:
    shape: dict[str, Any] = {"value": feedback.value}
    if feedback.comment is not None:
        shape["comment"] = feedback.comment
    return shape


def usage_shape(used: Used) -> dict[str, int]:
    return {
        "turns": used.turns,
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "total_tokens": used.total_tokens,
    }


def budget_shape(budget: Budget) -> dict[str, Any]:
    return {
        "limit": budget.limit,
        "used": budget.used,
        "resets_at": time_text(budget.resets_at),
    }


def turn_shape(turn: Turn, *, as_accepted: bool = False) -> dict[str, Any]:
    """A turn as it is; or as its acceptance answered, which is what a retry must answer too."""
    status: TurnStatus = turn.accepted if as_accepted else turn.status
    attempt = int(turn.accepted == "running") if as_accepted else turn.attempt
    return {
        "id": turn.id,
        "conversation_id": turn.conversation_id,
        "message_id": turn.question.message_id,
        "status": status,
        "attempt": attempt,
    }


def fact_shape(fact: Fact) -> dict[str, Any]:
    """A fact with the message that said so last."""
    source = fact.sources[-1] if fact.sources else None
    return {
        "id": fact.id,
        "text": fact.text,
        "confidence": round(fact.confidence, 2),
        "created_at": time_text(fact.created_at),
        "updated_at": time_text(fact.updated_at),
        "edited": fact.edited,
        "source": source
        and {"conversation_id": source.conversation_id, "message_id": source.message_id},
    }


def tool_shape(use: ToolUse) -> dict[str, Any]:
    """A use of a tool as the feed shows it. An input that is too long, or that JSON can't carry, is
    left out."""
    shape: dict[str, Any] = {"id": _whole(use.id), "name": _whole(use.name), "status": use.status}
    with contextlib.suppress(TypeError):
        if len(orjson.dumps(use.input)) <= MAX_TOOL_CHARS:
            shape["input"] = use.input
    if use.output is not None:
        shape["output"] = _whole(use.output[:MAX_TOOL_CHARS])
    return shape


def _whole(text: str) -> str:
    """Without what UTF-8 can't express: a tool may say anything."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
