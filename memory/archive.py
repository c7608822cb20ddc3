"""What memory asks of the permanent store: the port through which cold conversations come back."""

from __future__ import annotations

from typing import Protocol

from memory.records import Message, Summary, Transcript


class Archive(Protocol):
    """Every method raises ``Unavailable`` when the store can't answer, never an empty result."""

    async def load(self, conversation_id: str, max_messages: int) -> Transcript:
        """The last ``max_messages`` messages, the summary, and the position they stand at.

        The revision is read *before* the turns, so that an edit in between shows as an old revision
        over new content (refused later), never as a new one over old content. The answers are
        counted by the turns themselves, so messages and count are of one moment.

        Raises ``NotFound`` for a conversation that was never made or is deleted.
        """
        ...

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        """Up to ``limit`` messages with a greater ``seq``, ascending, of turns that are closed."""
        ...

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        """Keep ``summary`` if it is the next version and the revision still holds; False if not."""
        ...
