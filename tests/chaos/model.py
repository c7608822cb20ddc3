"""What the provider says: it never says the same twice, so that every word tells where it is from.

An answer names the question and the how-manieth request for it this was. The summariser's notes
name each exchange they cover, in order, by the number in its question and by its answer's request.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence

from agent.wording import SUMMARY_TAG, fenced
from tests.support.provider import Body, Script, is_summary

UNANSWERED = "none"


def answer_to(question: str, time: int) -> str:
    """To the ``time``-th request with this question: always the same, of a length by chance."""
    size = 4 + zlib.crc32(f"{question} {time}".encode()) % 12
    words = "".join(f" word-{time}.{number}" for number in range(size))
    return f"№{time}: you said “{question}”.{words}"


def request_of(answer: str) -> int | None:
    """Which request for its question an answer comes from; None if it ends before it says so."""
    named = re.match(r"№(\d+):", answer)
    return int(named[1]) if named else None


def note_on(question: str, answer: str | None) -> str:
    """An exchange as the notes name it: a question begins with ``user.conversation.number``."""
    number = question.partition(" ")[0].rpartition(".")[2]
    return f"{number}№{UNANSWERED if answer is None else request_of(answer) or 0}"


def notes_in(prompt: Sequence[Body]) -> list[str]:
    """What the notes in a prompt's system message name."""
    system = [str(message["content"]) for message in prompt if message["role"] == "system"]
    return [
        note
        for text in system
        for tag, notes in fenced(text)
        if tag == SUMMARY_TAG
        for note in notes.split()
    ]


class Model:
    """How the provider responds."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    def respond(self, body: Body) -> Script:
        if is_summary(body):
            return Script(_pieces(_notes(body["messages"][-1]["content"])), delay=0.01)
        question = body["messages"][-1]["content"]
        self._asked[question] += 1
        delay = (1, 2, 4, 10)[zlib.crc32(question.encode()) // 16 % 4] / 100
        return Script(_pieces(answer_to(question, self._asked[question])), delay=delay)


def _notes(request: str) -> str:
    """The earlier notes, and one more for each of the messages that came since."""
    notes: list[str] = []
    asked: str | None = None
    for tag, text in fenced(request):
        if tag == "notes":
            notes += text.split()
        elif tag == "user":
            if asked is not None:
                notes.append(note_on(asked, None))
            asked = text
        elif asked is not None:
            notes.append(note_on(asked, text))
            asked = None
    if asked is not None:
        notes.append(note_on(asked, None))
    return " ".join(notes)


def _pieces(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)
