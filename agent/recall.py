"""What a question needs of what has scrolled out of the window: found, and made ready to send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from agent.finding import Finder
from agent.tokens import TokenCounter
from agent.wording import RECALLED_PREAMBLE, fence
from memory.excerpts import excerpt
from memory.records import Hit, Message

# Of a longer message the part that fits the question is sent, in characters: about 300 tokens.
EXCERPT_CHARS = 1_200

# So many are looked for: more than any budget takes of messages of a sentence or two.
MOST = 200

# Of a message's costs: the line's end, and a sign of what is left out before it.
GAP_TOKENS = 2

# A question shorter than this (``And why?``) is looked for with the one before it.
TELLING_CHARS = 20


ROLES = {"human": "user", "ai": "assistant"}


class Recalled(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier message, as far as it is sent."""

    message_id: str
    conversation_id: str
    seq: int
    type: str
    text: str
    at: int
    """When it was said, in ms since 1970."""

    def line(self) -> str:
        return (
            f"{_date(self.at)} {fence('user' if self.type == 'human' else 'assistant', self.text)}"
        )


class Recall:
    """Searches the conversation for each question of a long one."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder

    async def of(
        self, user_id: str, conversation_id: str, question: Message, before: Sequence[Message]
    ) -> list[Recalled]:
        """The earlier messages that fit the question, best first. ``before`` is what stands in the
        window. Raises ``Unavailable``."""
        query = query_of(question, before)
        if not query:
            return []
        hits = await self._finder.find(
            user_id, query, conversation_id=conversation_id, limit=MOST, beside=True
        )
        return [
            recalled(hit)
            for hit in hits
            if hit.message.id != question.id and _is_before(hit.message, question)
        ]


def query_of(question: Message, before: Sequence[Message]) -> str:
    """What to look for. A short question is about the one before it as well."""
    asked = _text(question).strip()
    if len(asked) >= TELLING_CHARS:
        return asked
    earlier = [_text(message) for message in before if message.type == "human"]
    return " ".join([*earlier[-1:], asked]).strip()


def recalled(hit: Hit) -> Recalled:
    message = hit.message
    return Recalled(
        message_id=message.id,
        conversation_id=hit.conversation.id,
        seq=message.seq or 0,
        type=message.type,
        text=excerpt(_text(message), hit.at, EXCERPT_CHARS),
        at=message.created_at,
    )


def lines(messages: Sequence[Recalled]) -> str:
    """In their order, with a sign where something was said in between that is left out."""
    parts: list[str] = []
    last: Recalled | None = None
    for each in messages:
        if last is not None and (last.conversation_id, last.seq + 1) != (
            each.conversation_id,
            each.seq,
        ):
            parts.append("…")
        parts.append(each.line())
        last = each
    return "\n".join(parts)


def room_for(messages: Sequence[Recalled], counter: TokenCounter) -> int:
    """What all of them cost, in tokens."""
    return counter.count_text(RECALLED_PREAMBLE) + sum(_costs(each, counter) for each in messages)


def those_that_fit(
    messages: Sequence[Recalled], room: int, counter: TokenCounter
) -> list[Recalled]:
    """The best of them, ascending. They are given best first."""
    spent = counter.count_text(RECALLED_PREAMBLE) + GAP_TOKENS
    chosen: list[Recalled] = []
    for each in messages:
        costs = _costs(each, counter)
        if spent + costs <= room:
            spent += costs
            chosen.append(each)
    return sorted(chosen, key=lambda each: each.seq)


def _costs(message: Recalled, counter: TokenCounter) -> int:
    return counter.count_text(message.line()) + GAP_TOKENS


def _is_before(message: Message, question: Message) -> bool:
    return message.seq is None or question.seq is None or message.seq < question.seq


def _text(message: Message) -> str:
    return message.content if isinstance(message.content, str) else ""


def _date(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d")
