"""All that is a user's, deleted by one call; also when a server dies in the middle of it.

A durable mark comes first, then a tombstone for each conversation, then what is remembered of the
user: with that the call is answered, and the mark goes. What the conversations leave (turns,
attachments, memory, feeds) is purged after it, as their tombstones ask.

What goes is what was there at the call. Races, and what closes them:

- A server dies in between: the mark. Whoever sweeps goes on with what is older than the mark.
- A conversation begun by another tab meanwhile: it stays, unless it was listed already; one
  that is made in the very moment of the call may do either, and goes or stays whole.
- A document is taken in while an earlier mark is there: its conversation is as old as the document
  says, so that the sweep would take it along. It is refused until the mark is gone.
- A conversation goes on while they are listed, page by page, and moves up past the page that would
  have had it: they are listed again, until there is none left that is older than the mark.
- A message that is being accepted, a turn that is answered: as with every deletion, the tombstone.
- A conversation that is in a spool (MongoDB has just come back): it can't be deleted yet. The call
  says so, the mark stays, and the sweep deletes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from memory.errors import NotFound, Unavailable
from memory.facts import Remembered
from server.clock import now_ms
from server.deletion import SWEEP_SECONDS, Deletion
from server.errors import Away
from server.tasks import Tasks, again_and_again
from stores.contract import ConversationStore
from stores.erasures import Erasure, ErasureStore
from stores.facts import FactStore, change

log = logging.getLogger(__name__)

LISTED_TOGETHER = 100
DELETED_TOGETHER = 10
SWEEP_LIMIT = 20


Tell = Callable[[str, str, dict[str, Any]], None]
"""Tells every connection of this user of an event with these fields."""


class Erasing:
    def __init__(
        self,
        *,
        conversations: ConversationStore,
        erasures: ErasureStore,
        facts: FactStore,
        deletion: Deletion,
        tell: Tell,
    ) -> None:
        self._conversations = conversations
        self._erasures = erasures
        self._facts = facts
        self._deletion = deletion
        self._tell = tell
        self._tasks = Tasks()

    async def erase(self, user_id: str) -> int:
        """How many conversations that was. Raises ``Away`` where some can't be deleted yet, and
        ``Unavailable``; what was begun is gone on with all the same."""
        erasure = Erasure(user_id, now_ms())
        await self._erasures.begin(erasure)
        return await self._carry_out(erasure, list(await self._listed(user_id)))

    async def sweep_forever(self) -> None:
        """Go on with what an earlier server, or an absent store, left half done."""
        await again_and_again(self.sweep, lambda: SWEEP_SECONDS)

    async def sweep(self) -> None:
        try:
            for erasure in await self._erasures.unfinished(SWEEP_LIMIT):
                await self._go_on_with(erasure)
        except Unavailable:
            log.debug("Erasing waits for the store.")

    async def _go_on_with(self, erasure: Erasure) -> None:
        try:
            await self._carry_out(erasure, await self._older(erasure))
        except Away:
            log.info("Some of what is to be erased can't be deleted yet.")

    async def close(self) -> None:
        await self._tasks.close()

    async def _older(self, erasure: Erasure) -> list[str]:
        listed = await self._listed(erasure.user_id)
        return [name for name, created_at in listed.items() if created_at <= erasure.at]

    async def _listed(self, user_id: str) -> dict[str, int]:
        """When each was made."""
        found: dict[str, int] = {}
        before: tuple[int, str] | None = None
        while True:
            page = await self._conversations.list(user_id, before=before, limit=LISTED_TOGETHER)
            found |= {conversation.id: conversation.created_at for conversation in page}
            if len(page) < LISTED_TOGETHER:
                return found
            before = (page[-1].updated_at, page[-1].id)

    async def _carry_out(self, erasure: Erasure, conversation_ids: Sequence[str]) -> int:
        left = conversation_ids
        is_gone: dict[str, bool] = {}
        try:
            while left:
                is_gone |= await self._delete_all(left, erasure.user_id)
                left = [each for each in await self._older(erasure) if each not in is_gone]
            await forget_before(self._facts, erasure)
        finally:
            deleted = [each for each, gone in is_gone.items() if gone]
            if deleted:
                self._tasks.start(self._tidy(deleted), "erasing")
        if len(deleted) < len(is_gone):
            raise Away("Not all of it can be deleted yet; it will be as soon as that is possible.")
        await self._erasures.done(erasure)
        log.info(
            "All of a user's was erased.",
            extra={"action": "erased", "user_id": erasure.user_id, "conversations": len(deleted)},
        )
        return len(deleted)

    async def _delete_all(self, conversation_ids: Sequence[str], user_id: str) -> dict[str, bool]:
        """Of each, whether it is gone."""
        is_gone: dict[str, bool] = {}
        for first in range(0, len(conversation_ids), DELETED_TOGETHER):
            some = conversation_ids[first : first + DELETED_TOGETHER]
            outcomes = await asyncio.gather(*(self._delete(each, user_id) for each in some))
            is_gone |= dict(zip(some, outcomes, strict=True))
        return is_gone

    async def _delete(self, conversation_id: str, user_id: str) -> bool:
        """Whether it is gone."""
        try:
            await self._deletion.entomb(conversation_id, user_id)
        except NotFound:
            return True  # somebody else was quicker
        except Unavailable:
            return False
        self._tell(user_id, "conversation:deleted", {"conversation_id": conversation_id})
        return True

    async def _tidy(self, conversation_ids: Sequence[str]) -> None:
        for conversation_id in conversation_ids:
            await self._deletion.tidy(conversation_id)


async def forget_before(facts: FactStore, erasure: Erasure) -> None:
    """Remember nothing of the user but what was learned since."""

    def without_old(known: Remembered) -> Remembered | None:
        if not known.stamp:
            return None
        left = [fact for fact in known.facts if fact.created_at > erasure.at]
        return known.changed(facts=left, settled=[], progress={})

    kept = await change(facts, erasure.user_id, without_old)
    if kept is not None and kept.stamp and not kept.facts:
        await facts.forget(erasure.user_id, over=kept.stamp)
