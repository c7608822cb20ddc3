"""What the server asks of an agent: one answer, streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol

import msgspec

from memory.records import Choice, Message, Position, ToolUse, Transcript

Note = Callable[[list[ToolUse]], Awaitable[None]]
Pause = Callable[[], Awaitable[None]]
Admitted = Callable[[], Awaitable[None]]


async def note_nothing(uses: list[ToolUse]) -> None:
    """Where nobody goes on with a turn."""


async def at_once() -> None:
    """Where nothing has to be waited for."""


class AnswerRequest(msgspec.Struct, frozen=True, kw_only=True):
    conversation_id: str
    user_id: str
    turn_id: str
    attempt: int = 1
    """Above 1: an earlier one was broken off, by the death of its server or the end of its lease.
    What it streamed is forgotten; what it did is done."""
    question: Message
    position: Position
    """Where the conversation stands with this question: what memory must at least hold for the
    prompt. Later questions may be waiting already; they are no part of this turn's prompt."""
    transcript: Transcript | None = None
    """The conversation with this question, where it was read already."""
    admitted: Admitted = at_once
    """Awaited before anything is done that can't be undone: an answer may be begun while the store
    is still asked whether it is wanted so. Cancelled where it is not."""
    choice: Choice = Choice()
    """What the conversation is to be answered with."""
    tools: list[ToolUse] = []
    """What earlier attempts at this turn have noted: results need not be had again."""
    pause: Pause | None = None
    """Awaited where some text was given, before more of it is read from the provider: returns when
    the reader can be shown more. What has come by then is read and given at once, and costs little
    more than one piece of it would."""
    note_tools: Note = note_nothing
    """Keeps the uses of tools, all of them each time, before it returns: with the turn, for whoever
    goes on with it. Raises memory's ``Unavailable`` where they can't be kept now; ends the answer
    where the turn is another server's."""


class AnswerChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One of its fields, or none."""

    text: str = ""
    tool: ToolUse | None = None
    """A use of a tool has begun or ended: shown in its place among the text."""
    context: dict[str, Any] | None = None
    """What the model was given, kept with the turn's end (``turn:context``). The last counts."""
    usage: dict[str, Any] | None = None
    """Tokens used (LangChain's ``usage_metadata``), where the provider tells; once, at the end."""


class Untitled(Protocol):
    """A conversation after its first answer, whose title is the automatic one."""

    conversation_id: str
    question: str
    answer: str

    async def is_wanted(self) -> bool:
        """Whether nobody has given it another title meanwhile: then there is one to be made. Raises
        memory's ``Unavailable``."""
        ...

    async def take(self, title: str) -> None:
        """Keeps this title, unless it has got another one. Raises memory's ``Unavailable``."""
        ...


class Agent(Protocol):
    def answer(self, request: AnswerRequest) -> AsyncGenerator[AnswerChunk, None]:
        """Stream the answer. Raises ``AnswerFailed`` (what was yielded before it stays said), and
        memory's ``Unavailable`` when the conversation can't be read. Closing the iterator ends the
        provider's stream at once."""
        ...

    def turn_ended(self, conversation_id: str, user_id: str, turn_id: str) -> None:
        """A turn's end is in store and memory: whatever the agent does in the background (the
        rolling summary) may start. Returns at once."""
        ...

    def first_answered(self, untitled: Untitled) -> None:
        """A conversation's first answer is in store and memory: an agent that can make a title
        starts to, in the background. Returns at once."""
        ...

    @property
    def description(self) -> str:
        """For the start-up lines: which model, and where."""
        ...

    @property
    def state(self) -> str:
        """For ``/readyz``: "ok", or what the last answer failed with. Known from answers alone:
        asking a provider how it is would be paid for."""
        ...

    async def close(self) -> None:
        """Ends background work, and closes the provider's connections."""
        ...
