"""A conversation's title, made once: in the background, after its first answer.

It is the server's to say whether one is wanted still, and to keep it: a user's own title wins over
one that comes late. When the model fails, the title stays as it is.
"""

from __future__ import annotations

import re
from contextlib import aclosing
from functools import partial

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from agent.answering import Untitled
from agent.background import Background
from agent.errors import AnswerFailed
from agent.streaming import Patience, stream_answer
from agent.tracing import NO_TRACES, Traces
from agent.wording import TITLE_INSTRUCTIONS, fence, sendable

MAX_TITLE_CHARS = 60

# What a conversation is about shows at its beginning; the answer says it in the model's own words.
MAX_QUESTION_CHARS = 2_000
MAX_ANSWER_CHARS = 1_000

# Of a model that says more than a title the first line is looked for, and no more is paid for.
MAX_SAID_CHARS = 300

_QUOTES = "\"'`“”„‚‘’«»‹›「」『』*_#"
_LABEL = re.compile(r"^(?:title|titel|titre|título|titolo)\s*:\s*", re.IGNORECASE)


class Titles:
    """Owns the tasks it starts; ``close`` ends them."""

    def __init__(
        self, model: BaseChatModel, *, patience: Patience, traces: Traces = NO_TRACES
    ) -> None:
        self._model = model
        self._patience = patience
        self._traces = traces
        self._background = Background("title", "No title could be made; the first one stays.")

    def start(self, untitled: Untitled) -> None:
        """Returns at once."""
        self._background.start(untitled.conversation_id, partial(self._make, untitled))

    async def close(self) -> None:
        await self._background.close()

    async def _make(self, untitled: Untitled) -> None:
        if not await untitled.is_wanted():
            return
        title = clean(await self._ask(untitled.question, untitled.answer))
        if not title:
            raise AnswerFailed("The model gave no title.")
        await untitled.take(title)

    async def _ask(self, question: str, answer: str) -> str:
        said = ""
        asked = stream_answer(self._model, request(question, answer), self._patience, self._traces)
        async with aclosing(asked) as chunks:
            async for chunk in chunks:
                said += chunk.text
                if len(said) > MAX_SAID_CHARS:
                    break
        return said


def request(question: str, answer: str) -> list[BaseMessage]:
    parts = [fence("user", _cut(question, MAX_QUESTION_CHARS))]
    parts.append(fence("assistant", _cut(answer, MAX_ANSWER_CHARS)))
    return [SystemMessage(TITLE_INSTRUCTIONS), HumanMessage(sendable("\n".join(parts)))]


def clean(said: str) -> str:
    """A title out of what a model said: one line, without quotes; "" where there is none."""
    for line in said.splitlines():
        line = "".join(each if each.isprintable() else " " for each in line)
        title = " ".join(line.split()).strip(_QUOTES + " ")
        title = _LABEL.sub("", title).strip(_QUOTES + " ").removesuffix(".").rstrip()
        if title:
            return _cut(title, MAX_TITLE_CHARS)
    return ""


def _cut(text: str, most: int) -> str:
    """At a space, where there is one in its second half."""
    text = text.strip()
    if len(text) <= most:
        return text
    kept = text[: most - 1]
    at = kept.rfind(" ")
    return (kept[:at] if at > most // 2 else kept).rstrip() + "…"
