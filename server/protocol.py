"""The wire contract, free of I/O: the calls and their bounds, and the shapes that go out.

docs/protocol.md is this in words; tests/server/test_protocol.py holds both to it as a table.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from memory.records import Conversation, Message, Turn, TurnStatus
from server.errors import Invalid, TooLarge

MAX_ID_CHARS = 128
MAX_TITLE_CHARS = 200
MAX_CURSOR_CHARS = 1024
DAY_MS = 24 * 3600 * 1000
MAX_SEQ = 2**53 - 1  # what JavaScript counts exactly
MAX_PACKET_BYTES = 1_000_000  # the transport closes a connection that sends more at once

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Title = Annotated[str, Meta(min_length=1, max_length=MAX_TITLE_CHARS)]
Cursor = Annotated[str, Meta(max_length=MAX_CURSOR_CHARS)]
IfBusy = Literal["queue", "interrupt", "reject"]


class CreateConversation(Struct, frozen=True):
    conversation_id: Id | None = None
    title: Title | None = None


class ListConversations(Struct, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 30
    before: Cursor | None = None


class OpenConversation(Struct, frozen=True):
    conversation_id: Id
    after: str | None = None  # any string: garbage is answered with a snapshot


class ConversationHistory(Struct, frozen=True):
    conversation_id: Id
    before: Annotated[int, Meta(ge=1, le=MAX_SEQ)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class CloseConversation(Struct, frozen=True):
    conversation_id: Id


class RenameConversation(Struct, frozen=True):
    conversation_id: Id
    title: Title


class DeleteConversation(Struct, frozen=True):
    conversation_id: Id


class SendMessage(Struct, frozen=True):
    message_id: Id
    content: Annotated[str, Meta(min_length=1)]
    conversation_id: Id | None = None
    if_busy: IfBusy = "queue"


class EditMessage(Struct, frozen=True):
    conversation_id: Id
    message_id: Id
    new_message_id: Id
    content: Annotated[str, Meta(min_length=1)]


class RegenerateTurn(Struct, frozen=True):
    conversation_id: Id
    turn_id: Id
    new_turn_id: Id


class StopTurn(Struct, frozen=True):
    conversation_id: Id
    turn_id: Id


Request = TypeVar("Request", bound=Struct)

_FIELD = re.compile(r"`\$\.(\w+)|field `(\w+)`")


def parse(kind: type[Request], arguments: tuple[Any, ...]) -> Request:
    """The one object of a call, as ``kind``. Raises ``Invalid``, naming the field at fault."""
    if len(arguments) != 1 or not isinstance(arguments[0], Mapping):
        raise Invalid("A call takes exactly one object.")
    # A field that is null is a field left out: that is how many clients write "absent".
    given = {key: value for key, value in arguments[0].items() if value is not None}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        at = _FIELD.search(str(error))
        field = (at.group(1) or at.group(2)) if at else None
        raise Invalid(str(error).split(" - at ")[0], field=field) from None


def check_content(content: str, max_chars: int) -> None:
    """Raises ``TooLarge`` or ``Invalid`` for what can't be answered. 0: no limit."""
    if max_chars and len(content) > max_chars:
        raise TooLarge(f"A message may have {max_chars} characters at most.", field="content")
    if not content.strip():
        raise Invalid("A message needs some text.", field="content")


def new_id() -> str:
    """An id for what the client left unnamed."""
    return str(uuid.uuid4())


def time_text(at: int) -> str:
    """Milliseconds since 1970 as RFC 3339 in UTC, with milliseconds."""
    # A snapshot has 50 of them: the library's way takes twice as long.
    day, ms = divmod(at, DAY_MS)
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{_date(day)}T{hours:02d}:{minutes:02d}:{seconds:02d}.{ms:03d}Z"


@lru_cache(maxsize=64)
def _date(day: int) -> str:
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
    }


def message_shape(conversation_id: str, message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "conversation_id": conversation_id,
        "seq": None if message.spooled else message.seq,
        "role": "user" if message.type == "human" else "assistant",
        "content": message.content,
        "status": message.status,
        "turn_id": message.turn_id,
        "created_at": time_text(message.created_at),
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


def list_cursor(conversation: Conversation) -> str:
    """The ``next`` of a page of conversations that ends with this one."""
    text = f"{conversation.updated_at}:{conversation.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_list_cursor(cursor: str | None) -> tuple[int, str] | None:
    """Raises ``Invalid`` for what no ``next`` can have been."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        updated_at, conversation_id = text.split(":", 1)
        if len(updated_at) > 15:
            raise ValueError(updated_at)
        return int(updated_at), conversation_id
    except (ValueError, binascii.Error):
        raise Invalid("Not a value that `next` has had.", field="before") from None
