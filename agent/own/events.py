"""What happens inside a Runnable while it answers, told by LangChain's callbacks.

A handler, and not ``astream_events``: that costs three times as much for each token, and says
nothing of a model or a step that failed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal, NamedTuple
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult

Kind = Literal[
    "step", "ended", "model", "token", "said", "model_failed", "tool", "tool_ended", "tool_failed",
    "chunk",
]  # fmt: skip


class Event(NamedTuple):
    kind: Kind
    run_id: UUID
    """Of the step, model or tool; for a chunk, the agent's own."""
    data: Any = None
    """step: its name; ended: its output; model: its name; token: its text; said: the whole message,
    or None; model_failed, tool_failed: the exception; tool: its input; tool_ended: its output;
    chunk: what the agent gave."""
    parent: UUID | None = None
    tags: tuple[str, ...] = ()
    name: str = ""


class Listener(BaseCallbackHandler):
    """Hands on events in their order, on the event loop it was made in, whichever thread they
    happen in."""

    run_inline = True  # before the model goes on, and not in a thread for each token
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    def __init__(self, hear: Callable[[Event], object]) -> None:
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """With these two, models stream to their callbacks also where they are only invoked."""
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
        return output

    def _tell(self, event: Event) -> None:
        if threading.get_ident() == self._thread:
            self._hear(event)
        else:
            self._loop.call_soon_threadsafe(self._hear, event)

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = str(kwargs.get("name") or "")
        self._tell(Event("step", run_id, None, parent_run_id, tuple(tags or ()), name))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._tell(Event("ended", run_id, outputs))

    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = str((metadata or {}).get("ls_model_name") or kwargs.get("name") or "model")
        self._tell(Event("model", run_id, None, parent_run_id, tuple(tags or ()), name))

    def on_llm_start(
        self,
        serialized: dict[str, Any] | None,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = str((metadata or {}).get("ls_model_name") or kwargs.get("name") or "model")
        self._tell(Event("model", run_id, None, parent_run_id, tuple(tags or ()), name))

    def on_llm_new_token(
        self,
        token: Any,
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        if isinstance(chunk, ChatGenerationChunk):
            token = text_of(chunk.message)
        if isinstance(token, str) and token:
            self._tell(Event("token", run_id, token))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        generations = response.generations[0] if response.generations else []
        said = getattr(generations[0], "message", None) if generations else None
        self._tell(Event("said", run_id, said))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._tell(Event("model_failed", run_id, error))

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = str(kwargs.get("name") or (serialized or {}).get("name") or "tool")
        given = inputs if inputs is not None else {"input": input_str}
        self._tell(Event("tool", run_id, given, parent_run_id, tuple(tags or ()), name))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._tell(Event("tool_ended", run_id, output))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._tell(Event("tool_failed", run_id, error))


def text_of(message: BaseMessage) -> str:
    """Its text parts: no reasoning, no images, no calls of tools."""
    return message.content if isinstance(message.content, str) else str(message.text)
