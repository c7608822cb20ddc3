"""The JSON document of a conversation, free of I/O: what is written, and what is taken for one.

A document that is taken in may be somebody else's work: every part of it is checked, and whatever
is wrong with it is told by where it stands.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import orjson
from msgspec import Meta, Struct

from memory.records import (
    Answer,
    Choice,
    Conversation,
    Feedback,
    MessageStatus,
    Question,
    Turn,
    TurnStatus,
    derived_id,
    imported_id,
    messages_of,
    request_digest,
)
from server import shapes
from server.errors import CallError, Invalid
from server.protocol import MAX_COMMENT_CHARS, MAX_ID_CHARS, MAX_TITLE_CHARS, check_content

FORMAT = "mnemosio-conversation"
VERSION = 1
MAX_MESSAGES = 20_000
"""Of a conversation that is taken in."""

ENDS: dict[MessageStatus, TurnStatus] = {
    "complete": "completed",
    "stopped": "stopped",
    "interrupted": "failed",
}

Parsed = TypeVar("Parsed", bound=Struct)


# What is written


def head_text(conversation: Conversation) -> str:
    """The document up to its first message."""
    about = shapes.conversation_shape(conversation)
    del about["message_count"]  # it may grow while the document is written
    head = {"format": FORMAT, "version": VERSION, "conversation": about}
    return orjson.dumps(head).decode()[:-1] + ',"messages":['


def turn_text(turn: Turn) -> str:
    """The turn's messages; the one at place 1 is the document's first."""
    written = []
    for message in messages_of(turn):
        shape = shapes.message_shape(turn.conversation_id, message)
        del shape["conversation_id"]
        if message.type == "ai" and turn.answer is not None and turn.answer.usage is not None:
            shape["usage"] = turn.answer.usage
        written.append(orjson.dumps(shape).decode())
    return ("\n" if turn.place == 1 else ",\n") + ",\n".join(written)


TAIL = "\n]}\n"


# What is taken in


class Thought(Struct, frozen=True):
    value: Literal[1, -1]
    comment: Annotated[str, Meta(max_length=MAX_COMMENT_CHARS)] | None = None


class Said(Struct, frozen=True):
    role: Literal["user", "assistant"]
    content: Annotated[str, Meta(min_length=1)]
    seq: Annotated[int, Meta(ge=1, le=MAX_MESSAGES)] | None = None
    status: MessageStatus = "complete"
    created_at: str | None = None
    feedback: Thought | None = None


class About(Struct, frozen=True):
    title: Annotated[str, Meta(max_length=MAX_TITLE_CHARS)] = ""
    created_at: str | None = None
    updated_at: str | None = None
    model: Annotated[str, Meta(max_length=MAX_ID_CHARS)] | None = None
    system_prompt: Annotated[str, Meta(max_length=MAX_ID_CHARS)] | None = None


class Document(Struct, frozen=True):
    format: Literal["mnemosio-conversation"]
    version: Literal[1]
    messages: list[Any]
    conversation: About = About()


# msgspec looks into a type when it meets it first. Parts are read in threads, and two that did so
# at the same moment have crashed the process (a segmentation fault): so it is done here, in one.
_LOOKED_INTO = [msgspec.json.Decoder(kind) for kind in (Document, Said)]


class Head(Struct, frozen=True, kw_only=True):
    """What a document says of its conversation. All its parts say the same."""

    title: str
    created_at: int
    updated_at: int | None
    choice: Choice
    digest: str
    """What must be the same in each call that brings a part of it."""


class Exchange(Struct, frozen=True, kw_only=True):
    """A question, and its answer where there is one."""

    place: int
    question: Said
    asked_at: int
    answer: Said | None = None
    answered_at: int = 0


class Part(Struct, frozen=True, kw_only=True):
    head: Head
    exchanges: list[Exchange]
    """Ascending by place, without gaps."""


def parse_part(document: Mapping[str, Any], *, max_chars: int, now: int) -> Part:
    """A document, or a run of its messages with its head. Raises ``Invalid`` and ``TooLarge``, with
    a field that says where. Times are no later than ``now``."""
    parsed = _convert(document, Document, "document")
    about = parsed.conversation
    created_at = _time(about.created_at, "document.conversation.created_at", now)
    updated_at = _time(about.updated_at, "document.conversation.updated_at", now)
    exchanges = _exchanges(parsed.messages, max_chars, now, earliest=created_at)
    if created_at is None:
        created_at = exchanges[0].asked_at if exchanges else now
    head = Head(
        title=about.title,
        created_at=created_at,
        updated_at=None if updated_at is None else max(updated_at, created_at),
        choice=Choice(model=about.model or None, system_prompt=about.system_prompt or None),
        digest=hashlib.sha256(b"import\0" + msgspec.json.encode(about)).hexdigest(),
    )
    return Part(head=head, exchanges=exchanges)


def _exchanges(
    messages: Sequence[Any], max_chars: int, now: int, *, earliest: int | None
) -> list[Exchange]:
    exchanges: list[Exchange] = []
    place = 0
    at = earliest
    for index, given in enumerate(messages):
        field = f"document.messages[{index}]"
        said = _convert(given, Said, field)
        own = _time(said.created_at, f"{field}.created_at", now)
        at = own if own is not None else now if at is None else at
        if said.role == "user":
            _check_question(said, max_chars, field)
            place = (said.seq + 1) // 2 if not exchanges and said.seq else place + 1
            exchanges.append(Exchange(place=place, question=said, asked_at=at))
        elif not exchanges or exchanges[-1].answer is not None:
            raise Invalid("An answer stands after its question.", field=f"{field}.role")
        else:
            exchanges[-1] = msgspec.structs.replace(exchanges[-1], answer=said, answered_at=at)
        if 2 * place > MAX_MESSAGES:
            raise Invalid(f"Of {MAX_MESSAGES} messages this is one too many.", field=field)
        if said.seq is not None and said.seq != 2 * place - (said.role == "user"):
            raise Invalid(f"It is not the next one at {said.seq}.", field=f"{field}.seq")
    return exchanges


def _check_question(said: Said, max_chars: int, field: str) -> None:
    try:
        check_content(said.content, max_chars)
    except CallError as error:
        error.field = f"{field}.content"
        raise
    if said.status != "complete":
        raise Invalid("A user's message is complete.", field=f"{field}.status")
    if said.feedback is not None:
        raise Invalid("Feedback is on answers.", field=f"{field}.feedback")


_PATH = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")


def _convert(given: Any, kind: type[Parsed], field: str) -> Parsed:
    if isinstance(given, Mapping):  # what is null is left out
        given = {key: value for key, value in given.items() if value is not None}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        path = _PATH.search(text)
        missing = _MISSING.search(text)
        where = [field, path[1] if path else "", missing[1] if missing else ""]
        raise Invalid(text.split(" - at ")[0], field=".".join(filter(None, where))) from None


def _time(text: str | None, field: str, now: int) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        # A time of no zone is not this machine's.
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        at = round(moment.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise Invalid("It is no time of RFC 3339.", field=field) from None
    if at < 0:
        raise Invalid("It is before 1970.", field=field)
    return min(at, now)


def turns_of(part: Part, conversation_id: str, user_id: str, answers: int) -> list[Turn]:
    """The turns that a part brings: ended and closed, under ids that follow from whose they are and
    where they stand. ``answers`` is how many there are before them."""
    turns = []
    for exchange in part.exchanges:
        answers += exchange.answer is not None
        turns.append(_turn(exchange, conversation_id, user_id, answers))
    return turns


def _turn(exchange: Exchange, conversation_id: str, user_id: str, answers: int) -> Turn:
    asked, said = exchange.question, exchange.answer
    message_id = imported_id(user_id, conversation_id, exchange.place)
    turn_id = derived_id("turn", user_id, message_id)
    answer = feedback = None
    if said is not None:
        answer = Answer(
            message_id=derived_id("answer", turn_id),
            content=said.content,
            status=said.status,
            created_at=exchange.answered_at,
        )
        if said.feedback is not None:
            thought = said.feedback
            comment = thought.comment or None
            feedback = Feedback(value=thought.value, comment=comment, at=exchange.answered_at)
    return Turn(
        id=turn_id,
        conversation_id=conversation_id,
        user_id=user_id,
        n=exchange.place,
        place=exchange.place,
        question=Question(
            message_id=message_id, content=asked.content, created_at=exchange.asked_at
        ),
        digest=request_digest(conversation_id, msgspec.json.encode([asked, said]).decode()),
        accepted="running",
        # A question without an answer waits for none.
        status="stopped" if said is None else ENDS[said.status],
        open=False,
        attempt=1,
        answer=answer,
        answers=answers,
        feedback=feedback,
        created_at=exchange.asked_at,
    )
