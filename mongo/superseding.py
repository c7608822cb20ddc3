"""What follows from a rewriting turn, and what must not follow from a superseded one.

There are no transactions on a single server, so each of these is a few writes in an order that may
be broken off anywhere and repeated by anybody. The rewriting turn itself is there already.

Races:

- A message is placed after the rewriting turn, and noted, before the conversation has the new
  revision: ``touch`` leaves the counter alone. And an earlier turn ends meanwhile. So after the
  revision has risen the counters are read again, and raised.
- A turn is closed, is found not superseded, and is superseded before the counters are raised by it.
  They are raised only at the revision that was read before looking.
- A turn is superseded, and closed while the conversation still has its revision, so that the
  counters rise by it: ``rewrite`` comes after the marking, and puts others in their place.
"""

from __future__ import annotations

from memory.errors import NotFound, Unavailable
from memory.records import Turn
from mongo.client import Connection
from mongo.collections import CURRENT, SUPERSEDED, Document
from mongo.conversations import MongoConversations
from mongo.turn_reads import OLDEST_FIRST, TurnReads, at
from stores.rules import activity_of

# So many turns are marked at a time, so that no single operation outlasts its time.
MARKED_TOGETHER = 500

# Each is another edit within the few milliseconds between two operations.
MOST_LOOKS = 20


def rises_of(turn: Turn) -> Document:
    """What a conversation's counters rise to by a turn that has ended."""
    return {
        "turn": turn.place,
        "answers": turn.answers or 0,
        "updated_at": activity_of(turn),
    }


class Superseding:
    def __init__(
        self, connection: Connection, conversations: MongoConversations, reads: TurnReads
    ) -> None:
        self._connection = connection
        self._conversations = conversations
        self._reads = reads

    async def supersede(self, turn: Turn) -> list[Turn]:
        conversation_id = turn.conversation_id
        standing = await self._conversations.standing(conversation_id)
        await self._mark(turn)
        if turn.revision > standing.revision + 1:
            # An edit before this one has not come so far. What it supersedes before this one's
            # place must not count either.
            for earlier in await self._rewriting(turn, standing.revision):
                await self._mark(earlier)
        await self._conversations.rewrite(turn, await self._counters(conversation_id))
        rises = await self._counters(conversation_id)
        revision = turn.revision
        if not await self._conversations.raise_counters(conversation_id, rises, revision=revision):
            await self._conversations.standing(conversation_id)  # it is deleted, or further on
        found: Document = {"conversation": conversation_id, **SUPERSEDED, "superseded_by": turn.id}
        return await self._reads.many(found, OLDEST_FIRST)

    async def follow(self, turn: Turn) -> None:
        """Let the counters rise to what ``turn``, which has ended, says; unless it is superseded.

        Raises ``Unavailable`` where the conversation is edited again and again meanwhile.
        """
        rises = rises_of(turn)
        # At its own revision nobody need look whether it is superseded: until the rewriting turn
        # has brought its revision along it does no harm, and then the counters are counted anew.
        if await self._conversations.raise_counters(
            turn.conversation_id, rises, revision=turn.revision
        ):
            return
        for _ in range(MOST_LOOKS):
            try:
                standing = await self._conversations.standing(turn.conversation_id)
            except NotFound:
                return
            kept = await self._reads.get(turn.conversation_id, turn.id)
            if kept is None or kept.superseded:
                return
            if await self._conversations.raise_counters(
                turn.conversation_id, rises, revision=standing.revision
            ):
                return
        raise Unavailable("The conversation changes too quickly to be counted.")

    async def _rewriting(self, turn: Turn, revision: int) -> list[Turn]:
        """The current rewriting turns before this one that are later than ``revision``. Looks at
        the whole conversation, once after a server died, or two edits met."""
        query: Document = {"conversation": turn.conversation_id, **CURRENT, "n": {"$lt": turn.n}}
        query |= {"rewrites": True, "revision": {"$gt": revision}}
        return await self._reads.many(query, OLDEST_FIRST)

    async def _mark(self, turn: Turn) -> None:
        """From the last on, so that a reader in between finds no gap."""
        placed, unplaced = at(turn.conversation_id, {"$gte": turn.place})
        placed["n"] = {"$lt": turn.n}
        unplaced["n"] = {"$gte": turn.place, "$lt": turn.n}
        has_not_ended = {"$in": ["$status", ["queued", "running"]]}
        marks: Document = {
            "superseded": True,
            "superseded_by": {"$literal": turn.id},
            "status": {"$cond": [has_not_ended, "stopped", "$status"]},
            "open": False,
        }
        while True:
            async with self._connection.operation() as collections:
                turns = collections.turns.find({"$or": [placed, unplaced]}, {"_id": 1})
                found = await turns.limit(MARKED_TOGETHER).to_list()
                if not found:
                    return
                some = {"_id": {"$in": [document["_id"] for document in found]}, **CURRENT}
                await collections.turns.update_many(some, [{"$set": marks}])

    async def _counters(self, conversation_id: str) -> Document:
        """What the current turns amount to."""
        last = await self._reads.last(conversation_id)
        answers = await self._reads.answers({"conversation": conversation_id})
        return {"turn": last.place if last else 0, "answers": answers}
