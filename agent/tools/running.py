"""Uses of tools, run: each with a time-out, never in the event loop's way, and never too long."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor
from typing import Any, Literal, NamedTuple

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import ToolException

from agent.tools.tool import Tool
from agent.tracing import NO_TRACES, Traces
from agent.wording import sendable

log = logging.getLogger(__name__)

MAX_OUTPUT_CHARS = 30_000
"""Of one use that are kept: what is longer would crowd out all else that the model is given."""
MAX_ERROR_CHARS = 2_000

CLOSE_SECONDS = 1.0


class Outcome(NamedTuple):
    status: Literal["finished", "failed"]
    output: str
    """What the model is told."""


class Running:
    """``close`` cancels what still runs."""

    def __init__(self, threads: Executor, traces: Traces = NO_TRACES) -> None:
        self._threads = threads
        self._traces = traces
        self._left: set[asyncio.Task[ToolMessage]] = set()
        """Cancelled, and not ended yet."""

    async def run(self, tool: Tool, given: dict[str, Any], config: RunnableConfig) -> Outcome:
        """Raises nothing: whatever goes wrong is told to the model. Cancelled, it lets go at once,
        also of a tool that would not be cancelled."""
        about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool.name}
        span = self._traces.begin(f"execute_tool {tool.name}", about, kind="internal")
        task = asyncio.create_task(
            tool.call(given, config, self._threads), name=f"tool {tool.name}"
        )
        try:
            await asyncio.wait({task}, timeout=tool.timeout)
            if not task.done():
                span.failed("TimeoutError")
                return _failed(
                    f"No result within {tool.timeout:g} seconds. It may have taken effect."
                )
            failure = asyncio.CancelledError() if task.cancelled() else task.exception()
            if failure is not None:
                span.failed(type(failure).__name__)
                return _failed(_said_of(failure, tool))
            result = task.result()
            output = cut(_text_of(result), MAX_OUTPUT_CHARS)
            if result.status == "error":
                span.failed("ToolException")
                return Outcome("failed", output)
            return Outcome("finished", output)
        finally:
            if not task.done():
                task.cancel()
                self._left.add(task)
                task.add_done_callback(self._forget)
            span.end()

    async def close(self) -> None:
        if self._left:
            await asyncio.wait(self._left, timeout=CLOSE_SECONDS)

    def _forget(self, task: asyncio.Task[ToolMessage]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # nobody waits for it any more


def cut(text: str, most: int) -> str:
    """``text`` as a model may be told it, saying what is left out of it."""
    text = sendable(text)
    if len(text) <= most:
        return text
    return f"{text[:most]}\n[{len(text) - most} more characters are left out]"


def _failed(why: str) -> Outcome:
    return Outcome("failed", cut(why, MAX_ERROR_CHARS))


def _said_of(failure: BaseException, tool: Tool) -> str:
    """What is meant for the model, in the failure's own words. Anybody may be told these: of what
    nobody foresaw it is only the kind, since the rest may have an address or a key in it."""
    if isinstance(failure, ToolException | ValueError) and str(failure):
        return f"It failed: {failure}"
    log.warning(
        "A tool failed.",
        extra={"action": "tool_failed", "tool": tool.name, "error": type(failure).__name__},
        exc_info=failure,
    )
    return f"It failed ({type(failure).__name__})."


def _text_of(result: ToolMessage) -> str:
    if isinstance(result.content, str):
        return result.content
    parts = []
    for block in result.content:
        if isinstance(block, str):
            parts.append(block)
        elif block.get("type") == "text":
            parts.append(str(block.get("text", "")))
        else:
            parts.append(f"[{block.get('type', 'something')} that is no text is left out]")
    return "\n".join(parts)
