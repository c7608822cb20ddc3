"""Which conversations lodge here, and the way of each call to where its conversation is.

Race: a call for a conversation arrives while that is moved, into the spool or out of it. Closed by
a lock a conversation: what concerns a lodging is done under it, moving is as well, and whoever has
waited looks again where the conversation is.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec.structs import replace

from memory.errors import Unavailable
from memory.locks import KeyedLocks
from memory.records import Transcript, Turn
from spool.cards import Cards
from spool.file import Lodging, SpoolFile
from spool.leases import SpoolLeases
from spool.permanent import Permanent
from spool.restoring import restored

log = logging.getLogger(__name__)

T = TypeVar("T")

There = Callable[[], Awaitable[T]]
Here = Callable[[Lodging], Awaitable[T]]
Hot = Callable[[str], Awaitable[Transcript | None]]

# A lodging begins with leases as fresh as those that its turns have just lost sight of.
LEASE_MS = 10_000

# Half a kilobyte each.
MAX_LODGED = 100_000


async def nothing_hot(conversation_id: str) -> Transcript | None:
    return None


class Elsewhere(Unavailable):
    """Another server keeps this conversation while the permanent store is away."""


class Returned(Exception):
    """The permanent store is back: it can be asked again, and nothing need be put together."""


class Lodgings:
    def __init__(
        self, permanent: Permanent, file: SpoolFile, cards: Cards, leases: SpoolLeases
    ) -> None:
        self.permanent = permanent
        self.file = file
        self.cards = cards
        self.leases = leases
        self.hot: Hot = nothing_hot
        """What memory has of a conversation, without asking the permanent store."""
        self.moving = KeyedLocks()
        self.lodged: dict[str, Lodging] = {}

    def away(self) -> bool:
        return self.permanent.away

    async def load(self) -> None:
        """What an earlier life of this server has left."""
        for lodging in await self.file.lodgings():
            self.lodged[lodging.conversation_id] = lodging
        await self.keep_leases()

    async def do(
        self,
        conversation_id: str,
        there: There[T],
        here: Here[T],
        *,
        held: Turn | None = None,
        enter: There[Lodging] | None = None,
    ) -> T:
        """``there`` in the permanent store; or ``here``, where the conversation lodges or, because
        that store is away, comes to lodge.

        ``held`` is a turn that the caller knows to be open; ``enter`` another way to begin the
        lodging. Raises ``Unavailable`` where neither is possible.
        """
        while True:
            if conversation_id not in self.lodged and not self.away():
                try:
                    return await there()
                except Unavailable:
                    if not self.away():
                        raise
            async with self.moving.holding(conversation_id):
                lodging = self.lodged.get(conversation_id)
                if lodging is None:
                    if not self.away():
                        continue
                    enter_now = enter or (lambda: self.lodge(conversation_id, held))
                    try:
                        lodging = self.lodged[conversation_id] = await enter_now()
                    except Returned:
                        continue
                if not lodging.is_held:
                    raise Elsewhere
                return await here(lodging)

    async def see(
        self, conversation_id: str, there: There[T], here: Here[T], otherwise: There[T]
    ) -> T:
        """Like ``do`` for what only looks: it begins no lodging. ``otherwise`` is how it is seen
        while the permanent store is away and the conversation does not lodge here."""
        while True:
            if conversation_id not in self.lodged and not self.away():
                try:
                    return await there()
                except Unavailable:
                    if not self.away():
                        raise
            async with self.moving.holding(conversation_id):
                lodging = self.lodged.get(conversation_id)
                if lodging is not None and lodging.is_held:
                    return await here(lodging)
                if lodging is None and not self.away():
                    continue
            return await otherwise()

    async def require_brought(self, conversation_id: str, user_id: str | None = None) -> None:
        """For whoever found nothing of a conversation in the permanent store, or only that there is
        one. Raises ``Elsewhere`` where it was begun in a spool, and not all of it is there yet.
        With ``user_id`` only where it is this user's: of others' nothing is told.

        Race: whoever drains it may be through with that before it is asked here. So what was not
        found is to be looked for once more.
        """
        card = await self.cards.read(conversation_id)
        if card is not None and card.made and user_id in (None, card.conversation.user_id):
            raise Elsewhere

    async def only_there(self, conversation_id: str, there: There[T]) -> T:
        """For what can't be done while the conversation is not in the permanent store."""
        if conversation_id in self.lodged or self.away():
            raise Unavailable
        return await there()

    async def lodge(self, conversation_id: str, held: Turn | None) -> Lodging:
        """Called with ``moving`` held. Raises ``Unavailable`` and ``Returned``."""
        self.require_room()
        if not await self.leases.take(conversation_id):
            raise Elsewhere
        try:
            card = await self.cards.read(conversation_id)
            # Redis has lost it, or never had it: what others did since is not known here.
            is_lost = card is not None and not card.shared and self.leases.can_ask
            if card is None or (is_lost and not self.leases.is_alone):
                raise Unavailable("Nothing is known of this conversation at the moment.")
            if any(self.leases.is_of_another(turn.owner) for turn in card.open):
                raise Elsewhere  # it answers there, and goes on with it
            transcript = await self.hot(conversation_id)
            self.require_away()
            conversation, turns = restored(card, transcript, held, may_lack=not self.leases.can_ask)
            lodging = await self.file.lodge(
                conversation,
                turns,
                summary=None if transcript is None else transcript.summary,
                made=card.made,
                lease_ms=LEASE_MS,
                superseded=card.superseded,
            )
        except BaseException:
            await self.leases.release(conversation_id)
            raise
        await self.leases.take(conversation_id, lodging.first_place)
        await self.leases.tell()
        log.info(
            "A conversation goes on in the spool.",
            extra={"action": "lodged", "conversation_id": conversation_id},
        )
        return lodging

    async def marked(self, conversation_id: str, transcript: Transcript) -> Transcript:
        """The transcript, saying which of its messages are only in a spool: here or elsewhere."""
        lodging = self.lodged.get(conversation_id)
        if lodging is None:
            found = await self.leases.elsewhere([conversation_id], surely=self.away())
            first_place = found.get(conversation_id, 0)
            if not first_place:
                return transcript
            lodging = Lodging.from_place(conversation_id, first_place)
        messages = [
            replace(message, spooled=True) if lodging.is_new(message) else message
            for message in transcript.messages
        ]
        # What has no place yet comes last.
        messages.sort(key=lambda message: message.spooled)
        return replace(transcript, messages=messages)

    def require_room(self) -> None:
        """Raises ``Unavailable`` where more lodge here than this process may keep in mind."""
        if len(self.lodged) >= MAX_LODGED:
            raise Unavailable("Too many conversations wait for the permanent store.")

    def require_away(self) -> None:
        """Raises ``Returned`` where the permanent store came back while others were asked.

        Race: Redis hangs as it does, so that by the time it has not answered what is known here
        would have to do, with all that it lacks; and there is somebody who knows all of it."""
        if not self.away():
            raise Returned

    async def keep_leases(self) -> None:
        """Say once more that these are here; what is another server's by now is not."""
        places = {name: lodging.first_place for name, lodging in self.lodged.items()}
        lost = await self.leases.keep(places)
        for conversation_id, lodging in self.lodged.items():
            lodging.is_held = conversation_id not in lost
