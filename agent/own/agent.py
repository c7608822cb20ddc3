"""An agent of the operator's own: any LangChain Runnable, in place of the built-in model."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableGenerator

from agent.answering import AnswerChunk, AnswerRequest
from agent.errors import AgentFailed, AgentSilent, AnswerFailed
from agent.idle import IdleTimeout
from agent.own.events import Event, Listener
from agent.own.spans import Spans
from agent.own.telling import Telling, last_step
from agent.prompt import Prompt
from agent.provider_errors import answer_failed, is_providers
from agent.tracing import NO_TRACES, Traces

log = logging.getLogger(__name__)

# What ends at once ends within this; what doesn't is left to itself, and the answer ends without.
ENDING_SECONDS = 1.0

# What it holds (connections, files) is let go of within this.
CLOSING_SECONDS = 5.0

# Pieces that it yields in one go, before others are let do something.
MANY = 100

# Events that wait to be told: they come from a network, one after the other. An agent that makes
# more of them than this is not talking to anybody.
MAX_WAITING = 100_000


class OwnAgent:
    """Answers by ``runnable``; ``close`` ends what is still running, and what it was made with."""

    def __init__(
        self,
        runnable: Runnable[Any, Any],
        *,
        name: str,
        idle_timeout: float,
        close: Callable[[], Awaitable[None]],
        traces: Traces = NO_TRACES,
    ) -> None:
        """``name`` is that of the setting: module:attribute. ``idle_timeout`` in seconds, 0 for
        none: for how long nothing at all may happen in it."""
        self.name = name
        self._runnable = runnable
        self._last_step = last_step(runnable)
        self._idle = idle_timeout or None
        self._close = close
        self._traces = traces
        self._unended: set[asyncio.Task[None]] = set()

    @property
    def description(self) -> str:
        return f"your own: {self.name}"

    async def answer(
        self, request: AnswerRequest, prompt: Prompt, model: str
    ) -> AsyncGenerator[AnswerChunk, None]:
        """``model`` is the name of the one that the conversation has chosen, or the default's: the
        agent is told. Raises ``AnswerFailed``. Closing or cancelling it cancels the agent."""
        yield AnswerChunk(context=prompt.given.record(self.name))
        run_id = uuid.uuid4()
        telling = Telling(run_id, self._last_step)
        spans = Spans(self._traces)
        text_came = False
        try:
            events = self._events(prompt, _config(request, model), run_id)
            async with aclosing(events):
                async for event in events:
                    spans.hear(event)
                    for chunk in telling.hear(event):
                        text_came = text_came or bool(chunk.text)
                        yield chunk
                        if chunk.tool is not None:  # it may be stopped here
                            yield self._context(prompt, telling)
            for chunk in telling.end():
                yield chunk
        except Exception as error:
            for chunk in self._about(prompt, telling):
                yield chunk
            raise self._failed(error, text_came=text_came) from error
        finally:
            spans.close()
        for chunk in self._about(prompt, telling):
            yield chunk

    def _context(self, prompt: Prompt, telling: Telling) -> AnswerChunk:
        prompt.given.tools = telling.tools
        prompt.given.rounds = telling.rounds
        return AnswerChunk(context=prompt.given.record(self.name))

    def _about(self, prompt: Prompt, telling: Telling) -> Iterator[AnswerChunk]:
        """What there is to say of an answer at its end, however it ended."""
        yield self._context(prompt, telling)
        if telling.usage is not None:
            yield AnswerChunk(usage=dict(telling.usage))

    async def close(self) -> None:
        for task in self._unended:
            task.cancel()
        if self._unended:
            await asyncio.wait(self._unended, timeout=ENDING_SECONDS)
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._close()
        except Exception:
            log.exception("AGENT could not be closed.", extra={"action": "agent_close"})

    async def _events(
        self, prompt: Prompt, config: RunnableConfig, run_id: uuid.UUID
    ) -> AsyncGenerator[Event, None]:
        """What happens in it, until its end. Raises what it raises, and ``AgentSilent``."""
        waiting_events: deque[Event] = deque()
        something = asyncio.Event()

        def hear(event: Event) -> int:
            if len(waiting_events) < MAX_WAITING:
                waiting_events.append(event)
                something.set()
            else:
                task.cancel()
            return len(waiting_events)

        # In a task of its own, so that an answer can end though the agent doesn't.
        given = {"messages": prompt.messages}
        run = _run(self._runnable, given, config, run_id, hear)
        task = asyncio.create_task(run, name="own agent")
        task.add_done_callback(lambda _: something.set())
        try:
            try:
                async with IdleTimeout(self._idle) as waiting:
                    while waiting_events or not task.done():
                        if not waiting_events:
                            something.clear()
                            waiting.begins()
                            await something.wait()
                            waiting.ends()
                        while waiting_events:
                            yield waiting_events.popleft()
            except TimeoutError:
                raise AgentSilent from None
            if task.cancelled():
                raise RuntimeError("it was cancelled: by itself, or for making too many events")
            task.result()
        finally:
            await self._end(task)

    async def _end(self, task: asyncio.Task[None]) -> None:
        if task.done():
            return
        task.cancel()
        await asyncio.wait({task}, timeout=ENDING_SECONDS)
        if not task.done():
            log.warning(
                "AGENT does not end when it is cancelled; it goes on, and nobody hears it.",
                extra={"action": "agent_unended"},
            )
            self._unended.add(task)
            task.add_done_callback(self._unended.discard)

    def _failed(self, error: Exception, *, text_came: bool) -> AnswerFailed:
        if isinstance(error, AnswerFailed):
            return error
        if is_providers(error):
            return answer_failed(error, text_came=text_came)
        log.error(
            "AGENT failed.",
            extra={"action": "answer_failed", "error": type(error).__name__},
            exc_info=error,
        )
        return AgentFailed()


async def _run(
    runnable: Runnable[Any, Any],
    given: dict[str, Any],
    config: RunnableConfig,
    run_id: uuid.UUID,
    hear: Callable[[Event], int],
) -> None:
    listener = Listener(hear)
    config = {**config, "run_id": run_id, "callbacks": [listener]}
    if _streams_in_threads_only(runnable):
        stream = _in_threads(runnable.stream(given, config))
    else:
        stream = runnable.astream(given, config)
    async for chunk in stream:
        if hear(Event("chunk", run_id, chunk)) > MANY:
            await asyncio.sleep(0)  # it need not ever wait for anything itself
    # What happened in threads is on its way to the event loop.
    await asyncio.sleep(0)


def _streams_in_threads_only(runnable: Runnable[Any, Any]) -> bool:
    """Whether LangChain's own way would give it away: as one piece, or not at all."""
    if isinstance(runnable, RunnableGenerator):
        return not hasattr(runnable, "_atransform")
    kind = type(runnable)
    return (
        kind.stream is not Runnable.stream
        and kind.astream is Runnable.astream
        and kind.ainvoke is Runnable.ainvoke
    )


async def _in_threads(chunks: Iterator[Any]) -> AsyncIterator[Any]:
    """One after the other, each made in a thread."""
    end = object()
    while (chunk := await asyncio.to_thread(next, chunks, end)) is not end:
        yield chunk


def _config(request: AnswerRequest, model: str) -> RunnableConfig:
    ids = {
        "conversation_id": request.conversation_id,
        "user_id": request.user_id,
        "turn_id": request.turn_id,
    }
    return RunnableConfig(
        run_name="answer",
        metadata={**ids},
        configurable={
            **ids,
            "attempt": request.attempt,
            "model": model,
            "thread_id": f"{request.turn_id}:{request.attempt}",
        },
    )
