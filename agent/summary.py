"""The rolling summary: made in the background, every so many turns, by one server at a time.

What it covers: everything but the last few exchanges, which a prompt holds verbatim anyway, and
which are what the next question is most likely about. When the model fails, the old summary stays
and the next turn tries again; no answer ever waits for one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from agent.background import Background
from agent.errors import AnswerFailed
from agent.exchanges import Exchange, exchanges_of
from agent.images import text_with_stand_ins
from agent.memory_port import ConversationMemory
from agent.streaming import Patience, stream_answer
from agent.tokens import TokenCounter
from agent.tracing import NO_TRACES, Traces
from agent.wording import SUMMARISER_INSTRUCTIONS, fence, sendable
from memory.records import Message, Position, Summary, Transcript

log = logging.getLogger(__name__)

# Exchanges left out of a summary, where it is made that seldom.
KEPT_VERBATIM = 4

# About 1,000 tokens: three times what the model is asked for, against one that rambles. With a
# small budget it is a quarter of that (4 characters a token), or prompts would have no room for it.
MAX_SUMMARY_CHARS = 4000

# However large a prompt may be, one request for a summary isn't: it is paid for, and waited for.
MAX_REQUEST_TOKENS = 32_000

PAGE = 200


class Summariser:
    """Makes summaries in the background; ``close`` ends what runs."""

    def __init__(
        self,
        memory: ConversationMemory,
        model: BaseChatModel,
        *,
        every_turns: int,
        token_budget: int,
        counter: TokenCounter,
        patience: Patience,
        traces: Traces = NO_TRACES,
    ) -> None:
        """``every_turns``: answers between two summaries, 0 for none at all. ``token_budget``: of
        one request to the model; what doesn't fit goes in several."""
        self._memory = memory
        self._model = model
        self._every = every_turns
        self._kept = min(KEPT_VERBATIM, max(every_turns - 1, 0))
        self._budget = min(token_budget, MAX_REQUEST_TOKENS)
        self._max_chars = min(MAX_SUMMARY_CHARS, self._budget)
        self._counter = counter
        self._patience = patience
        self._traces = traces
        self._background = Background(
            "summary", "The summary could not be renewed; the old one stays."
        )

    def is_due(self, answers: int, summary: Summary | None) -> bool:
        return self._every > 0 and answers - (summary.turns if summary else 0) >= self._every

    @property
    def idle(self) -> bool:
        return self._background.idle

    def start(self, conversation_id: str, at_least: Position) -> None:
        """Summarise in the background if it is due. Returns at once; where there is too much to do,
        it is due again with the conversation's next turn."""
        self._background.start(conversation_id, lambda: self._run(conversation_id, at_least))

    async def close(self) -> None:
        """End what runs; an unfinished summary is due again later."""
        await self._background.close()

    async def _run(self, conversation_id: str, at_least: Position) -> None:
        if await self._memory.claim_summary(conversation_id):
            try:
                await self._summarise(conversation_id, at_least)
            finally:
                await self._memory.release_summary(conversation_id)

    async def _summarise(self, conversation_id: str, at_least: Position) -> None:
        transcript = await self._memory.read(conversation_id, at_least=at_least)
        answers, summary = transcript.position.answers, transcript.summary
        if not self.is_due(answers, summary):
            return
        upto = self._covers_upto(transcript)
        if upto <= (summary.upto if summary else 0):
            return
        async with aclosing(self._batches(conversation_id, summary, upto)) as batches:
            async for batch, is_last in batches:
                text = await self._ask(summary.text if summary else "", batch)
                summary = Summary(
                    text=text,
                    # What was read, which is less than ``upto`` where a turn there is still open.
                    upto=_end(batch),
                    # Until the last batch it stays due, so that a crash in between is made good.
                    turns=answers if is_last else (summary.turns if summary else 0),
                    version=summary.version + 1 if summary else 1,
                )
                revision = transcript.position.revision
                if not await self._memory.save_summary(conversation_id, summary, revision=revision):
                    return
                log.info(
                    "The summary was renewed.",
                    extra={
                        "action": "summary",
                        "conversation_id": conversation_id,
                        "version": summary.version,
                    },
                )

    def _covers_upto(self, transcript: Transcript) -> int:
        """The ``seq`` up to which to summarise: all but the last ``_kept`` answered exchanges."""
        answered = [m.seq for m in transcript.messages if m.type == "ai" and m.seq is not None]
        if len(answered) > self._kept:
            return answered[-self._kept - 1]
        numbered = [m.seq for m in transcript.messages if m.seq is not None]
        # The last answer before the window: answers have even numbers.
        return (numbered[0] - 1) // 2 * 2 if numbered else 0

    async def _batches(
        self, conversation_id: str, summary: Summary | None, upto: int
    ) -> AsyncGenerator[tuple[list[Exchange], bool], None]:
        """Runs of exchanges, each as long as one request may be, and whether it is the last."""
        batch: list[Exchange] = []
        # The old notes count at their bound, whatever they are.
        empty = spent = self._counter.count(self._request("x" * self._max_chars, []))
        async for exchange in self._exchanges(
            conversation_id, summary.upto if summary else 0, upto
        ):
            cost = self._counter.count(self._request("", [exchange])[1:])
            if batch and spent + cost > self._budget:
                yield batch, False
                batch, spent = [], empty
            batch.append(exchange)
            spent += cost
        if batch:
            yield batch, True

    async def _exchanges(
        self, conversation_id: str, after: int, upto: int
    ) -> AsyncGenerator[Exchange, None]:
        """The exchanges between, page by page; one on the edge of two pages is kept whole."""
        held: list[Message] = []
        more = True
        while more:
            page = await self._memory.messages_after(conversation_id, after, PAGE)
            wanted = [m for m in page if m.seq is not None and m.seq <= upto]
            more = len(page) == PAGE and len(wanted) == len(page)
            if wanted:
                after = wanted[-1].seq or after
            exchanges = exchanges_of(held + wanted)
            held = exchanges.pop() if more and exchanges else []
            for exchange in exchanges:
                yield exchange

    async def _ask(self, notes: str, batch: list[Exchange]) -> str:
        """The new notes, cut where they grow past their bound."""
        text = ""
        request = self._request(notes, batch)
        summary = stream_answer(self._model, request, self._patience, self._traces)
        async with aclosing(summary) as chunks:
            async for chunk in chunks:
                text += chunk.text
                if len(text) > self._max_chars:
                    text = text[: self._max_chars].rpartition(" ")[0]
                    break
        if not text.strip():
            raise AnswerFailed("The model gave an empty summary.")
        return text.strip()

    def _request(self, notes: str, batch: list[Exchange]) -> list[BaseMessage]:
        parts = [fence("notes", notes)] if notes else []
        parts += [self._line(message) for exchange in batch for message in exchange]
        return [
            SystemMessage(SUMMARISER_INSTRUCTIONS),
            HumanMessage(sendable("\n".join(part for part in parts if part))),
        ]

    def _line(self, message: Message) -> str:
        """Half the budget in characters bounds a message, so that an exchange of two giants fits
        one request whatever their language."""
        if message.type not in ("human", "ai"):
            return ""
        text = text_with_stand_ins(message)
        bound = max(self._budget // 2, 1)
        text = text if len(text) <= bound else text[:bound] + " […]"
        return fence("user" if message.type == "human" else "assistant", text) if text else ""


def _end(batch: list[Exchange]) -> int:
    return max(message.seq or 0 for exchange in batch for message in exchange)
