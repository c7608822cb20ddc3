"""What comes with messages: checked, stored before the turn that refers to it, swept without one.

Races, and what closes them:

- The same call twice, or again after a crash: an attachment's id derives from the call's key and
  the bytes, so it is stored once.
- A server dies between storing and the turn's insert, or the insert is refused: nothing refers to
  what was stored. A sweep looks for its turn once it is ``UNCLAIMED_MS`` old, and removes it where
  there is none. Where the call comes again in just that moment it puts the attachment again first,
  and the removal is on condition that nobody did.
- The conversation is deleted meanwhile: its turn is taken back, and the sweep finds none. What was
  claimed goes with the conversation's purge.
- Several calls of one user at once, each with room for itself alone: what a user may have stored
  can be exceeded by what is under way, and is not by the next call.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import TypeAlias

from memory.errors import Unavailable
from memory.records import Attachment, derived_id
from server.clock import now_ms
from server.errors import Invalid, TooLarge
from server.images import BadImage, TooManyPixels, check_image
from server.protocol import NewAttachment
from server.tasks import again_and_again
from stores.attachments import LEAST_BYTES, AttachmentStore, Origin, Unclaimed
from stores.contract import TurnStore

log = logging.getLogger(__name__)

Attached: TypeAlias = Sequence[tuple[Attachment, bytes]]

# A call that stores an attachment has inserted its turn within seconds, or never will.
UNCLAIMED_MS = 3_600_000

SWEEP_SECONDS = 60.0
SWEEP_LIMIT = 200


def references(attached: Attached) -> list[Attachment]:
    return [attachment for attachment, _ in attached]


class Attachments:
    def __init__(
        self,
        store: AttachmentStore,
        turns: TurnStore,
        *,
        most: int,
        most_bytes: int,
        most_bytes_per_user: int,
    ) -> None:
        """``most``: with one message, of ``most_bytes`` each. 0 means: none are taken; and for the
        other two, no limit."""
        self._store = store
        self._turns = turns
        self._most = most
        self._most_bytes = most_bytes
        self._most_bytes_per_user = most_bytes_per_user

    def checked(self, user_id: str, key: str, given: Sequence[NewAttachment]) -> Attached:
        """What is to be stored for the call of this key. Raises ``Invalid`` and ``TooLarge``."""
        if len(given) > self._most:
            how_many = f"{self._most} images at most" if self._most else "no images"
            raise TooLarge(f"A message may have {how_many}.", field="attachments")
        return [self._one(user_id, key, index, each) for index, each in enumerate(given)]

    def _one(
        self, user_id: str, key: str, index: int, given: NewAttachment
    ) -> tuple[Attachment, bytes]:
        if self._most_bytes and len(given.data) > self._most_bytes:
            raise TooLarge(
                f"An image may have {self._most_bytes} bytes at most.", field="attachments"
            )
        try:
            check_image(given.media_type, given.data)
        except BadImage:
            raise Invalid(
                f"Attachment {index + 1} is no {given.media_type}.", field="attachments"
            ) from None
        except TooManyPixels:
            raise TooLarge(
                f"Attachment {index + 1} has too many pixels.", field="attachments"
            ) from None
        content = hashlib.sha256(given.data).hexdigest()
        attachment = Attachment(
            id=derived_id("attachment", user_id, key, str(index), content),
            type=given.type,
            media_type=given.media_type,
            size=len(given.data),
        )
        return attachment, given.data

    async def keep(self, user_id: str, conversation_id: str, key: str, attached: Attached) -> None:
        """Store them; their turn is to be inserted now. Raises ``TooLarge`` where the user has no
        room for them, and ``Unavailable``."""
        if not attached:
            return
        if self._most_bytes_per_user:
            kept = await self._store.bytes_of(user_id, but_for=key)
            come = sum(max(each.size, LEAST_BYTES) for each in references(attached))
            if kept + come > self._most_bytes_per_user:
                raise TooLarge(
                    "There is no room for more images of yours: delete a conversation with some.",
                    field="attachments",
                )
        await self._store.put(Origin(user_id, conversation_id, key), attached, at=now_ms())

    async def get(
        self, conversation_id: str, attachment_id: str
    ) -> tuple[Attachment, bytes] | None:
        return await self._store.get(conversation_id, attachment_id)

    async def sweep_forever(self) -> None:
        """Remove what nothing refers to."""
        await again_and_again(self.sweep, lambda: SWEEP_SECONDS)

    async def sweep(self) -> None:
        before = now_ms() - UNCLAIMED_MS
        try:
            while await self._sweep_some(before) == SWEEP_LIMIT:
                pass
        except Unavailable:
            log.debug("Sweeping attachments waits for the store.")

    async def _sweep_some(self, before: int) -> int:
        """How many there were to look at."""
        found = await self._store.unclaimed(before=before, limit=SWEEP_LIMIT)
        claimed = [each.id for each in found if await self._is_referred_to(each)]
        if claimed:
            await self._store.claim(claimed)
        left = {each.id for each in found} - {*claimed}
        removed = await self._store.remove_unclaimed(left, before=before) if left else 0
        if removed:
            log.info(
                "Attachments without a message were removed.",
                extra={"action": "attachments_swept", "attachments": removed},
            )
        return len(found)

    async def _is_referred_to(self, unclaimed: Unclaimed) -> bool:
        origin = unclaimed.origin
        turn = await self._turns.by_message(origin.user_id, origin.key)
        return turn is not None and any(
            each.id == unclaimed.id for each in turn.question.attachments
        )
