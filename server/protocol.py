"""The wire contract's calls and their bounds, free of I/O. What goes out is in ``shapes.py``.

docs/protocol.md is this in words; tests/server/test_protocol.py holds both to it as a table.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from memory.facts import MAX_TEXT_CHARS, Fact
from memory.records import Conversation
from server.errors import Invalid, TooLarge

MAX_ID_CHARS = 128
MAX_TITLE_CHARS = 200
MAX_CURSOR_CHARS = 1024
MAX_COMMENT_CHARS = 2_000
MAX_QUERY_CHARS = 500
MAX_SEQ = 2**53 - 1  # what JavaScript counts exactly
MAX_PACKET_BYTES = 1_000_000  # the transport closes a connection that sends more at once

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Title = Annotated[str, Meta(min_length=1, max_length=MAX_TITLE_CHARS)]
Name = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
Cursor = Annotated[str, Meta(max_length=MAX_CURSOR_CHARS)]
IfBusy = Literal["queue", "interrupt", "reject"]
MediaType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]


class Overfull:
    """Stands for a call's object whose binary parts were more than the transport takes."""


OVERFULL = Overfull()


class CreateConversation(Struct, frozen=True):
    conversation_id: Id | None = None
    title: Title | None = None
    model: Name | None = None
    system_prompt: Name | None = None


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


class ConfigureConversation(Struct, frozen=True):
    conversation_id: Id
    model: Name | None = None
    system_prompt: Name | None = None


class DeleteConversation(Struct, frozen=True):
    conversation_id: Id


class SearchMessages(Struct, frozen=True):
    query: Annotated[str, Meta(min_length=1, max_length=MAX_QUERY_CHARS)]
    limit: Annotated[int, Meta(ge=1, le=50)] = 20
    conversation_id: Id | None = None


class NewAttachment(Struct, frozen=True):
    type: Literal["image"]
    media_type: MediaType
    data: bytes  # base64 where it comes as text; or a binary part of the packet


class ExportConversation(Struct, frozen=True):
    conversation_id: Id
    format: Literal["json", "markdown"] = "json"
    after: Cursor | None = None


class ImportConversation(Struct, frozen=True):
    conversation_id: Id
    document: Annotated[dict[str, Any], Meta(min_length=1)]


class SendMessage(Struct, frozen=True):
    message_id: Id
    content: Annotated[str, Meta(min_length=1)]
    conversation_id: Id | None = None
    if_busy: IfBusy = "queue"
    attachments: list[NewAttachment] = []


class EditMessage(Struct, frozen=True):
    conversation_id: Id
    message_id: Id
    new_message_id: Id
    content: Annotated[str, Meta(min_length=1)]
    attachments: list[NewAttachment] | None = None  # left out: those of the message stay


class GiveFeedback(Struct, frozen=True):
    conversation_id: Id
    message_id: Id
    value: Literal[1, 0, -1]
    comment: Annotated[str, Meta(max_length=MAX_COMMENT_CHARS)] | None = None


class RegenerateTurn(Struct, frozen=True):
    conversation_id: Id
    turn_id: Id
    new_turn_id: Id


class StopTurn(Struct, frozen=True):
    conversation_id: Id
    turn_id: Id


class TurnContext(Struct, frozen=True):
    conversation_id: Id
    turn_id: Id


class GetAttachment(Struct, frozen=True):
    conversation_id: Id
    attachment_id: Id


class ListFacts(Struct, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    before: Cursor | None = None


class UpdateFact(Struct, frozen=True):
    fact_id: Id
    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]


class DeleteFact(Struct, frozen=True):
    fact_id: Id


class UserUsage(Struct, frozen=True):
    conversation_id: Id | None = None
    days: Annotated[int, Meta(ge=1, le=90)] = 30


class DeleteUser(Struct, frozen=True):
    confirm: Literal["delete everything"]


Request = TypeVar("Request", bound=Struct)

# Where something is missing further inside, the field of the call is named, and not that one.
_FIELD = re.compile(r"`\$\.(\w+)|field `(\w+)`(?!.*`\$\.)")


def parse(kind: type[Request], arguments: tuple[Any, ...]) -> Request:
    """The one object of a call, as ``kind``. Raises ``Invalid``, naming the field at fault, and
    ``TooLarge``."""
    if arguments == (OVERFULL,):
        raise TooLarge(f"A call may have {MAX_PACKET_BYTES} bytes of binary data.")
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


def list_cursor(conversation: Conversation) -> str:
    """The ``next`` of a page of conversations that ends with this one."""
    return _cursor(conversation.updated_at, conversation.id)


def fact_cursor(fact: Fact) -> str:
    """The ``next`` of a page of facts that ends with this one."""
    return _cursor(fact.updated_at, fact.id)


def _cursor(at: int, name: str) -> str:
    text = f"{at}:{name}"
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
