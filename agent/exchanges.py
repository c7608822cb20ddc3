"""A transcript seen as exchanges: a question with all that answers it, never split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from memory.records import Message

Exchange = list[Message]
"""A question, then what answers it in order: tool calls, their results, the answer."""


def exchanges_of(messages: Iterable[Message]) -> list[Exchange]:
    """Exchanges in the order of their questions, also those without an answer.

    Answers are joined to their question by the turn, because while the permanent store is away an
    answer may stand behind the next question. Without turns the order decides. Whatever has lost
    its question (trimmed), and system messages, which here could only be foreign, is left out.
    """
    exchanges: dict[str, Exchange] = {}
    latest = ""
    for message in messages:
        if message.type == "human":
            latest = message.turn_id or message.id
            exchanges[latest] = [message]
        elif message.type in ("ai", "tool"):
            exchange = exchanges.get(message.turn_id or latest)
            if exchange is not None:
                exchange.append(message)
    return list(exchanges.values())


def exchanges_before(messages: Iterable[Message], question: Message) -> list[Exchange]:
    """The exchanges whose question came before ``question``."""
    earlier = []
    for exchange in exchanges_of(messages):
        asked = exchange[0]
        if asked.id == question.id:
            break
        if asked.seq is not None and question.seq is not None and asked.seq > question.seq:
            break
        earlier.append(exchange)
    return earlier


def last_seq(exchange: Exchange) -> int | None:
    """None while its last message is not numbered."""
    return exchange[-1].seq


def is_answered(exchange: Sequence[BaseMessage]) -> bool:
    """True when a provider would accept it: it ends with an answer that says something, and each
    tool call has its result and each result its call."""
    pending: set[str | None] = set()
    for message in exchange[1:]:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in pending:
                return False
            pending.discard(message.tool_call_id)
        elif isinstance(message, AIMessage):
            if pending:
                return False
            pending = {call["id"] for call in message.tool_calls}
    last = exchange[-1]
    return not pending and isinstance(last, AIMessage) and bool(last.content)
