"""Turns as a feed tells them, short to write, of the conversation ``CONVERSATION``."""

from __future__ import annotations

from memory.records import ENDED, Answer, Question, Turn, TurnStatus

CONVERSATION = "conversation"
USER = "user"


def a_turn(
    n: int,
    status: TurnStatus = "running",
    *,
    attempt: int | None = None,
    place: int = 0,
    revision: int = 0,
    rewrites: bool = False,
    asks_again: int | None = None,
    answer: str | None = "answer",
    answers: int | None = None,
    conversation_id: str = CONVERSATION,
) -> Turn:
    """``asks_again`` makes it a regenerate of the turn with that number; ``answers`` is its place
    unless said otherwise. A turn that ends at attempt 0 never ran, and has no answer."""
    if attempt is None:
        attempt = 0 if status == "queued" else 1
    ended = status in ENDED
    asked = n if asks_again is None else asks_again
    ran = ended and attempt > 0
    return Turn(
        id=f"turn-{n}",
        conversation_id=conversation_id,
        user_id=USER,
        n=n,
        place=place,
        revision=revision,
        rewrites=rewrites or asks_again is not None,
        question=Question(
            message_id=f"m{asked}",
            content=f"question {asked}",
            created_at=asked,
            key=None if asks_again is None else f"again-{n}",
        ),
        digest="d",
        accepted="queued" if status == "queued" else "running",
        status=status,
        attempt=attempt,
        answer=Answer(message_id=f"a{n}", content=answer, status="complete", created_at=n)
        if ran and answer is not None
        else None,
        answers=(answers if answers is not None else place or n) if ran else None,
        created_at=n,
    )
