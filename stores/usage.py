"""How many tokens were used: by each conversation and each user, a day.

Nothing is written for it when a turn ends: its answer says what it used, and a turn counts for the
day (UTC) on which it was asked, superseded or not, because it was paid for. What is asked for is
added up from there; of a deleted conversation, from what its purge kept. Titles, summaries and
what else is asked of the model in the background are not counted.

Race: a conversation is purged while its user's usage is added up. Closed by the order: what a purge
keeps is written before a turn goes, and read after the turns; where it is there, it counts alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

DAY_MS = 24 * 3600 * 1000

# No provider's number, however wrong, may be more than a store can hold when they are added up.
MOST_TOKENS = 10**12


class Used(msgspec.Struct, frozen=True):
    turns: int = 0
    """Those whose answer told what it used."""
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0

    def __add__(self, other: Used) -> Used:
        return Used(
            self.turns + other.turns,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.total_tokens + other.total_tokens,
        )


class Budget(msgspec.Struct, frozen=True):
    """In tokens, of a user's day."""

    limit: int
    used: int
    resets_at: int
    """In milliseconds since 1970."""


NOTHING = Used()

Days = dict[int, Used]
"""By the days' numbers since 1970, UTC; a day on which nothing was used may be missing."""


class UsageStore(Protocol):
    """As ``stores.contract`` has it. A purge keeps what its conversation used."""

    async def of_user(self, user_id: str, since: int) -> Days:
        """Each day from ``since`` on, with what deleted conversations used."""
        ...

    async def of_conversation(self, conversation_id: str, since: int) -> Days:
        """The same of one conversation, whosever, that is not deleted."""
        ...

    async def note_spent(self, server: str, day: int, tokens: int) -> int:
        """Note how many tokens this server's turns have used on a day, all users' together: a
        number that only rises. Gives what all servers have noted of that day; what is long over is
        forgotten."""
        ...


def day_of(at: int) -> int:
    """The number of the day in which this millisecond is, UTC."""
    return at // DAY_MS


def used_by(usage: Mapping[str, Any] | None) -> Used:
    """What an answer used, by what its provider told. That may be anything."""
    if not usage:
        return NOTHING
    asked, said = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    return Used(1, asked, said, _count(usage, "total_tokens") or asked + said)


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return min(max(value, 0), MOST_TOKENS)


def by_day(turns: Iterable[tuple[int, str | None]]) -> Days:
    """Of turns: when each was asked, and what its answer used, as JSON."""
    days: Days = {}
    for at, text in turns:
        used = used_by(_read(text)) if text else NOTHING
        if used is not NOTHING:
            day = day_of(at)
            days[day] = days.get(day, NOTHING) + used
    return days


def _read(text: str) -> dict[str, Any] | None:
    usage = msgspec.json.decode(text)
    return usage if isinstance(usage, dict) else None


def together(some: Iterable[Days], *, since: int = 0) -> Days:
    """All of them added up, from a day on."""
    days: Days = {}
    for each in some:
        for day, used in each.items():
            if day >= since:
                days[day] = days.get(day, NOTHING) + used
    return days
