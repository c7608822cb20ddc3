"""What the server asks of a store's search, and how both stores go about it.

The full-text indexes are the databases' own, and true to the turns at every moment: what is kept is
found, what is deleted or superseded is not. What was made of texts by a model (vectors) follows
later, and goes with its turn.

A search reads a bounded number of turns, however much a user has said: of each word so many that
have it, of these the ones that promise most, and those beside them. It ends within
``SEARCH_SECONDS``.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from memory.errors import Unavailable
from memory.locks import KeyedLocks
from memory.records import Conversation, Hit, Spot, Turn
from stores.ranking import CORES, LEAST, Match, Place, Ranked, candidates, cores, ranked
from stores.words import Wanted, wanted_in

# Of each word, so many turns that have it. A word that more have tells little.
MOST_A_WORD = 500

# Without an index (what is written without spaces), so many turns are looked through.
MOST_LOOKED_THROUGH = 20_000

SEARCH_SECONDS = 2.0


class Vectors(msgspec.Struct, frozen=True):
    """What a model made of a turn's question and answer, as bytes that only its maker reads."""

    turn_id: str
    conversation_id: str
    place: int
    question: bytes
    answer: bytes
    """Empty where there is no answer."""
    at: int
    """When it was kept: what changed since is read again by this."""


class SearchStore(Protocol):
    async def search(
        self,
        user_id: str,
        query: str,
        *,
        conversation_id: str | None = None,
        near: Sequence[Spot] = (),
        limit: int = 20,
        beside: bool = False,
    ) -> list[Hit]:
        """The messages of this user that fit best, best first: in one conversation, or in all.

        ``near`` has those nearest by meaning, nearest first. ``beside`` also gives what only
        stands beside something found, as far as that is worth it. Another user's conversation has
        nothing. Raises ``Unavailable``.
        """
        ...

    async def without_vectors(
        self, user_id: str, conversation_id: str, model: str, *, among: int, limit: int
    ) -> list[Turn]:
        """Of the conversation's last ``among`` current turns those that are closed and have no
        vectors of this model, newest first."""
        ...

    async def keep_vectors(self, turn: Turn, model: str, question: bytes, answer: bytes) -> None:
        """Keep them with the turn, for as long as there is one."""
        ...

    async def vectors(self, user_id: str, model: str, *, since: int, limit: int) -> list[Vectors]:
        """Those of this user that were kept at ``since`` or later, newest first."""
        ...


class SearchSource(Protocol):
    """What each store has of its own."""

    async def matches(
        self, wanted: Wanted, user_id: str, conversation_id: str | None
    ) -> list[Match]:
        """Up to ``MOST_A_WORD`` for each term."""
        ...

    async def count(self, user_id: str, conversation_id: str | None) -> int:
        """How many turns there are, up to ``MOST_LOOKED_THROUGH``."""
        ...

    async def turns_at(self, user_id: str, places: Collection[Place]) -> list[Turn]:
        """The turns there that are not marked as superseded."""
        ...

    async def rewriting(self, conversation_ids: Collection[str]) -> list[tuple[str, int, int]]:
        """Of the open turns that rewrite: conversation, number, place."""
        ...

    async def alive(self, user_id: str, ids: Collection[str]) -> dict[str, Conversation]: ...


class Searching:
    """``SearchStore.search``, on a source."""

    def __init__(self, source: SearchSource) -> None:
        self._source = source
        self._of_users = KeyedLocks()

    async def search(
        self,
        user_id: str,
        query: str,
        *,
        conversation_id: str | None = None,
        near: Sequence[Spot] = (),
        limit: int = 20,
        beside: bool = False,
    ) -> list[Hit]:
        wanted = wanted_in(query)
        if not wanted and not near:
            return []
        try:
            # One of a user at a time: each may read megabytes, and think about them.
            async with asyncio.timeout(SEARCH_SECONDS), self._of_users.holding(user_id):
                best, conversations = await self._found(
                    user_id, wanted, conversation_id, near, limit=limit, beside=beside
                )
        except TimeoutError as error:
            raise Unavailable("The search took too long.") from error
        return [
            Hit(
                conversation=conversations[each.conversation_id],
                message=each.message,
                is_found=each.is_found,
                at=each.at,
            )
            for each in best
        ]

    async def _found(
        self,
        user_id: str,
        wanted: Wanted,
        conversation_id: str | None,
        near: Sequence[Spot],
        *,
        limit: int,
        beside: bool,
    ) -> tuple[list[Ranked], dict[str, Conversation]]:
        source = self._source
        total, found = await asyncio.gather(
            source.count(user_id, conversation_id), source.matches(wanted, user_id, conversation_id)
        )
        matches = set(found)  # a question and its answer may both have a word
        counts = _counts(found, matches, total)
        chosen = candidates(matches, near, counts, total)
        if not chosen:
            return [], {}
        if len(chosen) > CORES:
            read = await source.turns_at(user_id, chosen)
            chosen = await asyncio.to_thread(cores, read, wanted, near, counts, total)
        turns = await source.turns_at(user_id, _with_those_beside(chosen))
        ids = {turn.conversation_id for turn in turns}
        # Last, so that what was deleted or rewritten before the end of the search is left out.
        conversations, rewriting = await asyncio.gather(
            source.alive(user_id, ids), source.rewriting(ids)
        )
        kept = [
            turn
            for turn in turns
            if turn.conversation_id in conversations and not _is_rewritten(turn, rewriting)
        ]
        rank = partial(ranked, kept, wanted, near, counts, total)
        best = await asyncio.to_thread(
            rank, least=LEAST if beside else 0.0, limit=limit, beside=beside
        )
        return best, conversations


def _counts(found: Iterable[Match], matches: Iterable[Match], total: int) -> dict[int, int]:
    """How many turns have each term. Where more have it than were asked for, any number up to all
    of them may: it is taken for the (geometric) middle of what it can be."""
    asked = Counter(match.term for match in found)
    counts = Counter(match.term for match in matches)
    return {
        term: count if asked[term] < MOST_A_WORD else round(math.sqrt(count * max(count, total)))
        for term, count in counts.items()
    }


def _with_those_beside(places: Iterable[Place]) -> set[Place]:
    return {
        (conversation_id, each)
        for conversation_id, place in places
        for each in (place - 1, place, place + 1)
        if each > 0
    }


def _is_rewritten(turn: Turn, rewriting: Iterable[tuple[str, int, int]]) -> bool:
    """Whether a later turn has taken its place, or an earlier one's, and has yet to mark it."""
    return any(
        conversation_id == turn.conversation_id and n > turn.n and place <= turn.place
        for conversation_id, n, place in rewriting
    )
