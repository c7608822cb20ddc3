"""What is remembered of a person across conversations: the record, and the rules by which it
changes. No I/O.

All of one user is one record, which a store replaces on condition that it is still as it was read
(``stamp``). So every change is whole, nothing is there twice, and whatever happened in between is
seen: a correction, a deletion, an edit, another server's notes.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from memory.records import Turn

MAX_FACTS = 300
MAX_TEXT_CHARS = 300

# The latest that said so. Of a fact with more, deleting the conversations of these deletes it.
MAX_SOURCES = 4

# Texts that the user deleted or corrected; beyond it the oldest are forgotten.
MAX_SETTLED = 300

# Conversations of which is known how far they were read; beyond it, those read longest ago.
MAX_PROGRESS = 200

# How much of the doubt another message that says the same takes away.
CONFIRMED = 0.3


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the user's that said so."""

    conversation_id: str
    message_id: str
    turn_id: str | None = None
    seq: int
    revision: int = 0
    """The conversation's, when the message was read."""
    at: int
    """When it was said."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    text: str
    """One line."""
    confidence: float
    """0 to 1."""
    sources: list[Source]
    """Oldest first."""
    created_at: int
    updated_at: int
    edited: bool = False
    """The user has put it right: nothing but the user changes it any more."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What the user deleted or corrected, without its text: it is not to come back."""

    digest: str
    messages: list[str]
    """The ids of the messages that it came from: they bring nothing new any more."""
    at: int
    """Whoever says it later on means it."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one message of the user's says of them."""

    kind: Literal["add", "confirm", "replace"]
    source: Source
    fact_id: str = ""
    """Of a fact that is there: which is confirmed, or contradicted."""
    text: str = ""
    confidence: float = 0.5


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    stamp: str = ""
    """Another one with each change; "" where nothing is kept of this user."""
    facts: list[Fact] = []
    settled: list[Settled] = []
    progress: dict[str, int] = {}
    """Of conversations, longest ago first: the ``seq`` up to which they have been read."""

    def fact(self, fact_id: str) -> Fact | None:
        return next((fact for fact in self.facts if fact.id == fact_id), None)

    def changed(
        self,
        *,
        facts: list[Fact] | None = None,
        settled: list[Settled] | None = None,
        progress: dict[str, int] | None = None,
    ) -> Remembered:
        """The next one, within its bounds."""
        read = self.progress if progress is None else progress
        return Remembered(
            stamp=uuid.uuid4().hex,
            facts=_bounded(self.facts if facts is None else facts),
            settled=(self.settled if settled is None else settled)[-MAX_SETTLED:],
            progress=dict(list(read.items())[-MAX_PROGRESS:]),
        )

    def learned(self, findings: Iterable[Finding], *, now: int) -> Remembered:
        """With what was found. What can't be is left out: a message whose fact the user deleted or
        corrected, a contradiction to what the user put right, a fact that is gone meanwhile."""
        facts = {fact.id: fact for fact in self.facts}
        for finding in findings:
            self._learn(facts, finding, now)
        return self.changed(facts=list(facts.values()))

    def _learn(self, facts: dict[str, Fact], finding: Finding, now: int) -> None:
        known = facts.get(finding.fact_id)
        if finding.kind == "confirm":
            if known is not None:
                facts[known.id] = _confirmed(known, finding.source, now)
            return
        if self._is_settled(finding):
            return
        same = _same(facts.values(), finding.text)
        if finding.kind == "replace" and known is not None and known is not same:
            if known.edited:
                return
            del facts[known.id]
        if same is not None:
            facts[same.id] = _confirmed(same, finding.source, now)
            return
        fact = Fact(
            id=str(uuid.uuid4()),
            text=finding.text,
            confidence=finding.confidence,
            sources=[finding.source],
            created_at=now,
            updated_at=now,
        )
        facts[fact.id] = fact

    def _is_settled(self, finding: Finding) -> bool:
        source, digest = finding.source, digest_of(finding.text)
        return any(
            source.message_id in settled.messages
            or (settled.digest == digest and source.at <= settled.at)
            for settled in self.settled
        )

    def corrected(self, fact: Fact, text: str, *, now: int) -> Remembered:
        """The user has put ``fact`` right. What says the same already becomes one with it."""
        same = _same(self.facts, text)
        other = same.sources if same is not None and same.id != fact.id else []
        corrected = msgspec.structs.replace(
            fact,
            text=text,
            confidence=1.0,
            sources=_latest([*fact.sources, *other]),
            updated_at=now,
            edited=True,
        )
        gone = {fact.id, same.id if same is not None else fact.id}
        facts = [each for each in self.facts if each.id not in gone]
        settled = self.settled
        if digest_of(text) != digest_of(fact.text):
            settled = [*settled, _settled(fact, now)]
        return self.changed(facts=[*facts, corrected], settled=settled)

    def without(self, fact: Fact, *, now: int) -> Remembered:
        """The user has deleted ``fact``."""
        facts = [each for each in self.facts if each.id != fact.id]
        return self.changed(facts=facts, settled=[*self.settled, _settled(fact, now)])

    def without_conversation(self, conversation_id: str) -> Remembered:
        """The conversation was deleted, and with it what came only from there. Another stamp also
        where nothing did: who is reading the conversation must find out."""
        progress = {name: upto for name, upto in self.progress.items() if name != conversation_id}
        facts = [
            kept
            for fact in self.facts
            if (kept := _from(fact, lambda source: source.conversation_id != conversation_id))
        ]
        return self.changed(facts=facts, progress=progress)

    def without_superseded(self, turn: Turn) -> Remembered:
        """``turn`` has rewritten its conversation from its place on: what came only from what was
        there goes, unless it is the message that is only answered again, or the user has put the
        fact right. The rest is to be read again. Another stamp in any case, as above."""

        def stays(source: Source) -> bool:
            return (
                source.conversation_id != turn.conversation_id
                or source.seq < 2 * turn.place - 1
                or source.revision >= turn.revision
                or source.message_id == turn.question.message_id
            )

        facts = [
            kept
            for fact in self.facts
            if (kept := fact if fact.edited else _from(fact, stays)) is not None
        ]
        progress = dict(self.progress)
        if turn.conversation_id in progress:
            upto = progress[turn.conversation_id]
            progress[turn.conversation_id] = min(upto, 2 * turn.place - 2)
        return self.changed(facts=facts, progress=progress)

    def read_upto(self, conversation_id: str, upto: int) -> Remembered:
        """The conversation has been read so far."""
        others = {name: seq for name, seq in self.progress.items() if name != conversation_id}
        return self.changed(progress={**others, conversation_id: upto})


def best_first(facts: Iterable[Fact]) -> list[Fact]:
    """The most certain first; of those alike, the newest."""
    return sorted(
        facts, key=lambda fact: (round(fact.confidence, 1), fact.updated_at, fact.id), reverse=True
    )


def newest_first(facts: Iterable[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: (fact.updated_at, fact.id), reverse=True)


def one_line(text: str) -> str:
    """Without line breaks, control characters and what can't be seen."""
    visible = (c if unicodedata.category(c)[0] != "C" else " " for c in text)
    return " ".join("".join(visible).split())


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def digest_of(text: str) -> str:
    """The same for texts that differ in nothing but case, spaces and punctuation; or, where they
    have nothing else, only for the same."""
    return hashlib.sha256((" ".join(words_of(text)) or text).encode()).hexdigest()


def _same(facts: Iterable[Fact], text: str) -> Fact | None:
    digest = digest_of(text)
    return next((fact for fact in facts if digest_of(fact.text) == digest), None)


def _confirmed(fact: Fact, source: Source, now: int) -> Fact:
    """Said once more; by a message that said it before, nothing new."""
    if source.message_id in {known.message_id for known in fact.sources}:
        return fact
    sources = _latest([*fact.sources, source])
    if fact.edited:
        return msgspec.structs.replace(fact, sources=sources)
    confidence = fact.confidence + CONFIRMED * (1 - fact.confidence)
    return msgspec.structs.replace(fact, sources=sources, confidence=confidence, updated_at=now)


def _latest(sources: list[Source]) -> list[Source]:
    return sorted(sources, key=lambda source: source.at)[-MAX_SOURCES:]


def _from(fact: Fact, stays: Callable[[Source], bool]) -> Fact | None:
    """The fact with those of its sources that stay; None where none does."""
    sources = [source for source in fact.sources if stays(source)]
    if len(sources) == len(fact.sources):
        return fact
    return msgspec.structs.replace(fact, sources=sources) if sources else None


def _settled(fact: Fact, now: int) -> Settled:
    messages = [source.message_id for source in fact.sources]
    return Settled(digest=digest_of(fact.text), messages=messages, at=now)


def _bounded(facts: list[Fact]) -> list[Fact]:
    """Of too many, those that the user put right, then the most certain and the newest."""
    if len(facts) <= MAX_FACTS:
        return facts
    first = sorted(facts, key=lambda f: (f.edited, f.confidence, f.updated_at), reverse=True)
    return first[:MAX_FACTS]
