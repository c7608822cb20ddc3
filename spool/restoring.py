"""A conversation as the permanent store would have it, put together from what is known elsewhere.

Its card has the numbers and the open turns, memory has the messages. The turns that come out are
enough for all that happens next: the next number, the next prompt, a message that is sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise

from msgspec.structs import replace

from memory.errors import Unavailable
from memory.records import (
    ENDED,
    Answer,
    Conversation,
    Message,
    MessageStatus,
    Position,
    Question,
    Transcript,
    Turn,
    TurnStatus,
    current,
    request_digest,
)
from spool.card import Card, open_of, progress

WHOLE_TURNS = 25
"""As many as memory keeps of a conversation by default."""

TURN_STATUS: dict[MessageStatus, TurnStatus] = {
    "complete": "completed",
    "stopped": "stopped",
    "interrupted": "failed",
}


def restored(
    card: Card, transcript: Transcript | None, held: Turn | None, *, may_lack: bool
) -> tuple[Conversation, list[Turn]]:
    """The conversation and its turns, ascending; the closed ones as far back as memory goes.

    ``held`` is a turn that the caller has in its hands, and knows better than any card. With
    ``may_lack`` the earlier ones of the last messages may be missing: nobody can be asked for them.
    Raises ``Unavailable`` where what is known does not fit together, or is not whole.
    """
    known = {turn.id: turn for turn in card.turns}
    if held is not None and (held.id not in known or progress(held) >= progress(known[held.id])):
        known[held.id] = held
    # What an edit on another server has superseded may still be on the card.
    valid = current(known.values())
    opened = {turn.id: turn for turn in open_of(valid)}
    seen = {turn.id: turn for turn in valid if turn.id not in opened}
    about = card.conversation
    last = _last_of(card, seen.values(), transcript)
    between = {turn.place for turn in opened.values()}
    closed: list[Turn] = []
    if transcript is not None and last is not None:
        closed = _closed(about, transcript, last, seen, opened, card.waited)
    if not closed:
        closed = _unbroken(seen.values(), between)
        is_whole = not closed or not _before(closed[0].place, between)
        is_whole = is_whole or len(closed) >= WHOLE_TURNS
        if not (is_whole or may_lack):
            closed = []
    if last is not None and (not closed or closed[-1].n < last.n):
        raise Unavailable("What was said in this conversation can't be had at the moment.")
    turns = sorted([*closed, *opened.values()], key=lambda turn: turn.n)
    revision = max(about.position.revision, transcript.position.revision if transcript else 0)
    is_unknown = (
        last is None and about.position.turn > len(opened),
        # Known by the conversation's record alone: nobody says whether it is still answered.
        last is not None and not last.id and bool(closed) and closed[-1].answer is None,
        # Revisions rise with the numbers. Of an edit, elsewhere, only the outcome was heard.
        bool(turns) and turns[-1].revision < revision,
        len({turn.n for turn in turns}) < len(turns),
        # Others went on with it since what was seen last here, before what is open. That would be
        # shown, and answered, as if nothing had been said in between.
        _has_gap(turns),
    )
    if any(is_unknown):
        raise Unavailable("How far this conversation has come can't be told at the moment.")
    position = Position(
        revision=max([revision, *(turn.revision for turn in turns)]),
        turn=max((turn.place for turn in turns), default=0),
        answers=max((turn.answers or 0 for turn in turns), default=0),
    )
    return replace(about, position=position), turns


def _before(place: int, between: Collection[int]) -> int:
    """The place of the closed turn before it; 0 where there is none. One that waited may have been
    stopped, and be closed, before those that wait before it: what is open stands ``between``."""
    place -= 1
    while place in between:
        place -= 1
    return place


def _unbroken(turns: Iterable[Turn], between: Collection[int]) -> list[Turn]:
    """The last of these, whose texts are known, back to the first gap; ascending."""
    unbroken: list[Turn] = []
    for turn in sorted(turns, key=lambda each: each.n, reverse=True):
        is_next = not unbroken or turn.place == _before(unbroken[-1].place, between)
        if not (turn.question.content and is_next and turn.status in ENDED):
            break  # not known whole: another server went on with it
        unbroken.append(replace(turn, open=False))
    return unbroken[::-1]


def _has_gap(turns: list[Turn]) -> bool:
    places = sorted(turn.place for turn in turns)
    return any(after > before + 1 for before, after in pairwise(places))


class _Last:
    """The last closed turn, as far as its numbers go."""

    def __init__(self, n: int, place: int, turn_id: str | None = None) -> None:
        self.n = n
        self.place = place
        self.id = turn_id
        """None where only its numbers are known."""


def _last_of(card: Card, seen: Iterable[Turn], transcript: Transcript | None) -> _Last | None:
    known = max(seen, key=lambda turn: turn.n, default=None)
    if known is not None:
        return _Last(known.n, known.place, known.id)
    at = card.conversation.position
    if card.open or transcript is None or at.revision:
        return None
    # Never edited: a turn's number is its place.
    return _Last(at.turn, at.turn) if at.turn and transcript.position.turn >= at.turn else None


def _closed(
    about: Conversation,
    transcript: Transcript,
    last: _Last,
    seen: dict[str, Turn],
    opened: dict[str, Turn],
    waited: frozenset[str],
) -> list[Turn]:
    """The closed turns that a transcript shows, ascending; none where it ends too early, or does
    not go with the last one."""
    pairs = _by_place(transcript.messages)
    answers = transcript.position.answers
    for turn in opened.values():
        question, answer = pairs.pop(turn.place, (None, None))
        answers -= question is not None and answer is not None
    places = sorted(pairs, reverse=True)
    if not places or places[0] < last.place:
        return []
    shown, _ = pairs.get(last.place, (None, None))
    if shown is not None and shown.turn_id and last.id and shown.turn_id != last.id:
        return []  # it was edited since: there are no numbers to count from
    closed: list[Turn] = []
    between = {turn.place for turn in opened.values()}
    expected = places[0]
    for place in places:
        question, answer = pairs[place]
        if question is None or place != expected:
            break
        expected = _before(place, between)
        known = seen.get(question.turn_id or "")
        # Beyond the last one that the card has: the card lags, and between edits numbers go on
        # as places do.
        n = known.n if known is not None else last.n - (last.place - place)
        if n < 1:
            break
        last = _Last(n, place)
        # While one before it is open, what was stopped as it waited has no count yet.
        count = None if any(each < place for each in between) else answers
        turn = _turn(about, place, n, question, answer, transcript, count)
        if turn.id in waited or (known is not None and known.accepted == "queued"):
            turn = replace(turn, accepted="queued")
        closed.append(turn)
        answers -= answer is not None
    left = places[len(closed) :]
    # The first may have lost its question to the trim.
    is_whole = not left or (len(left) == 1 and pairs[left[0]][0] is None)
    return closed[::-1] if is_whole else []


def _by_place(messages: list[Message]) -> dict[int, tuple[Message | None, Message | None]]:
    pairs: dict[int, tuple[Message | None, Message | None]] = {}
    for message in messages:
        if message.seq is None:
            continue
        place = (message.seq + 1) // 2
        question, answer = pairs.get(place, (None, None))
        pairs[place] = (question, message) if message.seq % 2 == 0 else (message, answer)
    return pairs


def _turn(
    about: Conversation,
    place: int,
    n: int,
    question: Message,
    answer: Message | None,
    transcript: Transcript,
    answers: int | None,
) -> Turn:
    content = str(question.content)
    return Turn(
        id=question.turn_id or question.id,
        conversation_id=about.id,
        user_id=about.user_id,
        n=n,
        place=place,
        revision=transcript.position.revision,
        question=Question(
            message_id=question.id,
            content=content,
            created_at=question.created_at,
            attachments=question.attachments,
        ),
        digest=request_digest(about.id, content, question.attachments),
        accepted="running",
        status="stopped" if answer is None else TURN_STATUS[answer.status],
        open=False,
        attempt=1,
        answer=None if answer is None else _answer(answer),
        answers=answers,
        feedback=None if answer is None else answer.feedback,
        created_at=question.created_at,
    )


def _answer(message: Message) -> Answer:
    return Answer(
        message_id=message.id,
        content=str(message.content),
        status=message.status,
        created_at=message.created_at,
    )
