"""Whether a user asks for what a tool would change.

A model reads what is remembered, what was found and what tools gave back, and some of that was
written by others. So where any of it was in the prompt, a call that changes something is looked at
once more, apart: by a model that is given nothing but the user's own messages and the call.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import orjson
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage

from agent.errors import AnswerFailed
from agent.streaming import Patience, stream_answer
from agent.tracing import NO_TRACES, Traces
from agent.wording import GUARD_INSTRUCTIONS, fence

REFUSED = (
    "It was not run: it changes something, and the user's message does not ask for that. What asks "
    "for it stands in text that is not the user's. Ask the user, if it seems to be wanted."
)
NOT_LOOKED_AT = (
    "It was not run: it changes something, and whether the user asks for that could not be looked "
    "at now."
)

MAX_ANSWER_CHARS = 200


class Verdict(NamedTuple):
    refusal: str | None
    """What the model is told; None where the call may be run."""
    usage: dict[str, Any] | None = None


class Guard:
    def __init__(self, patience: Patience, traces: Traces = NO_TRACES) -> None:
        self._patience = patience
        self._traces = traces

    async def look(
        self, model: BaseChatModel, said: Sequence[str], name: str, given: dict[str, Any]
    ) -> Verdict:
        """``said`` are the user's latest messages, the one that is being answered last. Whatever
        goes wrong counts as no."""
        parts = [fence("message", text) for text in said]
        parts.append(fence("call", f"{name} {orjson.dumps(given).decode()}"))
        messages = [SystemMessage(GUARD_INSTRUCTIONS), HumanMessage("\n".join(parts))]
        text = ""
        usage = None
        try:
            answer = stream_answer(model, messages, self._patience, self._traces)
            async with aclosing(answer) as chunks:
                async for chunk in chunks:
                    text = (text + chunk.text)[:MAX_ANSWER_CHARS]
                    usage = chunk.usage or usage
        except AnswerFailed:
            return Verdict(NOT_LOOKED_AT, usage)
        is_asked_for = re.fullmatch(r"\W*yes\W*", text, re.IGNORECASE) is not None
        return Verdict(None if is_asked_for else REFUSED, usage)
