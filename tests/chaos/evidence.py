"""What is left of a run for the checker: plain values, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Shape = dict[str, Any]

SETTLED = "chaos:settled"
"""In what a reader saw: all is healed and answered, and it has not opened anything anew yet."""
END = "chaos:end"
"""In what a reader saw: it has opened everything once more."""
OPENED = "conversation:opened"
"""In what a reader saw: the answer to ``conversation:open``, with ``conversation_id``."""
BEGUN = "conversation:begun"
"""In what a reader saw: its first message made the conversation, so it is on its feed."""


class Seen(NamedTuple):
    """One thing a reader was told."""

    connection: int
    name: str
    payload: Shape


@dataclass
class Send:
    """One message of a careful client, and how it was acknowledged. Ticks order the whole run."""

    message_id: str
    content: str
    sent: int
    """The tick of the first try."""
    tries: int = 0
    acknowledged: int | None = None
    connection: int = 0
    """The connection that it was acknowledged on."""
    answer: Shape = field(default_factory=dict)

    @property
    def conversation_id(self) -> str:
        return str(self.answer["conversation_id"])

    @property
    def seq(self) -> int:
        return int(self.answer["message"]["seq"])


@dataclass
class KeptTurn:
    """A turn as the permanent store has it in the end."""

    id: str
    n: int
    status: str
    open: bool
    attempt: int
    question: Shape
    answer: Shape | None
    """Messages as the protocol shows them."""


@dataclass
class Kept:
    """A conversation as the permanent store, the history call and the memory have it."""

    id: str
    turns: list[KeptTurn]
    count: int
    """``message_count``"""
    history: list[Shape]
    remembered: list[Shape]
    """The latest 50, read through the memory."""
    counted: int | None
    """The turn counter in Redis."""

    @property
    def messages(self) -> list[Shape]:
        found = []
        for turn in sorted(self.turns, key=lambda turn: turn.n):
            found.append(turn.question)
            if turn.answer is not None:
                found.append(turn.answer)
        return found


@dataclass
class Evidence:
    answer_to: Callable[[str], str]
    """What the provider says to a question."""
    sends: list[Send] = field(default_factory=list)
    stops: list[Shape] = field(default_factory=list)
    """The turns as ``turn:stop`` gave them."""
    readers: dict[str, list[Seen]] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    prompts: list[list[Shape]] = field(default_factory=list)
    """The messages of each request for an answer, in OpenAI's form."""
    immortal: list[str] = field(default_factory=list)
    """Redis keys without a TTL."""
    logs: dict[str, str] = field(default_factory=dict)
    mishaps: list[str] = field(default_factory=list)
    """What went wrong while it ran: refusals, bad exits, waits in vain."""
