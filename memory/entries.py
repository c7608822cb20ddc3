"""How messages and summaries are written in Redis.

A message is compact JSON that begins ``{"v":1,"h":"<16 hex>","o":"<16 hex>",``: the schema version,
a hash of its id, and its order key (``seq``; all ``f`` while it has none, so that it sorts last).
They stand at fixed offsets, so that a script compares substrings instead of decoding; fixed-width
hex, because Lua's doubles corrupt long integers. A summary begins ``{"v":1,"r":<revision>,"n":
<version>,"ops":"<tokens>"``; version 0 is no summary yet; ``ops`` are the latest changes replayed.

LangChain's own message dicts and plain-text summaries, as earlier programs left them under the same
keys, are read. Anything else is ``Poison``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from memory import chat_messages
from memory.records import Message, Position, Summary, derived_id

UNNUMBERED = b"f" * 16

_PREFIX = b'{"v":1,"h":"'
_messages = msgspec.json.Decoder(list[Message])
_SUMMARY = re.compile(rb'\{"v":1,"r":(\d{1,15}),"n":(\d{1,15}),"ops":"[0-9a-f,]*"([,}])')


class Poison(Exception):
    """A value in Redis that is not ours, or not ours any more."""


class _SummaryBody(msgspec.Struct):
    text: str = ""
    upto: int = 0
    turns: int = 0


def id_hash(message_id: str) -> bytes:
    data = message_id.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=8).hexdigest().encode()


def order_key(seq: int | None) -> bytes:
    return UNNUMBERED if seq is None else b"%016x" % seq


def encode_message(message: Message) -> bytes:
    """Raises ``TypeError`` for content that JSON can't carry."""
    # Whether it is spooled changes without a word to whoever reads it here.
    body = _json(msgspec.structs.replace(message, spooled=False) if message.spooled else message)
    return b'%b%b","o":"%b",%b' % (
        _PREFIX,
        id_hash(message.id),
        order_key(message.seq),
        body[1:],
    )


def decode_messages(entries: Sequence[bytes]) -> list[Message]:
    """Raises ``Poison``."""
    if all(entry.startswith(_PREFIX) for entry in entries):
        try:
            return _messages.decode(b"[" + b",".join(entries) + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # a lone surrogate somewhere, or poison: one by one
    return [_decode_message(entry) for entry in entries]


def _decode_message(entry: bytes) -> Message:
    try:
        # The standard library's decoder takes lone surrogates, which msgspec refuses.
        value = json.loads(entry)
        if entry.startswith(_PREFIX):
            return msgspec.convert(value, Message)
        if isinstance(value, dict) and set(value) == {"type", "data"}:
            return chat_messages.from_dict(value, fallback_id=derived_id("entry", repr(entry)))
    except (ValueError, RecursionError, TypeError) as error:  # msgspec's errors are ValueErrors
        raise Poison("an entry can't be read") from error
    raise Poison("an entry is of an unknown form")


def encode_summary(summary: Summary | None, revision: int) -> bytes:
    if summary is None:
        return b'{"v":1,"r":%d,"n":0,"ops":""}' % revision
    body = _json(_SummaryBody(summary.text, summary.upto, summary.turns))
    return b'{"v":1,"r":%d,"n":%d,"ops":"",%b' % (revision, summary.version, body[1:])


def encode_text(text: str) -> bytes:
    return _json(text)


def decode_summary(value: bytes) -> tuple[Summary | None, int]:
    """The summary and the revision. Raises ``Poison``."""
    head = _SUMMARY.match(value)
    if head is None:
        if value.startswith(b'{"v":'):
            raise Poison("a summary of another version")
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Poison("a summary that is no text") from error
        return (Summary(text=text, upto=0, turns=0, version=1) if text else None), 0
    revision, version = int(head[1]), int(head[2])
    try:
        body = msgspec.convert(json.loads(value), _SummaryBody)
    except (ValueError, RecursionError) as error:
        raise Poison("a summary can't be read") from error
    if version == 0:
        return None, revision
    return Summary(text=body.text, upto=body.upto, turns=body.turns, version=version), revision


def decode_turns(value: bytes) -> int:
    """Raises ``Poison``."""
    if not value.isdigit() or len(value) > 15:
        raise Poison("a turn counter that is no number")
    return int(value)


def position_of(messages: Sequence[Message], revision: int, answers: int) -> Position:
    """Where these messages stand; they ascend, so the last numbered one tells the turn."""
    last = next((m.seq for m in reversed(messages) if m.seq is not None), 0)
    return Position(revision=revision, turn=(last + 1) // 2, answers=answers)


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # Lone surrogates have no UTF-8; the standard library escapes them.
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode()
