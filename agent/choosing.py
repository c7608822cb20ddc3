"""What a turn is answered with: its conversation's choice, as names of models and prompts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel

from agent.answering import AnswerRequest
from agent.models import Model
from agent.tokens import TokenCounter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    model: str
    """Its name."""
    chat: BaseChatModel
    counter: TokenCounter
    """Models count differently: each has its own."""
    system_prompt: str


class Choosing:
    """``choose`` never fails: what is not to be had any more is the default."""

    def __init__(
        self,
        model: Model,
        counter: TokenCounter,
        system_prompt: str,
        system_prompts: Mapping[str, str],
    ) -> None:
        """``counter`` is the default model's."""
        self._default = (model.name, model.chat, counter)
        self._models = {name: (name, chat, TokenCounter()) for name, chat in model.others.items()}
        self._models[model.name] = self._default
        self._prompt = system_prompt
        self._prompts = system_prompts

    def choose(self, request: AnswerRequest) -> Chosen:
        choice = request.choice
        name, chat, counter = self._default
        prompt = self._prompt
        if choice.model is not None:
            if choice.model in self._models:
                name, chat, counter = self._models[choice.model]
            else:
                self._missing("model", choice.model, request)
        if choice.system_prompt is not None:
            if choice.system_prompt in self._prompts:
                prompt = self._prompts[choice.system_prompt]
            else:
                self._missing("system prompt", choice.system_prompt, request)
        return Chosen(model=name, chat=chat, counter=counter, system_prompt=prompt)

    def _missing(self, what: str, name: str, request: AnswerRequest) -> None:
        """The operator has taken it off the list since it was chosen."""
        log.warning(
            "The %s that was chosen is not offered any more: the default answers.",
            what,
            extra={
                "action": "choice_missing",
                "choice": name,
                "conversation_id": request.conversation_id,
                "turn_id": request.turn_id,
            },
        )
