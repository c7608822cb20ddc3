"""The permanent store and the spool before it, put together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memory.errors import NotFound, Unavailable
from memory.records import Transcript
from mongo.store import MongoStore
from spool.store import SpooledStore
from tests.support.mongod import Mongod
from tests.support.wait import wait_until

NO_REDIS = "redis://127.0.0.1:1/0"


async def test_a_load_ends_where_the_store_comes_back_while_redis_is_away(
    mongod: Mongod, tmp_path: Path
) -> None:
    """Memory is asked first; by the time it has answered there is somebody better to ask."""
    permanent = MongoStore(mongod.uri, "spool_load", on_change=lambda away: store.changed(away))
    store = SpooledStore(
        permanent,
        data_dir=tmp_path,
        slot=tmp_path / "slot",
        slot_id="slot",
        owner="slot:boot",
        lease_ms=2_000,
        redis_url=NO_REDIS,
    )
    await store.connect()

    async def hot(conversation_id: str) -> Transcript | None:
        mongod.resume()
        await wait_until(lambda: not store.away, "the store is back")
        return None

    store.look_in(hot)
    try:
        mongod.pause()
        await wait_until(lambda: _noticed(store), "it is noticed")
        with pytest.raises(NotFound):
            async with asyncio.timeout(20):
                await store.load("never made", 50)
    finally:
        mongod.resume()
        await store.close()


async def _noticed(store: SpooledStore) -> bool:
    try:
        await store.ping()
    except Unavailable:
        return store.away
    return False
