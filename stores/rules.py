"""What both permanent stores decide alike, free of I/O."""

from __future__ import annotations

from memory.errors import NotFound, Taken
from memory.records import ENDED, Answer, Choice, Turn, TurnError, TurnStatus


def require_text(*texts: str | None) -> None:
    """Raises ``ValueError`` for text that no store can keep: a lone surrogate has no UTF-8."""
    for text in texts:
        if text is None:
            continue
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError("The text has a lone surrogate, which UTF-8 can't express.") from error


def require_choice_text(choice: Choice) -> None:
    require_text(choice.model, choice.system_prompt)


def require_turn_text(turn: Turn) -> None:
    question = turn.question
    require_choice_text(turn.choice)
    require_text(turn.id, turn.conversation_id, turn.user_id, turn.owner, turn.digest)
    require_text(question.message_id, question.key, question.content)


def require_end_text(answer: Answer | None, error: TurnError | None) -> None:
    if answer is not None:
        require_text(answer.message_id, answer.content)
    if error is not None:
        require_text(error.code, error.message)


def require_same_request(
    *, user_id: str, digest: str | None, kept_user: str, kept_digest: str | None, deleted: bool
) -> None:
    """Whether a ``create`` whose id is in use may have what is there.

    Another user's tombstone is ``Taken``, as their conversation was: deleting shows nothing.
    """
    if kept_user != user_id:
        raise Taken
    if deleted:
        raise NotFound
    if kept_digest != digest:
        raise Taken


def require_end(status: TurnStatus) -> None:
    if status not in ENDED:
        raise ValueError(f"A turn can't end as {status!r}.")


def require_brought(turn: Turn) -> None:
    """Raises ``ValueError`` for what is no turn to be brought as it is."""
    require_turn_text(turn)
    require_end_text(turn.answer, turn.error)
    require_end(turn.status)
    if turn.open or turn.rewrites or turn.revision:
        raise ValueError("Only what has ended, and was never rewritten, is brought.")


def require_rewriting(turn: Turn) -> None:
    if not turn.rewrites:
        raise ValueError("Only a turn that rewrites supersedes others.")


def is_end_of(found: Turn, held: Turn, status: TurnStatus, answer: Answer | None) -> bool:
    """Whether ``found`` is ``held`` ended in just this way: a finish whose reply was lost. A
    superseded one counts as lost, however it ended."""
    if found.superseded:
        return False
    found_answer = None if found.answer is None else found.answer.message_id
    answer_id = None if answer is None else answer.message_id
    return (found.status, found.attempt, found.owner, found_answer) == (
        status,
        held.attempt,
        held.owner,
        answer_id,
    )


def configured(choice: Choice, model: str | None, system_prompt: str | None) -> Choice:
    """``choice`` with these: ``""`` is the default, None leaves it as it is."""
    return Choice(
        model=choice.model if model is None else model or None,
        system_prompt=choice.system_prompt if system_prompt is None else system_prompt or None,
    )


def activity_of(ended: Turn) -> int:
    """When the conversation was last active by this turn."""
    return ended.created_at if ended.answer is None else ended.answer.created_at


def kept_by(rewriting: Turn) -> int:
    """The last ``seq`` that a rewriting turn leaves as it is."""
    return 2 * (rewriting.place - 1)
