"""Conversations to measure with: questions of 200 characters, answers of 600."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from memory.records import (
    Answer,
    Message,
    Position,
    Question,
    Summary,
    Transcript,
    Turn,
    messages_of,
)

QUESTION = "How would you put what we know about the sea into words? ".ljust(200, "?")
ANSWER = "The sea was there before anybody asked, and it does not mind. ".ljust(600, "~")

ENDED_TURNS_A_CONVERSATION = 40


def new_turn(conversation_id: str, n: int = 1) -> Turn:
    """As the server inserts one that it answers at once."""
    return Turn(
        id=str(uuid.uuid4()),
        conversation_id=conversation_id,
        user_id="user",
        n=n,
        question=Question(message_id=str(uuid.uuid4()), content=QUESTION, created_at=n),
        digest="0" * 64,
        accepted="running",
        status="running",
        attempt=1,
        owner="slot:boot",
        created_at=n,
    )


def ended_turn(conversation_id: str, n: int) -> Turn:
    """Answered and closed, and so were all before it."""
    return Turn(
        id=f"{conversation_id}/{n}",
        conversation_id=conversation_id,
        user_id="user",
        n=n,
        question=Question(message_id=f"{conversation_id}/q{n}", content=QUESTION, created_at=n),
        digest="0" * 64,
        accepted="running",
        status="completed",
        open=False,
        attempt=1,
        owner="slot:boot",
        answer=Answer(
            message_id=f"{conversation_id}/a{n}", content=ANSWER, status="complete", created_at=n
        ),
        answers=n,
        created_at=n,
    )


def ended_turns(count: int) -> Iterator[Turn]:
    """Of as many conversations as that takes: ``conversation-0`` and so on."""
    for place in range(count):
        conversation, n = divmod(place, ENDED_TURNS_A_CONVERSATION)
        yield ended_turn(f"conversation-{conversation}", n + 1)


class Growing:
    """A conversation and its turns, one after the other, as memory is told of them."""

    def __init__(self, conversation_id: str, turns: int) -> None:
        self.id = conversation_id
        self.n = turns

    @property
    def position(self) -> Position:
        return Position(turn=self.n, answers=self.n)

    def next_turn(self) -> tuple[Message, Message]:
        self.n += 1
        question, answer = messages_of(ended_turn(self.id, self.n))
        return question, answer


class EveryConversation:
    """A permanent store (``memory.archive.Archive``) where each has had these turns already, as a
    feed's log asks it, too."""

    def __init__(self, turns: int) -> None:
        self._turns = turns

    @property
    def turns(self) -> EveryConversation:
        return self

    async def get(self, conversation_id: str, turn_id: str) -> Turn | None:
        raise AssertionError("no benchmark asks for one turn")

    async def last(self, conversation_id: str) -> Turn | None:
        return ended_turn(conversation_id, self._turns) if self._turns else None

    async def open_turns(self, conversation_id: str) -> list[Turn]:
        return []

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript:
        """As a memory."""
        return await self.load(conversation_id, 50)

    async def load(self, conversation_id: str, max_messages: int) -> Transcript:
        turns = range(1, self._turns + 1)
        messages = [m for n in turns for m in messages_of(ended_turn(conversation_id, n))]
        position = Position(turn=self._turns, answers=self._turns)
        return Transcript(messages=messages[-max_messages:], position=position)

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        raise AssertionError("no benchmark summarises")

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        raise AssertionError("no benchmark summarises")
