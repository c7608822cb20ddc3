"""The agent: answers a question with what memory holds of its conversation and a chat model."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from types import MappingProxyType

from langchain_core.language_models import BaseChatModel

from agent.answering import AnswerChunk, AnswerRequest, Untitled
from agent.choosing import Choosing
from agent.errors import AnswerFailed
from agent.facts import FactKeeper, PersonMemory
from agent.images import AttachmentSource, read_images
from agent.loop import Asking, Loop
from agent.memory_port import ConversationMemory
from agent.models import Model
from agent.own.agent import OwnAgent
from agent.prompt import build_prompt
from agent.recall import Finder, Recall
from agent.streaming import Patience, stream_answer, takes_tools
from agent.summary import Summariser
from agent.threads import DaemonThreads
from agent.titles import Titles
from agent.tokens import TokenCounter
from agent.tools.builtin import search_tools
from agent.tools.running import Running
from agent.tools.tool import Tool
from agent.tracing import NO_TRACES, Traces
from agent.wording import TOOLS_PREAMBLE
from memory.errors import RememberingError, Unavailable
from memory.facts import Fact
from memory.records import Position, Transcript

# Conversations whose summary is due once their answer has ended; more than can run at a time.
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

        ``finder`` is asked for what a long conversation's prompt leaves out; None: nobody is.

        Takes over ``model`` and ``own``: ``close`` closes them. Where there is one of the
        operator's ``own``, it answers, and ``model`` does what is done in the background; the demo
        model then does nothing.
        """
        self._memory = memory
        self._attachments = attachments
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
        self._tools = tools
        if tools and finder is not None:
            taken = {tool.name for tool in tools}
            self._tools = [*tools, *(t for t in search_tools(finder) if t.name not in taken)]
        self._running = Running(DaemonThreads(TOOL_THREADS), traces)
        self._loop = Loop(self._running, self._patience, max_rounds=tool_max_rounds, traces=traces)
        self._titles: Titles | None = None
        if titles and not model.is_demo:
            self._titles = Titles(model.chat, patience=self._patience, traces=traces)
        self._person = person
        self._facts_budget = facts_token_budget
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
        self._recall = Recall(finder) if finder is not None else None
        self._due: dict[str, Position] = {}
        self._state = "not asked yet"

    @property
    def description(self) -> str:
        return self._own.description if self._own else self._model.description

    @property
    def state(self) -> str:
        return self._state

    async def answer(self, request: AnswerRequest) -> AsyncGenerator[AnswerChunk, None]:
        transcript = await self._memory.read(request.conversation_id, at_least=request.position)
        self._note_if_due(request.conversation_id, transcript)
        chosen = self._choosing.choose(request)
        images = await read_images(
            self._attachments, request.conversation_id, transcript, request.question
        )
        facts = await self._known(request)
        tools = () if self._own is not None else self._offered(chosen.chat)
        build = partial(
            build_prompt,
            transcript,
            request.question,
            system_prompt=_with_tools(chosen.system_prompt) if tools else chosen.system_prompt,
            budget=self._budget - self._kept_for(tools),
            counter=chosen.counter,
            images=images,
            facts=facts or (),
            facts_budget=self._facts_budget,
        )
        prompt = build()
        unavailable: list[str] = []
        if self._recall is not None and not prompt.given.is_whole:
            # What is left out may be what is asked about.
            try:
                recalled = await self._recall.of(
                    request.user_id, request.conversation_id, request.question, prompt.given.window
                )
            except Unavailable:
                unavailable.append("recall: unavailable")
            else:
                prompt = build(recalled=recalled)
        if facts is None:
            unavailable.append("facts: unavailable")
        prompt.given.left_out += unavailable
        prompt.given.budget = self._budget
        span = self._traces.begin("prompt", prompt.given.measures(), kind="internal")
        span.end()
        is_plain = self._own is None and not tools and not request.tools
        if self._own is not None:
            answer = self._own.answer(request, prompt, chosen.model)
        elif not is_plain:
            yield AnswerChunk(context=prompt.given.record(chosen.model))
            answer = self._loop.answer(
                Asking(
                    request=request,
                    model=chosen.chat,
                    counter=chosen.counter,
                    prompt=prompt,
                    model_name=chosen.model,
                    tools=tools,
                    budget=self._budget,
                )
            )
        else:
            yield AnswerChunk(context=prompt.given.record(chosen.model))
            answer = stream_answer(chosen.chat, prompt.messages, self._patience, self._traces)
        try:
            async with aclosing(answer) as chunks:
                async for chunk in chunks:
                    if chunk.usage is not None and is_plain:
                        chosen.counter.learn(prompt.messages, chunk.usage.get("input_tokens", 0))
                    yield chunk
        except AnswerFailed as failed:
            self._state = f"the last answer failed: {failed}"
            raise
        self._state = "ok"

    def turn_ended(self, conversation_id: str, user_id: str) -> None:
        at_least = self._due.pop(conversation_id, None)
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

    async def _known(self, request: AnswerRequest) -> list[Fact] | None:
        """What is remembered of the user; None where that can't be had: the answer does without."""
        if self._person is None:
            return []
        try:
            return await self._person.known(
                request.user_id, request.conversation_id, request.position.revision
            )
        except RememberingError:
            return None

    def _offered(self, chat: BaseChatModel) -> Sequence[Tool]:
        """What this model may use for an answer. Where the operator has tools, and so a model that
        takes any, it may search as well."""
        return self._tools if self._tools and takes_tools(chat) else ()

    def _kept_for(self, tools: Sequence[Tool]) -> int:
        """Tokens that the window leaves to the tools: to tell of them, and for what they give."""
        if not tools:
            return 0
        return min(sum(tool.tokens for tool in tools) + self._budget // 4, self._budget // 2)

    def _note_if_due(self, conversation_id: str, transcript: Transcript) -> None:
        """Judged from what the answer read anyway, so that most turns' end costs nothing."""
        if self._summariser.is_due(transcript.position.answers + 1, transcript.summary):
            if len(self._due) >= MAX_DUE:
                self._due.pop(next(iter(self._due)))
            self._due[conversation_id] = transcript.position


def _with_tools(system_prompt: str) -> str:
    return f"{system_prompt}\n\n{TOOLS_PREAMBLE}" if system_prompt else TOOLS_PREAMBLE
