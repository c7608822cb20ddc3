"""Calls of tools, as providers stream them."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from agent.tools.calls import MAX_CALLS, Gathering


def piece(index: int | None, name: str = "", args: str = "", call_id: str = "") -> AIMessageChunk:
    part: Any = {"index": index, "name": name or None, "args": args or None, "id": call_id or None}
    return AIMessageChunk(content="", tool_call_chunks=[{"type": "tool_call_chunk", **part}])


def gathered(*messages: AIMessage) -> list[tuple[str, str, Any]]:
    gathering = Gathering()
    for message in messages:
        gathering.add(message)
    return [(call.id, call.name, call.input()) for call in gathering.calls]


A = ("a", "add", {"x": 1})
B = ("b", "look", {})


@pytest.mark.parametrize(
    "messages",
    [
        [
            piece(0, "add", "", "a"),
            piece(1, "look", "", "b"),
            piece(0, "", '{"x":'),
            piece(0, "", "1}"),
        ],
        [
            piece(0, "a", "", "a"),
            piece(0, "dd", '{"x":1}'),
            piece(1, "lo", "{", "b"),
            piece(1, "ok", "}"),
        ],
        [piece(None, "add", '{"x": 1}', "a"), piece(None, "look", "", "b")],
        [piece(0, "add", '{"x": 1}', "a"), piece(0, "look", "  ", "b")],
        [piece(0, "add", '{"x"', "a"), piece(0, "add", ": 1}", "a"), piece(1, "look", "{}", "b")],
        [
            AIMessage(
                content="",
                tool_calls=[
                    {"name": "add", "args": {"x": 1}, "id": "a"},
                    {"name": "look", "args": {}, "id": "b"},
                ],
            )
        ],
    ],
    ids=["intertwined", "names in pieces", "no index", "one index", "a name again", "whole"],
)
def test_pieces_become_calls(messages: list[AIMessage]) -> None:
    assert gathered(*messages) == [A, B]


def test_what_has_no_name_is_no_call_and_there_are_no_more_than_some() -> None:
    assert gathered(piece(0, "", '{"x": 1}', "a")) == []
    many = [piece(index, "add", "{}", str(index)) for index in range(MAX_CALLS + 10)]
    assert len(gathered(*many)) == MAX_CALLS


def test_what_utf8_cant_carry_is_in_no_name() -> None:
    assert gathered(piece(0, "add\ud800", "", "\udfff")) == [("?", "add?", {})]
