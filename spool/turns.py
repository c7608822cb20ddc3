"""Turns, in the permanent store or lodging here."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from msgspec.structs import replace

from memory.errors import DuplicateNumber, Unavailable
from memory.records import (
    ENDED,
    Answer,
    Choice,
    Feedback,
    ToolUse,
    Turn,
    TurnError,
    TurnStatus,
    derived_id,
)
from spool.card import Card
from spool.file import Lodging
from spool.lodgings import Elsewhere, Lodgings
from stores.contract import Rest

RETURN_SECONDS = 3.0
"""When the permanent store is back, nobody's lease in it has been renewed for a while. So long all
servers have to move what they go on with back there, before it may be taken for abandoned."""


class SpooledTurns:
    """``stores.contract.TurnStore``. Edits and regenerates wait for the permanent store."""

    def __init__(self, lodgings: Lodgings) -> None:
        self._lodgings = lodgings
        self._cards = lodgings.cards
        self._leases = lodgings.leases
        self._there = lodgings.permanent.turns
        self._here = lodgings.file.turns
        self.settled_at = 0.0
        """When the permanent store has been back for long enough, by ``time.monotonic``."""

    # Looking

    async def get(self, conversation_id: str, turn_id: str) -> Turn | None:
        async def here(lodging: Lodging) -> Turn | None:
            found = await self._here.get(conversation_id, turn_id)
            if found is None:
                raise Unavailable  # it may be in another spool, or in the permanent store
            return lodging.marked(found)

        async def there() -> Turn | None:
            found = await self._there.get(conversation_id, turn_id)
            if found is None:
                await self._require_here(conversation_id)
            return found

        async def otherwise() -> Turn | None:
            card = await self._card(conversation_id)
            found = next((turn for turn in card.open if turn.id == turn_id), None)
            if found is None:
                raise Unavailable
            return found

        return await self._lodgings.see(conversation_id, there, here, otherwise)

    async def context(self, conversation_id: str, turn_id: str) -> dict[str, Any] | None:
        async def here(_: Lodging) -> dict[str, Any]:
            found = await self._here.context(conversation_id, turn_id)
            if found is None:
                raise Unavailable  # the permanent store may have it
            return found

        return await self._lodgings.see(
            conversation_id,
            lambda: self._there.context(conversation_id, turn_id),
            here,
            self._away,
        )

    async def by_message(self, user_id: str, key: str) -> Turn | None:
        """Raises ``Unavailable`` also where only the permanent store, which is away, could tell."""
        # Here first: what is moved meanwhile is there by the time it is gone from here.
        if self._lodgings.lodged:
            await self._require_unknown(derived_id("turn", user_id, key))
            found = await self._here.by_message(user_id, key)
            lodging = self._lodgings.lodged.get(found.conversation_id) if found else None
            if found is not None and lodging is not None:
                return lodging.marked(found)
        return await self._there.by_message(user_id, key)

    async def _require_unknown(self, turn_id: str) -> None:
        """Raises ``Unavailable`` where it was in a conversation that lodges here, and is not any
        more: what its sender was told only the permanent store knows."""
        if await self._lodgings.file.superseded_in(turn_id) in self._lodgings.lodged:
            raise Unavailable("This message was accepted before, and has been replaced since.")

    async def last(self, conversation_id: str) -> Turn | None:
        async def here(lodging: Lodging) -> Turn | None:
            found = await self._here.last(conversation_id)
            return found and lodging.marked(found)

        async def otherwise() -> Turn | None:
            card = await self._card(conversation_id)
            if not card.turns and card.conversation.position.turn:
                return await self._lodgings.do(conversation_id, self._away, here)
            return card.turns[-1] if card.turns else None

        return await self._lodgings.see(
            conversation_id, lambda: self._there.last(conversation_id), here, otherwise
        )

    async def at_place(self, conversation_id: str, place: int) -> Turn | None:
        return await self._lodgings.only_there(
            conversation_id, lambda: self._there.at_place(conversation_id, place)
        )

    async def open_turns(self, conversation_id: str) -> list[Turn]:
        async def here(lodging: Lodging) -> list[Turn]:
            return [lodging.marked(turn) for turn in await self._here.open_turns(conversation_id)]

        async def otherwise() -> list[Turn]:
            return (await self._card(conversation_id)).open

        return await self._lodgings.see(
            conversation_id, lambda: self._there.open_turns(conversation_id), here, otherwise
        )

    def at_rest(self, conversation_id: str) -> Rest | None:
        if conversation_id in self._lodgings.lodged or self._lodgings.away():
            return None
        self._forget_in_doubt(conversation_id)
        return self._there.at_rest(conversation_id)

    def comes_to_rest(self, turn: Turn) -> None:
        if turn.spooled is None and turn.conversation_id not in self._lodgings.lodged:
            self._there.comes_to_rest(turn)

    def forget_rest(self, conversation_id: str) -> None:
        self._there.forget_rest(conversation_id)

    def _forget_in_doubt(self, conversation_id: str) -> None:
        """What comes back from a spool is counted anew, under that server's lease: where there may
        be one, nothing is taken as this process has it in mind."""
        if self._leases.anyone or not self._leases.can_ask:
            self.forget_rest(conversation_id)

    async def before(self, conversation_id: str, place: int | None, limit: int) -> list[Turn]:
        async def here(lodging: Lodging) -> list[Turn]:
            found = await self._here.before(conversation_id, place, limit)
            if len(found) < limit and not _reaches_back(found, place):
                raise Unavailable("Earlier messages are in the permanent store, which is away.")
            return [lodging.marked(turn) for turn in found]

        async def there() -> list[Turn]:
            found = await self._there.before(conversation_id, place, limit)
            if found or place is not None:
                return found
            # Whoever asks may know it from its card, when the permanent store was away.
            await self._lodgings.require_brought(conversation_id)
            return await self._there.before(conversation_id, place, limit)

        return await self._lodgings.see(conversation_id, there, here, self._away)

    async def adrift(self, limit: int) -> list[Turn]:
        found: list[Turn] = []
        for turn in await self._here.adrift(limit):
            lodging = self._lodgings.lodged.get(turn.conversation_id)
            if lodging is not None and lodging.is_held:
                found.append(lodging.marked(turn))
        settles = time.monotonic() < self.settled_at
        if self._lodgings.away() or settles or not self._leases.can_tell:
            return found
        there = await self._there.adrift(limit)
        kept = await self._leases.elsewhere({turn.conversation_id for turn in there})
        here = self._lodgings.lodged
        return found + [turn for turn in there if turn.conversation_id not in {*kept, *here}]

    # Accepting

    async def require_rewritable(self, conversation_id: str) -> None:
        await self._lodgings.only_there(
            conversation_id, lambda: self._require_here(conversation_id)
        )

    async def insert(self, turn: Turn, *, lease_ms: int) -> Turn:
        conversation_id = turn.conversation_id

        async def there() -> Turn:
            if await self._leases.elsewhere([conversation_id]):
                raise Elsewhere
            return await self._there.insert(turn, lease_ms=lease_ms)

        async def here(lodging: Lodging) -> Turn:
            # Its number may be older than the lodging, and that of a turn which an edit superseded:
            # such a one is not here to collide with.
            last = await self._here.last(conversation_id)
            if last is not None and turn.n <= last.n:
                raise DuplicateNumber
            await self._require_unknown(turn.id)
            return lodging.marked(await self._here.insert(turn, lease_ms=lease_ms))

        if turn.rewrites or turn.question.attachments:  # which are there, and not in the spool
            return await self._lodgings.only_there(conversation_id, there)
        return await self._lodgings.do(conversation_id, there, here)

    async def choose(self, turn: Turn, choice: Choice) -> bool:
        async def there() -> bool:
            chosen = await self._there.choose(turn, choice)
            if chosen:
                self._cards.note(None, replace(turn, choice=choice))
            return chosen

        async def here(lodging: Lodging) -> bool:
            chosen = await self._here.choose(turn, choice)
            if chosen:
                self._cards.note(None, lodging.marked(replace(turn, choice=choice)))
            return chosen

        return await self._lodgings.do(turn.conversation_id, there, here, held=turn)

    async def since(self, conversation_id: str, place: int, limit: int) -> list[Turn]:
        return await self._lodgings.only_there(
            conversation_id, lambda: self._there.since(conversation_id, place, limit)
        )

    async def bring(self, turns: Sequence[Turn], *, at: int) -> None:
        if not turns:
            return
        last = turns[-1]

        async def there() -> None:
            await self._there.bring(turns, at=at)
            conversation = await self._lodgings.permanent.conversations.get(
                last.conversation_id, last.user_id
            )
            self._cards.note(conversation, last)

        await self._lodgings.only_there(last.conversation_id, there)

    async def supersede(self, turn: Turn) -> list[Turn]:
        conversation_id = turn.conversation_id

        async def there() -> list[Turn]:
            superseded = await self._there.supersede(turn)
            before = await self._there.before(conversation_id, turn.place, 1)
            still_open = await self._there.open_turns(conversation_id)
            conversation = await self._lodgings.permanent.conversations.get(
                conversation_id, turn.user_id
            )
            await self._cards.rewritten(conversation_id, superseded)
            closed = [each for each in before if not each.open]
            self._cards.note(conversation, *closed, *still_open)
            return superseded

        return await self._lodgings.only_there(conversation_id, there)

    async def remove(self, turn: Turn) -> None:
        async def there() -> None:
            await self._there.remove(turn)
            await self._cards.forget(turn.conversation_id)

        async def here(_: Lodging) -> None:
            await self._here.remove(turn)

        await self._lodgings.do(turn.conversation_id, there, here)

    # Answering

    async def claim(self, turn: Turn, owner: str, *, lease_ms: int) -> Turn | None:
        async def there() -> Turn | None:
            if await self._leases.elsewhere([turn.conversation_id]):
                return None
            claimed = await self._there.claim(turn, owner, lease_ms=lease_ms)
            if claimed is not None:
                self._cards.note(None, claimed)
            return claimed

        async def here(lodging: Lodging) -> Turn | None:
            claimed = await self._here.claim(turn, owner, lease_ms=lease_ms)
            if claimed is None:
                return None
            self._cards.note(None, lodging.marked(claimed))
            return lodging.marked(claimed)

        return await self._lodgings.do(turn.conversation_id, there, here, held=turn)

    async def renew(
        self, turn_ids: Collection[str], owner: str, *, lease_ms: int
    ) -> dict[str, bool]:
        waiting = set(turn_ids)
        held: dict[str, bool] = {}
        for _ in range(2):  # what is moved out of the spool meanwhile is looked for there
            lodged = {each for each in waiting if self._lodges(each)}
            mine = {each for each in lodged if self._is_held(each)}
            renewed = await self._here.renew(mine, owner, lease_ms=lease_ms) if mine else {}
            held |= renewed
            waiting -= renewed.keys() | {each for each in lodged if self._lodges(each)}
            if not waiting:
                break
            try:
                if not self._lodgings.away():
                    there = await self._there.renew(waiting, owner, lease_ms=lease_ms)
                    moved = {each for each in waiting if self._lodges(each)} - there.keys()
                    held |= there
                    waiting = moved
                    continue
            except Unavailable:
                if not self._lodgings.away():
                    raise
            for turn_id in list(waiting):
                try:
                    await self._move_in(turn_id)
                except Elsewhere:
                    continue
                except Unavailable:
                    held[turn_id] = False  # nobody else can have it either
                    waiting.discard(turn_id)
        return held

    def _lodges(self, turn_id: str) -> bool:
        conversation_id = self._cards.conversation_of(turn_id)
        return conversation_id is not None and conversation_id in self._lodgings.lodged

    def _is_held(self, turn_id: str) -> bool:
        lodging = self._lodgings.lodged.get(self._cards.conversation_of(turn_id) or "")
        return lodging is not None and lodging.is_held

    async def _move_in(self, turn_id: str) -> None:
        """Whoever answers goes on while the permanent store is away, and needs a lease for it."""
        conversation_id = self._cards.conversation_of(turn_id)
        if conversation_id is None:
            raise Unavailable

        async def nothing(_: Lodging | None = None) -> None:
            return None

        await self._lodgings.do(conversation_id, nothing, nothing)

    async def release(self, owner: str) -> int:
        released = await self._here.release(owner)
        try:
            if not self._lodgings.away():
                released += await self._there.release(owner)
        except Unavailable:
            if not self._lodgings.away():
                raise  # what is left there ends by itself
        return released

    async def request_stop(self, conversation_id: str, turn_id: str) -> Turn | None:
        async def here(lodging: Lodging) -> Turn | None:
            found = await self._here.request_stop(conversation_id, turn_id)
            if found is None:
                raise Unavailable  # it may be in another spool, or in the permanent store
            return lodging.marked(found)

        async def there() -> Turn | None:
            await self._require_here(conversation_id)
            return await self._there.request_stop(conversation_id, turn_id)

        return await self._lodgings.do(conversation_id, there, here)

    async def note_tools(self, turn: Turn, uses: Sequence[ToolUse]) -> bool:
        noted = replace(turn, tools=list(uses))

        async def there() -> bool:
            if not await self._there.note_tools(turn, uses):
                return False
            self._cards.note(None, noted)
            return True

        async def here(lodging: Lodging) -> bool:
            if not await self._here.note_tools(turn, uses):
                return False
            self._cards.note(None, lodging.marked(noted))
            return True

        return await self._lodgings.do(turn.conversation_id, there, here, held=turn)

    async def finish(
        self,
        turn: Turn,
        status: TurnStatus,
        answer: Answer | None,
        error: TurnError | None = None,
        context: dict[str, Any] | None = None,
    ) -> Turn | None:
        async def there() -> Turn | None:
            self._forget_in_doubt(turn.conversation_id)
            ended = await self._there.finish(turn, status, answer, error, context)
            if ended is not None:
                self._cards.note_here(ended)
            return ended

        async def here(lodging: Lodging) -> Turn | None:
            ended = await self._here.finish(turn, status, answer, error, context)
            if ended is None:
                return None
            self._cards.note(None, lodging.marked(ended))
            return lodging.marked(ended)

        return await self._lodgings.do(turn.conversation_id, there, here, held=turn)

    async def set_feedback(
        self, conversation_id: str, message_id: str, feedback: Feedback | None
    ) -> Turn | None:
        async def there() -> Turn | None:
            turn = await self._there.set_feedback(conversation_id, message_id, feedback)
            if turn is None:
                await self._require_here(conversation_id)
            return turn

        return await self._lodgings.only_there(conversation_id, there)

    async def close(self, turn: Turn, *, soon: bool = False) -> bool:
        async def there() -> bool:
            # What ended in the spool may have got another number and count as it was drained.
            kept = await self._there.get(turn.conversation_id, turn.id) if turn.spooled else turn
            if kept is None or kept.status not in ENDED:
                return True  # deleted, or another server's attempt
            has_more = await self._there.close(kept, soon=soon)
            self._cards.note(None, replace(kept, open=False))
            return has_more

        async def here(lodging: Lodging) -> bool:
            has_more = await self._here.close(turn)
            self._cards.note(None, lodging.marked(replace(turn, open=False)))
            return has_more

        return await self._lodgings.do(turn.conversation_id, there, here, held=turn)

    async def _require_here(self, conversation_id: str) -> None:
        """Raises ``Elsewhere`` where another server may know more of it than the permanent
        store."""
        if await self._leases.elsewhere([conversation_id], surely=True):
            raise Elsewhere

    async def _card(self, conversation_id: str) -> Card:
        card = await self._cards.read(conversation_id)
        if card is None:
            raise Unavailable("Nothing is known of this conversation at the moment.")
        return card

    async def _away(self) -> NoReturn:
        raise Unavailable


def _reaches_back(turns: list[Turn], place: int | None) -> bool:
    """Whether there is nothing before these, or before ``place`` where there are none."""
    return turns[0].place == 1 if turns else place is None or place <= 1
