"""A conversation as a document, in pieces that joined are the whole.

A piece ends anywhere, in the middle of a message too, and ``next`` says where the following one
begins. What must not happen is that pieces are of two minds:

- An edit or a regenerate between two pieces: the revision is part of ``next``. The document is to
  be begun anew (``conflict``).
- One whose server has not marked yet all that it supersedes: the conversation's record lacks its
  revision. Then there is no telling what holds (``unavailable``).
- A message that changes while half of it is written (its answer ends, or is judged): ``next`` has a
  digest of it.
- A conversation that goes on meanwhile: where the document ends is fixed by its first piece.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta

from memory.errors import Unavailable
from memory.records import Conversation, Turn
from server.errors import Conflict, Invalid
from server.protocol import MAX_SEQ
from server.transfer import document, markdown
from stores.contract import TurnStore

PIECE_CHARS = 100_000
"""Of a piece. On the wire a character is six bytes at the worst (a control character), so that it
stays well below a packet of 1 MB whatever was said."""

FIRST_TURNS, MOST_TURNS = 8, 64
"""Read at once: few at first, because a turn may be as long as several pieces."""

FILE_NAME_CHARS = 60

Count = Annotated[int, Meta(ge=0, le=MAX_SEQ)]
Format = Literal["json", "markdown"]


class Writer(Protocol):
    """One of the formats: a module."""

    TAIL: str
    head_text: Callable[[Conversation], str]
    turn_text: Callable[[Turn], str]


class Kind(msgspec.Struct, frozen=True):
    writer: Any
    media_type: str
    suffix: str


KINDS: dict[Format, Kind] = {
    "json": Kind(document, "application/json", "json"),
    "markdown": Kind(markdown, "text/markdown", "md"),
}


class At(msgspec.Struct, frozen=True, array_like=True):
    """Where the next piece begins."""

    revision: Count
    end: Count
    """The last place of the document."""
    place: Count
    """Of the turn to be written next; 0 the head, beyond the end the tail."""
    offset: Count
    """Characters of it that are written."""
    digest: str
    """Of its text, where some of it is written."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    content: str
    media_type: str
    file_name: str
    next: str | None


class Exporting:
    def __init__(self, turns: TurnStore) -> None:
        self._turns = turns

    async def piece(self, conversation: Conversation, format: Format, after: str | None) -> Piece:
        """Raises ``Invalid`` for an ``after`` that no ``next`` can have been, ``Conflict`` where it
        does not fit what the conversation is now, and ``Unavailable``."""
        kind = KINDS[format]
        begun = None if after is None else parse_at(after)
        revision = conversation.position.revision
        if begun is not None and begun.revision != revision:
            raise _changed()
        end = begun.end if begun is not None else conversation.position.turn
        at = begun or At(revision, end, 0, 0, "")
        content, following = await self._written(conversation, kind.writer, at)
        # After all that was read: what rewrites has a number, and a revision, from its first moment
        # on, so up to here nothing was.
        last = await self._turns.last(conversation.id)
        if last is not None and last.revision != revision:
            raise Unavailable("The conversation is being rewritten.")
        return Piece(
            content=content,
            media_type=kind.media_type,
            file_name=f"{file_stem(conversation)}.{kind.suffix}",
            next=None if following is None else at_text(following),
        )

    async def _written(
        self, conversation: Conversation, writer: Writer, at: At
    ) -> tuple[str, At | None]:
        """A piece, and where the next one begins."""
        room = PIECE_CHARS
        written: list[str] = []
        async for place, text in self._texts(conversation, writer, at):
            digest = hashlib.sha256(text.encode()).hexdigest()[:16]
            offset = at.offset if place == at.place else 0
            if offset and digest != at.digest:
                raise _changed()
            written.append(text[offset : offset + room])
            room -= len(written[-1])
            offset += len(written[-1])
            if offset < len(text):
                return "".join(written), At(at.revision, at.end, place, offset, digest)
        return "".join(written), None

    async def _texts(
        self, conversation: Conversation, writer: Writer, at: At
    ) -> AsyncIterator[tuple[int, str]]:
        """The document's parts from ``at`` on, by their places."""
        if at.place == 0:
            yield 0, writer.head_text(conversation)
        place = max(at.place, 1)
        limit = FIRST_TURNS
        while place <= at.end:
            turns = await self._turns.since(conversation.id, place, limit)
            found = [turn for turn in turns if turn.place <= at.end]
            if not found:
                raise _changed()
            for turn in found:
                yield turn.place, writer.turn_text(turn)
            place = found[-1].place + 1
            limit = min(2 * limit, MOST_TURNS)
        yield at.end + 1, writer.TAIL


def _changed() -> Conflict:
    return Conflict("The conversation was changed meanwhile: begin anew.", field="after")


def at_text(at: At) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(at)).decode().rstrip("=")


def parse_at(text: str) -> At:
    """Raises ``Invalid`` for what no ``next`` can have been."""
    try:
        at = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=At)
    except (ValueError, binascii.Error):  # msgspec's errors are ValueErrors
        raise Invalid("Not a value that `next` has had.", field="after") from None
    if at.place > at.end + 1:
        raise Invalid("Not a value that `next` has had.", field="after")
    return at


def file_stem(conversation: Conversation) -> str:
    """A name that every file system takes."""
    words = re.findall(r"[^\W_]+", conversation.title)
    return "-".join(words)[:FILE_NAME_CHARS].strip("-") or "conversation"
