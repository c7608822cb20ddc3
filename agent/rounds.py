"""One turn's answer, round by round: what the model is given, and what its calls come to.

All that can go wrong with a tool is told to the model, as the tool's result. An answer that is
taken over begins with what earlier attempts have noted (``agent.tools.uses``): it is put before the
model as if this attempt had done it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.runnables import RunnableConfig

from agent.answering import AnswerChunk, AnswerRequest
from agent.prompt import Prompt
from agent.tokens import TokenCounter
from agent.tools.calls import Call
from agent.tools.guard import REFUSED, Guard
from agent.tools.running import Outcome, Running
from agent.tools.tool import Tool
from agent.tools.uses import IN_DOUBT, Uses
from agent.wording import OUTPUT_TAG, fence
from memory.records import Message, ToolUse, is_imported

log = logging.getLogger(__name__)

MAX_TOGETHER = 16
"""Calls of one round that are run."""
LEAST_OUTPUT_CHARS = 500
"""Of an output, however little room there is."""
USER_MESSAGES = 4
"""That the guard is shown: the question, and what the user said before it."""
REMEMBERED = ("summary", "facts", "recalled")
"""Parts of a prompt that others may have written."""


class Asking(NamedTuple):
    """What one answer is made of."""

    request: AnswerRequest
    model: BaseChatModel
    counter: TokenCounter
    prompt: Prompt
    model_name: str
    tools: Sequence[Tool]
    budget: int
    """In tokens, of everything together."""


class _Plan:
    """What is to become of one call."""

    def __init__(self, call_id: str, name: str, given: dict[str, Any]) -> None:
        self.call_id = call_id
        self.name = name
        self.given = given
        self.tool: Tool | None = None
        """To be run; None where the outcome is known."""
        self.use: ToolUse | None = None
        """None where it was told before."""
        self.outcome: Outcome | None = None

    def is_not_run(self, uses: Uses, why: str) -> None:
        self.tool, self.outcome = None, Outcome("failed", why)
        self.use = uses.refuse(self.call_id, self.name, self.given, why)


class Rounds:
    """One turn's answer, on its way."""

    def __init__(self, asking: Asking, running: Running, guard: Guard) -> None:
        self.usage: dict[str, Any] | None = None
        self.said = False
        self._asking = asking
        self._tools = {tool.name: tool for tool in asking.tools}
        self._running = running
        self._guard = guard
        self._messages: list[BaseMessage] = list(asking.prompt.messages)
        self._outputs: dict[int, str] = {}
        """What tools gave back, by the places of the messages that tell it."""
        self._uses = Uses(asking.request)
        request = asking.request
        self._config: RunnableConfig = {
            "configurable": {
                "conversation_id": request.conversation_id,
                "user_id": request.user_id,
                "turn_id": request.turn_id,
                "question": request.question.content,
            }
        }

    # What the model is given

    def context(self) -> AnswerChunk:
        given = self._asking.prompt.given
        given.tools = self._uses.all
        told = [message for message in self._messages if isinstance(message, ToolMessage)]
        given.tokens["tools"] = self._offer_tokens() + self._asking.counter.count(told)
        return AnswerChunk(context=given.record(self._asking.model_name))

    def fitting(self) -> list[BaseMessage]:
        """The messages, with the longest outputs shortened until all of it fits the budget."""
        count, budget = self._asking.counter.count, self._asking.budget - self._offer_tokens()
        most = max(map(len, self._outputs.values()), default=0)
        while most > LEAST_OUTPUT_CHARS and count(self._messages) > budget:
            most = max(most // 2, LEAST_OUTPUT_CHARS)
            for place, output in self._outputs.items():
                if len(output) > most:
                    message = self._messages[place]
                    shown = f"{output[:most]}\n[more is left out: there is no room for it]"
                    self._messages[place] = message.model_copy(
                        update={"content": fence(OUTPUT_TAG, shown)}
                    )
        return self._messages

    def learn(
        self, messages: list[BaseMessage], usage: dict[str, Any], tools: list[dict[str, Any]]
    ) -> None:
        self._spend(usage)
        offer = self._offer_tokens() if tools else 0
        self._asking.counter.learn(messages, usage.get("input_tokens", 0) - offer)

    def _spend(self, usage: dict[str, Any]) -> None:
        so_far = cast("UsageMetadata | None", self.usage)
        self.usage = dict(add_usage(so_far, cast("UsageMetadata", usage)))

    def _offer_tokens(self) -> int:
        return sum(tool.tokens for tool in self._asking.tools)

    def _tell(self, text: str, plans: Sequence[_Plan]) -> None:
        calls: list[Any] = [
            {"name": plan.name, "args": plan.given, "id": plan.call_id} for plan in plans
        ]
        self._messages.append(AIMessage(content=text, tool_calls=calls))
        for plan in plans:
            status, output = plan.outcome or Outcome("failed", "It was not run.")
            self._outputs[len(self._messages)] = output
            self._messages.append(
                ToolMessage(
                    content=fence(OUTPUT_TAG, output),
                    tool_call_id=plan.call_id,
                    status="error" if status == "failed" else "success",
                )
            )

    # What is done

    async def take_over(self) -> AsyncGenerator[AnswerChunk, None]:
        """What earlier attempts did is told as done; what may be repeated is done again."""
        plans = []
        for use in self._uses.earlier:
            plan = _Plan(use.id, use.name, use.input)
            plan.use = use
            if use.status != "started":
                plan.outcome = Outcome(use.status, use.output or "")
                self._uses.is_known(use)
            elif use.may_repeat and (tool := self._tools.get(use.name)) and tool.may_repeat:
                plan.tool = tool
            else:
                plan.outcome = Outcome("failed", IN_DOUBT)
                plan.use = self._uses.end(use, plan.outcome)
                self._uses.is_in_doubt(use)
            plans.append(plan)
        if not plans:
            return
        async with aclosing(self._carry_out(plans)) as chunks:
            async for chunk in chunks:
                yield chunk
        for plan in plans:
            if plan.tool is not None and plan.use is not None:
                self._uses.is_known(plan.use)
        self._tell("", plans)
        yield self.context()

    async def round(self, text: str, calls: Sequence[Call]) -> AsyncGenerator[AnswerChunk, None]:
        ids: set[str] = set()
        plans = []
        for place, call in enumerate(calls):
            call_id = call.id if call.id and call.id not in ids else f"call_{place}"
            ids.add(call_id)
            plans.append(self._planned(place, call_id, call))
        await self._look_at_changes(plans)
        for plan in plans:
            if plan.tool is not None:
                plan.use = self._uses.begin(plan.call_id, plan.tool, plan.given)
        async with aclosing(self._carry_out(plans)) as chunks:
            async for chunk in chunks:
                yield chunk
        self._tell(text, plans)

    def _planned(self, place: int, call_id: str, call: Call) -> _Plan:
        uses = self._uses
        try:
            plan = _Plan(call_id, call.name, call.input())
        except ValueError as error:
            plan = _Plan(call_id, call.name, {})
            plan.is_not_run(uses, str(error))
            return plan
        recorded = uses.recorded(plan.name, plan.given)
        tool = self._tools.get(plan.name)
        if recorded is not None and recorded.status != "started":
            plan.outcome = Outcome(recorded.status, recorded.output or "")
        elif uses.doubts(plan.name, plan.given):
            plan.is_not_run(uses, IN_DOUBT)
        elif tool is None:
            names = ", ".join(self._tools)
            plan.is_not_run(uses, f"There is no such tool. There are: {names}.")
        elif place >= MAX_TOGETHER:
            plan.is_not_run(uses, f"It was not run: {MAX_TOGETHER} at a time are the most.")
        elif uses.are_too_many:
            plan.is_not_run(uses, "It was not run: there were too many uses of tools already.")
        elif (misfit := tool.misfit(plan.given)) is not None:
            plan.is_not_run(uses, f"The arguments don't fit: {misfit}")
        else:
            plan.tool = tool
        return plan

    async def _look_at_changes(self, plans: Sequence[_Plan]) -> None:
        """See ``agent.tools.guard``."""
        looked_at = [plan for plan in plans if plan.tool is not None and plan.tool.changes]
        if not looked_at or not self._has_read_others():
            return
        before = [each for each in self._asking.prompt.given.window if each.type == "human"]
        asked = [*before, self._asking.request.question]
        said = [_text(each.content) for each in asked if not self._is_imported(each)]
        if not said:
            for plan in looked_at:
                plan.is_not_run(self._uses, REFUSED)
            return
        said = said[-USER_MESSAGES:]
        looks = [
            asyncio.ensure_future(self._guard.look(self._asking.model, said, plan.name, plan.given))
            for plan in looked_at
        ]
        try:
            verdicts = await asyncio.gather(*looks)
        finally:
            for look in looks:
                look.cancel()
        for plan, verdict in zip(looked_at, verdicts, strict=True):
            if verdict.usage is not None:
                self._spend(verdict.usage)
            if verdict.refusal is not None:
                log.info(
                    "A tool was not run: the user did not ask for what it changes.",
                    extra={"action": "tool_refused", "tool": plan.name},
                )
                plan.is_not_run(self._uses, verdict.refusal)

    def _has_read_others(self) -> bool:
        """Whether the model was given anything that is neither the operator's nor the user's. Its
        own answers count as others': who has misled it once would do so again by them. So do
        images, because of what may be written in them, and what came with a document."""
        tokens = self._asking.prompt.given.tokens
        return (
            any(tokens.get(part) for part in REMEMBERED)
            or self._is_imported(self._asking.request.question)
            or any(
                isinstance(message, AIMessage | ToolMessage) or not isinstance(message.content, str)
                for message in self._messages
            )
        )

    def _is_imported(self, message: Message) -> bool:
        request = self._asking.request
        return is_imported(message, request.user_id, request.conversation_id)

    async def _carry_out(self, plans: Sequence[_Plan]) -> AsyncGenerator[AnswerChunk, None]:
        """Run what is to be run, all of it at once; told as it begins and ends."""
        to_run = [plan for plan in plans if plan.tool is not None]
        if to_run and not await self._uses.note():
            for plan in to_run:
                if plan.tool is not None and plan.use is not None and not plan.tool.may_repeat:
                    plan.outcome = Outcome("failed", NOT_NOTED)
                    plan.use = self._uses.end(plan.use, plan.outcome)
                    plan.tool = None
        for plan in plans:
            if plan.use is not None:
                yield AnswerChunk(tool=plan.use)
        if to_run:
            yield self.context()  # it may be stopped before it knows more
        under_way = {
            asyncio.create_task(self._running.run(plan.tool, plan.given, self._config)): plan
            for plan in to_run
            if plan.tool is not None
        }
        try:
            while under_way:
                done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                ended = []
                for task in [task for task in under_way if task in done]:
                    plan = under_way.pop(task)
                    plan.outcome = task.result()
                    if plan.use is not None:
                        plan.use = self._uses.end(plan.use, plan.outcome)
                    ended.append(plan)
                await self._uses.note()  # what ends meanwhile is in the next one
                for plan in ended:
                    yield AnswerChunk(tool=plan.use)
        finally:
            for task in under_way:
                task.cancel()


NOT_NOTED = (
    "It was not run: it must not be done twice, and that it was begun can't be kept in mind now."
)


def _text(content: str | list[Any]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(
        str(block.get("text", "")) if isinstance(block, dict) else str(block) for block in content
    )
