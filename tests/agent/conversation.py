"""A conversation for the agent's tests: what memory promises, over a list."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from agent.answering import AnswerChunk, AnswerRequest
from agent.chat import ChatAgent
from agent.errors import AnswerFailed
from memory.errors import Unavailable
from memory.records import Message, Position, Summary, Transcript

ID = "conversation"


def question(number: int, text: str) -> Message:
    return Message(
        id=f"q{number}", seq=2 * number - 1, type="human", content=text, turn_id=f"t{number}"
    )


def answer(number: int, text: str) -> Message:
    return Message(id=f"a{number}", seq=2 * number, type="ai", content=text, turn_id=f"t{number}")


class Conversation:
    """One conversation, and the part of memory that the agent sees of it."""

    def __init__(self, window: int = 50) -> None:
        self.window = window
        self.messages: list[Message] = []
        self.summary: Summary | None = None
        self.saved: list[Summary] = []
        self.revision = 0
        self.open_from: int | None = None
        """From this ``seq`` on the store's turns are still open, and not given to a summary."""
        self.away = False
        self.claimed = False
        self.claims = 0

    @property
    def turns(self) -> int:
        return sum(message.type == "human" for message in self.messages)

    @property
    def position(self) -> Position:
        answers = sum(message.type == "ai" for message in self.messages)
        return Position(revision=self.revision, turn=self.turns, answers=answers)

    def ask(self, text: str) -> AnswerRequest:
        """Add a question, as the server does on accepting it."""
        asked = question(self.turns + 1, text)
        self.messages.append(asked)
        return AnswerRequest(
            conversation_id=ID,
            user_id="user",
            turn_id=asked.turn_id or "",
            question=asked,
            position=self.position,
        )

    def exchange(self, text: str, reply: str) -> None:
        self.ask(text)
        self.messages.append(answer(self.turns, reply))

    async def turn(self, agent: ChatAgent, text: str) -> str:
        """A whole turn, as the server runs it."""
        request = self.ask(text)
        said = "".join([chunk.text async for chunk in agent.answer(request)])
        self.messages.append(answer(self.turns, said))
        agent.turn_ended(ID, "user", request.turn_id)
        return said

    # What memory offers.

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript:
        if self.away:
            raise Unavailable
        return Transcript(
            messages=sorted(self.messages, key=lambda m: m.seq or 0)[-self.window :],
            summary=self.summary,
            position=self.position,
        )

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        end = self.open_from or 2 * self.turns + 1
        return [m for m in self.messages if seq < (m.seq or 0) < end][:limit]

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        expected = self.summary.version + 1 if self.summary else 1
        if revision != self.revision or summary.version != expected:
            return False
        self.summary = summary
        self.saved.append(summary)
        return True

    async def claim_summary(self, conversation_id: str) -> bool:
        if self.claimed:
            return False
        self.claimed = True
        self.claims += 1
        return True

    async def release_summary(self, conversation_id: str) -> None:
        self.claimed = False


async def said(agent: ChatAgent, request: AnswerRequest) -> AsyncGenerator[AnswerChunk, None]:
    """What an answer says: all but the context that it begins with."""
    async with aclosing(agent.answer(request)) as chunks:
        async for chunk in chunks:
            if chunk.context is None:
                yield chunk


async def collect(agent: ChatAgent, request: AnswerRequest) -> list[AnswerChunk]:
    return [chunk async for chunk in agent.answer(request)]


async def collect_said(agent: ChatAgent, request: AnswerRequest) -> list[AnswerChunk]:
    return [chunk async for chunk in said(agent, request)]


async def said_before_failing(agent: ChatAgent, request: AnswerRequest) -> tuple[str, AnswerFailed]:
    """The text that came, and what ended it."""
    text = ""
    try:
        async for chunk in agent.answer(request):
            text += chunk.text
    except AnswerFailed as failed:
        return text, failed
    raise AssertionError(f"the answer ended well, with {text!r}")
