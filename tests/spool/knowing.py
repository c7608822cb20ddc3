"""Cards, transcripts and turns as they are known while the permanent store is away; short to write.

And what the rest of these tests needs of Redis.
"""

from __future__ import annotations

from typing import Any

import redis
from msgspec.structs import replace
from redis.backoff import NoBackoff
from redis.retry import Retry

from memory.records import Conversation, Position, Transcript, Turn, messages_of
from redislink.session import Repairs, Session
from spool.card import Card
from tests.stores.samples import USER, a_turn, an_answer


def about(turn: int = 0, answers: int | None = None, **fields: Any) -> Conversation:
    """Of the conversation c1."""
    revision = fields.pop("revision", 0)
    position = Position(revision=revision, turn=turn, answers=turn if answers is None else answers)
    known: dict[str, Any] = {"id": "c1", "user_id": USER, "title": "", "created_at": 1}
    known |= {"updated_at": 1_000 + turn, "position": position}
    return Conversation(**{**known, **fields})


def closed_turn(n: int, conversation_id: str = "c1", **fields: Any) -> Turn:
    """Answered and closed; it is the n-th answer, where nothing else is said."""
    turn = a_turn(conversation_id, n, status="running", id=f"turn-{n}", message_id=f"message-{n}")
    ended: dict[str, Any] = {"status": "completed", "answer": an_answer(turn), "answers": n}
    return replace(turn, **{**ended, "open": False, **fields})


def open_turn(n: int, conversation_id: str = "c1", **fields: Any) -> Turn:
    """It waits, where no other status is said."""
    return a_turn(conversation_id, n, **{"id": f"turn-{n}", "message_id": f"message-{n}", **fields})


def bare(turn: Turn) -> Turn:
    """A closed turn as its card in Redis has it."""
    return replace(turn, question=replace(turn.question, content=""), answer=None)


def card(conversation: Conversation, *turns: Turn) -> Card:
    closed = [turn.n for turn in turns if not turn.open]
    return Card(conversation, sorted(turns, key=lambda turn: turn.n), max(closed, default=0))


def remembered(*turns: Turn, latest: int = 50, **fields: Any) -> Transcript:
    """What memory has after these turns."""
    messages = [message for turn in turns for message in messages_of(turn)]
    position = Position(
        revision=turns[-1].revision,
        turn=turns[-1].place,
        answers=max(turn.answers or 0 for turn in turns),
    )
    return Transcript(messages=messages[-latest:], position=position, **fields)


def session_for(url: str, repairs: Repairs) -> Session:
    return Session(url, repairs, name="spool", tell=lambda error: None)


def immortal_keys(port: int) -> list[bytes]:
    once = Retry(NoBackoff(), 0)
    with redis.Redis(port=port, socket_timeout=2, retry=once) as client:
        try:
            return [key for key in client.scan_iter() if client.ttl(key) == -1]
        except redis.ConnectionError:
            return []  # the test has ended its Redis
