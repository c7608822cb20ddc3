"""What the provider was asked: each question after what was said before it, as it was then."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.evidence import Evidence, Kept, KeptTurn, Shape
from tests.chaos.model import note_on, notes_in, request_of
from tests.chaos.versions import Versions

SURELY_REMEMBERED = 12
"""Exchanges that fit into the latest 50 messages even where many questions wait at their end."""


class Asked:
    """Who may have asked a question: one turn, or some where its answer was made anew."""

    def __init__(self, spooled: set[str]) -> None:
        self.turns: list[tuple[Versions, KeptTurn]] = []
        self.spooled = spooled
        """The turns that were acknowledged before they were stored."""
        self.requests = 0

    def by_request(self, number: int) -> list[tuple[Versions, KeptTurn]]:
        """Whose answer came from this request; if nobody's did, all that it may have been for."""
        theirs = [
            (versions, turn)
            for versions, turn in self.turns
            if turn.answer is not None and request_of(turn.answer["content"]) == number
        ]
        return theirs or self.turns


def check_prompts(evidence: Evidence) -> Iterator[str]:
    spooled = {str(send.turn_id) for send in evidence.sends if send.is_spooled}
    asked: defaultdict[str, Asked] = defaultdict(lambda: Asked(spooled))
    for kept in evidence.kept:
        versions = Versions(kept.turns)
        for turn in kept.turns:
            asked[turn.question["content"]].turns.append((versions, turn))
        yield from _notes(kept, versions)
    for prompt in evidence.prompts:
        said = [message for message in prompt if message["role"] != "system"]
        question = said[-1]["content"]
        if question not in asked or said[-1]["role"] != "user":
            yield f"unknown prompt: {said[-1]}"
            continue
        about = asked[question]
        about.requests += 1
        yield from _wrong_prompt(prompt, said[:-1], about)
    for question, about in asked.items():
        attempts, times = sum(turn.attempt for _, turn in about.turns), about.requests
        if times > attempts:
            yield f"asked twice: {question!r} was sent {times} times in {attempts} attempts"


def _wrong_prompt(prompt: list[Shape], history: list[Shape], about: Asked) -> list[str]:
    """The least that is wrong with the latest prompt, of whichever turn it may have been."""
    least: list[str] | None = None
    for versions, turn in about.by_request(about.requests):
        for before in _transcripts(versions, turn, about.requests):
            is_spooled = turn.id in about.spooled
            wrong = [*_history(history, before, turn, is_spooled)]
            wrong += _notes_in_prompt(prompt, before, turn)
            if not wrong:
                return []
            if least is None or len(wrong) < len(least):
                least = wrong
    return least or []


def _transcripts(versions: Versions, turn: KeptTurn, request: int) -> Iterator[list[KeptTurn]]:
    """What may stand before a turn's question: what did when it came. Where it was superseded just
    then, and nothing of this request was kept, also what did a moment later, as far as it was
    answered by then."""
    yield versions.before[turn.id]
    kept = turn.answer is not None and request_of(turn.answer["content"]) == request
    by = versions.removed_by.get(turn.id)
    if by is not None and not kept:
        for n in range(by.n, versions.last + 1):
            for answered in range(turn.place):
                yield versions.after(n)[:answered]


def _history(
    history: list[Shape], before: list[KeptTurn], turn: KeptTurn, is_spooled: bool
) -> Iterator[str]:
    """Before the question stand the latest answered exchanges before it, each once. Where the
    store was away some may be lacking: another server accepted them, or memory was lost."""
    right = []
    for earlier in before:
        if earlier.answer is not None and earlier.answer["content"]:
            right.append(("user", earlier.question["content"]))
            right.append(("assistant", earlier.answer["content"]))
    found = [(message["role"], message["content"]) for message in history]
    where = _where(turn)
    questions = Counter(text for role, text in found if role == "user")
    questions[turn.question["content"]] += 1
    for text, count in questions.items():
        if count > 1:
            yield f"doubled in prompt: {text!r} stands {count} times in that of {where}"
    asked = {each.question["content"] for each in before}
    for text in questions.keys() - asked - {turn.question["content"]}:
        yield f"untimely in prompt: {text!r} stood not before {where}"
    if is_spooled:
        rest = iter(right)
        if not all(message in rest for message in found):
            yield f"wrong prompt: that of {where} has {found[-4:]}, out of {right[-4:]}"
    elif found != right[len(right) - len(found) :]:
        yield f"wrong prompt: that of {where} has {found[-4:]}, not {right[-4:]}"
    elif len(found) < min(len(right), 2 * SURELY_REMEMBERED):
        yield f"forgotten: the prompt of {where} has {len(found)} of {len(right)} messages"


def _notes_in_prompt(prompt: list[Shape], before: list[KeptTurn], turn: KeptTurn) -> Iterator[str]:
    yield from _compare(notes_in(prompt), before, f"the prompt of {_where(turn)}")


def _notes(kept: Kept, versions: Versions) -> Iterator[str]:
    for place, notes in (("store", kept.notes), ("memory", kept.remembered_notes)):
        yield from _compare(notes.split(), versions.current, f"the {place}, of {kept.id},")


def _compare(notes: list[str], turns: list[KeptTurn], where: str) -> Iterator[str]:
    """Notes name the first exchanges of a transcript, in this version of it."""
    right = [
        note_on(turn.question["content"], None if turn.answer is None else turn.answer["content"])
        for turn in turns
    ]
    if notes != right[: len(notes)]:
        yield f"wrong notes: {where} has {notes[-6:]}, not {right[: len(notes)][-6:]}"


def _where(turn: KeptTurn) -> str:
    return f"turn {turn.n} of {turn.question['conversation_id']}"
