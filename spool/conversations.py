"""Conversations, in the permanent store or lodging here."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from memory.errors import NotFound, Taken, Unavailable
from memory.records import NO_CHOICE, Choice, Conversation, Position, Turn
from spool.file import Lodging
from spool.lodgings import LEASE_MS, Elsewhere, Lodgings, Returned

NOT_KNOWN = "Nothing is known of this conversation at the moment."


class SpooledConversations:
    """``stores.contract.ConversationStore``. What is not about one conversation at work (lists,
    titles, deletions) waits for the permanent store."""

    def __init__(self, lodgings: Lodgings) -> None:
        self._lodgings = lodgings
        self._cards = lodgings.cards
        self._there = lodgings.permanent.conversations
        self._here = lodgings.file.conversations

    async def create(
        self,
        conversation_id: str,
        user_id: str,
        title: str,
        *,
        digest: str | None,
        at: int,
        choice: Choice = NO_CHOICE,
    ) -> tuple[Conversation, bool]:
        fresh = Conversation(
            id=conversation_id,
            user_id=user_id,
            title=title,
            created_at=at,
            updated_at=at,
            digest=digest,
            choice=choice,
        )
        is_new = False

        async def there() -> tuple[Conversation, bool]:
            conversation, created = await self._there.create(
                conversation_id, user_id, title, digest=digest, at=at, choice=choice
            )
            self._cards.note(conversation)
            return conversation, created

        async def enter() -> Lodging:
            nonlocal is_new
            known = await self._cards.read(conversation_id)
            if known is not None:
                if known.conversation.user_id != user_id:
                    raise Taken
                return await self._lodgings.lodge(conversation_id, None)
            lodging = await self._make(fresh)
            is_new = True
            return lodging

        async def here(_: Lodging) -> tuple[Conversation, bool]:
            conversation, _created = await self._here.create(
                conversation_id, user_id, title, digest=digest, at=at, choice=choice
            )
            return conversation, is_new

        return await self._lodgings.do(conversation_id, there, here, enter=enter)

    async def _make(self, fresh: Conversation) -> Lodging:
        """Begin a conversation of which nobody knows anything."""
        self._lodgings.require_room()
        if not await self._lodgings.leases.take(fresh.id, 1):
            raise Elsewhere
        if await self._lodgings.hot(fresh.id) is not None:
            await self._lodgings.leases.release(fresh.id)
            raise Unavailable("Whose conversation this is can't be told at the moment.")
        try:
            self._lodgings.require_away()
        except Returned:
            await self._lodgings.leases.release(fresh.id)
            raise
        lodging = await self._lodgings.file.lodge(
            fresh, [], summary=None, made=True, lease_ms=LEASE_MS
        )
        self._cards.note(fresh, made=True)
        return lodging

    async def get(self, conversation_id: str, user_id: str) -> Conversation:
        async def there() -> Conversation:
            try:
                conversation = await self._there.get(conversation_id, user_id)
            except NotFound:
                await self._lodgings.require_brought(conversation_id, user_id)
                conversation = await self._there.get(conversation_id, user_id)
            # Whoever drains it has brought the conversation, and its first turn not yet.
            if not conversation.position.turn:
                await self._lodgings.require_brought(conversation_id, user_id)
            self._cards.note(conversation)
            return conversation

        async def here(_: Lodging) -> Conversation:
            try:
                return await self._here.get(conversation_id, user_id)
            except NotFound:
                if self._lodgings.away():
                    raise Unavailable(NOT_KNOWN) from None
                raise

        async def otherwise() -> Conversation:
            card = await self._cards.read(conversation_id)
            # Nor is it told of another user's that it is known: what nobody knows is answered so.
            if card is None or card.conversation.user_id != user_id:
                raise Unavailable(NOT_KNOWN)
            return card.conversation

        return await self._lodgings.see(conversation_id, there, here, otherwise)

    async def list(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> list[Conversation]:
        return await self._there.list(user_id, before=before, limit=limit)

    async def rename(self, conversation_id: str, user_id: str, title: str) -> Conversation:
        async def there() -> Conversation:
            conversation = await self._there.rename(conversation_id, user_id, title)
            self._cards.note(conversation)
            return conversation

        return await self._lodgings.only_there(conversation_id, there)

    async def retitle(self, conversation_id: str, *, was: str, title: str) -> Conversation | None:
        async def there() -> Conversation | None:
            conversation = await self._there.retitle(conversation_id, was=was, title=title)
            if conversation is not None:
                self._cards.note(conversation)
            return conversation

        return await self._lodgings.only_there(conversation_id, there)

    async def configure(
        self,
        conversation_id: str,
        user_id: str,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
    ) -> Conversation:
        async def there() -> Conversation:
            conversation = await self._there.configure(
                conversation_id, user_id, model=model, system_prompt=system_prompt
            )
            self._cards.note(conversation)
            return conversation

        return await self._lodgings.only_there(conversation_id, there)

    async def touch(self, turn: Turn, *, title: str | None = None) -> Conversation:
        async def there() -> Conversation:
            conversation = await self._there.touch(turn, title=title)
            self._cards.note(conversation, turn)
            return conversation

        async def here(_: Lodging) -> Conversation:
            conversation = await self._here.touch(turn, title=title)
            self._cards.note(conversation, turn)
            return conversation

        return await self._lodgings.do(turn.conversation_id, there, here, held=turn)

    async def positions(self, conversation_ids: Collection[str]) -> dict[str, Position]:
        lodged = [name for name in conversation_ids if name in self._lodgings.lodged]
        others = [name for name in conversation_ids if name not in self._lodgings.lodged]
        found = await self._there.positions(others) if others else {}
        if lodged:
            # What has left meanwhile is found there, by whoever asks next: no answer here would
            # mean that it is deleted.
            found |= await self._here.positions(lodged)
            if any(name not in self._lodgings.lodged for name in lodged):
                raise Unavailable
        return found

    async def delete(self, conversation_id: str, user_id: str) -> None:
        async def there() -> None:
            await self._there.delete(conversation_id, user_id)
            self._cards.is_deleted(conversation_id)
            await self._cards.forget(conversation_id)

        await self._lodgings.only_there(conversation_id, there)

    async def purge(self, conversation_id: str) -> None:
        await self._there.purge(conversation_id)

    async def unpurged(self, limit: int) -> Sequence[str]:
        return await self._there.unpurged(limit)
