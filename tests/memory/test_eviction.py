"""A Redis that evicts under pressure, key by key: what is answered is whole, or loaded anew."""

from __future__ import annotations

import asyncio

import pytest

from memory.records import Summary
from tests.memory.conftest import Make
from tests.memory.troubles import client_of
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer

POLICIES = ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl"]


def torn(server: RedisServer) -> int:
    """How many conversations have some of their three keys, and not all."""
    with client_of(server) as client:
        kinds = [
            {key.rpartition(b":")[2] for key in client.scan_iter(f"conversation:{kind}:*")}
            for kind in ("messages", "summary", "turns")
        ]
    return len(set.union(*kinds) - set.intersection(*kinds))


@pytest.mark.parametrize("policy", POLICIES)
async def test_no_partial_conversation_is_ever_answered_while_keys_are_evicted(
    make: Make, archive: ArchiveInMemory, policy: str
) -> None:
    names = [f"c{n}" for n in range(400)]
    with RedisServer("--maxmemory", "3mb", "--maxmemory-policy", policy) as server:
        servers = [make(redis_url=server.url, archive=archive) for _ in range(2)]
        for name in names:
            archive.fill(name, 5)
            archive.answer(name, archive.ask(name, "x" * 2000)[1].turn)
            await archive.save_summary(
                name, Summary(text=f"of {name}", upto=6, turns=3, version=1), revision=0
            )
        partial = 0

        async def converse(name: str, number: int) -> None:
            memory = servers[number % 2]
            for _ in range(2):
                # A reader that knows nothing is the one whom a partial conversation would deceive.
                transcript = await memory.read(name)
                assert transcript.messages == archive.messages(name)
                assert transcript.position == archive.position(name)
                assert transcript.summary is not None
                question, asked = archive.ask(name)
                await memory.remember(name, question, asked)
                assert (await servers[1 - number % 2].read(name)).messages[-1] == question
                await memory.remember(name, *archive.answer(name, asked.turn, "y" * 500))

        for first in range(0, len(names), 40):
            some = names[first : first + 40]
            await asyncio.gather(*(converse(name, n) for n, name in enumerate(some)))
            partial += torn(server)
        for name in names:
            transcript = await servers[0].read(name)
            assert transcript.messages == archive.messages(name)
            assert transcript.position == archive.position(name)
        with client_of(server) as client:
            assert client.info("stats")["evicted_keys"] > 100
        assert partial + torn(server) > 0, "eviction tore no conversation: this has shown nothing"
        assert all(memory.state == "redis" for memory in servers)
        assert sum(memory.counts["failed"] for memory in servers) == 0
