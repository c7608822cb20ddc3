"""One answer from a chat model: time-outs, a checked end, retries while nothing was streamed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol, cast, runtime_checkable

import msgspec
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage

from agent.answering import AnswerChunk, Pause
from agent.errors import AnswerFailed, ProviderBusy, ProviderCut
from agent.idle import IdleTimeout
from agent.provider_errors import answer_failed
from agent.tools.calls import Call, Gathering
from agent.tracing import NO_TRACES, Traces

log = logging.getLogger(__name__)


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for a provider; all in seconds."""

    idle: float | None = 60.0
    """Between two chunks, and until the first; None: for ever."""
    retry_within: float = 30.0
    """After this long no new try begins; also the longest retry-after that is waited for."""
    first_delay: float = 0.5
    """Before the second try; doubles from there."""
    longest_delay: float = 8.0


Shape = dict[str, Any]


@runtime_checkable
class GivesDeltas(Protocol):
    """A chat model that can do without a message for each delta: ``agent.openai_chat``."""

    def astream_deltas(
        self, input: Any, **more: Any
    ) -> AsyncGenerator[str | AIMessageChunk, None]: ...


def takes_tools(model: BaseChatModel) -> bool:
    return isinstance(model, GivesDeltas) or type(model).bind_tools is not BaseChatModel.bind_tools


async def stream_answer(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    patience: Patience,
    traces: Traces = NO_TRACES,
    *,
    tools: Sequence[Shape] = (),
    asked: list[Call] | None = None,
    pause: Pause | None = None,
) -> AsyncGenerator[AnswerChunk, None]:
    """The model's answer. Raises ``AnswerFailed``; what was yielded before it stays said.

    Tries again only while no text was yielded. Closing or cancelling it closes the provider's
    stream.

    ``tools`` are offered to the model, as providers are told of them; what it asks to have done
    with them is in ``asked`` when the answer has come to its end. ``pause``: see
    ``AnswerRequest``; only models that give deltas make use of it.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + patience.retry_within
    delay = patience.first_delay
    while True:
        said = False
        try:
            gathering = Gathering()
            tried = _one_try(model, messages, patience.idle, traces, tools, gathering, pause)
            async with aclosing(tried) as chunks:
                async for chunk in chunks:
                    said = said or bool(chunk.text)
                    yield chunk
            if asked is not None:
                asked += gathering.calls
            return
        except AnswerFailed as failed:
            if said or not failed.retryable:
                raise
            wait = _wait(failed, delay)
            if clock() + wait > end:
                raise
            log.info(
                "Trying the model again.",
                extra={"action": "answer_retry", "error": type(failed).__name__, "wait": wait},
            )
        await asyncio.sleep(wait)
        delay = min(2 * delay, patience.longest_delay)


def _wait(failed: AnswerFailed, delay: float) -> float:
    """``delay`` with jitter, so that those refused together don't come back together; never less
    than what the provider asked for."""
    jittered = delay * random.uniform(0.5, 1.0)
    if isinstance(failed, ProviderBusy) and failed.retry_after is not None:
        return failed.retry_after + jittered
    return jittered


async def _one_try(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    idle: float | None,
    traces: Traces,
    tools: Sequence[Shape],
    gathering: Gathering,
    pause: Pause | None,
) -> AsyncGenerator[AnswerChunk, None]:
    """Yields text as it comes and the usage at the end."""
    usage: dict[str, Any] | None = None
    finished = text_came = False
    began = time.monotonic()
    name = str(getattr(model, "model_name", type(model).__name__))
    span = traces.begin("chat", {"gen_ai.operation.name": "chat", "gen_ai.request.model": name})
    more: dict[str, Any] = {"extra_headers": span.headers} if span.headers else {}
    begin: Callable[..., Any] = (
        model.astream_deltas if isinstance(model, GivesDeltas) else model.astream
    )
    if pause is not None and isinstance(model, GivesDeltas):
        more["pause"] = pause
    if tools:
        if isinstance(model, GivesDeltas):
            more["tools"] = list(tools)
        else:
            begin = model.bind_tools(tools).astream
    stream = cast("AsyncGenerator[str | AIMessageChunk, None]", begin(list(messages), **more))
    try:
        async with IdleTimeout(idle) as waiting:
            waiting.begins()
            async for chunk in stream:
                waiting.ends()
                if isinstance(chunk, str):
                    text = chunk
                else:
                    if tools:
                        gathering.add(chunk)
                    finished = finished or bool(chunk.response_metadata.get("finish_reason"))
                    # The last counts: some providers report a running total with every chunk.
                    usage = cast("dict[str, Any] | None", chunk.usage_metadata) or usage
                    text = chunk.content if isinstance(chunk.content, str) else str(chunk.text)
                if text:
                    if not text_came:
                        span.note({"mnemosio.first_token_seconds": time.monotonic() - began})
                    text_came = True
                    yield AnswerChunk(text=text)
                waiting.begins()
        if not finished:
            raise ProviderCut
    except Exception as error:
        span.failed(type(error).__name__)
        raise answer_failed(error, text_came=text_came) from error
    finally:
        span.note(_tokens(usage or {}))
        span.end()
        await stream.aclose()
    if usage is not None:
        yield AnswerChunk(usage=usage)


def _tokens(usage: dict[str, Any]) -> dict[str, int]:
    counts = {kind: usage.get(f"{kind}_tokens") for kind in ("input", "output")}
    return {f"gen_ai.usage.{k}_tokens": n for k, n in counts.items() if isinstance(n, int)}
