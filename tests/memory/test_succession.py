"""The rules of adding stand twice, in Lua and in Python: whatever comes, both say the same."""

from __future__ import annotations

import random

import redis

from memory import entries, succession
from memory.keys import conversation_keys
from memory.loader import decode
from memory.records import Message, Position, Summary, Transcript
from memory.scripts import ADD, INSTALL
from redislink.link import Link
from tests.support.redis_server import RedisServer

ROUNDS = 1500


def a_transcript(dice: random.Random) -> Transcript:
    """A few messages, with gaps as waiting questions and lost answers leave them."""
    first = dice.randint(1, 6)
    seqs = [seq for seq in range(first, first + dice.randint(1, 8)) if dice.random() < 0.75]
    messages = [a_message(dice, seq) for seq in seqs or [first]]
    revision = dice.randint(0, 2)
    here = entries.position_of(messages, revision, dice.randint(0, 6))
    summary = Summary(text="s", upto=1, turns=1, version=dice.randint(1, 3))
    return Transcript(messages=messages, summary=dice.choice([None, summary]), position=here)


def a_message(dice: random.Random, seq: int) -> Message:
    return Message(
        id=f"{dice.randint(1, 2)}/{seq}",
        seq=seq,
        type="ai" if seq % 2 == 0 else "human",
        content="m",
    )


async def test_lua_and_python_agree_on_every_addition(
    server: RedisServer, keys: redis.Redis
) -> None:
    dice = random.Random(7)
    link = Link(server.url, on_success=lambda: None, on_failure=lambda error: None)
    names = conversation_keys("c")
    outcomes: dict[str, int] = {}
    for _ in range(ROUNDS):
        before, message = a_transcript(dice), a_message(dice, dice.randint(1, 16))
        position = Position(
            revision=max(0, before.position.revision + dice.choice([0, 0, 0, 0, -1, 1])),
            turn=dice.randint(0, 8),
            answers=max(0, before.position.answers + dice.choice([0, 1, 1, 1, 2])),
        )
        most = dice.choice([len(before.messages), 3, 50])
        assert message.seq is not None
        keys.set(names.loading, "mine", px=10_000)
        assert await link.run(
            INSTALL,
            names[:4],
            "mine",
            1000,
            entries.encode_summary(before.summary, before.position.revision),
            before.position.answers,
            *map(entries.encode_message, before.messages),
        )
        told = await link.run(
            ADD,
            names[:4],
            1000,
            most,
            entries.encode_message(message),
            entries.id_hash(message.id),
            entries.order_key(message.seq),
            position.revision,
            position.answers if message.seq % 2 == 0 else -1,
        )
        outcome, after = succession.add(before, message, position, most)
        assert told.decode() == outcome, (before, message, position, most)
        raw = (keys.lrange(names.messages, 0, -1), keys.get(names.summary), keys.get(names.turns))
        if outcome in succession.DROPPED:
            assert raw == ([], None, None)
        else:
            assert decode(*raw) == after, (outcome, before, message, position, most)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    await link.close()
    assert set(outcomes) == {"added", "there", "trimmed", "refused", "stale"}
    assert min(outcomes.values()) > 20, outcomes
