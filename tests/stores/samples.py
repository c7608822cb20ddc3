"""Turns and their journeys, short to write."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from memory.records import Answer, Question, Turn, TurnStatus
from stores.contract import Store

LEASE = 60_000
"""Milliseconds: no test waits for it to end."""

OVER = -1_000
"""A lease that is over already."""

USER = "user-1"
ME = "slot-1:boot-1"
OTHER = "slot-2:boot-1"


def new_id() -> str:
    return str(uuid.uuid4())


def a_turn(conversation_id: str, n: int = 1, **fields: Any) -> Turn:
    """A queued turn; "running" as ``status`` gives one that its owner runs already."""
    status: TurnStatus = fields.pop("status", "queued")
    content = fields.pop("content", f"question {n}")
    message_id = fields.pop("message_id", None) or new_id()
    key = fields.pop("key", None)
    defaults: dict[str, Any] = {
        "id": new_id(),
        "conversation_id": conversation_id,
        "user_id": USER,
        "n": n,
        "question": Question(message_id=message_id, key=key, content=content, created_at=1_000 + n),
        "digest": "digest",
        "accepted": status,
        "status": status,
        "attempt": 1 if status == "running" else 0,
        "owner": ME,
        "created_at": 1_000 + n,
    }
    return Turn(**{**defaults, **fields})


async def next_turn(
    store: Store, conversation_id: str, *, rewriting: int | None = None, **fields: Any
) -> Turn:
    """The turn that would be accepted now: after the last, or rewriting the one at a place."""
    last = await store.turns.last(conversation_id)
    n, place, revision = (last.n + 1, last.place + 1, last.revision) if last else (1, 1, 0)
    if rewriting is not None:
        fields |= {"rewrites": True}
        place, revision = rewriting, revision + 1
    return a_turn(conversation_id, n, **{"place": place, "revision": revision, **fields})


async def sent(store: Store, conversation_id: str, **fields: Any) -> Turn:
    """The next turn, accepted."""
    turn = await inserted(store, await next_turn(store, conversation_id, **fields))
    await store.conversations.touch(turn)
    return turn


async def edited(store: Store, conversation_id: str, place: int, **fields: Any) -> Turn:
    """A turn that rewrites the one at ``place``, accepted; all has followed from it."""
    turn = await inserted(store, await next_turn(store, conversation_id, rewriting=place, **fields))
    await store.turns.supersede(turn)
    await store.conversations.touch(turn)
    return turn


def an_answer(turn: Turn, content: str | None = None, **fields: Any) -> Answer:
    defaults: dict[str, Any] = {
        "message_id": f"answer-{turn.id}",
        "content": f"answer {turn.n}" if content is None else content,
        "status": "complete",
        "created_at": 2_000 + turn.n,
    }
    return Answer(**{**defaults, **fields})


async def a_conversation(store: Store, user_id: str = USER, *, at: int = 1_000) -> str:
    conversation_id = new_id()
    await store.conversations.create(conversation_id, user_id, "", digest=None, at=at)
    return conversation_id


async def inserted(store: Store, turn: Turn, lease_ms: int = LEASE) -> Turn:
    await store.turns.insert(turn, lease_ms=lease_ms)
    return turn


async def claimed(store: Store, turn: Turn, owner: str = ME, lease_ms: int = LEASE) -> Turn:
    running = await store.turns.claim(turn, owner, lease_ms=lease_ms)
    assert running is not None
    return running


async def finished(store: Store, turn: Turn, *, answer: bool = True) -> Turn:
    """A running turn, ended: completed with an answer, or failed without."""
    status: TurnStatus = "completed" if answer else "failed"
    ended = await store.turns.finish(turn, status, an_answer(turn) if answer else None)
    assert ended is not None
    return ended


async def closed(store: Store, turn: Turn) -> Turn:
    await store.turns.close(turn)
    return msgspec.structs.replace(turn, open=False)


async def exchanges(store: Store, conversation_id: str, count: int) -> list[Turn]:
    """Whole turns, the first of a conversation, and accepted by it."""
    turns = []
    for n in range(1, count + 1):
        turns.append(await an_exchange(store, conversation_id, n))
        await store.conversations.touch(turns[-1])
    return turns


async def an_exchange(store: Store, conversation_id: str, n: int, *, answer: bool = True) -> Turn:
    """A whole turn: inserted running, finished, closed."""
    turn = await inserted(store, a_turn(conversation_id, n, status="running"))
    return await closed(store, await finished(store, turn, answer=answer))
