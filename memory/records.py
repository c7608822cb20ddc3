"""What is remembered: the records that memory, stores, agent and server hand to each other.

Plain values, no I/O. Times are whole milliseconds since 1970, UTC. A conversation's transcript is
numbered by places: the question at place p has ``seq`` 2p-1 and its answer 2p, also when the next
question came before the answer.

An edit or a regenerate is itself a turn, the next in number, at the place of the one it rewrites.
From the moment it is kept, that one and all after it are superseded; what is left is *current*.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

MessageType = Literal["human", "ai", "system", "tool", "function", "developer", "chat", "remove"]
MessageStatus = Literal["complete", "stopped", "interrupted"]
TurnStatus = Literal["queued", "running", "completed", "stopped", "failed"]
Spooled = Literal["whole", "answer"]

ENDED: frozenset[TurnStatus] = frozenset({"completed", "stopped", "failed"})

# Ids that derive from others come from this namespace, so that a retry derives the same one.
_NAMESPACE = uuid.UUID("6d6e656d-6f73-4269-8f00-000000000001")


def request_digest(
    conversation_id: str, content: str, attachments: Sequence[Attachment] = ()
) -> str:
    """What must be the same in a call that sends a message again."""
    digest = hashlib.sha256(f"{conversation_id}\0{content}".encode())
    for attachment in attachments:  # an id derives from the bytes, among others
        digest.update(f"\0{attachment.media_type}\0{attachment.id}".encode())
    return digest.hexdigest()


def derived_id(*parts: str) -> str:
    """The id that follows from ``parts``: the same on every server, always."""
    return str(uuid.uuid5(_NAMESPACE, "\0".join(parts)))


def imported_id(user_id: str, conversation_id: str, place: int) -> str:
    """The id of a question that came with a document: whoever wrote that, its user has not said it
    here."""
    return derived_id("imported", user_id, conversation_id, str(place))


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """What came with a message, by reference: the bytes are in the permanent store, apart."""

    id: str
    type: Literal["image"]
    media_type: str
    size: int
    """In bytes."""

    @property
    def stand_in(self) -> str:
        """What is said of it where it can't be shown: ``[image: png, 34 kB]``."""
        kind = self.media_type.partition("/")[2]
        return f"[{self.type}: {kind}, {max(1, round(self.size / 1000))} kB]"


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """What a user thinks of an answer."""

    value: Literal[1, -1]
    comment: str | None = None
    at: int = 0


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversation is answered with, by names from the operator's lists; None: the
    default."""

    model: str | None = None
    system_prompt: str | None = None


NO_CHOICE = Choice()


class ToolUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One use of a tool by a turn, as it was last noted."""

    id: str
    name: str
    status: Literal["started", "finished", "failed"]
    input: dict[str, Any] = {}
    output: str | None = None
    """What the model was told of it; None while it is only started."""
    may_repeat: bool = True
    """Whether another attempt may run it again where it was started, and its end is not known."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of a conversation, as Redis caches it and as the agent reads it."""

    id: str
    seq: int | None = None
    """Its place in the transcript; None where there is no numbering (memory used alone)."""
    type: MessageType
    content: str | list[Any]
    """Text; or LangChain's list of content blocks (memory used alone, multimodal)."""
    status: MessageStatus = "complete"
    turn_id: str | None = None
    created_at: int = 0
    spooled: bool = False
    """Not in the permanent store yet: its ``seq`` is what it will be, if nobody comes before it."""
    attachments: list[Attachment] = []
    feedback: Feedback | None = None
    details: dict[str, Any] = {}
    """What else LangChain needs to give it back whole: tool_calls, usage_metadata, name …"""


def is_imported(message: Message, user_id: str, conversation_id: str) -> bool:
    """Whether this question came with a document."""
    place = ((message.seq or 0) + 1) // 2
    return message.id == imported_id(user_id, conversation_id, place)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A rolling summary of a conversation's beginning."""

    text: str
    upto: int
    """The ``seq`` of the last message it covers."""
    turns: int
    """How many answers the conversation had when it was made; the next is due by this."""
    version: int
    """1 for the first; a store accepts version v only over v-1."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far a conversation has come. What lags behind a known position is stale."""

    revision: int = 0
    """Raised by whatever changes the past: an edit, a regenerate."""
    turn: int = 0
    """The place of the last question."""
    answers: int = 0
    """How many answers there are: what the turn counter in Redis counts."""

    def covers(self, other: Position) -> bool:
        """True when nothing up to ``other`` can be missing at this position."""
        return (
            self.revision == other.revision
            and self.turn >= other.turn
            and self.answers >= other.answers
        )


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """The latest part of a conversation, read at one moment."""

    messages: list[Message]
    """Ascending; the last ``max_messages`` of them."""
    summary: Summary | None = None
    position: Position = Position()
    whole: bool = True
    """False where earlier ones are missing although there is room for them: the permanent store is
    away, and nobody else has them. It is not for keeps."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    title: str
    created_at: int
    updated_at: int
    position: Position = Position()
    digest: str | None = None
    """Digest of the ``conversation:create`` that made it; None when a first message did."""
    choice: Choice = Choice()

    @property
    def message_count(self) -> int:
        return self.position.turn + self.position.answers


class Spot(msgspec.Struct, frozen=True):
    """Where a message stands."""

    conversation_id: str
    seq: int


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a search came to."""

    conversation: Conversation
    message: Message
    is_found: bool = True
    """False where it only stands beside one that is."""
    at: int = 0
    """Where in its text what was looked for begins to stand thickest."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    content: str
    created_at: int
    key: str | None = None
    """The idempotency key of the call that asked, where it is not the message's id: a regenerate
    asks the same message again under another key."""
    attachments: list[Attachment] = []

    @property
    def call_key(self) -> str:
        """The idempotency key of the call that asked: it serves once a user."""
        return self.message_id if self.key is None else self.key


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    content: str
    status: MessageStatus
    created_at: int
    usage: dict[str, Any] | None = None


class TurnError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a turn failed, in words a client may show."""

    code: str
    message: str
    retryable: bool


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A question, the state of its processing and its answer: one record, so that accepting a
    message and owing its answer is one atomic write, and so is finishing it."""

    id: str
    conversation_id: str
    user_id: str
    n: int
    """Its number in order of acceptance: without gaps, each once, an edit's as well."""
    place: int = 0
    """Which question of the transcript it is; ``n`` where nothing else is said, as in what was kept
    before there were edits."""
    revision: int = 0
    """The revision that the conversation has with it: one more than the last turn's where it
    rewrites, the last turn's otherwise."""
    rewrites: bool = False
    """An edit or a regenerate: it supersedes what was current at its place and after it."""
    superseded: bool = False
    """A later turn rewrote its place or an earlier one, and has marked it."""
    question: Question
    digest: str
    """Digest of the call that brought it: the same key with another digest is a conflict."""
    accepted: TurnStatus
    """"running" or "queued": what its acceptance answered, and a retry of it answers again."""
    status: TurnStatus
    open: bool = True
    """True until its end is also in memory and on the feed; only the earliest open turn may run."""
    attempt: int = 0
    owner: str | None = None
    """The server that holds its lease: ``{slot}:{boot}``."""
    stop_requested: bool = False
    answer: Answer | None = None
    error: TurnError | None = None
    answers: int | None = None
    """Answers in the conversation up to and including this turn; known once it has run to its end
    (a turn that was stopped while it waited has none to count)."""
    created_at: int
    choice: Choice = Choice()
    """What it is answered with, as its conversation had it when it was accepted."""
    tools: list[ToolUse] = []
    """While it runs: the uses of tools by its latest attempt, and those of earlier ones that it
    goes on from. When it has ended, what came of them is in its context."""
    feedback: Feedback | None = None
    """On its answer."""
    spooled: Spooled | None = None
    """What of it is on a server's disk only, because the permanent store is away: all of it, or its
    end. No store keeps this."""

    def __post_init__(self) -> None:
        if not self.place:
            msgspec.structs.force_setattr(self, "place", self.n)


def question_of(turn: Turn) -> Message:
    return Message(
        id=turn.question.message_id,
        seq=2 * turn.place - 1,
        type="human",
        content=turn.question.content,
        turn_id=turn.id,
        created_at=turn.question.created_at,
        spooled=turn.spooled == "whole",
        attachments=turn.question.attachments,
    )


def answer_of(turn: Turn) -> Message | None:
    if turn.answer is None:
        return None
    return Message(
        id=turn.answer.message_id,
        seq=2 * turn.place,
        type="ai",
        content=turn.answer.content,
        status=turn.answer.status,
        turn_id=turn.id,
        created_at=turn.answer.created_at,
        spooled=turn.spooled is not None,
        feedback=turn.feedback,
    )


def messages_of(turn: Turn) -> list[Message]:
    """The turn's question and, where there is one, its answer."""
    answer = answer_of(turn)
    return [question_of(turn)] if answer is None else [question_of(turn), answer]


def current(turns: Iterable[Turn]) -> list[Turn]:
    """Those of ``turns`` that none of the others supersedes, ascending.

    Between the moment a rewriting turn is kept and the one in which all that it supersedes is
    marked, a store still gives both. Of such a mixture this is what holds: from the newest turn
    back, whatever has a smaller place than all that came after it.
    """
    newest_first: list[Turn] = []
    for turn in sorted(turns, key=lambda each: each.n, reverse=True):
        if not newest_first or turn.place < newest_first[-1].place:
            newest_first.append(turn)
    return newest_first[::-1]
