"""A document's conversation, made anew for who brings it: questions and answers that have ended.

Nothing of it is sent to a model by this. Ids follow from the user, the new conversation's id and
the place, so each call may be repeated, on any server, also after one that was broken off.

Races, and what closes them:

- The same part twice at once: the unique ids and numbers; who loses finds what it would have kept.
- The conversation goes on otherwise meanwhile (a message was sent into it): the unique number.
- It is deleted meanwhile: ``bring`` finds the tombstone, and leaves nothing. (With MongoDB it does
  so after its inserts. Of a server that dies just then, where the purge came before them, they are
  left: out of everybody's sight.)
- Somebody has it open: its log is begun anew, and memory reads it from the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from memory.errors import Duplicate, NotFound
from memory.records import Choice, Conversation, Turn
from server.choices import Choices
from server.errors import Away, Conflict, Invalid
from server.feed.feeds import Feeds
from server.transfer.document import Part, turns_of
from stores.contract import ConversationStore, TurnStore
from stores.erasures import ErasureStore


class Memory(Protocol):
    async def forget(self, conversation_id: str) -> None: ...


class Importing:
    def __init__(
        self,
        *,
        conversations: ConversationStore,
        turns: TurnStore,
        memory: Memory,
        feeds: Feeds,
        choices: Choices,
        erasures: ErasureStore,
    ) -> None:
        self._conversations = conversations
        self._turns = turns
        self._memory = memory
        self._feeds = feeds
        self._choices = choices
        self._erasures = erasures

    async def take(
        self, conversation_id: str, user_id: str, part: Part
    ) -> tuple[Conversation, bool]:
        """The conversation with this part of it, and whether this call made it.

        Raises ``Taken`` where the id is in use otherwise, ``NotFound`` where it was deleted,
        ``Invalid`` where messages before the part are missing, ``Conflict`` and ``Unavailable``.
        """
        head = part.head
        if await self._erasures.of(user_id) is not None:
            raise Away("Your data is being deleted; try again shortly.")
        answers = await self._answers_before(part, conversation_id, user_id)
        conversation, created = await self._conversations.create(
            conversation_id,
            user_id,
            head.title,
            digest=head.digest,
            at=head.created_at,
            choice=self._offered(head.choice),
        )
        async with self._feeds.announcing.holding(conversation_id):
            turns = await asyncio.to_thread(turns_of, part, conversation_id, user_id, answers)
            if turns:
                try:
                    await self._turns.bring(turns, at=_last_active(turns, part))
                except Duplicate:
                    raise Conflict(
                        "The conversation has something else in this place.", field="document"
                    ) from None
                conversation = await self._conversations.get(conversation_id, user_id)
                await self._memory.forget(conversation_id)
                await self._feeds.renew(conversation_id)
        return conversation, created

    def _offered(self, choice: Choice) -> Choice:
        """What another server offered may not be to be had here: that is the default then."""
        has_model = choice.model in self._choices.models
        has_prompt = choice.system_prompt in self._choices.system_prompts
        return Choice(
            model=choice.model if has_model else None,
            system_prompt=choice.system_prompt if has_prompt else None,
        )

    async def _answers_before(self, part: Part, conversation_id: str, user_id: str) -> int:
        """How many answers stand before a part. Raises ``Unavailable`` while the permanent store is
        away: nothing of this goes into a spool."""
        place = part.exchanges[0].place if part.exchanges else 1
        if place == 1:
            await self._turns.since(conversation_id, 1, 1)
            return 0
        before = None
        with suppress(NotFound):
            await self._conversations.get(conversation_id, user_id)
            before = await self._turns.at_place(conversation_id, place - 1)
        if before is None:
            raise Invalid(
                "What stands before it is not there yet.", field="document.messages[0].seq"
            )
        return before.answers or 0


def _last_active(turns: Sequence[Turn], part: Part) -> int:
    if part.head.updated_at is not None:
        return part.head.updated_at
    return max(turn.answer.created_at if turn.answer else turn.created_at for turn in turns)
