"""Events that differ from one before them in a string alone: its text is taken out unparsed.

Within a stream one event is as the other, but for a few words in the middle. Where all that is
before these and all that is after them is the same, byte for byte, and between them there is
nothing that ends a JSON string or escapes anything, the event is what the first one was, with
another string in that place.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

# Some streams have more that changes from event to event. Each lesson costs parsing one event.
MOST_LESSONS = 3
MOST_PLACES = 30
PROBE = "\u2603 in the place of what was said"

Read = Callable[[bytes], str | None]
"""What an event's text is to who parses it; None where it is more than text. May raise
``orjson.JSONDecodeError``."""


class Alike:
    def __init__(self, read: Read) -> None:
        self._read = read
        self._lessons = 0
        self._before, self._after = b"", b""
        self._least = 0

    def text(self, event: bytes) -> str | None:
        """None: parse it, and ``learn``."""
        before, after = self._before, self._after
        if (
            not before
            or len(event) < self._least
            or not event.startswith(before)
            or not event.endswith(after)
        ):
            return None
        between = event[len(before) : len(event) - len(after)]
        if b'"' in between or b"\\" in between:
            return None
        try:
            text = between.decode()
        except UnicodeDecodeError:
            return None
        # Control characters are none that a JSON string may have.
        return text if text.isprintable() else None

    def learn(self, event: bytes, text: str) -> None:
        """``event`` was parsed, and is nothing but ``text``."""
        if self._lessons == MOST_LESSONS:
            return
        self._lessons += 1
        # The words may stand elsewhere as well, and between others (`","` is everywhere). Where
        # others in their place are its text, that is where it is.
        quoted, start = orjson.dumps(text), 0
        for _ in range(MOST_PLACES):
            start = event.find(quoted, start)
            if start < 0:
                return
            before, after = event[:start], event[start + len(quoted) :]
            if self._reads_as_probe(before + orjson.dumps(PROBE) + after):
                self._before, self._after = before + b'"', b'"' + after
                self._least = len(self._before) + len(self._after)
                return
            start += 1

    def _reads_as_probe(self, event: bytes) -> bool:
        try:
            return self._read(event) == PROBE
        except orjson.JSONDecodeError:
            return False
