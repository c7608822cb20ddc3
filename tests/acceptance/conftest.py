"""Real parts for the acceptance tests: a provider over HTTP, Redis, MongoDB, the server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.stores.lossy import LossyWay
from tests.support.app import App
from tests.support.mongod import Mongod
from tests.support.provider import Provider
from tests.support.redis_server import RedisServer

StartApp = Callable[..., App]


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own: it may be killed and emptied."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def _mongod_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    with Mongod(tmp_path_factory.mktemp("mongod")) as server:
        yield server


@pytest.fixture
def mongod(_mongod_for_all: Mongod) -> Mongod:
    """One replica set for all; a test that kills it starts it again, unless it fails."""
    _mongod_for_all.revive()
    return _mongod_for_all


@pytest.fixture(scope="session")
def _mongod_for_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    with Mongod(tmp_path_factory.mktemp("mongod-for-one")) as server:
        yield server


@pytest.fixture
def own_mongod(_mongod_for_one: Mongod) -> Mongod:
    """A MongoDB that is empty, and that only this test has: it may be killed, frozen and left so.

    To start a new one takes longer than to empty it. That is done before a test and not after:
    the servers of the test before may have ended later than what they had stored in.
    """
    _mongod_for_one.make_as_new()
    return _mongod_for_one


@pytest.fixture
def start_app(tmp_path: Path) -> Iterator[StartApp]:
    """Starts servers; each ends with the test. Two of them on one machine share no DATA_DIR
    unless the test says so."""
    with ExitStack() as running:
        count = 0

        def start(data_dir: Path | None = None, **settings: str) -> App:
            nonlocal count
            count += 1
            app = App(data_dir or tmp_path / f"data-{count}", warm=True, **settings)
            running.push(app.__exit__)
            return app.start()

        yield start


def with_provider(provider: Provider, **settings: str) -> dict[str, str]:
    """The settings of a server that asks this provider."""
    return {
        "OPENAI_API_KEY": "test",
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_MODEL": "test-model",
        **settings,
    }


@pytest.fixture
def shared(provider: Provider, redis_server: RedisServer, mongod: Mongod) -> dict[str, str]:
    """The settings of servers that share everything, in a database of the test's own."""
    return with_provider(
        provider,
        REDIS_URL=redis_server.url,
        MONGODB_URI=mongod.uri,
        MONGODB_DATABASE=f"shared_{uuid.uuid4().hex[:8]}",
        TURN_LEASE_SECONDS="2",
    )


@pytest.fixture
def two(start_app: StartApp, shared: dict[str, str]) -> tuple[App, App]:
    """Two servers that share everything."""
    return start_app(**shared), start_app(**shared)


@pytest.fixture
def settings(provider: Provider, redis_server: RedisServer, own_mongod: Mongod) -> dict[str, str]:
    """Of servers that share everything, and whose MongoDB is the test's own to break."""
    return with_provider(
        provider,
        REDIS_URL=redis_server.url,
        MONGODB_URI=own_mongod.uri,
        GUEST_SECRET="the same for all servers of a test",
        TURN_LEASE_SECONDS="2",
    )


@pytest.fixture
async def way(own_mongod: Mongod) -> AsyncIterator[LossyWay]:
    """One server's way to that MongoDB."""
    async with LossyWay(own_mongod.port) as way:
        yield way
