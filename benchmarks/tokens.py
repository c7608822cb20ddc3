"""Tokens that tell when they were sent and which one they are, so that nothing can hide.

Each is ``IIIII.TTTTTTTTTTTTTTT `` and of one width: its index within the answer, and the monotonic
clock in µs as it left the provider. So a reader finds every token also where a server joins several
into one event, or tears one in two.
"""

from __future__ import annotations

import re
import time

WIDTH = 22

_TOKEN = re.compile(r"(\d{5})\.(\d{15}) ")


def stamped(index: int) -> str:
    return f"{index:05d}.{time.monotonic_ns() // 1_000:015d} "


class Received:
    """One answer as it arrives: how late each token was, and what is wrong with it."""

    def __init__(self, tokens: int) -> None:
        self._expected = tokens
        self._next = 0
        self._rest = ""
        self.asked_at = time.monotonic()
        self.first_at = 0.0
        self.last_at = 0.0
        self.lags: list[float] = []
        """Seconds from the provider's write to here, a token each."""
        self.lost = 0
        self.doubled = 0
        """Also those that came after a later one (which were then counted as lost, too)."""
        self.garbled = 0
        """Characters that are part of no token."""

    def add(self, text: str) -> None:
        now = time.monotonic()
        if not self.lags:
            self.first_at = now
        self.last_at = now
        text = self._rest + text
        place = 0
        while len(text) - place >= WIDTH:
            token = _TOKEN.match(text, place)
            if token is None:
                self.garbled += 1
                place += 1
                continue
            self._take(int(token[1]), now - int(token[2]) / 1e6)
            place += WIDTH
        self._rest = text[place:]

    def _take(self, index: int, lag: float) -> None:
        self.lags.append(lag)
        if index < self._next:
            self.doubled += 1
            return
        self.lost += index - self._next
        self._next = index + 1

    def end(self) -> None:
        """The answer is over; what has not come by now is lost."""
        self.lost += max(0, self._expected - self._next)
        self.garbled += len(self._rest)

    @property
    def wrong(self) -> int:
        return self.lost + self.doubled + self.garbled

    @property
    def first_after(self) -> float:
        """Seconds from the question to the first token."""
        return self.first_at - self.asked_at
