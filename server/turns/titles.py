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
from stores.contract import ConversationStore


class Titling:
    def __init__(
        self,
        *,
        conversations: ConversationStore,
        agent: Agent,
        tell: Callable[[Conversation], None],
    ) -> None:
        """``tell`` is told of each conversation that got a title."""
        self._conversations = conversations
        self._agent = agent
        self._tell = tell

    def first_answered(self, turn: Turn) -> None:
        """``turn`` is the first of its conversation with an answer, and concluded."""
        self._agent.first_answered(FirstExchange(turn, self._conversations, self._tell))


class FirstExchange:
    """``agent.answering.Untitled``."""

    def __init__(
        self, turn: Turn, conversations: ConversationStore, tell: Callable[[Conversation], None]
    ) -> None:
        self.conversation_id = turn.conversation_id
        stand_ins = [each.stand_in for each in turn.question.attachments]
        self.question = "\n".join([turn.question.content, *stand_ins])
        self.answer = turn.answer.content if turn.answer else ""
        self._automatic = title_of(turn.question.content)
        self._user_id = turn.user_id
        self._conversations = conversations
        self._tell = tell

    async def is_wanted(self) -> bool:
        try:
            conversation = await self._conversations.get(self.conversation_id, self._user_id)
        except NotFound:
            return False
        return conversation.title == self._automatic

    async def take(self, title: str) -> None:
        retitled = await self._conversations.retitle(
            self.conversation_id, was=self._automatic, title=title
        )
        if retitled is not None:
            self._tell(retitled)
