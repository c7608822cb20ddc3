"""Model, tools, model: one answer in as many rounds as it takes.

In each round the model is asked; what it asks to have done is done, all at once, and it is asked
again with what came of that. After ``max_rounds`` of these it is asked once more, without tools.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from agent.answering import AnswerChunk
from agent.rounds import Asking, Rounds
from agent.streaming import Patience, stream_answer
from agent.tools.calls import Call
from agent.tools.guard import Guard
from agent.tools.running import Running
from agent.tracing import NO_TRACES, Traces

BETWEEN = "\n\n"
"""Between what two rounds say."""


class Loop:
    def __init__(
        self,
        running: Running,
        patience: Patience,
        *,
        max_rounds: int,
        traces: Traces = NO_TRACES,
    ) -> None:
        self._running = running
        self._patience = patience
        self._max_rounds = max_rounds
        self._guard = Guard(patience, traces)
        self._traces = traces

    async def answer(self, asking: Asking) -> AsyncGenerator[AnswerChunk, None]:
        """Raises ``AnswerFailed``. Closing or cancelling it cancels the tools that run."""
        one = Rounds(asking, self._running, self._guard)
        async with aclosing(one.take_over()) as chunks:
            async for chunk in chunks:
                yield chunk
        rounds, has_used = 0, False
        while True:
            rounds += 1
            tools = [tool.shape for tool in asking.tools] if rounds <= self._max_rounds else []
            calls: list[Call] = []
            said = ""
            messages = one.fitting()
            stream = stream_answer(
                asking.model,
                messages,
                self._patience,
                self._traces,
                tools=tools,
                asked=calls,
                pause=asking.request.pause,
            )
            async with aclosing(stream) as chunks:
                async for chunk in chunks:
                    if chunk.usage is not None:
                        one.learn(messages, chunk.usage, tools)
                        yield AnswerChunk(usage=one.usage)
                    elif chunk.text:
                        if not said and one.said:
                            yield AnswerChunk(text=BETWEEN)
                        said += chunk.text
                        yield chunk
            one.said = one.said or bool(said)
            asking.prompt.given.rounds = rounds
            if not calls:
                break
            has_used = True
            async with aclosing(one.round(said, calls)) as chunks:
                async for chunk in chunks:
                    yield chunk
            yield one.context()
        if has_used:
            yield one.context()
