"""What becomes of a transcript when a message is added: the rules of ``scripts/add.lua``.

The window applies them while Redis is away; one contract suite holds both to the same.
"""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from memory.records import Message, Position, Transcript

Outcome = Literal["added", "there", "trimmed", "refused", "stale", "absent", "broken"]

DROPPED: frozenset[Outcome] = frozenset({"absent", "broken", "stale"})
"""After these nothing is kept, and the next read loads anew."""


def satisfies(position: Position, at_least: Position) -> bool:
    """True when nothing that the caller knows of can be missing.

    A newer revision than the caller's is no reason to load: the store has nothing newer.
    """
    return position.revision > at_least.revision or position.covers(at_least)


def add(
    transcript: Transcript, message: Message, position: Position, max_messages: int
) -> tuple[Outcome, Transcript]:
    """What becomes of it, and the transcript with it. ``message.seq`` must be known."""
    here = transcript.position
    if position.revision != here.revision:
        return ("stale" if position.revision > here.revision else "refused"), transcript
    seq = message.seq
    if seq is None:
        raise ValueError("a message must have its number to be remembered")
    messages = transcript.messages
    place = len(messages)
    while place and _order(messages[place - 1]) > seq:
        place -= 1
    if place and messages[place - 1].seq == seq:
        same = messages[place - 1].id == message.id
        return ("there" if same else "stale"), transcript
    trimmed = place == 0 and len(messages) >= max_messages

    is_answer = seq % 2 == 0
    answers = here.answers
    if here.turn < (seq // 2 if is_answer else (seq + 1) // 2 - 1):
        return "stale", transcript
    if is_answer:
        if answers != position.answers - 1 and not (trimmed and answers >= position.answers):
            return "stale", transcript
        answers = max(answers, position.answers)

    if not trimmed:
        messages = [*messages[:place], message, *messages[place:]][-max_messages:]
    reached = replace(here, turn=max(here.turn, (seq + 1) // 2), answers=answers)
    outcome: Outcome = "trimmed" if trimmed else "added"
    return outcome, replace(transcript, messages=messages, position=reached)


def _order(message: Message) -> float:
    return float("inf") if message.seq is None else message.seq
