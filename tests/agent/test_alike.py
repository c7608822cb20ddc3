"""What is taken out of an event unparsed is what parsing gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.alike import MOST_LESSONS, Alike
from agent.openai_stream import _text_of
from tests.agent.streams import event

ODD = ["", " ", "\n", '"', "\\", "content", "a\u2028b", "\x7f", "{}", ",", ":", '","', "null", "x"]
Said = st.text() | st.sampled_from(ODD)


def alike(*learnt: str, **more: Any) -> Alike:
    alike = Alike(_text_of)
    for text in learnt:
        alike.learn(_event(text, **more), text)
    return alike


def _event(text: str, **more: Any) -> bytes:
    return event({"content": text}, **more).rstrip()


@given(first=Said, then=Said, ascii_only=st.booleans(), compact=st.booleans())
def test_it_is_what_parsing_gives_or_left_to_that(
    first: str, then: str, ascii_only: bool, compact: bool
) -> None:
    separators = (",", ":") if compact else None

    def event(text: str) -> bytes:
        delta = {"content": text, "role": None}
        shape = {"id": "x", "choices": [{"delta": delta, "finish_reason": None}], "service": "y"}
        body = json.dumps(shape, ensure_ascii=ascii_only, separators=separators)
        return b"data: " + body.encode("utf-8", "surrogatepass")

    alike = Alike(_text_of)
    alike.learn(event(first), first)
    assert alike.text(event(then)) in (then, None)


@given(block=st.binary(), before=st.integers(0, 300), after=st.integers(0, 300))
def test_of_anything_it_gives_what_parsing_gives_or_nothing(
    block: bytes, before: int, after: int
) -> None:
    """Junk between pieces of an event that it knows."""
    known = _event("word")
    junk = known[:before] + block + known[len(known) - after :]
    text = alike("word").text(junk)
    assert text is None or text == _text_of(junk)


@pytest.mark.parametrize("word", ["stop", "assistant", "gpt-4o-mini-2024-07-18", "content"])
def test_a_word_that_stands_elsewhere_too_is_looked_for_in_the_texts_place(word: str) -> None:
    one, other = (_event(text, id=word) for text in (word, "else"))
    assert alike(word, id=word).text(other) in ("else", None)
    assert alike("else", id=word).text(one) == word


@pytest.mark.parametrize("word", [",", ":", "", "assistant"])
def test_a_word_that_stands_between_others_is_found_where_it_is_said(word: str) -> None:
    assert alike(word).text(_event("else")) == "else"


def test_plain_words_need_no_parsing() -> None:
    before, _, after = _event("word").partition(b"word")
    for text in ("Hello", ",", " wörld", " 你好", "", "'"):
        assert alike("word").text(before + text.encode() + after) == text


def test_an_event_that_is_more_is_parsed() -> None:
    known = alike("word")
    assert known.text(event({"content": "word"}, "stop").rstrip()) is None
    assert known.text(_event("word", id="another")) is None
    assert known.text(b"data: [DONE]") is None
    assert Alike(_text_of).text(_event("word")) is None


def test_where_more_changes_each_time_it_is_not_learnt_for_ever() -> None:
    read: list[bytes] = []

    def reading(block: bytes) -> str | None:
        read.append(block)
        return _text_of(block)

    alike = Alike(reading)
    for number in range(100):
        alike.learn(_event("word", obfuscation="x" * number), "word")
    assert len(read) == MOST_LESSONS
