"""LangChain's messages as the memory's records, and back, losing nothing a model or a tool gave."""

from __future__ import annotations

import uuid
from copy import deepcopy
from typing import Any, cast, get_args

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
    messages_from_dict,
)

from memory.records import Message, MessageType

_TYPES = frozenset(get_args(MessageType))
_CLASSES: dict[str, type[BaseMessage]] = {
    "human": HumanMessage,
    "ai": AIMessage,
    "system": SystemMessage,
    "developer": SystemMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
    "chat": ChatMessage,
}
_OWN_FIELDS = frozenset({"id", "type", "content"})


def to_record(message: BaseMessage, *, fallback_id: str | None = None) -> Message:
    """A message without an id gets ``fallback_id``, or a new one.

    Raises ``TypeError`` for what is not one of LangChain's messages.
    """
    if isinstance(message, BaseMessageChunk):
        message = message_chunk_to_message(message)
    if not isinstance(message, BaseMessage) or message.type not in _TYPES:
        raise TypeError(f"not a message that can be remembered: {type(message).__name__}")
    fields = {**message.__dict__, **(message.__pydantic_extra__ or {})}
    return Message(
        id=message.id or fallback_id or str(uuid.uuid4()),
        type=cast("MessageType", message.type),
        content=message.content,
        # What is empty is the class's own default; left out, it costs no room.
        details={
            name: value
            for name, value in fields.items()
            if name not in _OWN_FIELDS and value not in (None, [], {})
        },
    )


def to_langchain(message: Message) -> BaseMessage:
    """A message of the caller's own: nothing in it is shared with the record."""
    if message.type == "remove":
        return RemoveMessage(id=message.id)
    content = message.content if isinstance(message.content, str) else deepcopy(message.content)
    details: dict[str, Any] = deepcopy(message.details) if message.details else {}
    return _CLASSES[message.type](content=content, id=message.id, **details)


def from_dict(value: dict[str, Any], *, fallback_id: str) -> Message:
    """From LangChain's ``message_to_dict``. Raises ``ValueError`` or ``TypeError``."""
    try:
        [message] = messages_from_dict([value])
    except (KeyError, AttributeError) as error:
        raise ValueError("not a serialised message") from error
    return to_record(message, fallback_id=fallback_id)
