"""Redis for the tests of feeds; and no test may leave a key that lives for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from server.feed.shared import SharedLogs
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.shared_logs import shared_logs


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(_shared_redis: RedisServer) -> RedisServer:
    """An empty Redis that the test leaves running, and as it is."""
    with redis.Redis(port=_shared_redis.port) as client:
        client.flushall()
        client.script_flush()
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


@pytest.fixture
async def us(redis_server: RedisServer) -> AsyncIterator[SharedLogs]:
    async with shared_logs(redis_server.url, "us") as logs:
        yield logs


@pytest.fixture
async def them(redis_server: RedisServer) -> AsyncIterator[SharedLogs]:
    async with shared_logs(redis_server.url, "them") as logs:
        yield logs


@pytest.fixture
async def way(redis_server: RedisServer) -> AsyncIterator[RedisWay]:
    """A way to ``redis_server`` that can be cut and frozen."""
    async with RedisWay(redis_server.port) as way:
        yield way


@pytest.fixture(autouse=True)
def _every_key_has_a_ttl(request: pytest.FixtureRequest) -> Iterator[None]:
    servers = [
        request.getfixturevalue(name)
        for name in ("redis_server", "own_redis")
        if name in request.fixturenames
    ]
    yield
    for server in servers:
        once = Retry(NoBackoff(), 0)
        with redis.Redis(port=server.port, socket_timeout=2, retry=once) as client:
            try:
                assert not immortal_keys(client)
            except redis.ConnectionError:
                continue  # the test has ended its Redis


def immortal_keys(client: redis.Redis) -> list[bytes]:
    return [key for key in client.scan_iter() if client.ttl(key) == -1]
