"""Turns that are closed, by the group: hardly anybody waits for that.

Each goes through three steps in their order: its conversation's counters follow it, ``open`` goes,
and it is looked whether others of its conversation are open. A step is one operation for all of the
group. One that is broken off leaves turns open, and whoever closes them later repeats it.

Race: another turn is placed, and waits, while this one still counts as open. Then it was there
before ``open`` went, and the look, which comes after, finds it. One that is placed later finds
nothing that it must wait for.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pymongo import UpdateOne

from memory.errors import Unavailable
from memory.records import ENDED, Turn
from mongo.client import OPERATION_SECONDS, Connection
from mongo.collections import OPEN, Document
from mongo.conversations import raising
from mongo.resting import Resting
from mongo.superseding import Superseding, rises_of
from stores.group_commit import GroupCommit

MOST_TOGETHER = 100
MOST_WAITING = 5_000
# Two groups of a busy server begin at least so far apart: the one that waits is the larger for it.
APART_SECONDS = 0.05
# The three steps of a group that is on its way, and then one's own.
PATIENCE_SECONDS = 6 * OPERATION_SECONDS


class Closing:
    def __init__(self, connection: Connection, superseding: Superseding, resting: Resting) -> None:
        self._connection = connection
        self._superseding = superseding
        self._resting = resting
        self._group: GroupCommit[Turn, bool] = GroupCommit(
            self._close,
            most_together=MOST_TOGETHER,
            most_waiting=MOST_WAITING,
            patience=PATIENCE_SECONDS,
            apart=APART_SECONDS,
        )

    async def close(self, turn: Turn, *, soon: bool) -> bool:
        """See ``TurnStore``."""
        return await self._group.submit(turn, soon=soon)

    async def finish(self) -> None:
        """Waits for what is under way."""
        await self._group.close()

    async def _close(self, turns: list[Turn]) -> list[bool | Exception]:
        outcomes = await self._follow(turns)
        followed = [turn for turn in turns if turn.id not in outcomes]
        others: set[str] = set()
        if followed:
            await self._mark(followed)
            for turn in followed:
                self._resting.closed(turn)
            others = await self._open_beside(followed)
        has_more = [turn.conversation_id in others for turn in turns]
        return [outcomes.get(turn.id, more) for turn, more in zip(turns, has_more, strict=True)]

    async def _follow(self, turns: list[Turn]) -> dict[str, Exception]:
        """Why it could not be had of some turns, by their ids."""
        rising: list[Any] = [
            UpdateOne(*raising(turn.conversation_id, rises_of(turn), revision=turn.revision))
            for turn in turns
        ]
        async with self._connection.operation() as collections:
            result = await collections.conversations.bulk_write(rising, ordered=False)
        if result.matched_count == len(turns):
            return {}
        # Which one was edited or deleted meanwhile isn't told.
        each = await asyncio.gather(*map(self._superseding.follow, turns), return_exceptions=True)
        found = zip(turns, each, strict=True)
        return {turn.id: error for turn, error in found if isinstance(error, Exception)}

    async def _mark(self, turns: list[Turn]) -> None:
        ended: Document = {"status": {"$in": sorted(ENDED)}}
        closed: list[Any] = [
            UpdateOne({"_id": turn.id, **ended}, {"$set": {"open": False}}) for turn in turns
        ]
        async with self._connection.operation() as collections:
            await collections.turns.bulk_write(closed, ordered=False)

    async def _open_beside(self, turns: list[Turn]) -> set[str]:
        """The conversations in which others are open; or may be, where that can't be seen."""
        conversations = sorted({turn.conversation_id for turn in turns})
        last = {each: self._resting.last_closed(each) for each in conversations}
        query: Document = {"conversation": {"$in": conversations}, **OPEN}
        try:
            async with self._connection.operation() as collections:
                found = await collections.turns.find(query, {"conversation": 1}).to_list()
        except Unavailable:
            return set(conversations)
        others = {turn["conversation"] for turn in found}
        for each, rest in last.items():
            if each not in others and rest is not None:
                self._resting.rests(each, rest)
        return others
