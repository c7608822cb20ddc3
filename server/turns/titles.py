"""A conversation's title after its first answer: whether the agent is to make one, and its keeping.

Only the server that concludes the first answer asks for it. A crash before it is kept loses the
title, which then stays what it was: the beginning of the first message.

Race: a user renames the conversation while the title is made. Closed by a conditional update: it is
kept only in the place of the automatic one.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.answering import Agent
from memory.errors import NotFound
from memory.records import Conversation, Turn
from server.turns.acceptance import title_of
from stores.contract import ConversationStore, TurnStore


class Titling:
    def __init__(
        self,
        *,
        conversations: ConversationStore,
        turns: TurnStore,
        agent: Agent,
        tell: Callable[[Conversation], None],
    ) -> None:
        """``tell`` is told of each conversation that got a title."""
        self._conversations = conversations
        self._turns = turns
        self._agent = agent
        self._tell = tell

    def first_answered(self, turn: Turn) -> None:
        """``turn`` is the first of its conversation with an answer, and concluded."""
        self._agent.first_answered(
            FirstExchange(turn, self._conversations, self._turns, self._tell)
        )


class FirstExchange:
    """``agent.answering.Untitled``."""

    def __init__(
        self,
        turn: Turn,
        conversations: ConversationStore,
        turns: TurnStore,
        tell: Callable[[Conversation], None],
    ) -> None:
        self.conversation_id = turn.conversation_id
        self.question = turn.question.content
        self.answer = turn.answer.content if turn.answer else ""
        self._turn = turn
        self._conversations = conversations
        self._turns = turns
        self._tell = tell
        self._automatic = title_of(self.question)

    async def is_wanted(self) -> bool:
        if self._turn.place > 1:  # what was asked before it found no answer
            earlier = await self._turns.before(self.conversation_id, 2, 1)
            if earlier:
                self._automatic = title_of(earlier[0].question.content)
        try:
            conversation = await self._conversations.get(self.conversation_id, self._turn.user_id)
        except NotFound:
            return False
        return conversation.title == self._automatic

    async def take(self, title: str) -> None:
        retitled = await self._conversations.retitle(
            self.conversation_id, was=self._automatic, title=title
        )
        if retitled is not None:
            self._tell(retitled)
