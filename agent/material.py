"""What a question's prompt is made of: gathered from where it is kept, and put together.

Only the conversation itself has to be had. Images, facts about the user and what a search finds are
left out where they can't, and the context says so.
"""

from __future__ import annotations

from functools import partial

from agent.answering import AnswerRequest
from agent.choosing import Chosen
from agent.facts import PersonMemory
from agent.images import AttachmentSource, read_images
from agent.prompt import Prompt, build_prompt
from agent.recall import Recall
from agent.tools.offering import Offer
from agent.wording import TOOLS_PREAMBLE
from memory.errors import RememberingError, Unavailable
from memory.facts import Fact
from memory.records import Transcript


class Material:
    def __init__(
        self,
        *,
        budget: int,
        attachments: AttachmentSource | None,
        person: PersonMemory | None,
        facts_budget: int,
        recall: Recall | None,
    ) -> None:
        """``budget`` and ``facts_budget`` in tokens. None: there is nothing of the kind."""
        self._budget = budget
        self._attachments = attachments
        self._person = person
        self._facts_budget = facts_budget
        self._recall = recall

    async def prompt(
        self, request: AnswerRequest, transcript: Transcript, chosen: Chosen, offer: Offer
    ) -> Prompt:
        """With room for what is offered."""
        left_out: list[str] = []
        facts = await self._facts(request, left_out)
        images = await read_images(
            self._attachments, request.conversation_id, transcript, request.question
        )
        build = partial(
            build_prompt,
            transcript,
            request.question,
            system_prompt=_with_tools(chosen.system_prompt, offer),
            budget=self._budget - offer.room(self._budget),
            counter=chosen.counter,
            images=images,
            facts=facts,
            facts_budget=self._facts_budget,
        )
        prompt = build()
        if self._recall is not None and not prompt.given.is_whole:
            # What is left out may be what is asked about.
            try:
                recalled = await self._recall.of(
                    request.user_id, request.conversation_id, request.question, prompt.given.window
                )
            except Unavailable:
                left_out.append("recall: unavailable")
            else:
                prompt = build(recalled=recalled)
        prompt.given.left_out += left_out
        prompt.given.budget = self._budget
        return prompt

    async def _facts(self, request: AnswerRequest, left_out: list[str]) -> list[Fact]:
        if self._person is None:
            return []
        try:
            return await self._person.known(
                request.user_id, request.conversation_id, request.position.revision
            )
        except RememberingError:
            left_out.append("facts: unavailable")
            return []


def _with_tools(system_prompt: str, offer: Offer) -> str:
    """Tools that only search say themselves what they give."""
    if not offer.tools or offer.is_optional:
        return system_prompt
    return f"{system_prompt}\n\n{TOOLS_PREAMBLE}" if system_prompt else TOOLS_PREAMBLE
