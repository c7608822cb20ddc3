"""The offline demo model: no network, no intelligence, and honest about both.

It streams like a real one and shows that the conversation is remembered; what it says is decided by
``agent.demo_replies``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from agent.demo_replies import is_facts_request, is_summary_request, reply_to


class DemoChatModel(BaseChatModel):
    """Deterministic: the same messages give the same answer."""

    delay: float = 0.03
    """Seconds before each word: about the pace of a real model."""

    @property
    def model_name(self) -> str:
        return "offline demo model"

    @property
    def _llm_type(self) -> str:
        return "mnemosio-demo"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = reply_to(messages)
        message = AIMessage(
            content=text,
            usage_metadata=_usage(messages, text),
            response_metadata={"finish_reason": "stop"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        text = reply_to(messages)
        is_unseen = is_summary_request(messages) or is_facts_request(messages)
        delay = 0.0 if is_unseen else self.delay
        for word in re.findall(r"\s*\S+\s*$|\s*\S+", text):
            await asyncio.sleep(delay)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        yield ChatGenerationChunk(
            message=AIMessageChunk(content="", usage_metadata=_usage(messages, text)),
            generation_info={"finish_reason": "stop"},
        )


def _usage(messages: list[BaseMessage], text: str) -> UsageMetadata:
    given = count_tokens_approximately(messages)
    said = count_tokens_approximately([AIMessage(content=text)])
    return UsageMetadata(input_tokens=given, output_tokens=said, total_tokens=given + said)
