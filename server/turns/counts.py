"""What operators want to know of the turns that were answered here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from memory.records import ToolUse, Turn
from server.observability.counting import (
    ANSWERING_SECONDS,
    DELAY_SECONDS,
    WAITING_SECONDS,
    Histogram,
)

MAX_TOOL_SERIES = 200


class TurnCounts:
    def __init__(self) -> None:
        # Named from the start: of what appears with its first case no rate shows that case.
        self.outcomes: Counter[str] = Counter(completed=0, stopped=0, failed=0)
        """Of the turns that ended here; and of the failed ones, why."""
        self.failures: Counter[str] = Counter()
        self.taken_over = 0
        """How many were another server's before, or an earlier life's."""
        self.deltas = 0
        self.tokens: Counter[str] = Counter(input=0, output=0)
        """"input" and "output", as far as providers tell."""
        self.tools: Counter[tuple[str, str]] = Counter()
        """Uses of tools that ran, by the tool's name and how they ended."""
        self.first_token = Histogram(WAITING_SECONDS)
        """Seconds from a run's beginning to its first piece; and below, to its end."""
        self.duration = Histogram(ANSWERING_SECONDS)
        self.delivery = Histogram(DELAY_SECONDS)
        """Seconds from a piece having come from the provider to its being queued for its readers
        here; of one frame in some."""

    def ended(self, turn: Turn) -> None:
        self.outcomes[turn.status] += 1
        if turn.error is not None:
            self.failures[turn.error.code] += 1

    def delivered(self, since: float) -> None:
        """A frame has been queued for its readers; its first piece came at ``since``."""
        self.delivery.observe(time.monotonic() - since)

    def used_tool(self, use: ToolUse) -> None:
        """A use that had begun has ended. An agent of the operator's own may name its tools as it
        likes, but not have a series for each of any number."""
        key = (use.name, use.status)
        if key not in self.tools and len(self.tools) >= MAX_TOOL_SERIES:
            key = ("other", use.status)
        self.tools[key] += 1

    def used(self, usage: Mapping[str, Any]) -> None:
        for kind in ("input", "output"):
            count = usage.get(f"{kind}_tokens")
            if isinstance(count, int):
                self.tokens[kind] += count
