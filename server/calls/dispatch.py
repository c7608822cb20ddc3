"""Every call's way: what it costs, who handles it, and what its failure is answered with."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from server.edge.connections import Connection, Connections
from server.edge.rates import Rates
from server.edge.transport import Reply
from server.errors import CallError, Internal, Invalid, RateLimited, as_call_error

log = logging.getLogger(__name__)

Handler = Callable[[Connection, tuple[Any, ...]], Awaitable[Reply]]

# What these cost is taken once it is known that they are new (``turns/toll.py``); or that they are
# no repeated calls, by what is wrong with them.
PAID_WHEN_NEW = ("message:send", "message:edit", "turn:regenerate")
NEVER_ACCEPTED = ("invalid", "too_large", "conflict")


class Calls:
    """``dispatch`` answers every call of every connection, whatever it is."""

    def __init__(
        self, connections: Connections, rates: Rates, *handlers: Mapping[str, Handler]
    ) -> None:
        """``handlers`` by the names of their calls."""
        self._connections = connections
        self._rates = rates
        self._handlers = {name: each for some in handlers for name, each in some.items()}
        # Of what appears with its first case no rate shows that case: so these are there at once.
        self.answered: Counter[tuple[str, str]] = Counter(
            {(name, code): 0 for name in self._handlers for code in ("ok", "internal")}
        )
        """By the call's name and "ok" or the error's code."""

    async def dispatch(self, sid: str, name: Any, arguments: tuple[Any, ...]) -> Reply:
        """Answer one call. Whatever goes wrong becomes an error of the contract, here."""
        connection = self._connections.get(sid)
        try:
            handler = self._handlers.get(name) if isinstance(name, str) else None
            if connection is not None:
                # Those that pay later take the lock only to overtake nobody here.
                async with connection.paying:
                    if name not in PAID_WHEN_NEW:
                        await self._rates.take(connection.user_id, "calls")
            if connection is None or handler is None:
                raise Invalid("There is no such call.")
            answer = await handler(connection, arguments)
            answer.body["ok"] = True
            self.answered[name, "ok"] += 1
            return answer
        except Exception as error:
            mapped = as_call_error(error)
            call = self.known(name)
            if connection is not None and call in PAID_WHEN_NEW and mapped.code in NEVER_ACCEPTED:
                mapped = await self._pay_for_nothing(connection, mapped)
            if isinstance(mapped, Internal):
                log.error("A call failed.", extra={"action": "call", "call": call}, exc_info=error)
            self.answered[call, mapped.code] += 1
            return Reply({"ok": False, "error": mapped.shape()})

    async def _pay_for_nothing(self, connection: Connection, error: CallError) -> CallError:
        """A call that has not paid, as nothing was done about it: what it is answered."""
        try:
            await self._rates.take(connection.user_id, "calls")
        except RateLimited as limited:
            return limited
        return error

    def known(self, name: Any) -> str:
        """The name of a call, or "unknown": of what clients make up there is no end."""
        return name if isinstance(name, str) and name in self._handlers else "unknown"
