"""What of a Runnable's doings is its answer. No I/O.

The text is what the agent itself streams, where that is text and comes first; otherwise the tokens
of the models in it, in the order they began, each whole before the next. Not told is what happens
inside a tool, what is tagged ``nostream``, and in a chain what comes before its last step. At the
end the rest of the final message is added, where it is more than was streamed: never what was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.runnables import Runnable, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase

from agent.answering import AnswerChunk
from agent.own.events import Event, text_of
from agent.wording import sendable
from memory.records import ToolUse

SILENT = frozenset({"nostream", "langsmith:nostream"})
"""LangGraph's names for a model whose tokens are nobody's business."""

# Between what two models say, or one on two occasions: paragraphs in Markdown.
BETWEEN = "\n\n"

# Characters of a tool's input and output that are shown; the agent itself has all of it.
MAX_SHOWN = 4000


@dataclass
class _Run:
    kind: Literal["step", "model", "tool"]
    in_tool: bool
    in_last_step: bool
    is_told: bool = False
    ended: bool = False
    text: list[str] = field(default_factory=list)
    """What it has said; told only once it is its turn to speak."""


class Telling:
    """One answer's events, one after the other, made into what the server hears of it."""

    def __init__(self, root: UUID, last_step: str | None) -> None:
        """``root`` is the agent's own run; ``last_step`` the tag of a chain's last step."""
        self.usage: UsageMetadata | None = None
        self.rounds = 0
        """How often a model was asked."""
        self._root = root
        self._last_step = last_step
        self._runs: dict[UUID, _Run] = {}
        self._tools: dict[UUID, ToolUse] = {}
        self._speaking: list[_Run] = []
        """Models that have said something: the first of them is being told, the others wait."""
        self._streams: Literal["itself", "by models"] | None = None
        self._streamed: list[str] = []
        self._chunk_of_another_kind: Any = None
        self._output: Any = None
        self._said: list[str] = []
        """The texts that were told, one for each time somebody spoke."""

    @property
    def tools(self) -> list[ToolUse]:
        """As they were last told."""
        return list(self._tools.values())

    def hear(self, event: Event) -> Iterator[AnswerChunk]:
        match event.kind:
            case "token":
                yield from self._token(event)
            case "chunk":
                yield from self._chunk(event.data)
            case "step" | "model" | "tool":
                yield from self._begun(event, event.kind)
            case "said" | "model_failed":
                yield from self._model_ended(event)
            case "tool_ended" | "tool_failed":
                yield from self._tool_ended(event)
            case "ended":
                if event.run_id == self._root:
                    self._output = event.data

    def end(self) -> Iterator[AnswerChunk]:
        """What is still to be told once the agent has ended."""
        for run in self._speaking:
            run.ended = True
        yield from self._next_speaker()
        output = self._output
        if output is None:  # no callback told how it ended
            output = "".join(self._streamed) or self._chunk_of_another_kind
        final = final_text(output)
        if not final and not self._said and isinstance(output, Mapping):
            final = _of_last_tool(output)
        rest = beyond(final, self._said)
        if rest is None:
            yield from self._tell(final, anew=True)
        elif rest:
            yield from self._tell(rest)

    def _begun(self, event: Event, kind: Literal["step", "model", "tool"]) -> Iterator[AnswerChunk]:
        parent = self._runs.get(event.parent) if event.parent is not None else None
        run = _Run(
            kind=kind,
            in_tool=parent is not None and (parent.in_tool or parent.kind == "tool"),
            in_last_step=self._last_step is None
            or (parent is not None and parent.in_last_step)
            or (event.parent == self._root and self._last_step in event.tags),
        )
        self._runs[event.run_id] = run
        is_shown = not run.in_tool and SILENT.isdisjoint(event.tags)
        run.is_told = is_shown and run.in_last_step
        self.rounds += kind == "model"
        if kind == "tool" and is_shown:
            use = ToolUse(
                id=str(event.run_id), name=event.name, status="started", input=_plain(event.data)
            )
            self._tools[event.run_id] = use
            yield AnswerChunk(tool=use)

    def _token(self, event: Event) -> Iterator[AnswerChunk]:
        run = self._runs.get(event.run_id)
        if run is None or not run.is_told or self._streams == "itself":
            return
        self._streams = "by models"
        run.text.append(event.data)
        if run not in self._speaking:
            self._speaking.append(run)
        if self._speaking[0] is run:
            yield from self._tell(event.data, anew=len(run.text) == 1)

    def _model_ended(self, event: Event) -> Iterator[AnswerChunk]:
        run = self._runs.get(event.run_id)
        if isinstance(event.data, AIMessage):
            self.usage = add_usage(self.usage, event.data.usage_metadata)
            if run is not None and not run.text and (text := text_of(event.data)):
                yield from self._token(event._replace(data=text))
        if run is not None:
            run.ended = True
            yield from self._next_speaker()

    def _next_speaker(self) -> Iterator[AnswerChunk]:
        while self._speaking and self._speaking[0].ended:
            self._speaking.pop(0)
            if self._speaking:
                yield from self._tell("".join(self._speaking[0].text), anew=True)

    def _tool_ended(self, event: Event) -> Iterator[AnswerChunk]:
        use = self._tools.get(event.run_id)
        if use is None:
            return
        failed = event.kind == "tool_failed"
        # An exception's text may be about whatever there is: only its kind is for the user.
        output = type(event.data).__name__ if failed else _output_text(event.data)
        failed = failed or getattr(event.data, "status", None) == "error"
        use = ToolUse(
            id=use.id,
            name=use.name,
            status="failed" if failed else "finished",
            input=use.input,
            output=_cut(output),
        )
        self._tools[event.run_id] = use
        yield AnswerChunk(tool=use)

    def _chunk(self, chunk: Any) -> Iterator[AnswerChunk]:
        text = _chunk_text(chunk)
        if text is None:
            self._chunk_of_another_kind = chunk
            return
        if not text:
            return
        self._streamed.append(text)
        if self._streams is None:
            self._streams = "itself"
        if self._streams == "itself":
            yield from self._tell(text, anew=not self._said)

    def _tell(self, text: str, *, anew: bool = False) -> Iterator[AnswerChunk]:
        if not text:
            return
        if not anew and self._said:
            self._said[-1] += text
        else:
            if self._said and not self._said[-1].endswith("\n"):
                yield AnswerChunk(text=BETWEEN)
            self._said.append(text)
        yield AnswerChunk(text=text)


def last_step(agent: Runnable[Any, Any]) -> str | None:
    """How LangChain tags the last step of a chain; None for what is no chain."""
    while isinstance(agent, RunnableBindingBase):
        agent = agent.bound
    return f"seq:step:{len(agent.steps)}" if isinstance(agent, RunnableSequence) else None


def final_text(output: Any) -> str:
    """The answer in what an agent gave: a text, a message, ``messages``, or ``output``."""
    if isinstance(output, str):
        return output
    if isinstance(output, AIMessage):
        return text_of(output)
    if isinstance(output, BaseMessage):
        return ""
    if isinstance(output, list | tuple):
        return _of_messages(output)
    if isinstance(output, Mapping):
        if "messages" in output:
            return final_text(output["messages"])
        return final_text(output["output"]) if "output" in output else ""
    return final_text(getattr(output, "messages", ""))


def beyond(final: str, said: list[str]) -> str | None:
    """What ``final`` has beyond what was said, whatever the spacing: "" where all of it was said,
    None where it is another text."""
    bare = _bare(final)
    if not bare or any(_bare(each) == bare for each in said):
        return ""
    for start in range(len(said)):
        told = _bare("".join(said[start:]))
        if told and bare.startswith(told):
            return _after(final, len(told)) if len(bare) > len(told) else ""
    return None


def _bare(text: str) -> str:
    return "".join(text.split())


def _after(text: str, count: int) -> str:
    """``text`` after its first ``count`` characters that are not space."""
    for index, character in enumerate(text):
        if count == 0:
            return text[index:]
        count -= not character.isspace()
    return ""


def _messages(values: Iterable[Any]) -> list[BaseMessage]:
    try:
        return convert_to_messages(list(values))
    except (ValueError, TypeError, NotImplementedError, KeyError):
        return []


def _of_messages(values: Iterable[Any]) -> str:
    """The last of an assistant's that answers: those before the question were said long ago."""
    for message in reversed(_messages(values)):
        if isinstance(message, HumanMessage):
            return ""
        if isinstance(message, AIMessage) and (text := text_of(message)):
            return text
    return ""


def _of_last_tool(output: Mapping[Any, Any]) -> str:
    """A tool may answer itself (``return_direct``)."""
    messages = _messages(output.get("messages") or [])
    return text_of(messages[-1]) if messages and isinstance(messages[-1], ToolMessage) else ""


def _chunk_text(chunk: Any) -> str | None:
    """None for what is no text."""
    if isinstance(chunk, str):
        return chunk
    return text_of(chunk) if isinstance(chunk, AIMessage) else None


def _plain(value: Any) -> dict[str, Any]:
    """As JSON can carry it, and not longer than it is shown."""
    try:
        text = sendable(json.dumps(value, ensure_ascii=False, default=str))
    except (TypeError, ValueError, RecursionError):
        text = ""
    if not text or len(text) > MAX_SHOWN:
        return {"input": _cut(text or type(value).__name__)}
    given = json.loads(text)
    return given if isinstance(given, dict) else {"input": given}


def _output_text(output: Any) -> str:
    if isinstance(output, BaseMessage):
        return text_of(output)
    if isinstance(output, str):
        return output
    update = getattr(output, "update", None)  # LangGraph's Command, with the message in it
    if isinstance(update, Mapping) and (messages := _messages(update.get("messages") or [])):
        return text_of(messages[-1])
    try:
        return json.dumps(output, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return type(output).__name__


def _cut(text: str) -> str:
    return sendable(text[:MAX_SHOWN])
