"""What the server asks of the part of the permanent store that holds attachments' bytes.

They are stored before the turn whose question refers to them, so that no message is ever without
its own. Until a sweep has found that turn they are *unclaimed*, and what has waited long without
one is removed: its server died in between, or the message was refused. Claimed ones stay for as
long as their conversation, whose purge removes them: a superseded turn stays as well, and what an
edit keeps is referred to by two.

The rules of ``stores/contract.py`` hold for every method. While the permanent store is away nothing
of it is spooled: ``Unavailable``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from memory.records import Attachment

LEAST_BYTES = 4096
"""What an attachment counts for at least: a record has its price, however small the picture."""


class Origin(msgspec.Struct, frozen=True):
    """Whose it is, where it belongs, and with which call it came."""

    user_id: str
    conversation_id: str
    key: str
    """The call's idempotency key, by which its turn is found (``TurnStore.by_message``)."""


class Unclaimed(msgspec.Struct, frozen=True):
    id: str
    origin: Origin


class AttachmentStore(Protocol):
    async def put(
        self, origin: Origin, attachments: Sequence[tuple[Attachment, bytes]], *, at: int
    ) -> None:
        """Store them, unclaimed. Those that are there already (their ids derive from what they are)
        stay, and count as stored ``at`` this time: who puts them again is about to refer to them.
        """
        ...

    async def get(
        self, conversation_id: str, attachment_id: str
    ) -> tuple[Attachment, bytes] | None: ...

    async def bytes_of(self, user_id: str, *, but_for: str) -> int:
        """What this user's attachments amount to, each with ``LEAST_BYTES`` at least; without those
        that came with the call of this key."""
        ...

    async def unclaimed(self, *, before: int, limit: int) -> list[Unclaimed]:
        """The first ``limit`` of those that were stored before this time."""
        ...

    async def claim(self, attachment_ids: Collection[str]) -> None:
        """There are turns that refer to these."""
        ...

    async def remove_unclaimed(self, attachment_ids: Collection[str], *, before: int) -> int:
        """Remove these, but for those that were claimed, or put again, since ``before``; how many
        that were."""
        ...
