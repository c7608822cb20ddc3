"""A drain that is broken off anywhere, and begun anew: nothing is lost, doubled or out of order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from memory.errors import Unavailable
from mongo.client import DEFAULT_DRIVER
from mongo.store import MongoStore
from spool.file import SpoolFile
from tests.spool.cutting import CuttingWay, Lost
from tests.spool.returning import Spool, assert_in_order, exchange
from tests.stores.conftest import connected
from tests.stores.samples import a_conversation, claimed, finished, sent
from tests.support.mongod import Mongod


def unforgiving(uri: str, **options: Any) -> Any:
    """A driver that tries nothing a second time."""
    return DEFAULT_DRIVER(uri, **{**options, "retryWrites": False, "retryReads": False})


@pytest.fixture
async def way(mongod: Mongod, database: str) -> AsyncIterator[CuttingWay]:
    async with CuttingWay(mongod.port, database) as way:
        yield way


async def as_it_was_told(permanent: MongoStore, spool: Spool) -> tuple[str, list[str]]:
    """A conversation of all that can lodge, and what it is to be."""
    conversation_id = await a_conversation(permanent)
    await exchange(permanent, conversation_id)
    running = await sent(permanent, conversation_id, status="running")
    await spool.lodge(conversation_id)
    await spool.answer(running)
    await spool.exchange(conversation_id)
    await spool.ask(conversation_id)
    return conversation_id, [f"question {n}" for n in (1, 2, 3, 4)]


async def otherwise(permanent: MongoStore, spool: Spool) -> tuple[str, list[str]]:
    """One in which another server has given numbers that were given here as well."""
    conversation_id = await a_conversation(permanent)
    await spool.lodge(conversation_id)
    await spool.exchange(conversation_id, "mine 1")
    await spool.exchange(conversation_id, "mine 2")
    await spool.ask(conversation_id, content="mine 3")
    await exchange(permanent, conversation_id)
    return conversation_id, ["question 1", "mine 1", "mine 2", "mine 3"]


@pytest.mark.parametrize(
    ("begin", "what"),
    [(as_it_was_told, "request"), (as_it_was_told, "reply"), (otherwise, "reply")],
)
async def test_a_conversation_whose_drain_is_cut_at_any_request_is_whole_after_the_next(
    way: CuttingWay,
    database: str,
    permanent: MongoStore,
    file: SpoolFile,
    begin: Callable[[MongoStore, Spool], Awaitable[tuple[str, list[str]]]],
    what: Lost,
) -> None:
    uri = f"mongodb://127.0.0.1:{way.port}/?directConnection=true"
    for n in range(1, 40):
        async with connected(MongoStore(uri, database, driver=unforgiving)) as store:
            assert isinstance(store, MongoStore)
            spool = Spool(file, store)
            conversation_id, contents = await begin(permanent, spool)
            way.cut_at(n, what)
            try:
                await spool.drain(conversation_id)
            except Unavailable:
                assert way.has_cut
                # All of it still is in the spool, and nobody was told.
                assert spool.told == []
                await spool.drain(conversation_id, into=permanent)
            was_cut = way.has_cut
            way.cut_at(0, what)
        [drained] = spool.told
        assert drained.as_told == (begin is as_it_was_told)
        [waiting] = await permanent.turns.open_turns(conversation_id)
        await permanent.turns.close(await finished(permanent, await claimed(permanent, waiting)))
        await assert_in_order(permanent, conversation_id, *contents)
        assert await file.lodgings() == []
        if not was_cut:
            break
    assert n > 8  # so many requests were cut
