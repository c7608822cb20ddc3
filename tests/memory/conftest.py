"""Redis servers and memories for these tests; and no test may leave a key that lives for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from memory import RedisConversationMemory
from tests.support.archive import ArchiveInMemory
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, Relay

Make = Callable[..., RedisConversationMemory]


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(_shared_redis: RedisServer) -> RedisServer:
    """An empty Redis that the test leaves running, and as it is."""
    with redis.Redis(port=_shared_redis.port) as client:
        client.flushall()
    return _shared_redis


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Redis of the test's own, to kill, freeze and configure."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def keys(server: RedisServer) -> Iterator[redis.Redis]:
    """A client to look into ``server`` with, and to interfere."""
    with redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture
async def relay(server: RedisServer) -> AsyncIterator[Relay]:
    """A link to ``server`` that can be cut."""
    async with Relay(server.port) as relay:
        yield relay


@pytest.fixture(autouse=True)
def _every_key_has_a_ttl(request: pytest.FixtureRequest) -> Iterator[None]:
    servers = [
        request.getfixturevalue(name)
        for name in ("server", "own_server")
        if name in request.fixturenames
    ]
    yield
    for server in servers:
        once = Retry(NoBackoff(), 0)
        with redis.Redis(port=server.port, socket_timeout=2, retry=once) as client:
            try:
                immortal = [key for key in client.scan_iter() if client.ttl(key) == -1]
            except redis.ConnectionError:
                continue  # the test has ended its Redis
        assert not immortal, f"keys without a TTL: {immortal}"


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Make memories that are closed after the test."""
    async with AsyncExitStack() as stack:

        def make(*args: Any, **options: Any) -> RedisConversationMemory:
            memory = RedisConversationMemory(*args, **options)
            stack.push_async_callback(memory.close)
            return memory

        yield make


@pytest.fixture
def nowhere() -> str:
    """The URL of a Redis that isn't there."""
    return f"redis://127.0.0.1:{free_port()}/0"


@pytest.fixture
async def archive() -> ArchiveInMemory:
    return ArchiveInMemory()


@pytest.fixture(params=["redis", "local"])
def url(request: pytest.FixtureRequest) -> str:
    """Both states in turn: what holds in one must hold in the other."""
    if request.param == "redis":
        return str(request.getfixturevalue("server").url)
    return str(request.getfixturevalue("nowhere"))
