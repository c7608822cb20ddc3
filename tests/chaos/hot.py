"""Redis held against the store, key by key.

Reading mends: a conversation whose three keys are not whole, or lag behind the store's position, is
dropped and loaded anew. So Redis is looked at twice. After a conversation was read, whatever is hot
must equal the store. Before it was read, too; but what the saboteur took away or turned back there
may still be missing or lag, since nobody needed it so far. What does *not* lag by the position, and
is wrong all the same, nothing would ever mend, so there is no excuse for it.

The summary alone is in no position. An older one of the same revision stays until the next is made,
so after what can leave one behind it is counted, and not accused.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.evidence import Evidence, Hot, Kept, Shape

LATEST = 50
"""Messages of a conversation that Redis keeps."""

TAKES_KEYS = ("redis keys deleted", "redis key deleted", "redis evicts")
"""Faults after which one of three keys may be missing until somebody reads the conversation."""
TURNS_BACK = ("redis turned back",)
"""Faults after which the three may lag until then."""
LEAVES_OLD_SUMMARY = (*TURNS_BACK, "server killed", "all servers killed", "server drained")
"""Faults after which Redis may have an older summary than the store: they come between the two
writes."""


def check_hot(kept: Kept, evidence: Evidence) -> Iterator[str]:
    done = {fault for fault, times in evidence.faults.items() if times}
    if not _is_excused(kept, done):
        yield from _compare(kept, kept.found, "found in Redis", done)
    yield from _compare(kept, kept.hot, "in Redis after it was read", done)


def condition(kept: Kept) -> str:
    """How the conversation was found: hot, cold, partial, unreadable or lagging."""
    found = kept.found
    if found.unreadable:
        return "unreadable"
    if found.missing:
        return "partial" if len(found.missing) < 3 else "cold"
    return "lagging" if _lags(kept, found) else "hot"


def _is_excused(kept: Kept, done: set[str]) -> bool:
    excuses = {"partial": TAKES_KEYS, "lagging": TURNS_BACK}
    return not done.isdisjoint(excuses.get(condition(kept), ()))


def _lags(kept: Kept, hot: Hot) -> bool:
    """Behind the store's position, as whoever reads next will see."""
    last = kept.current[-1] if kept.current else None
    revision = last.revision if last else 0
    if hot.revision != revision:
        return hot.revision < revision
    numbered = [message["seq"] for message in hot.messages or [] if message["seq"] is not None]
    place = (max(numbered, default=0) + 1) // 2
    return place < (last.place if last else 0) or (hot.counted or 0) < _answers(kept)


def has_old_summary(kept: Kept, hot: Hot) -> bool:
    """One that names fewer exchanges than the store's, and begins as that does."""
    notes, right = (hot.notes or "").split(), kept.notes.split()
    is_whole = not hot.missing and not hot.unreadable and not _lags(kept, hot)
    return is_whole and len(notes) < len(right) and notes == right[: len(notes)]


def _compare(kept: Kept, hot: Hot, where: str, done: set[str]) -> Iterator[str]:
    if hot.unreadable:
        yield f"unreadable in Redis: {kept.id}, {where}: {hot.unreadable}"
        return
    if hot.missing:
        if len(hot.missing) < 3:
            yield f"partial in Redis: {kept.id}, {where}, lacks {hot.missing} of its three keys"
        return
    assert hot.messages is not None
    right = kept.messages[-LATEST:]
    if hot.messages != right:
        yield f"Redis differs: {kept.id}, {where}: {difference(hot.messages, right)}"
    is_old = has_old_summary(kept, hot) and not done.isdisjoint(LEAVES_OLD_SUMMARY)
    if hot.notes != kept.notes and not is_old:
        what = f"the summary {hot.notes!r}, the store {kept.notes!r}"
        yield f"Redis differs: {kept.id}, {where}: it has {what}"
    if hot.counted != _answers(kept):
        what = f"{hot.counted} turns counted, the store {_answers(kept)} answers"
        yield f"Redis differs: {kept.id}, {where}: it has {what}"


def _answers(kept: Kept) -> int:
    return sum(turn.answer is not None for turn in kept.current)


def difference(found: list[Shape], right: list[Shape]) -> str:
    """The first message that is another one, both as they are; or how many are too few."""
    for place, (one, other) in enumerate(zip(found, right, strict=False)):
        if one != other:
            return f"at {place}: {one} for {other}"
    return f"{len(found)} messages for {len(right)}"
