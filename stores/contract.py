"""What the server asks of the permanent store: what MongoDB, the embedded store, and MongoDB with
a spool before it answer to.

Rules for every method: ``Unavailable`` is raised when the store can't answer; a write that returned
has been acknowledged by a majority (MongoDB) or synced to disk (embedded); a call may be repeated
after an ambiguous failure, because ids and conditions make the second one harmless. Times in leases
are the store's own clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import msgspec

from memory.archive import Archive
from memory.records import (
    NO_CHOICE,
    Answer,
    Choice,
    Conversation,
    Feedback,
    Message,
    Position,
    ToolUse,
    Transcript,
    Turn,
    TurnError,
    TurnStatus,
)
from stores.attachments import AttachmentStore
from stores.erasures import ErasureStore
from stores.facts import FactStore
from stores.search import SearchStore
from stores.usage import UsageStore


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a conversation that was in a spool while the permanent store was away."""

    conversation_id: str
    user_id: str
    stored: list[tuple[Turn, Message]] = []
    """What was nowhere but in the spool, ascending, with the place that each message has now."""
    as_told: bool = True
    """Whether the permanent store has it just as it was told meanwhile."""
    gone: bool = False
    """There is none of it under this id any more: it was deleted, or is ``moved``."""
    moved: bool = False
    """The id is another user's: it is kept under another one."""


class Rest(msgspec.Struct, frozen=True):
    """Of the last turn of a conversation in which nothing was open."""

    n: int
    place: int
    revision: int
    answers: int | None


class ConversationStore(Protocol):
    async def create(
        self,
        conversation_id: str,
        user_id: str,
        title: str,
        *,
        digest: str | None,
        at: int,
        choice: Choice = NO_CHOICE,
    ) -> tuple[Conversation, bool]:
        """The conversation, and whether this call made it.

        The same user and digest again give what is there. Raises ``Taken`` when the id is another
        user's or came with another digest, ``NotFound`` when this user has deleted it.
        """
        ...

    async def get(self, conversation_id: str, user_id: str) -> Conversation:
        """Raises ``NotFound``, the same for another user's, a deleted one and one never made."""
        ...

    async def list(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> list[Conversation]:
        """Newest activity first; after the one with this ``(updated_at, id)``."""
        ...

    async def rename(self, conversation_id: str, user_id: str, title: str) -> Conversation:
        """Raises ``NotFound``. Leaves ``updated_at`` alone: a new title is no activity."""
        ...

    async def retitle(self, conversation_id: str, *, was: str, title: str) -> Conversation | None:
        """``rename`` on nobody's behalf: only while the title is what it ``was``. None where it is
        another one by now, and where the conversation is gone."""
        ...

    async def configure(
        self,
        conversation_id: str,
        user_id: str,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
    ) -> Conversation:
        """Have it answered with these from its next turn on; ``""`` is the default, None leaves it
        as it is. Raises ``NotFound``. Leaves ``updated_at`` alone, as ``rename`` does."""
        ...

    async def touch(self, turn: Turn, *, title: str | None = None) -> Conversation:
        """Note that ``turn`` was accepted: the time, and the place of the last question, only ever
        rise. The place does so only while the conversation has the turn's revision: at a later one
        the turn may be superseded, and up to its own ``supersede`` brings it along.

        ``title`` is taken where the conversation has none yet. Raises ``NotFound`` when the
        conversation has been deleted meanwhile: then the turn must be taken back. Harmless when
        repeated.
        """
        ...

    async def positions(self, conversation_ids: Collection[str]) -> dict[str, Position]:
        """Where these stand, by one query for some hundreds of them. What is deleted, or was never
        made, is missing."""
        ...

    async def delete(self, conversation_id: str, user_id: str) -> None:
        """Leave a tombstone: id and owner, no title, no summary. Raises ``NotFound``."""
        ...

    async def purge(self, conversation_id: str) -> None:
        """Remove a deleted conversation's turns and attachments for good, and what is remembered of
        its user from there alone; its tombstone notes that it is done. What it used is kept."""
        ...

    async def unpurged(self, limit: int) -> Sequence[str]:
        """Deleted conversations whose turns may still be there (a server died in between)."""
        ...


class TurnStore(Protocol):
    """``get`` and ``by_message`` find a superseded turn too; nothing else does."""

    async def get(self, conversation_id: str, turn_id: str) -> Turn | None: ...

    async def context(self, conversation_id: str, turn_id: str) -> dict[str, Any] | None:
        """What the model was given for this turn's end; None where that was not kept."""
        ...

    async def by_message(self, user_id: str, key: str) -> Turn | None:
        """The turn that this user's call with this key brought (a message's id, or what a
        regenerate was called with), in whatever conversation.

        Raises ``Unavailable`` where nobody can tell at the moment.
        """
        ...

    async def last(self, conversation_id: str) -> Turn | None:
        """The turn with the highest number. The next one is placed by it: its number and, for a
        rewriting turn, its revision are one more than these."""
        ...

    async def at_place(self, conversation_id: str, place: int) -> Turn | None:
        """The current turn there."""
        ...

    async def open_turns(self, conversation_id: str) -> list[Turn]:
        """Ascending by number. Until a rewriting turn's ``supersede`` is done, what it supersedes
        is among them."""
        ...

    def at_rest(self, conversation_id: str) -> Rest | None:
        """Where this process last saw the conversation come to rest: the last turn, with nothing
        open. None where it has not seen that.

        Others may have gone on since. So it is good for one thing, to place the next turn: its
        number is refused if there was another; and if not, all is as it was. Numbers have no gaps,
        nothing opens or is superseded but with a new number, and what has closed stays closed.
        """
        ...

    def comes_to_rest(self, turn: Turn) -> None:
        """``turn`` has run in this process and has ended: it is in memory and on the feed, and is
        yet to be closed. Only the earliest turn that has not ended may run, so all before it have;
        and whatever comes after it has a later number."""
        ...

    def forget_rest(self, conversation_id: str) -> None:
        """Keep it in mind no longer: another server may be bringing in what was said before."""
        ...

    async def before(self, conversation_id: str, place: int | None, limit: int) -> list[Turn]:
        """Up to ``limit`` current turns with a smaller place (None: the latest), ascending.

        None only where there are none. While a rewriting turn's ``supersede`` is not done they may
        be fewer, though there are earlier ones; at place 1 there are none.
        """
        ...

    async def since(self, conversation_id: str, place: int, limit: int) -> list[Turn]:
        """Up to ``limit`` turns from this place on, ascending. What a rewriting turn supersedes may
        be among them for as long as the conversation's record does not have its revision."""
        ...

    async def bring(self, turns: Sequence[Turn], *, at: int) -> None:
        """Keep turns that have ended elsewhere: closed, of one conversation that was never
        rewritten, in the order of their numbers. Its counters follow the last of them, and it was
        last active at ``at``, if not later. A turn that is there already (the same id and digest)
        is passed over, so all of it may be repeated.

        Raises ``Duplicate`` where something else has a turn's place or id, and ``NotFound`` when
        the conversation has been deleted: then none of these is left. Never into a spool.
        """
        ...

    async def insert(self, turn: Turn, *, lease_ms: int) -> Turn:
        """Insert a turn (queued or running) whose lease its ``owner`` holds from now; the turn as
        it is kept, which may be in a spool.

        Raises ``DuplicateMessage``, ``DuplicateNumber`` or ``DuplicateRunning``; where several
        apply, the first of these.
        """
        ...

    async def choose(self, turn: Turn, choice: Choice) -> bool:
        """Let a turn that was just inserted be answered with ``choice`` instead of its own: only
        while nobody has taken it on since (status, attempt and owner as in ``turn``). Whether it
        has that choice now; harmless when repeated."""
        ...

    async def require_rewritable(self, conversation_id: str) -> None:
        """Raises ``Unavailable`` where nothing can be rewritten now: a spool only takes what comes
        after all that is there."""
        ...

    async def supersede(self, turn: Turn) -> list[Turn]:
        """Bring everything along that follows from a rewriting turn, which is inserted.

        What it supersedes is marked: closed, and stopped where it had not ended. Then the
        conversation's record follows, unless it has this revision or a later one: revision,
        counters of what is current, and without its summary where that covers what was rewritten.
        What an earlier rewriting turn has left to be marked is marked as well. Last, what is
        remembered of the user from what was rewritten alone is forgotten.

        Gives all that this turn superseded, ascending by number. Harmless when repeated, by
        whomever, and gives the same. Raises ``NotFound`` when the conversation has been deleted.
        """
        ...

    async def remove(self, turn: Turn) -> None:
        """Take back a turn whose conversation was deleted while it was inserted."""
        ...

    async def claim(self, turn: Turn, owner: str, *, lease_ms: int) -> Turn | None:
        """Run it: the next attempt, under a new lease of ``owner``.

        Works only if the turn still is as it was read (status, attempt, owner), is the earliest
        open one of its conversation, and is queued, or running with its lease over. None
        otherwise, and None where another turn of the conversation runs.
        """
        ...

    async def renew(
        self, turn_ids: Collection[str], owner: str, *, lease_ms: int
    ) -> dict[str, bool]:
        """Extend the leases of those of ``turn_ids`` that are open and ``owner``'s.

        Gives each turn still held, and whether a stop was requested of it. What is missing from the
        answer is lost.
        """
        ...

    async def release(self, owner: str) -> int:
        """End at once all leases whose owner is ``owner`` or begins with ``owner + ":"``."""
        ...

    async def adrift(self, limit: int) -> list[Turn]:
        """Of each conversation, the earliest open turn, if its lease is over: the sweep's work."""
        ...

    async def request_stop(self, conversation_id: str, turn_id: str) -> Turn | None:
        """Ask a running turn to stop; a queued one is stopped here and now, without an answer
        (and still open, until ``close``). The turn as it then is; None if there is no such turn.
        One that has ended is left as it is."""
        ...

    async def note_tools(self, turn: Turn, uses: Sequence[ToolUse]) -> bool:
        """Keep a running turn's uses of tools, all of them, for whoever goes on with it, until it
        ends; only while its attempt and owner are still those of ``turn``. False where they are
        not, it has ended or is superseded. Harmless when repeated.
        """
        ...

    async def finish(
        self,
        turn: Turn,
        status: TurnStatus,
        answer: Answer | None,
        error: TurnError | None = None,
        context: dict[str, Any] | None = None,
    ) -> Turn | None:
        """End a running turn: only while its attempt and owner are still those of ``turn``.

        ``context`` is what the model was given, for ``context`` to give again.

        Sets ``answers`` to the count of the turn before it, plus one if there is an answer. None
        when the turn is no longer held, or superseded (a repeated call whose first reply was lost
        gives the turn).
        """
        ...

    async def set_feedback(
        self, conversation_id: str, message_id: str, feedback: Feedback | None
    ) -> Turn | None:
        """Keep what a user thinks of an answer, in the place of what was thought before; None takes
        it away. The turn as it then is; None where no current turn has an answer of this id.

        Looks through the conversation from its end, as no index has answers by their ids. Raises
        ``Unavailable`` while the conversation is not in the permanent store.
        """
        ...

    async def close(self, turn: Turn, *, soon: bool = False) -> bool:
        """An ended turn is in memory and on the feed: its conversation's counters follow it (only
        ever upwards, and not if it is superseded), then ``open`` goes. Harmless when repeated.

        Whether another turn of the conversation is open, by a look after that; True as well where
        that can't be seen. ``soon``: somebody waits for it. Else it may wait for others, so that
        all of them are closed in one."""
        ...


class Store(Archive, Protocol):
    """The permanent store: conversations and turns, kept for good."""

    @property
    def conversations(self) -> ConversationStore: ...

    @property
    def turns(self) -> TurnStore: ...

    @property
    def facts(self) -> FactStore: ...

    @property
    def erasures(self) -> ErasureStore: ...

    @property
    def usage(self) -> UsageStore: ...

    @property
    def attachments(self) -> AttachmentStore: ...

    @property
    def search(self) -> SearchStore: ...

    @property
    def description(self) -> str:
        """For the start-up lines: what it is and where, without passwords."""
        ...

    async def connect(self) -> None:
        """Open it and make its indexes; harmless when they are there."""
        ...

    async def close(self) -> None: ...

    async def ping(self) -> None:
        """Raises ``Unavailable`` unless a write would be accepted now."""
        ...

    @property
    def spooled(self) -> int:
        """How many turns wait in a spool for it, as of a second ago; and below, how many were
        brought from there since the start."""
        ...

    @property
    def drained(self) -> int: ...

    def forget(self, conversation_id: str) -> None:
        """Another server has deleted it: keep nothing of it in mind."""
        ...

    async def marked(self, conversation_id: str, transcript: Transcript) -> Transcript:
        """The transcript, saying which of its messages are only in a spool."""
        ...

    async def ping_spool(self) -> bool:
        """Whether messages are accepted although ``ping`` raises: into a spool."""
        ...

    async def secret(self, name: str, *, offered: str | None = None) -> str:
        """A secret, made once for all servers that share this store, and kept: the first that is
        ``offered``, or a random one."""
        ...
