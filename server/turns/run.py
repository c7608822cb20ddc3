"""One run of one turn: the agent answers, the feed shows it, the store keeps how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import orjson
from msgspec.structs import replace

from agent.answering import Agent, AnswerRequest
from agent.errors import AnswerFailed
from memory.errors import NotFound, Unavailable
from memory.records import (
    Answer,
    MessageStatus,
    Position,
    ToolUse,
    Transcript,
    Turn,
    TurnError,
    TurnStatus,
    derived_id,
    question_of,
)
from server import shapes
from server.clock import now_ms
from server.feed.checkpoints import SoFar
from server.feed.feeds import SAID_EVERY, SAID_EVERY_CHARS, Feeds
from server.turns.counts import TurnCounts
from server.turns.frames import Frames, Pace
from stores.contract import TurnStore
from stores.usage import used_by

log = logging.getLogger(__name__)

# A finished answer waits for an absent store: between tries this many seconds, doubling.
CHARS_OF_A_TOKEN = 4

FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 2.0

# How long a frame is on its way is measured for one in so many.
MEASURED_EVERY = 16

# What an event of a tool has besides its output, about: its input, more than anything.
TOOL_CHARS = 1_000

MESSAGE_STATUS: dict[TurnStatus, MessageStatus] = {
    "completed": "complete",
    "stopped": "stopped",
    "failed": "interrupted",
}


class Run:
    """Awaited by ``Answering``, which holds it. ``stop`` and ``abandon`` take effect at once."""

    def __init__(
        self,
        turn: Turn,
        position: Position,
        *,
        agent: Agent,
        feeds: Feeds,
        turns: TurnStore,
        counts: TurnCounts,
        lease_until: float,
        doubted: Callable[[Run], None],
        pace: Pace,
        transcript: Transcript | None = None,
    ) -> None:
        """``doubted`` is called where the log takes this run for one that is over.

        With a ``transcript`` it is begun ahead: what can't be undone waits for ``admit``. The
        provider is asked, no tool runs, and nobody is told anything.
        """
        self.turn = turn
        self.lease_until = lease_until  # by time.monotonic(): past it, another may be writing
        self._position = position
        self._transcript = transcript
        self._decided = asyncio.Event()
        """Set once it is admitted, or abandoned."""
        self._agent = agent
        self._feeds = feeds
        self._turns = turns
        self._counts = counts
        self._doubted = doubted
        self._frames = Frames(self._send, pace)
        self._usage: dict[str, Any] | None = None
        self._context: dict[str, Any] | None = None
        self._ending: Literal["stopped", "abandoned"] | None = None
        self._generation: asyncio.Task[None] | None = None
        self._began = 0.0
        self.ended = asyncio.Event()
        self._is_kept = False
        self._tools: dict[str, dict[str, Any]] = {}
        """What was told last of each use of a tool, by its id."""
        self._next_tool = 0
        self._unsaid = 0
        """Characters told since all was told in one."""

    @property
    def is_decided(self) -> bool:
        return self._decided.is_set()

    def admit(self) -> None:
        """It is wanted: the turn is told to have started, and its answer as it comes."""
        if not self._decided.is_set():
            self._decided.set()
            self._feeds.started(self.turn, self)

    async def wait_ended(self, timeout: float) -> None:
        """Wait until the end is in the store, or for ``timeout`` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), timeout)

    def stop(self) -> None:
        """End the provider's stream, and keep what was streamed."""
        self._end("stopped")

    def untold(self, ended: Turn | None) -> int:
        """Tokens that were used, and that no answer which is kept tells of. What a provider would
        have told at the end of an answer that was broken off is estimated: the prompt was sent."""
        told = used_by(ended.answer.usage if ended and ended.answer else None).total_tokens
        used = used_by(self._usage).total_tokens
        if self._ending is not None and self._context is not None:
            said = len(self._frames.text) // CHARS_OF_A_TOKEN
            used = max(used, int(self._context["tokens"]["total"]) + said)
        return max(used - told, 0)

    def abandon(self) -> None:
        """The turn is another server's now, or nobody's: not another word of it from here."""
        self._end("abandoned")
        self._decided.set()

    def _end(self, ending: Literal["stopped", "abandoned"]) -> None:
        if self._ending is None:
            self._ending = ending
            if self._generation is not None:
                self._generation.cancel()

    def holds(self) -> bool:
        """Whether what it says may still be told: past its lease another may be saying it, unless
        this run's end is in the store."""
        if self._is_kept:
            return True
        return self._ending != "abandoned" and time.monotonic() < self.lease_until

    def is_stale(self) -> None:
        """The log would not take its word."""
        if self.holds():
            self._doubted(self)
        else:
            self.abandon()

    def said(self) -> SoFar:
        """What was told of it, at this moment."""
        return SoFar(
            self.turn.attempt,
            self._frames.sent,
            self._frames.next_index,
            list(self._tools.values()),
            self._next_tool,
        )

    @property
    def _ids(self) -> dict[str, str]:
        """For a line of the log."""
        return {"conversation_id": self.turn.conversation_id, "turn_id": self.turn.id}

    def _send(self, index: int, text: str) -> None:
        if not self.holds():
            self.abandon()
            return
        self._unsaid += len(text)
        said = used = ""
        if (index + 1) % SAID_EVERY == 0 or self._unsaid > SAID_EVERY_CHARS:
            said, used = self._all_of_it()
        self._counts.deltas += 1
        told = None
        if index % MEASURED_EVERY == 0:
            told = partial(self._counts.delivered, self._frames.since)
            if index == 0:
                self._counts.first_token.observe(time.monotonic() - self._began)
        self._feeds.delta(self.turn, index, text, self, said, told, used)

    def _tell(self, use: ToolUse) -> None:
        """A use of a tool goes to the feed behind the text that came before it."""
        self._frames.flush()
        if not self.holds():
            self.abandon()
            return
        shape = shapes.tool_shape(use)
        before = self._tools.get(shape["id"])
        self._tools[shape["id"]] = shape
        # What was not begun by this attempt did not run here.
        if before is not None and before["status"] == "started" != use.status:
            self._counts.used_tool(use)
        index, self._next_tool = self._next_tool, self._next_tool + 1
        self._unsaid += len(shape.get("output", "")) + TOOL_CHARS
        said = used = ""
        if self._unsaid > SAID_EVERY_CHARS:
            said, used = self._all_of_it()
        self._feeds.tool(self.turn, index, use, self, said, used)

    def _all_of_it(self) -> tuple[str, str]:
        """What was said and used by now, for who takes up the log from there."""
        self._unsaid = 0
        tools = orjson.dumps(list(self._tools.values())).decode() if self._tools else ""
        return self._frames.sent, tools

    async def result(self) -> Turn | None:
        """Answer; the ended turn, or None when it was abandoned."""
        self._began = time.monotonic()
        if self._began >= self.lease_until:
            self.abandon()
            return None  # so long on its way here that another may have it
        if self._transcript is None:
            self.admit()
        if self._ending is None:
            self._generation = asyncio.create_task(
                self._generate(), name=f"generation {self.turn.id}"
            )
            try:
                await asyncio.wait({self._generation})
            except asyncio.CancelledError:
                self.abandon()
                await asyncio.wait({self._generation})
                raise
        await self._decided.wait()
        self._frames.end()
        status, error = self._outcome()
        if status is None:
            return None
        ended = await self._finish(status, error)
        self._is_kept = ended is not None
        took = time.monotonic() - self._began
        if self._usage is not None:
            self._counts.used(self._usage)
        if ended is not None:
            self._counts.duration.observe(took)
        log.info(
            "A turn ended.",
            extra={
                "action": "turn_ended",
                **self._ids,
                "attempt": self.turn.attempt,
                "status": status if ended else "lost",
                "seconds": round(took, 3),
            },
        )
        return ended

    async def _generate(self) -> None:
        request = AnswerRequest(
            conversation_id=self.turn.conversation_id,
            user_id=self.turn.user_id,
            turn_id=self.turn.id,
            attempt=self.turn.attempt,
            question=question_of(self.turn),
            position=self._position,
            transcript=self._transcript,
            admitted=self._admission,
            choice=self.turn.choice,
            tools=self.turn.tools,
            pause=self._frames.over,
            note_tools=self._note_tools,
        )
        async with contextlib.aclosing(self._agent.answer(request)) as chunks:
            async for chunk in chunks:
                if chunk.text or chunk.tool is not None:
                    await self._admission()
                if chunk.text:
                    self._frames.add(chunk.text)
                if chunk.tool is not None:
                    self._tell(chunk.tool)
                if chunk.usage is not None:
                    self._usage = chunk.usage
                if chunk.context is not None:
                    self._context = chunk.context

    async def _admission(self) -> None:
        if not self._decided.is_set():
            await self._decided.wait()  # where it is abandoned, it is cancelled as well

    async def _note_tools(self, uses: list[ToolUse]) -> None:
        """See ``AnswerRequest``. Called by the generation, which an abandoned run cancels."""
        await self._admission()
        noted = replace(self.turn, tools=uses)
        if not await self._turns.note_tools(self.turn, uses):
            self.abandon()
            raise AnswerFailed("The turn is another server's.")
        self.turn = noted

    def _outcome(self) -> tuple[TurnStatus | None, TurnError | None]:
        """How the generation ended; no status when it was abandoned."""
        if self._ending == "abandoned":
            return None, None
        generation = self._generation
        if self._ending == "stopped" or generation is None or generation.cancelled():
            return "stopped", None
        failure = generation.exception()
        if failure is None and self._frames.text:
            return "completed", None
        return "failed", self._explain(failure)

    def _explain(self, failure: BaseException | None) -> TurnError:
        if failure is None:
            return TurnError(
                code="unavailable", message="The model answered with nothing.", retryable=True
            )
        if isinstance(failure, AnswerFailed):
            return TurnError(code=failure.code, message=str(failure), retryable=failure.retryable)
        if isinstance(failure, Unavailable):
            return TurnError(
                code="unavailable",
                message="The conversation can't be read at the moment.",
                retryable=True,
            )
        if isinstance(failure, NotFound):
            return TurnError(
                code="not_found", message="The conversation was deleted.", retryable=False
            )
        log.error(
            "An agent raised what it should not.",
            extra={"action": "turn_error", **self._ids},
            exc_info=failure,
        )
        return TurnError(code="internal", message="The answer could not be made.", retryable=True)

    async def _finish(self, status: TurnStatus, error: TurnError | None) -> Turn | None:
        """Keep the end; for as long as it takes, because it can't be made again for free."""
        answer = None
        if self._frames.text:
            answer = Answer(
                message_id=derived_id("answer", self.turn.id),
                content=self._frames.text,
                status=MESSAGE_STATUS[status],
                created_at=now_ms(),
                usage=self._usage,
            )
        delay = FIRST_RETRY_SECONDS
        context = self._context
        while True:
            try:
                return await self._turns.finish(self.turn, status, answer, error, context)
            except ValueError:
                # What no store can keep will not be kept by the next try either.
                if context is not None:
                    log.exception("What an answer was made of can't be kept.", extra=self._ids)
                    context = None
                    continue
                log.exception("An answer can't be kept.", extra=self._ids)
                status, answer = "failed", None
                error = TurnError(
                    code="internal", message="The answer could not be kept.", retryable=True
                )
            except Unavailable:
                log.warning(
                    "An answer waits for the store.",
                    extra={"action": "finish_waits", **self._ids},
                )
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY_SECONDS)
