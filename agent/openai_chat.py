"""ChatOpenAI, with less work for each token of a plain stream.

Its interface is ChatOpenAI's, and so is every chunk it gives (tests/agent/test_openai_chat.py holds
the two against each other). What is unusual is left to it: the Responses API, structured output,
a watcher that wants to hear of each token (LangSmith and other callbacks), response headers.

What makes ChatOpenAI's stream dear: a model of the SDK's for each event; a message and a generation
of LangChain's for each, checked and merged; and two looks through the whole request, for what would
have to be renamed in it, and at each character for what might be sound.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import openai
from langchain_core.callbacks import AsyncCallbackManager, AsyncCallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    BaseMessageChunk,
    HumanMessage,
)
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.utils.utils import LC_ID_PREFIX
from langchain_core.utils.uuid import uuid7
from langchain_openai import ChatOpenAI
from langchain_openai.chat_models.base import _handle_openai_api_error, _handle_openai_bad_request
from openai._types import RequestOptions
from openai.types.chat import ChatCompletion

from agent.answering import Pause
from agent.openai_stream import LeanStream, Piece

Delta = str | ChatGenerationChunk
"""A plain delta's text, or what ChatOpenAI makes of an event that is more than that."""

# Of what a request may have beside its body, the one that is passed on here.
HEADERS = "extra_headers"
BESIDE_THE_BODY = ("extra_query", "extra_body", "timeout", "response_format")


class LeanChatOpenAI(ChatOpenAI):
    """For streams; all else is inherited."""

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        run_id = f"{LC_ID_PREFIX}-{uuid7()}"
        text_chunk = _named(self._of_text(""), run_id)
        deltas = self.astream_deltas(input, config, stop=stop, run_id=run_id, **kwargs)
        async with aclosing(deltas):
            async for delta in deltas:
                yield _with_content(text_chunk, delta) if isinstance(delta, str) else delta

    async def astream_deltas(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        run_id: str = "",
        pause: Pause | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[str | AIMessageChunk, None]:
        """``astream``, without a message for what is text and nothing else. ``run_id`` is the
        messages' id. With a ``pause`` (``AnswerRequest``) text that comes together is one delta."""
        messages = self._convert_input(input).to_messages()
        if not self._is_plain(messages, kwargs) or self._is_watched(config):
            async for chunk in super().astream(messages, config, stop=stop, **kwargs):
                yield chunk
            return
        run_id = run_id or f"{LC_ID_PREFIX}-{uuid7()}"
        last: str | AIMessageChunk | None = None
        async with aclosing(self._deltas(messages, stop, kwargs, pause)) as deltas:
            async for delta in deltas:
                last = delta if isinstance(delta, str) else _named(delta, run_id)
                yield last
        if last is None:
            raise ValueError("No generation chunks were returned")
        if isinstance(last, str) or (isinstance(last, AIMessageChunk) and not last.chunk_position):
            yield AIMessageChunk(content="", chunk_position="last", id=run_id)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if not self._is_usual(kwargs):
            async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
                yield chunk
            return
        async with aclosing(self._deltas(messages, stop, kwargs)) as deltas:
            async for delta in deltas:
                chunk = self._of_text(delta) if isinstance(delta, str) else delta
                if run_manager:
                    logprobs = (chunk.generation_info or {}).get("logprobs")
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk, logprobs=logprobs)
                yield chunk

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        # ChatOpenAI looks at each character of each answer: it may be a part with sound.
        messages = self._convert_input(input_).to_messages()
        plain = [_plain_shape(message) for message in messages]
        others = [each for each, shape in zip(messages, plain, strict=True) if shape is None]
        payload: dict[str, Any] = super()._get_request_payload(others, stop=stop, **kwargs)
        if "messages" not in payload:  # it is for the Responses API
            return super()._get_request_payload(messages, stop=stop, **kwargs)
        shapes = iter(payload["messages"])
        payload["messages"] = [shape or next(shapes) for shape in plain]
        return payload

    def _is_watched(self, config: RunnableConfig | None) -> bool:
        """Whether somebody is to hear of the run: as ChatOpenAI would find out."""
        config = ensure_config(config)
        manager = AsyncCallbackManager.configure(
            config.get("callbacks"), self.callbacks, self.verbose
        )
        return bool(manager.handlers)

    def _is_plain(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> bool:
        """Whether LangChain would do nothing but pass on what ``_astream`` gives."""
        return (
            self._is_usual(kwargs)
            and self.rate_limiter is None
            and self.output_version != "v1"
            and not {"ls_structured_output_format", "structured_output_format"} & kwargs.keys()
            and all(isinstance(message.content, str) for message in messages)
            and self._should_stream(async_api=True, **{**kwargs, "stream": True})
        )

    def _is_usual(self, kwargs: dict[str, Any]) -> bool:
        """Whether it is a request for chat completions, and nothing more."""
        asked = {**self.model_kwargs, **kwargs}
        return (
            not self.include_response_headers
            and not self._uses_gateway
            and not self.stream_chunk_timeout
            and not any(each in asked for each in BESIDE_THE_BODY)
            and not self.extra_body
            and not self._use_responses_api(asked)
        )

    async def _deltas(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        kwargs: dict[str, Any],
        pause: Pause | None = None,
    ) -> AsyncGenerator[Delta, None]:
        """One for each of the provider's events, but for text with a ``pause``. Raises what
        ChatOpenAI raises."""
        kwargs = {**kwargs, "stream": True}
        if self._should_stream_usage(kwargs.pop("stream_usage", None), **kwargs):
            kwargs["stream_options"] = {"include_usage": True}
        body = self._get_request_payload(messages, stop=stop, **kwargs)
        options: RequestOptions = {"security": {"bearer_auth": True}}
        if HEADERS in body:
            options["headers"] = body.pop(HEADERS)
        kind: type[BaseMessageChunk] = AIMessageChunk
        try:
            # As ``chat.completions.create`` does, which also looks through all of the body.
            stream = await self.root_async_client.post(
                "/chat/completions",
                body=body,
                cast_to=ChatCompletion,
                options=options,
                stream=True,
                stream_cls=LeanStream,
            )
            async with aclosing(stream.pieces(pause)) as some:
                async for pieces in some:
                    for piece in pieces:
                        if isinstance(piece, str) and kind is AIMessageChunk:
                            yield piece
                        elif (chunk := self._generation(piece, kind)) is not None:
                            kind = type(chunk.message)
                            yield chunk
        except openai.BadRequestError as error:
            _handle_openai_bad_request(error)
        except openai.APIError as error:
            _handle_openai_api_error(error)

    def _generation(self, piece: Piece, kind: type[BaseMessageChunk]) -> ChatGenerationChunk | None:
        """What ChatOpenAI makes of an event; it takes some for nothing."""
        event = _text_event(piece) if isinstance(piece, str) else piece
        return self._convert_chunk_to_generation_chunk(event, kind, {})

    def _of_text(self, text: str) -> ChatGenerationChunk:
        return cast("ChatGenerationChunk", self._generation(text, AIMessageChunk))


def _plain_shape(message: BaseMessage) -> dict[str, Any] | None:
    """None where it is more than a user's or an assistant's text."""
    if (
        type(message) not in (HumanMessage, AIMessage)
        or not isinstance(message.content, str)
        or message.name is not None
        or message.additional_kwargs
    ):
        return None
    if isinstance(message, AIMessage):
        if message.tool_calls or message.invalid_tool_calls:
            return None
        return {"content": message.content, "role": "assistant"}
    return {"content": message.content, "role": "user"}


def _text_event(text: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}]}


def _named(chunk: ChatGenerationChunk, run_id: str) -> AIMessageChunk:
    """As LangChain gives it to who reads the stream."""
    message = chunk.message
    if message.id is None:
        message.id = run_id
    message.response_metadata = {**(chunk.generation_info or {}), **message.response_metadata}
    return cast("AIMessageChunk", message)  # as LangChain says, whatever role it has


def _with_content(chunk: AIMessageChunk, content: str) -> AIMessageChunk:
    """A copy that shares nothing which can be changed: a tenth of the price of a new one."""
    fresh = copy.copy(chunk)
    fields = fresh.__dict__
    fields["content"] = content
    for name, value in fields.items():
        if isinstance(value, list | dict):
            fields[name] = value.copy()
    return fresh
