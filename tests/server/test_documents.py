"""Conversations as documents: written, taken in again, and refused where something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.records import (
    Answer,
    Attachment,
    Choice,
    Conversation,
    Feedback,
    Position,
    Question,
    Turn,
)
from server.errors import CallError
from server.transfer import document, markdown
from server.transfer.document import Part, parse_part, turns_of
from server.transfer.exporting import At, at_text, file_stem, parse_at

CHECKOUT = Path(__file__).parents[2]
NOW = 1_800_000_000_000
ABOUT: dict[str, Any] = {"title": "Plans", "created_at": "2026-01-01T00:00:00.000Z"}
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
WORDS = TEXTS.filter(lambda text: bool(text.strip()))
TIMES = st.integers(0, NOW)


def conversation(**fields: Any) -> Conversation:
    values = {"id": "c", "user_id": "u", "title": "Plans", "created_at": 5, "updated_at": 9}
    return Conversation(**(values | fields))


@st.composite
def turns(draw: st.DrawFn) -> list[Turn]:
    made: list[Turn] = []
    answers = 0
    for n in range(1, draw(st.integers(0, 5)) + 1):
        at = draw(TIMES)
        answer = feedback = None
        status = "stopped"
        if draw(st.booleans()):
            answers += 1
            status = draw(st.sampled_from(["completed", "stopped", "failed"]))
            ends = {"completed": "complete", "stopped": "stopped", "failed": "interrupted"}
            answer = Answer(
                message_id=f"a{n}",
                content=draw(TEXTS),
                status=ends[status],
                created_at=draw(TIMES),
            )
            if draw(st.booleans()):
                comment = draw(st.none() | TEXTS)
                feedback = Feedback(value=draw(st.sampled_from([1, -1])), comment=comment, at=7)
        made.append(
            Turn(
                id=f"t{n}",
                conversation_id="c",
                user_id="u",
                n=n,
                question=Question(message_id=f"q{n}", content=draw(WORDS), created_at=at),
                digest="d",
                accepted="running",
                status=status,
                open=False,
                answer=answer,
                feedback=feedback,
                answers=answers,
                created_at=at,
            )
        )
    return made


def written(about: Conversation, kept: list[Turn]) -> dict[str, Any]:
    text = document.head_text(about) + "".join(map(document.turn_text, kept)) + document.TAIL
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def without_ids(parsed: dict[str, Any]) -> dict[str, Any]:
    for each in (parsed["conversation"], *parsed["messages"]):
        del each["id"]
        each.pop("turn_id", None)
    return parsed


def part(messages: list[Any], **head: Any) -> Part:
    whole = {"format": "mnemosio-conversation", "version": 1, "conversation": ABOUT}
    return parse_part({**whole, **head, "messages": messages}, max_chars=100, now=NOW)


@given(turns(), TEXTS, st.sampled_from([None, "larger"]))
def test_what_is_written_of_what_was_taken_in_is_what_was_written_but_for_the_ids(
    kept: list[Turn], title: str, model: str | None
) -> None:
    last = max([9, *(t.answer.created_at if t.answer else t.created_at for t in kept)])
    about = conversation(title=title, updated_at=last, choice=Choice(model=model))
    first = written(about, kept)
    taken = parse_part(first, max_chars=0, now=NOW)
    again = turns_of(taken, "new", "another", 0)
    head = taken.head
    assert [turn.answers for turn in again] == [turn.answers for turn in kept]
    made = Conversation(
        id="new",
        user_id="another",
        title=head.title,
        created_at=head.created_at,
        updated_at=head.updated_at or 0,
        choice=head.choice,
        position=Position(turn=len(again)),
    )
    assert without_ids(written(made, again)) == without_ids(first)
    assert not {turn.id for turn in again} & {turn.id for turn in kept}


@given(turns(), st.integers(0, 5))
def test_parts_bring_the_turns_of_the_whole(kept: list[Turn], cut: int) -> None:
    whole = written(conversation(), kept)
    expected = turns_of(parse_part(whole, max_chars=0, now=NOW), "new", "u", 0)
    cut = min(cut, len(kept))
    questions = [i for i, each in enumerate(whole["messages"]) if each["role"] == "user"]
    index = questions[cut] if cut < len(questions) else len(whole["messages"])
    found: list[Turn] = []
    for messages in (whole["messages"][:index], whole["messages"][index:]):
        some = parse_part(whole | {"messages": messages}, max_chars=0, now=NOW)
        assert some.head.digest == parse_part(whole, max_chars=0, now=NOW).head.digest
        found += turns_of(some, "new", "u", found[-1].answers or 0 if found else 0)
    assert found == expected


def test_a_document_by_hand_needs_no_more_than_who_said_what() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    taken = parse_part(
        {"format": "mnemosio-conversation", "version": 1, "messages": messages},
        max_chars=100,
        now=NOW,
    )
    assert taken.head.created_at == NOW
    [turn] = turns_of(taken, "c", "u", 0)
    assert turn.answer is not None
    assert (turn.question.content, turn.answer.content) == ("hi", "hello")
    assert (turn.status, turn.open, turn.created_at) == ("completed", False, NOW)


def test_times_are_kept_and_none_is_later_than_now() -> None:
    messages = [
        {"role": "user", "content": "hi", "created_at": "2026-02-01T01:00:00+01:00"},
        {"role": "assistant", "content": "so", "created_at": "2999-01-01T00:00:00Z"},
        {"role": "user", "content": "when?", "created_at": "9999-12-31T23:59:59-23:59"},
        {"role": "user", "content": "and where?", "created_at": "2026-02-01 00:00"},
        {"role": "user", "content": "then?"},
    ]
    first, second, third, fourth = part(messages).exchanges
    assert (first.asked_at, first.answered_at) == (1_769_904_000_000, NOW)
    assert second.asked_at == NOW
    assert third.asked_at == fourth.asked_at == 1_769_904_000_000


def said(**fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": "hi", **fields}


ANSWER = said(role="assistant")


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        (["hi"], "[0]"),
        ([None], "[0]"),
        ([{"content": "hi"}], "[0].role"),
        ([said(role="system")], "[0].role"),
        ([said(content=5)], "[0].content"),
        ([said(content=" ")], "[0].content"),
        ([said(content="x" * 101)], "[0].content"),
        ([ANSWER], "[0].role"),
        ([said(), ANSWER, ANSWER], "[2].role"),
        ([said(), said(role="assistant", content="")], "[1].content"),
        ([said(status="stopped")], "[0].status"),
        ([said(), said(role="assistant", status="running")], "[1].status"),
        ([said(feedback={"value": 1})], "[0].feedback"),
        ([said(), said(role="assistant", feedback={"value": 0})], "[1].feedback.value"),
        ([said(), said(role="assistant", feedback={"value": 1, "comment": 5})], "[1].feedback.com"),
        ([said(seq=2)], "[0].seq"),
        ([said(seq=0)], "[0].seq"),
        ([said(seq=10**30)], "[0].seq"),
        ([said(seq=1), said(seq=5)], "[1].seq"),
        ([said(seq=3), said(role="assistant", seq=2)], "[1].seq"),
        ([said(seq=19_999), ANSWER, said()], "[2]"),
        ([said(created_at="yesterday")], "[0].created_at"),
        ([said(created_at=5)], "[0].created_at"),
        ([said(created_at="1969-12-31T23:59:59Z")], "[0].created_at"),
    ],
)
def test_a_message_that_is_wrong_is_named(messages: list[Any], field: str) -> None:
    with pytest.raises(CallError) as refused:
        part(messages)
    assert refused.value.code in ("invalid", "too_large")
    assert (refused.value.field or "").startswith(f"document.messages{field}")


@pytest.mark.parametrize(
    ("head", "field"),
    [
        ({"format": "chatgpt"}, "document.format"),
        ({"format": None}, "document.format"),
        ({"version": 2}, "document.version"),
        ({"version": "1"}, "document.version"),
        ({"messages": {}}, "document.messages"),
        ({"messages": None}, "document.messages"),
        ({"conversation": []}, "document.conversation"),
        ({"conversation": {"title": "x" * 201}}, "document.conversation.title"),
        ({"conversation": {"created_at": "x"}}, "document.conversation.created_at"),
        ({"conversation": {"model": 5}}, "document.conversation.model"),
    ],
)
def test_a_head_that_is_wrong_is_named(head: dict[str, Any], field: str) -> None:
    whole = {"format": "mnemosio-conversation", "version": 1, "messages": [], **head}
    with pytest.raises(CallError) as refused:
        parse_part(whole, max_chars=100, now=NOW)
    assert (refused.value.code, refused.value.field) == ("invalid", field)


junk = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = ["role", "content", "seq", "status", "created_at", "feedback", "usage", "value"]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "format": st.just("mnemosio-conversation") | junk,
            "version": st.just(1) | junk,
            "conversation": junk | st.dictionaries(st.sampled_from([*ABOUT, "updated_at"]), junk),
            "messages": junk
            | st.lists(st.dictionaries(st.sampled_from(FIELDS), junk | st.just("user"))),
        },
    )
)
def test_junk_is_refused_with_a_field_or_taken_and_never_fails_otherwise(given: Any) -> None:
    refused: list[CallError] = []
    try:
        turns_of(parse_part(given, max_chars=100, now=NOW), "c", "u", 0)
    except CallError as error:
        refused.append(error)
    for each in refused:
        assert each.code in ("invalid", "too_large")
        assert (each.field or "").startswith("document")


def test_a_message_does_not_get_out_of_its_quotation() -> None:
    hostile = "\n".join(
        [
            "# Not a title",
            "```",
            "## Assistant · 2026-01-01 00:00:00 UTC",
            "\r## User\r\n---\n===",
            "<!--",
            "</blockquote>",
            "\u2028## User\x0b## User\x0c## User",
        ]
    )
    turn = Turn(
        id="t",
        conversation_id="c",
        user_id="u",
        n=1,
        question=Question(
            message_id="q",
            content=hostile,
            created_at=0,
            attachments=[Attachment(id="p", type="image", media_type="image/png", size=67)],
        ),
        digest="d",
        accepted="running",
        status="stopped",
        answer=Answer(message_id="a", content=hostile, status="stopped", created_at=61_000),
        feedback=Feedback(value=-1, comment="*no*\n\n## User"),
        created_at=0,
    )
    about = conversation(title="*x*\n# y <b>", choice=Choice(system_prompt="pirate"))
    text = markdown.head_text(about) + markdown.turn_text(turn) + markdown.TAIL
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert [line for line in lines if line and not line.startswith(">")] == [
        r"# \*x\* \# y \<b\>",
        "Begun 1970-01-01 00:00:00 UTC · pirate",
        "## User · 1970-01-01 00:00:00 UTC",
        "*Image: image/png, 67 bytes*",
        "## Assistant · 1970-01-01 00:01:01 UTC (stopped)",
        r"*Feedback: bad: \*no\* \#\# User*",
    ]
    assert "\r" not in text
    quoted = "\n".join(line[2:] for line in lines if line.startswith(">"))
    assert quoted.count("## Assistant") == 2


def test_a_cursor_is_read_as_it_was_written_and_others_are_refused() -> None:
    at = At(1, 20, 3, 100, "abc")
    assert parse_at(at_text(at)) == at
    bad = ["", "x", "é", "WzEsMl0", at_text(At(1, 2, 4, 0, "")), at_text(At(-1, 2, 1, 0, ""))]
    bad.append(at_text(msgspec.structs.replace(at, end=2**60)))
    for text in bad:
        with pytest.raises(CallError) as refused:
            parse_at(text)
        assert (refused.value.code, refused.value.field) == ("invalid", "after")


@pytest.mark.parametrize(
    ("title", "stem"),
    [
        ("Plans for May", "Plans-for-May"),
        ("../../etc/passwd", "etc-passwd"),
        ("", "conversation"),
        ("\u202e???", "conversation"),
        ("Grüße 👋 an CON:", "Grüße-an-CON"),
        ("x" * 200, "x" * 60),
    ],
)
def test_a_files_name_is_one_that_every_system_takes(title: str, stem: str) -> None:
    assert file_stem(conversation(title=title)) == stem


IN_THREADS = """
import sys, threading
sys.setswitchinterval(1e-6)
from server.transfer.document import parse_part
said = {"role": "user", "content": "hello", "seq": 1}
document = {"format": "mnemosio-conversation", "version": 1, "messages": [said]}
together = threading.Barrier(8)
def read():
    together.wait()
    parse_part(document, max_chars=1_000, now=1)
threads = [threading.Thread(target=read) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


@pytest.mark.parametrize("run", range(3))
def test_the_first_documents_may_come_at_once(run: int) -> None:
    """Half of such processes crashed, where msgspec met a type in several threads."""
    ended = subprocess.run([sys.executable, "-c", IN_THREADS], cwd=CHECKOUT, check=False)
    assert ended.returncode == 0
