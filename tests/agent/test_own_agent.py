"""An agent of the operator's own, without a server around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from langchain_core.runnables import Runnable, RunnableLambda

from agent.answering import AnswerChunk, AnswerRequest
from agent.errors import AgentFailed, AnswerFailed
from agent.own import agent as own_agent
from agent.own.agent import OwnAgent
from agent.prompt import Prompt, build_prompt
from agent.tokens import TokenCounter
from memory.records import Message, Position, Transcript

QUESTION = Message(id="q", seq=1, type="human", content="go", turn_id="t")
REQUEST = AnswerRequest(
    conversation_id="c", user_id="u", turn_id="t", question=QUESTION, position=Position(turn=1)
)


def prompt() -> Prompt:
    transcript = Transcript(messages=[QUESTION])
    return build_prompt(transcript, QUESTION, system_prompt="", budget=1000, counter=TokenCounter())


async def nothing() -> None:
    return None


def own(runnable: Any, *, close: Any = nothing) -> OwnAgent:
    made: Runnable[Any, Any] = RunnableLambda(runnable)
    return OwnAgent(made, name="m:a", idle_timeout=5, close=close)


async def answer(agent: OwnAgent) -> list[AnswerChunk]:
    return [chunk async for chunk in agent.answer(REQUEST, prompt(), "model")]


async def test_a_hundred_thousand_pieces_in_one_go_are_all_told() -> None:
    async def pieces(given: Any) -> AsyncIterator[str]:
        for _ in range(120_000):
            yield "x"

    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1

    beating = asyncio.create_task(beat())
    chunks = await answer(own(pieces))
    beating.cancel()
    assert sum(len(chunk.text) for chunk in chunks) == 120_000
    assert beats > 100  # others have had their turn


async def test_one_that_makes_events_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_agent, "MAX_WAITING", 50)
    step: Runnable[Any, Any] = RunnableLambda(lambda given: given)

    def steps(given: Any) -> str:
        for _ in range(1_000):
            step.invoke(given)
        return "done"

    async def blocks(given: Any) -> str:
        steps(given)
        await asyncio.sleep(0)
        return "done"

    with pytest.raises(AgentFailed):
        await answer(own(blocks))


async def test_what_it_wants_to_say_of_its_failure_is_said() -> None:
    async def fails(given: Any) -> str:
        raise AnswerFailed("The library is closed today.")

    with pytest.raises(AnswerFailed, match="The library is closed today"):
        await answer(own(fails))


async def test_one_that_is_cancelled_by_itself_has_failed() -> None:
    async def gives_up(given: Any) -> str:
        raise asyncio.CancelledError

    with pytest.raises(AgentFailed):
        await answer(own(gives_up))


async def test_leaving_the_answer_ends_it_at_once() -> None:
    ended = asyncio.Event()

    async def hangs(given: Any) -> AsyncIterator[str]:
        try:
            yield "half"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with aclosing(own(hangs).answer(REQUEST, prompt(), "model")) as chunks:
        async for chunk in chunks:
            if chunk.text:
                break
    assert ended.is_set()


async def test_a_close_that_fails_or_hangs_keeps_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_agent, "CLOSING_SECONDS", 0.1)

    async def fails() -> None:
        raise OSError("it is gone")

    async def hangs() -> None:
        await asyncio.Event().wait()

    for close in (fails, hangs):
        await own(str, close=close).close()
    assert [record.message for record in caplog.records] == ["AGENT could not be closed."] * 2
