"""What befalls a Redis: each a context in which it lasts, made with the real thing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.redis_server import RedisServer

Trouble = Callable[[RedisServer], AbstractContextManager[None]]


def client_of(server: RedisServer) -> redis.Redis:
    """One that repeats nothing."""
    return redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0))


@contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    """Back with all that it had, where it is ``persistent``, else empty."""
    server.kill()
    yield
    server.start()


@contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@contextmanager
def read_only(server: RedisServer) -> Iterator[None]:
    """As a master is after a failover: a replica of another one."""
    with client_of(server) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def full(server: RedisServer) -> Iterator[None]:
    """With others' keys, up to its limit, and told to evict none."""
    with client_of(server) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_000_000)
        with suppress(redis.OutOfMemoryError):
            for n in range(10_000):
                client.set(f"ballast:{n}", "x" * 10_000, ex=1000)
        # Over the brim: what connections take up and give back must not make room.
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 500_000)
        yield
        client.delete(*client.keys("ballast:*"))


@contextmanager
def unable_to_save(server: RedisServer) -> Iterator[None]:
    """Snapshots fail, since a folder stands in their place: MISCONF."""
    with client_of(server) as client:
        client.config_set("save", "3600 1")
        target = Path(client.config_get("dir")["dir"]) / "dump.rdb"
        target.unlink(missing_ok=True)
        (target / "in the way").mkdir(parents=True)
        client.bgsave()
        while client.info("persistence")["rdb_last_bgsave_status"] != "err":
            time.sleep(0.01)
        with pytest.raises(redis.ResponseError, match="MISCONF"):
            client.set("probe", "1", ex=1)
        yield
        (target / "in the way").rmdir()
        target.rmdir()
        client.save()
        client.config_set("save", "")


@contextmanager
def too_few_replicas(server: RedisServer) -> Iterator[None]:
    with client_of(server) as client:
        client.config_set("min-replicas-to-write", 1)
        yield
        client.config_set("min-replicas-to-write", 0)


@contextmanager
def paused(server: RedisServer) -> Iterator[None]:
    """As during a failover that an operator asked for: writes wait, and a ping is answered."""
    with client_of(server) as client:
        client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        yield
        client.execute_command("CLIENT", "UNPAUSE")


@contextmanager
def loading(server: RedisServer) -> Iterator[None]:
    """Restarted, and busy with a long file; it must be ``persistent``. It ends loading by itself, a
    moment after this has ended."""
    with client_of(server) as client:
        ballast = client.pipeline()
        for n in range(20_000):
            ballast.set(f"ballast:{n}", "x", ex=1000)
        ballast.execute()
    server.kill()
    server.start("--key-load-delay", "100")
    with client_of(server) as client, pytest.raises(redis.BusyLoadingError):
        client.get("x")
    yield


LASTING: dict[str, Trouble] = {
    "killed": killed,
    "frozen": frozen,
    "read-only": read_only,
    "full": full,
    "unable to save": unable_to_save,
    "without its replicas": too_few_replicas,
    "paused": paused,
    "loading": loading,
}
"""All but one end in the moment in which the context is left."""
