"""The calls about what is remembered of the person who calls: listed, corrected, deleted."""

from __future__ import annotations

from typing import Any

from memory.facts import Fact, Remembered, newest_first, one_line
from server import protocol, shapes
from server.calls.dispatch import Handler
from server.clock import now_ms
from server.edge.connections import Connection
from server.edge.transport import Reply
from server.errors import Invalid, Missing
from server.facts import Facts
from stores.facts import FactStore, change


class MemoryCalls:
    """They work also where nothing is noted any more (``USER_MEMORY=false``)."""

    def __init__(self, facts: Facts, store: FactStore) -> None:
        self._facts = facts
        self._store = store

    @property
    def handlers(self) -> dict[str, Handler]:
        return {
            "memory:list": self.list,
            "memory:update": self.update,
            "memory:delete": self.delete,
        }

    async def list(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.ListFacts, arguments)
        before = protocol.parse_list_cursor(call.before)
        known = newest_first((await self._store.of(connection.user_id)).facts)
        left = [fact for fact in known if before is None or (fact.updated_at, fact.id) < before]
        page = left[: call.limit]
        return Reply(
            {
                "enabled": self._facts.enabled,
                "facts": [shapes.fact_shape(fact) for fact in page],
                "next": protocol.fact_cursor(page[-1]) if len(left) > len(page) else None,
            }
        )

    async def update(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.UpdateFact, arguments)
        text = one_line(call.text)
        if not text:
            raise Invalid("A fact needs some text.", field="text")

        def corrected(known: Remembered) -> Remembered:
            return known.corrected(_required(known, call.fact_id), text, now=now_ms())

        kept = await change(self._store, connection.user_id, corrected)
        fact = _required(kept or Remembered(), call.fact_id)
        return Reply({"fact": shapes.fact_shape(fact)})

    async def delete(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.DeleteFact, arguments)
        await change(
            self._store,
            connection.user_id,
            lambda known: known.without(_required(known, call.fact_id), now=now_ms()),
        )
        return Reply({})


def _required(known: Remembered, fact_id: str) -> Fact:
    fact = known.fact(fact_id)
    if fact is None:
        raise Missing("There is no such fact.", field="fact_id")
    return fact
