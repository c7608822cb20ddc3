"""Conversations in this process: what memory works with while Redis is away.

Bounded in bytes; the one touched longest ago goes first, and what was not touched for the TTL is
gone as it would be in Redis.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from memory.records import Message, Transcript

DEFAULT_BYTES = 32 * 1024 * 1024

_MESSAGE_OVERHEAD = 500
_CONVERSATION_OVERHEAD = 1_000


class _Held:
    __slots__ = ("expires", "size", "transcript")

    def __init__(self, transcript: Transcript, size: int, expires: float) -> None:
        self.transcript = transcript
        self.size = size
        self.expires = expires


class Window:
    """``on_evict`` is told of each conversation that goes for want of room or of age."""

    def __init__(
        self,
        *,
        ttl_seconds: float,
        max_bytes: int = DEFAULT_BYTES,
        on_evict: Callable[[str], None] | None = None,
    ) -> None:
        self._ttl = ttl_seconds
        self._max_bytes = max_bytes
        self._on_evict = on_evict
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def get(self, conversation_id: str) -> Transcript | None:
        self._evict()
        held = self._held.get(conversation_id)
        if held is None:
            return None
        held.expires = time.monotonic() + self._ttl
        self._held.move_to_end(conversation_id)
        return held.transcript

    def put(
        self, conversation_id: str, transcript: Transcript, *, content_bytes: int | None = None
    ) -> None:
        """``content_bytes``: what the messages take, where that is known more cheaply."""
        self.drop(conversation_id)
        if content_bytes is None:
            content_bytes = sum(map(_size, transcript.messages))
        size = _CONVERSATION_OVERHEAD + 2 * len(conversation_id) + content_bytes
        size += _MESSAGE_OVERHEAD * len(transcript.messages)
        if transcript.summary is not None:
            size += sys.getsizeof(transcript.summary.text)
        self._held[conversation_id] = _Held(transcript, size, time.monotonic() + self._ttl)
        self._bytes += size
        self._evict()

    def drop(self, conversation_id: str) -> None:
        held = self._held.pop(conversation_id, None)
        if held is not None:
            self._bytes -= held.size

    def clear(self) -> None:
        self._held.clear()
        self._bytes = 0

    def _evict(self) -> None:
        now = time.monotonic()
        while self._held:
            conversation_id, oldest = next(iter(self._held.items()))
            if self._bytes <= self._max_bytes and oldest.expires > now:
                return
            self.drop(conversation_id)
            if self._on_evict is not None:
                self._on_evict(conversation_id)


def _size(message: Message) -> int:
    """What its content takes in memory; a text with an emoji takes four bytes a character."""
    content = message.content
    size = sys.getsizeof(content) if isinstance(content, str) else _deep(content)
    return size + _deep(message.details) if message.details else size


def _deep(value: object) -> int:
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(_deep(key) + _deep(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return size + sum(map(_deep, value))
    return size
