"""Ways in which MongoDB goes away and comes back, and what a caller then sees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Protocol

from memory.errors import Unavailable
from mongo.store import MongoStore
from tests.stores.lossy import LossyWay
from tests.stores.samples import LEASE, ME, USER, a_turn, an_answer, new_id
from tests.support.mongod import Mongod


class Outage(Protocol):
    def begin(self) -> None: ...

    def end(self) -> None: ...


class Killed:
    def __init__(self, mongod: Mongod, way: LossyWay) -> None:
        self.begin = mongod.kill
        self.end = mongod.start


class Frozen:
    def __init__(self, mongod: Mongod, way: LossyWay) -> None:
        self.begin = mongod.pause
        self.end = mongod.resume


class Swallowed:
    """Whatever is sent, or answered, disappears; no connection ends."""

    def __init__(self, mongod: Mongod, way: LossyWay) -> None:
        self._way = way

    def begin(self) -> None:
        self._way.swallows = True

    def end(self) -> None:
        self._way.swallows = False


async def unavailable_after(store: MongoStore, turn: Any) -> float:
    """Seconds until everything that is asked, and much of it at once, is ``Unavailable``."""
    calls: list[Awaitable[Any]] = [
        store.ping(),
        store.conversations.get("c1", USER),
        store.conversations.list(USER, before=None, limit=5),
        store.conversations.create(new_id(), USER, "", digest=None, at=1),
        store.load("c1", 50),
        store.turns.last("c1"),
        store.turns.adrift(5),
        store.turns.renew([turn.id], ME, lease_ms=LEASE),
        store.turns.finish(turn, "completed", an_answer(turn)),
        store.turns.take_in(turn, lease_ms=LEASE),
        store.secret("guests"),
        *(store.turns.insert(a_turn(new_id()), lease_ms=LEASE) for _ in range(50)),
    ]
    began = time.monotonic()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    seconds = time.monotonic() - began
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    return seconds
