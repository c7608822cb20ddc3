"""What all users of one level saw, and one user's answer as it comes."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.tokens import Received


@dataclass
class Tally:
    """Counts while the window is open; what is wrong counts always."""

    is_open: bool = False
    tokens: int = 0
    deliveries: int = 0
    """Events with text: a server may join several tokens into one."""
    firsts: list[float] = field(default_factory=list)
    """Seconds from a question in the window to its first token, whenever that came."""
    gaps: list[float] = field(default_factory=list)
    """Seconds between two deliveries of an answer, the first of them in the window."""
    lags: list[float] = field(default_factory=list)
    """Seconds from the provider's write to the user, a token each."""
    answers: int = 0
    """That ended, in the window or not."""
    wrong: int = 0
    """Tokens lost, doubled or swapped, and characters that are part of none."""
    errors: list[str] = field(default_factory=list)


class Reading(Received):
    """One answer that also counts for the tally."""

    def __init__(self, tokens: int, tally: Tally) -> None:
        super().__init__(tokens)
        self._tally = tally
        self._was_asked_in_window = tally.is_open
        self._last_was_in_window = False

    def add(self, text: str) -> None:
        tally = self._tally
        seen, before = len(self.lags), self.last_at
        super().add(text)
        if seen == 0:
            if self._was_asked_in_window:
                tally.firsts.append(self.first_after)
        elif self._last_was_in_window:
            tally.gaps.append(self.last_at - before)
        self._last_was_in_window = tally.is_open
        if tally.is_open:
            tally.deliveries += 1
            new = self.lags[seen:]
            tally.tokens += len(new)
            tally.lags += new

    def end(self) -> None:
        super().end()
        self._tally.answers += 1
        self._tally.wrong += self.wrong
