"""Calls, memory and stores, with a span for each thing they are asked; themselves, where nobody
traces.

Spans are made where something is asked for by a call or a turn. What the server does of its own
accord, every second or so (leases, sweeps, health), is no part of a trace.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from memory.records import Turn
from server.edge.transport import Dispatch, Reply
from server.observability.traces import Traces
from stores.contract import ConversationStore, Store, TurnStore

_T = TypeVar("_T")


def traced_calls(dispatch: Dispatch, known: Callable[[Any], str], traces: Traces) -> Dispatch:
    """``known`` gives a call's name where there is such a call."""
    if not traces.on:
        return dispatch

    async def traced(sid: str, name: Any, arguments: tuple[Any, ...]) -> Reply:
        with traces.span(known(name), kind="server") as span:
            reply = await dispatch(sid, name, arguments)
            span.note(_about(reply.body, arguments))
            if not reply.body["ok"]:
                span.failed(reply.body["error"]["code"])
            return reply

    return traced


def _about(body: Mapping[str, Any], arguments: tuple[Any, ...]) -> dict[str, str]:
    """The ids of a call that was answered. What was refused may have anything in their places."""
    if not body["ok"]:
        return {}
    conversation = body.get("conversation") or {}
    asked = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
    found = {
        "mnemosio.conversation_id": body.get("conversation_id")
        or conversation.get("id")
        or asked.get("conversation_id"),
        "mnemosio.turn_id": (body.get("turn") or {}).get("id"),
    }
    return {key: value for key, value in found.items() if isinstance(value, str)}


def traced(part: _T, name: str, traces: Traces) -> _T:
    """The same part, with a span ``name.method`` for each thing it is asked and waited for."""
    if not traces.on:
        return part
    return cast("_T", _Traced(part, name, traces))


def traced_store(store: Store, traces: Traces) -> Store:
    if not traces.on:
        return store
    return cast("Store", _TracedStore(store, traces))


class _Traced:
    def __init__(self, part: Any, name: str, traces: Traces) -> None:
        self._part = part
        self._name = name
        self._traces = traces

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if not inspect.iscoroutinefunction(value):
            return value
        asked = self._spanned(value, f"{self._name}.{name}")
        setattr(self, name, asked)
        return asked

    def _spanned(
        self, method: Callable[..., Awaitable[Any]], name: str
    ) -> Callable[..., Awaitable[Any]]:
        traces = self._traces

        async def asked(*arguments: Any, **named: Any) -> Any:
            if not traces.is_within:
                return await method(*arguments, **named)
            with traces.span(name, kind="client"):
                return await method(*arguments, **named)

        return asked


class _TracedTurns(_Traced):
    async def insert(self, turn: Turn, *, lease_ms: int) -> Turn:
        """Whatever runs it later, this call has brought it."""
        with self._traces.span(f"{self._name}.insert", kind="client"):
            kept = await self._part.insert(turn, lease_ms=lease_ms)
        self._traces.brought(turn.id)
        return cast("Turn", kept)


class _TracedStore(_Traced):
    def __init__(self, store: Store, traces: Traces) -> None:
        super().__init__(store, "store", traces)
        self.conversations: ConversationStore = traced(
            store.conversations, "store.conversations", traces
        )
        self.facts = traced(store.facts, "store.facts", traces)
        self.usage = traced(store.usage, "store.usage", traces)
        self.attachments = traced(store.attachments, "store.attachments", traces)
        self.search = traced(store.search, "store.search", traces)
        self.turns = cast("TurnStore", _TracedTurns(store.turns, "store.turns", traces))
