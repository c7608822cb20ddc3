"""A Redis, a MongoDB and a spool's file, all real; no test may leave a key that lives for ever."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis

from mongo.store import MongoStore
from redislink.session import Session
from spool.cards import Cards
from spool.file import SpoolFile
from spool.held_cards import MAX_BYTES
from spool.leases import SpoolLeases
from tests.spool.knowing import immortal_keys, session_for
from tests.stores.conftest import connected
from tests.support.mongod import Mongod
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay

MakeCards = Callable[..., Awaitable[Cards]]
MakeLeases = Callable[[str], Awaitable[SpoolLeases]]


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(_shared_redis: RedisServer) -> RedisServer:
    """An empty Redis that the test leaves running, and as it is."""
    with redis.Redis(port=_shared_redis.port) as client:
        client.flushall()
    return _shared_redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, to kill and to start again."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def keys(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client to look into ``redis_server`` with, and to interfere."""
    with redis.Redis(port=redis_server.port) as client:
        yield client


@pytest.fixture(autouse=True)
def _every_key_has_a_ttl(request: pytest.FixtureRequest) -> Iterator[None]:
    names = [name for name in ("redis_server", "own_redis") if name in request.fixturenames]
    servers: list[RedisServer] = [request.getfixturevalue(name) for name in names]
    yield
    for server in servers:
        assert not immortal_keys(server.port)


@pytest.fixture
async def make_cards(request: pytest.FixtureRequest) -> AsyncIterator[MakeCards]:
    """Each call is another server's: of ``redis_server``, or of another Redis that is given."""
    async with AsyncExitStack() as stack:

        async def make(
            server: RedisServer | RedisWay | None = None, max_bytes: int = MAX_BYTES
        ) -> Cards:
            url = (server or request.getfixturevalue("redis_server")).url
            cards = Cards(max_bytes)
            cards.session = await _opened(stack, session_for(url, cards))
            return cards

        yield make


@pytest.fixture
async def make_leases(request: pytest.FixtureRequest) -> AsyncIterator[MakeLeases]:
    """Each call is another server's, by its holder's name."""
    async with AsyncExitStack() as stack:

        async def make(holder: str, server: RedisServer | None = None) -> SpoolLeases:
            url = (server or request.getfixturevalue("redis_server")).url
            leases = SpoolLeases(holder)
            leases.session = await _opened(stack, session_for(url, Cards()))
            return leases

        yield make


async def _opened(stack: AsyncExitStack, session: Session) -> Session:
    stack.push_async_callback(session.close)
    await session.opened()
    return session


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    with Mongod(tmp_path_factory.mktemp("replica-set")) as server:
        yield server


@pytest.fixture
def database(mongod: Mongod) -> Iterator[str]:
    """A fresh database, dropped afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield name
    with mongod.client() as client:
        client.drop_database(name)


@pytest.fixture
async def permanent(mongod: Mongod, database: str) -> AsyncIterator[MongoStore]:
    store = MongoStore(mongod.uri, database)
    async with connected(store):
        yield store


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SpoolFile]:
    spool = SpoolFile(tmp_path / "slot")
    async with connected(spool):
        yield spool
