"""The agent: answers a question with what memory holds of its conversation and a chat model."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType

from agent.answering import AnswerChunk, AnswerRequest, Untitled
from agent.choosing import Choosing, Chosen
from agent.errors import AnswerFailed, ProviderRejected
from agent.facts import FactKeeper, PersonMemory
from agent.finding import Finder
from agent.images import AttachmentSource
from agent.loop import Loop
from agent.material import Material
from agent.memory_port import ConversationMemory
from agent.models import Model
from agent.own.agent import OwnAgent
from agent.recall import Recall
from agent.rounds import Asking
from agent.streaming import Patience
from agent.summary import Summariser
from agent.threads import DaemonThreads
from agent.titles import Titles
from agent.tokens import TokenCounter
from agent.tools.builtin import search_tools
from agent.tools.offering import NOTHING, Offer, Offering
from agent.tools.running import Running
from agent.tools.tool import Tool
from agent.tracing import NO_TRACES, Traces
from memory.records import Position, Transcript

# Turns with whose end their conversation's summary is due; more than can run at a time.
MAX_DUE = 10_000

NO_PROMPTS: Mapping[str, str] = MappingProxyType({})


# Uses of tools that are not async at a time. One that hangs keeps its thread.
TOOL_THREADS = 64


class ChatAgent:
    """An ``agent.answering.Agent`` on a LangChain chat model."""

    def __init__(
        self,
        memory: ConversationMemory,
        model: Model,
        *,
        attachments: AttachmentSource | None = None,
        system_prompt: str,
        system_prompts: Mapping[str, str] = NO_PROMPTS,
        context_token_budget: int,
        summary_every_turns: int,
        idle_timeout: float,
        titles: bool = False,
        person: PersonMemory | None = None,
        facts_token_budget: int = 500,
        tools: Sequence[Tool] = (),
        tool_max_rounds: int = 8,
        finder: Finder | None = None,
        recall: bool = True,
        search: bool = False,
        retry_within: float = Patience().retry_within,
        own: OwnAgent | None = None,
        traces: Traces = NO_TRACES,
    ) -> None:
        """``attachments`` is what messages' images are read from. ``system_prompts`` are those that
        a conversation may choose, by their names.
        ``idle_timeout`` and ``retry_within`` in seconds. 0 means: no limit of the context, no
        summary, no idle time-out.

        ``person``: what is remembered across conversations, None for nothing;
        ``facts_token_budget`` is what of a prompt it may take.

        ``titles``: whether to make them; the offline demo model makes none. ``tools`` are offered
        to models that take any, in up to ``tool_max_rounds`` rounds an answer.

        ``finder`` finds what was said before; None: nothing is looked for. With ``recall`` it is
        asked for what a long conversation's prompt leaves out, with ``search`` models that take
        tools are offered to ask it themselves.

        Takes over ``model`` and ``own``: ``close`` closes them. Where there is one of the
        operator's ``own``, it answers, and ``model`` does what is done in the background; the demo
        model then does nothing.
        """
        self._memory = memory
        self._model = model
        self._own = own
        self._budget = context_token_budget or sys.maxsize
        self._patience = Patience(idle=idle_timeout or None, retry_within=retry_within)
        self._counter = TokenCounter()
        self._choosing = Choosing(model, self._counter, system_prompt, system_prompts)
        self._summariser = Summariser(
            memory,
            model.chat,
            every_turns=0 if own is not None and model.is_demo else summary_every_turns,
            token_budget=self._budget,
            counter=self._counter,
            patience=self._patience,
            traces=traces,
        )
        self._traces = traces
        self.tools = [] if own is not None or model.is_demo else [tool.name for tool in tools]
        """The names of the operator's that the model is offered."""
        self._offering = Offering(tools, search_tools(finder) if finder and search else ())
        self._running = Running(DaemonThreads(TOOL_THREADS), traces)
        self._loop = Loop(self._running, self._patience, max_rounds=tool_max_rounds, traces=traces)
        self._material = Material(
            budget=self._budget,
            attachments=attachments,
            person=person,
            facts_budget=facts_token_budget,
            recall=Recall(finder) if finder is not None and recall else None,
        )
        self._titles: Titles | None = None
        if titles and not model.is_demo:
            self._titles = Titles(model.chat, patience=self._patience, traces=traces)
        self._facts: FactKeeper | None = None
        if person is not None and not (own is not None and model.is_demo):
            self._facts = FactKeeper(
                person,
                memory,
                model.chat,
                token_budget=self._budget,
                counter=self._counter,
                patience=self._patience,
                traces=traces,
            )
        self._due: dict[str, Position] = {}
        self._state = "not asked yet"

    @property
    def description(self) -> str:
        return self._own.description if self._own else self._model.description

    @property
    def state(self) -> str:
        return self._state

    async def answer(self, request: AnswerRequest) -> AsyncGenerator[AnswerChunk, None]:
        transcript = request.transcript or await self._memory.read(
            request.conversation_id, at_least=request.position
        )
        self._note_if_due(request.turn_id, transcript)
        chosen = self._choosing.choose(request)
        offer = NOTHING if self._own is not None else self._offering.to(chosen.chat)
        try:
            said = False
            try:
                async with aclosing(self._asked(request, transcript, chosen, offer)) as chunks:
                    async for chunk in chunks:
                        said = said or chunk.context is None
                        yield chunk
            except ProviderRejected as rejected:
                if said or not offer.is_optional or not rejected.is_about_the_request:
                    raise
                async with aclosing(self._asked(request, transcript, chosen, NOTHING)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                self._offering.refused_by(chosen.chat)
        except AnswerFailed as failed:
            self._state = f"the last answer failed: {failed}"
            raise
        self._state = "ok"

    async def _asked(
        self, request: AnswerRequest, transcript: Transcript, chosen: Chosen, offer: Offer
    ) -> AsyncGenerator[AnswerChunk, None]:
        prompt = await self._material.prompt(request, transcript, chosen, offer)
        span = self._traces.begin("prompt", prompt.given.measures(), kind="internal")
        span.end()
        if self._own is not None:
            await request.admitted()
            answer = self._own.answer(request, prompt, chosen.model)
        else:
            yield AnswerChunk(context=prompt.given.record(chosen.model))
            asking = Asking(
                request=request,
                model=chosen.chat,
                counter=chosen.counter,
                prompt=prompt,
                model_name=chosen.model,
                tools=offer.tools,
                budget=self._budget,
            )
            answer = self._loop.answer(asking)
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                yield chunk

    def turn_ended(self, conversation_id: str, user_id: str, turn_id: str) -> None:
        at_least = self._due.pop(turn_id, None)
        if at_least is not None:
            self._summariser.start(conversation_id, at_least)
        if self._facts is not None:
            self._facts.start(conversation_id, user_id)

    def first_answered(self, untitled: Untitled) -> None:
        if self._titles is not None:
            self._titles.start(untitled)

    async def close(self) -> None:
        for worker in (self._titles, self._facts):
            if worker is not None:
                await worker.close()
        await self._summariser.close()
        if self._own is not None:
            await self._own.close()
        await self._running.close()
        await self._model.close()

    def _note_if_due(self, turn_id: str, transcript: Transcript) -> None:
        """Judged from what the answer read anyway, so that most turns' end costs nothing."""
        if self._summariser.is_due(transcript.position.answers + 1, transcript.summary):
            if len(self._due) >= MAX_DUE:
                self._due.pop(next(iter(self._due)))
            self._due[turn_id] = transcript.position
