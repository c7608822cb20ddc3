"""After its end is in the store a turn is concluded: into memory, onto the feed, then closed.

Only then may what waits in the conversation begin, on any server; a message that comes new to the
one that told the end need not wait for that. A crash between two of these steps leaves an ended
turn open; the sweep concludes it, and each step is harmless when repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from agent.answering import Agent
from memory.errors import Unavailable
from memory.locks import KeyedLocks
from memory.records import Message, Position, Turn, answer_of
from server.feed.feeds import Feeds
from stores.contract import TurnStore

log = logging.getLogger(__name__)

Follows = Callable[[Turn], None]
"""Called with a turn once it is concluded; may not wait."""


class Memory(Protocol):
    async def remember(
        self, conversation_id: str, message: Message, position: Position
    ) -> None: ...


class Concluding:
    def __init__(
        self,
        *,
        turns: TurnStore,
        memory: Memory,
        feeds: Feeds,
        agent: Agent,
        answered: Follows,
        first_answered: Follows,
    ) -> None:
        """``answered`` is called with each turn that has an answer, and ``first_answered`` with a
        conversation's first such turn."""
        self._turns = turns
        self._memory = memory
        self._feeds = feeds
        self._agent = agent
        self._answered = answered
        self._first_answered = first_answered
        self._at_it = KeyedLocks()
        """Held by conversation while one of its turns is concluded."""

    async def conclude(self, turn: Turn, *, ran_here: bool, soon: bool) -> bool:
        """Returns whether another turn of the conversation is open, once this one is closed; what
        is placed later sees to itself.

        Whoever hears the end and sends at once finds the conversation at rest where the turn
        ``ran_here``; where not, the message waits until it is closed. That is done ``soon`` where
        somebody is known to wait.

        Raises ``Unavailable`` when the store is away; the sweep concludes it later.
        """
        answer = answer_of(turn)
        async with self._at_it.holding(turn.conversation_id):
            async with self._feeds.announcing.holding(turn.conversation_id):
                if answer is not None:
                    position = Position(
                        revision=turn.revision, turn=turn.place, answers=turn.answers or 0
                    )
                    await self._memory.remember(turn.conversation_id, answer, position)
                await self._feeds.ended(turn)
                if ran_here:
                    self._turns.comes_to_rest(turn)
            try:
                has_more = await self._turns.close(turn, soon=soon)
            except Unavailable:
                log.warning(
                    "An ended turn can't be closed yet.",
                    extra={"action": "close_waits", "turn_id": turn.id},
                )
                return False
        if answer is not None:
            self._agent.turn_ended(turn.conversation_id, turn.user_id, turn.id)
            self._answered(turn)
            if turn.answers == 1:
                self._first_answered(turn)
        return has_more

    async def concluded(self, conversation_id: str) -> None:
        """Returns when none of its turns is being concluded here."""
        if self._at_it.is_held(conversation_id):
            async with self._at_it.holding(conversation_id):
                pass
