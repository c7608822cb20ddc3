"""What a model is asked about a user's new messages, and what is taken of its answer. No I/O.

Only the user's own messages are shown: what the assistant said, what tools gave and what was
recalled can't become a fact, whatever stands in it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, cast

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from agent.wording import FACTS_INSTRUCTIONS, fence, sendable
from memory.chat_messages import to_langchain
from memory.facts import MAX_TEXT_CHARS, Fact, Finding, Source, one_line, words_of
from memory.records import Message

# Of one answer. A few messages say no more of anybody.
MAX_FINDINGS = 10

# Of one message: what people tell of themselves is in short ones, or stands first.
MAX_MESSAGE_CHARS = 4_000

# Facts that are shown, so that they are confirmed or contradicted rather than noted once more.
MAX_SHOWN = 100

_T = TypeVar("_T")

Kind = Literal["add", "confirm", "replace"]

_KINDS = ("add", "confirm", "replace")

# An answer's JSON may stand in a fence of Markdown, or among words.
_JSON = re.compile(r"[\[{].*[\]}]", re.DOTALL)

_SECRET = re.compile(
    r"\b(?:pass(?:word|wort|code|phrase|wd)?|pwd|kennwort|pin|puk|cvc|cvv|otp|secret|credentials?"
    r"|(?:api|access|private|secret|license|ssh)[ _-]?keys?|token|iban|ssn|seed phrase)\b"
    r"[^.;]{0,30}?(?:\bis\b|\bare\b|\bist\b|\blautet\b|[:=])"
    r"|-----BEGIN"
    r"|\b(?:sk|pk|rk|gh[opsu]|xox[abp]|glpat|hf|npm)[-_]\w{8,}"
    r"|\b(?:AKIA|ASIA|AIza|eyJ)[\w-]{10,}"
    r"|\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,}"
    r"|(?:\d[ -]?){13,}",
    re.IGNORECASE,
)
_LONG = re.compile(r"[\w+/=.~-]{20,}")


def looks_secret(text: str) -> bool:
    """Whether it has something like a password, a key or a card's number: rather once too often."""
    return bool(_SECRET.search(text)) or any(
        any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
        for word in _LONG.findall(text)
    )


def said_in(message: Message) -> str:
    """The user's words, as far as they are looked at."""
    return to_langchain(message).text.strip()[:MAX_MESSAGE_CHARS]


def related(facts: Sequence[Fact], messages: Sequence[Message]) -> list[Fact]:
    """Of many facts, those that share most words with the messages, then the newest."""
    if len(facts) <= MAX_SHOWN:
        return list(facts)
    said = {word for message in messages for word in words_of(said_in(message))}
    shared = {fact.id: len(said.intersection(words_of(fact.text))) for fact in facts}
    best = sorted(facts, key=lambda fact: (shared[fact.id], fact.updated_at), reverse=True)
    return best[:MAX_SHOWN]


def request_for(messages: Sequence[Message], facts: Sequence[Fact]) -> list[BaseMessage]:
    parts = [fence(f"fact_{n}", fact.text) for n, fact in enumerate(facts, 1)]
    parts += [fence(f"message_{n}", said_in(message)) for n, message in enumerate(messages, 1)]
    return [SystemMessage(FACTS_INSTRUCTIONS), HumanMessage(sendable("\n".join(parts)))]


def findings_in(answer: str, sources: Sequence[Source], facts: Sequence[Fact]) -> list[Finding]:
    """What the answer says in the order in which ``request_for`` was given messages and facts.
    What it should not say, or says otherwise than it was asked to, is left out."""
    found = (_finding(entry, sources, facts) for entry in _entries(answer)[:MAX_FINDINGS])
    return [finding for finding in found if finding is not None]


def _entries(answer: str) -> list[Any]:
    match = _JSON.search(answer)
    try:
        told = json.loads(match[0]) if match else None
    except (ValueError, RecursionError):
        return []
    if isinstance(told, dict):
        told = told.get("facts")
    return told if isinstance(told, list) else []


def _finding(entry: Any, sources: Sequence[Source], facts: Sequence[Fact]) -> Finding | None:
    if not isinstance(entry, dict) or entry.get("do") not in _KINDS:
        return None
    kind = cast("Kind", entry["do"])
    source, fact = _named(entry.get("message"), sources), _named(entry.get("fact"), facts)
    if source is None or (fact is None and kind != "add"):
        return None
    text = ""
    if kind != "confirm":
        given = entry.get("text")
        text = one_line(sendable(given)) if isinstance(given, str) else ""
        if not words_of(text) or len(text) > MAX_TEXT_CHARS or looks_secret(text):
            return None
    return Finding(
        kind=kind,
        source=source,
        fact_id=fact.id if fact is not None and kind != "add" else "",
        text=text,
        confidence=_confidence(entry.get("confidence")),
    )


def _named(number: Any, among: Sequence[_T]) -> _T | None:
    """The one with this number, which a model may write as a text, or with its tag."""
    if isinstance(number, str) and (digits := re.search(r"\d{1,4}$", number.strip())):
        number = int(digits[0])
    if isinstance(number, bool) or not isinstance(number, int):
        return None
    return among[number - 1] if 0 < number <= len(among) else None


def _confidence(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or math.isnan(given):
        return 0.5
    return float(min(max(given, 0.0), 1.0))
