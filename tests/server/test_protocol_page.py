"""docs/protocol.md says what the code does: its tables, read and held against it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from memory.facts import Fact
from memory.records import (
    Answer,
    Attachment,
    Feedback,
    Position,
    ToolUse,
    Turn,
    TurnError,
    question_of,
)
from server import errors, protocol, shapes
from server.feed import events
from server.feed.log import Checkpoint, Log
from stores.usage import Used
from tests.server.test_protocol import CALLS, conversation, required, turn

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


FACT = Fact(id="f", text="Likes tea", confidence=1, sources=[], created_at=1, updated_at=1)


def table(heading: str) -> dict[str, list[str]]:
    """The table under a heading: the name in each row's first cell, and the row's other cells."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]
    return {first.strip("`"): rest for first, *rest in cells}


def names(cell: str) -> list[str]:
    """What stands in backticks, without what stands in parentheses."""
    return re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", cell))


def keys(text: str) -> set[str]:
    return {part.strip() for part in text.split(",")}


def test_the_calls_are_those_of_the_page() -> None:
    assert list(table("Calls")) == list(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_has_the_fields_of_the_page(name: str) -> None:
    fields = names(table("Calls")[name][0])
    kind = CALLS[name]
    assert {field.rstrip("?") for field in fields} == set(kind.__struct_fields__)
    assert {field for field in fields if not field.endswith("?")} == required(kind)


def test_bounds_and_defaults_are_those_of_the_page() -> None:
    rows = table("Calls")
    for name, row in rows.items():
        for limit in re.findall(r"`limit\?` \(1–(\d+), default (\d+)\)", row[0]):
            most, default = map(int, limit)
            given: dict[str, Any] = dict.fromkeys(required(CALLS[name]), "a")
            parsed: Any = protocol.parse(CALLS[name], (given,))
            assert parsed.limit == default
            protocol.parse(CALLS[name], (given | {"limit": most},))
            with pytest.raises(errors.Invalid):
                protocol.parse(CALLS[name], (given | {"limit": most + 1},))
    bounds = re.search(r"1 to (\d+) characters, a title of 1 to (\d+), .* at most (\d+);", PAGE)
    assert bounds is not None
    assert tuple(map(int, bounds.groups())) == (
        protocol.MAX_ID_CHARS,
        protocol.MAX_TITLE_CHARS,
        protocol.MAX_CURSOR_CHARS,
    )
    assert f"{protocol.MAX_PACKET_BYTES:,} bytes" in PAGE


def test_the_error_codes_are_those_of_the_page() -> None:
    kinds = errors.CallError.__subclasses__()
    known = {kind.code: kind.retryable for kind in kinds}
    assert {code: row[0] == "yes" for code, row in table("Errors").items()} == known
    shape = errors.CallError("Wait.", field="x", retry_after=1.5).shape()
    line = re.search(r"`error` is `\{([^}]+)\}`", PAGE)
    assert line is not None
    assert {key.rstrip("?") for key in keys(line[1])} == set(shape)
    assert {key for key in keys(line[1]) if not key.endswith("?")} == set(errors.Busy().shape())


LOOKS = ToolUse(id="u", name="look", status="started", input={"for": "x" * 5_000})
USE = ToolUse(id="u", name="look", status="finished", input={"for": "it"}, output="there")


def feed_of(*ends: Turn) -> dict[str, dict[str, Any]]:
    """One payload of each event that a log makes of a turn that ends in these ways."""
    told: dict[str, dict[str, Any]] = {}
    for end in ends:
        log = Log("c", Checkpoint(end.n - 1, Position(turn=end.place - 1), []))
        edit = msgspec.structs.replace(
            end, n=end.n + 1, place=end.place, revision=end.revision + 1, rewrites=True
        )
        for event in (
            events.created(end),
            events.queued(end),
            events.started(end),
            events.delta(end, 0, "So."),
            events.tool(end, 0, USE),
            events.stored(end, question_of(end)),
            events.ended(end),
            events.removed(edit, [end], answers=0),
        ):
            verdict, entry = log.append(event)
            assert entry is not None, (event, verdict)
            told[entry.name] = entry.payload
    return told


def test_the_feeds_events_are_those_of_the_page() -> None:
    answer = Answer(message_id="a", content="So.", status="complete", created_at=1, usage={"n": 1})
    error = TurnError(code="internal", message="No.", retryable=True)
    feed = feed_of(
        turn(status="completed", answer=answer),
        turn(status="stopped"),
        turn(status="failed", error=error),
    )
    rows = table("The feed")
    assert set(feed) == set(rows)
    for name, payload in feed.items():
        fields = ["conversation_id", "cursor", *names(rows[name][0])]
        assert {field.rstrip("?") for field in fields} == set(payload), name


def test_the_shapes_are_those_of_the_page() -> None:
    question = question_of(turn())
    picture = Attachment(id="a", type="image", media_type="image/png", size=67)
    rated = msgspec.structs.replace(
        question, feedback=Feedback(value=1, comment="Thanks."), attachments=[picture]
    )
    sent = {
        "conversation": (shapes.conversation_shape(conversation()),) * 2,
        "message": (shapes.message_shape("c", question), shapes.message_shape("c", rated)),
        "attachment": (shapes.attachment_shape(picture),) * 2,
        "turn": (shapes.turn_shape(turn()),) * 2,
        "fact": (shapes.fact_shape(FACT),) * 2,
        "usage": (shapes.usage_shape(Used()),) * 2,
        "tool": (shapes.tool_shape(LOOKS), shapes.tool_shape(USE)),
    }
    for name, (least, most) in sent.items():
        line = re.search(rf"- {name}: `\{{([^}}]+)\}}`", PAGE)
        assert line is not None
        assert {key for key in keys(line[1]) if not key.endswith("?")} == set(least)
        assert {key.rstrip("?") for key in keys(line[1])} == set(most)
