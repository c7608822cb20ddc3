"""Pages of a conversation's transcript, from the permanent store."""

from __future__ import annotations

from memory.records import Message, Turn, current, messages_of
from stores.contract import TurnStore


async def page(
    turns: TurnStore, conversation_id: str, before: int | None, limit: int
) -> tuple[list[Message], bool]:
    """Up to ``limit`` messages with a smaller ``seq`` than ``before`` (None: the latest),
    ascending; and whether there are earlier ones."""
    place = None if before is None else before // 2 + 1
    read: list[Turn] = []
    found: list[Message] = []
    while len(found) <= limit:
        # Half as many turns as messages, and one more: it tells whether there are earlier ones.
        batch = await turns.before(conversation_id, place, limit // 2 + 1)
        if not batch:
            break
        # Where something was rewritten since the last batch, this one holds what it is now.
        read = current([*batch, *read])
        messages = [message for turn in read for message in messages_of(turn)]
        found = [each for each in messages if before is None or (each.seq or 0) < before]
        place = batch[0].place
    return found[-limit:], len(found) > limit
