"""What is told of the parts' health."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from agent.chat import ChatAgent
from agent.models import demo_model
from embedded.store import EmbeddedStore
from memory import RedisConversationMemory
from server.health import Health


async def test_a_store_that_refuses_for_good_is_down_until_it_is_mended(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "mnemosio.db")
    await store.connect()
    memory = RedisConversationMemory(archive=store)
    agent = ChatAgent(
        memory,
        demo_model(),
        system_prompt="",
        context_token_budget=0,
        summary_every_turns=0,
        idle_timeout=0,
    )
    told: list[dict[str, Any]] = []
    health = Health(store, memory, agent, changed=told.append)
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
