"""What memory asks of the permanent store: the port through which cold conversations come back."""

from __future__ import annotations

from typing import Protocol

from memory.records import Message, Summary, Transcript


class Archive(Protocol):
    """Every method raises ``Unavailable`` when the store can't answer, never an empty result."""

    async def load(self, conversation_id: str, max_messages: int) -> Transcript:
        """The last ``max_messages`` messages, the summary, and the position they stand at.

        All of it is of one moment, because the turns themselves tell it: revision and last question
        are the newest turn's, the answers are counted by them. So an edit in between shows as an
        old revision over whatever content (refused later), never as a new one over old content. A
        summary that covers what an edit has changed is left out.

        Raises ``NotFound`` for a conversation that was never made or is deleted.
        """
        ...

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        """Up to ``limit`` messages with a greater ``seq``, ascending, of turns that are closed.

        None where an edit has begun and not all that it supersedes is marked yet. One that begins
        during the call may leave what it changes among them: a summary of that can't be saved, or
        goes with the change.
        """
        ...

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        """Keep ``summary`` if it is the next version and the revision still holds; False if not."""
        ...
