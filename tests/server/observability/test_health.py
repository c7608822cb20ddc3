"""What is told of the parts' health."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agent.chat import ChatAgent
from agent.models import demo_model
from embedded.store import EmbeddedStore
from memory import RedisConversationMemory
from server.observability.health import Health


def the_health_of(
    store: EmbeddedStore, *, feed_state: str = "local", told: list[dict[str, Any]] | None = None
) -> Health:
    memory = RedisConversationMemory(archive=store)
    agent = ChatAgent(
        memory,
        demo_model(),
        system_prompt="",
        context_token_budget=0,
        summary_every_turns=0,
        idle_timeout=0,
    )
    changed = (told if told is not None else []).append
    return Health(store, memory, agent, feed_state=lambda: feed_state, changed=changed)


async def test_a_store_that_refuses_for_good_is_down_until_it_is_mended(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "mnemosio.db")
    await store.connect()
    told: list[dict[str, Any]] = []
    health = the_health_of(store, told=told)
    await health.check()
    assert health.ready
    assert health.components()["store"] == "ok"

    damaged = sqlite3.connect(store.description.rpartition(" in ")[2])
    damaged.execute("ALTER TABLE probes RENAME TO elsewhere")
    await health.check()
    await health.check()
    assert not health.ready
    assert health.components()["store"] == "down"
    assert told == [{"memory": "local", "store": "down"}]

    damaged.execute("ALTER TABLE elsewhere RENAME TO probes")
    damaged.close()
    await health.check()
    assert health.ready
    assert told[1:] == [{"memory": "local", "store": "ok"}]
    await store.close()


@pytest.mark.parametrize(
    ("state", "said"), [("shared", "ok"), ("local", "this process's own"), ("deaf", "deaf")]
)
async def test_the_feed_is_told_of_as_shared_local_or_deaf_and_is_ready_in_each(
    tmp_path: Path, state: str, said: str
) -> None:
    store = EmbeddedStore(tmp_path / "mnemosio.db")
    await store.connect()
    health = the_health_of(store, feed_state=state)
    await health.check()
    assert health.components()["feed"].startswith(said)
    assert health.ready
    health.draining = True
    assert health.components()["feed"] == "draining"
    assert not health.ready
    await store.close()
