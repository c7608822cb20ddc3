"""Each store, real: a file, and databases on servers that are started once for the session."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from embedded.store import EmbeddedStore
from mongo.client import DRIVERS
from mongo.store import MongoStore
from stores.contract import Store
from tests.stores.lossy import LossyWay
from tests.support.mongod import Mongod

# Gives another store on the same data with each call, not yet connected.
MakeStore = Callable[[], Store]


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    with Mongod(tmp_path_factory.mktemp("replica-set")) as server:
        yield server


@pytest.fixture(scope="session")
def single_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    with Mongod(tmp_path_factory.mktemp("single"), replica_set=False) as server:
        yield server


@pytest.fixture
def database() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def mongo_database(mongod: Mongod, database: str) -> Iterator[str]:
    """A fresh database of the shared server, dropped afterwards."""
    yield database
    with mongod.client() as client:
        client.drop_database(database)


@pytest.fixture(params=["embedded", "mongo"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    if request.param == "embedded":
        return lambda: EmbeddedStore(tmp_path / "store.db")
    server: Mongod = request.getfixturevalue("mongod")
    name: str = request.getfixturevalue("mongo_database")
    return lambda: MongoStore(server.uri, name)


@pytest.fixture(params=["embedded", "motor", "pymongo", "single server"])
def make_any_store(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> MakeStore:
    """The short form's: also Motor, and a server that is no replica set."""
    if request.param == "embedded":
        return lambda: EmbeddedStore(tmp_path / "store.db")
    server = request.getfixturevalue("single_mongod" if "single" in request.param else "mongod")
    options: dict[str, Any] = {}
    if request.param in DRIVERS:
        options["driver"] = DRIVERS[request.param]
    return lambda: MongoStore(server.uri, database, **options)


@asynccontextmanager
async def near_and_far(
    mongod: Mongod, database: str
) -> AsyncIterator[tuple[MongoStore, MongoStore, LossyWay]]:
    """Two servers' stores on the same data, and the way of the second one to it."""
    async with LossyWay(mongod.port) as way:
        uri = f"mongodb://127.0.0.1:{way.port}/?directConnection=true"
        near, far = MongoStore(mongod.uri, database), MongoStore(uri, database)
        async with connected(near), connected(far):
            yield near, far, way


@asynccontextmanager
async def connected(store: Store) -> AsyncIterator[Store]:
    await store.connect()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(make_store: MakeStore) -> AsyncIterator[Store]:
    async with connected(make_store()) as opened:
        yield opened


@pytest.fixture
async def any_store(make_any_store: MakeStore) -> AsyncIterator[Store]:
    async with connected(make_any_store()) as opened:
        yield opened


@pytest.fixture
async def two_stores(make_store: MakeStore) -> AsyncIterator[tuple[Store, Store]]:
    """Two servers' stores on the same data."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(connected(make_store()))
        second = await stack.enter_async_context(connected(make_store()))
        yield first, second
