"""What is left of a run for the checker: plain values, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Shape = dict[str, Any]

SETTLED = "chaos:settled"
"""In what a reader saw: all is healed and answered, and it has not opened anything anew yet."""
END = "chaos:end"
"""In what a reader saw: it has opened everything once more, and goes to another server to do so
there."""
OPENED = "conversation:opened"
"""In what a reader saw: the answer to ``conversation:open``, with ``conversation_id``."""
BEGUN = "conversation:begun"
"""In what a reader saw: its first message made the conversation, so it is on its feed."""


class Seen(NamedTuple):
    """One thing a reader was told."""

    connection: int
    name: str
    payload: Shape
    at: float = 0.0
    """``time.monotonic()``"""


@dataclass
class Send:
    """One call of a careful client that begins a turn, and how it was answered. Ticks order the
    whole run."""

    message_id: str
    """Its key: the new turn's id where an answer is made anew."""
    content: str
    sent: int
    """The tick of the first try."""
    tries: int = 0
    acknowledged: int | None = None
    """The tick of its answer."""
    connection: int = 0
    """The connection that it was acknowledged on."""
    answer: Shape = field(default_factory=dict)
    call: str = "message:send"
    fields: Shape = field(default_factory=dict)
    """What it was called with."""
    rewrites: str | None = None
    """The message that an edit replaces; the turn whose answer is made anew."""
    refused: str | None = None
    """The code of the error it was answered with, for good: what it rewrites was rewritten."""
    tab: str = ""
    """The name of the one that called; none where all of a user's tabs did at once."""

    @property
    def is_spooled(self) -> bool:
        """Acknowledged while the permanent store was away, so before it had a place there."""
        return self.answer.get("durability") == "spooled"

    @property
    def turn_id(self) -> str | None:
        return self.answer["turn"]["id"] if self.answer else None

    @property
    def conversation_id(self) -> str:
        return str(self.answer["turn"]["conversation_id"])


@dataclass
class KeptTurn:
    """A turn as the permanent store has it in the end."""

    id: str
    n: int
    place: int
    status: str
    open: bool
    attempt: int
    question: Shape
    answer: Shape | None
    """Messages as the protocol shows them."""
    revision: int = 0
    rewrites: bool = False
    """It took the place of another."""
    asks: bool = True
    """With a message of its own; otherwise it answers one anew."""
    superseded: bool = False
    error: str | None = None
    """The code of its failure."""

    @property
    def messages(self) -> list[Shape]:
        return [self.question] if self.answer is None else [self.question, self.answer]


@dataclass
class Hot:
    """A conversation's three keys as Redis holds them: read key by key, not through the memory,
    which would mend them. Each is None where its key is missing."""

    messages: list[Shape] | None = None
    notes: str | None = None
    """The summary's text, "" where there is none yet."""
    counted: int | None = None
    revision: int = 0
    unreadable: str = ""
    """Why one of them can't be read, if one can't."""

    @property
    def missing(self) -> list[str]:
        """The names of the keys that are not there."""
        values = {"messages": self.messages, "summary": self.notes, "turns": self.counted}
        return [name for name, value in values.items() if value is None]


@dataclass
class Kept:
    """A conversation as the permanent store, the history call and the memory have it."""

    id: str
    turns: list[KeptTurn]
    """With those that were superseded."""
    count: int
    """``message_count``"""
    history: list[Shape]
    remembered: list[Shape]
    """The latest 50, read through the memory."""
    counted: int | None
    """The turn counter in Redis."""
    notes: str = ""
    """The summary."""
    remembered_notes: str = ""
    """The same, read through the memory."""
    found: Hot = field(default_factory=Hot)
    """Redis when all was healed and quiet, before anybody read the conversation for this."""
    hot: Hot = field(default_factory=Hot)
    """Redis after it was read, so when whatever reading mends was mended."""

    @property
    def current(self) -> list[KeptTurn]:
        """The turns in the transcript."""
        turns = [turn for turn in self.turns if not turn.superseded]
        return sorted(turns, key=lambda turn: turn.place)

    @property
    def messages(self) -> list[Shape]:
        return [message for turn in self.current for message in turn.messages]


@dataclass
class Evidence:
    answer_to: Callable[[str, int], str]
    """What the provider says to a question when it is asked for the n-th time, from 1 on."""
    sends: list[Send] = field(default_factory=list)
    stops: list[Shape] = field(default_factory=list)
    """The turns as ``turn:stop`` gave them."""
    readers: dict[str, list[Seen]] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    prompts: list[list[Shape]] = field(default_factory=list)
    """The messages of each request for an answer, in OpenAI's form."""
    faults: dict[str, int] = field(default_factory=dict)
    """How often what was done by the saboteur."""
    immortal: list[str] = field(default_factory=list)
    """Redis keys without a TTL."""
    logs: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    """By conversation: the last cursor of its log in Redis when all was healed, if there is one."""
    began: float = 0.0
    """When the faults began, by ``time.monotonic()``."""
    calm: bool = False
    """Nothing broke but connections of clients."""
    mishaps: list[str] = field(default_factory=list)
    """What went wrong while it ran: refusals, bad exits, waits in vain."""
