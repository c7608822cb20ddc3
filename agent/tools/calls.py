"""What a model asks to have done, gathered from the pieces in which it is streamed. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from langchain_core.messages import AIMessage, AIMessageChunk

from agent.wording import sendable

MAX_CALLS = 64
"""Of one round that are gathered at all; what a model streams beyond them is not even refused."""
MAX_INPUT_CHARS = 30_000
MAX_DEPTH = 100
"""Of lists and objects within each other: whoever keeps or tells of an input has such a limit."""
MAX_NAME_CHARS = 200


class Call:
    """One call, as far as it was streamed."""

    __slots__ = ("_pieces", "_size", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self._pieces: list[str] = []
        self._size = 0

    def add(self, piece: Mapping[str, Any]) -> None:
        self.id = self.id or piece.get("id") or ""
        name = piece.get("name") or ""
        if name != self.name:  # else a provider says it again with each piece
            self.name = (self.name + name)[:MAX_NAME_CHARS]
        text = piece.get("args") or ""
        self._size += len(text)
        if self._size <= MAX_INPUT_CHARS:
            self._pieces.append(text)

    def input(self) -> dict[str, Any]:
        """By names. Raises ``ValueError``, in words for the model, for what is no input."""
        if self._size > MAX_INPUT_CHARS:
            raise ValueError(f"The arguments are longer than {MAX_INPUT_CHARS} characters.")
        text = "".join(self._pieces)
        try:
            found = orjson.loads(text) if text.strip() else {}
        except ValueError:
            raise ValueError("The arguments are no JSON.") from None
        if not isinstance(found, dict):
            raise ValueError("The arguments are no JSON object.")
        if _depth(found) > MAX_DEPTH:
            raise ValueError(f"The arguments are nested deeper than {MAX_DEPTH}.")
        return found


class Gathering:
    """The calls of one round. Pieces belong together by their index; where a provider gives none,
    or the same to several, by their ids."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._by_index: dict[Any, Call] = {}

    def add(self, message: AIMessage) -> None:
        for piece in _pieces(message):
            index = piece.get("index")
            call = None if index is None else self._by_index.get(index)
            if call is None or (piece.get("id") and call.id and piece["id"] != call.id):
                if len(self._calls) >= MAX_CALLS:
                    return
                call = Call()
                self._calls.append(call)
                if index is not None:
                    self._by_index[index] = call
            call.add(piece)

    @property
    def calls(self) -> list[Call]:
        for call in self._calls:
            call.id, call.name = sendable(call.id), sendable(call.name)
        return [call for call in self._calls if call.name]


def _depth(value: Any) -> int:
    """How deep it is nested; no deeper than is asked for."""
    depth, level = 0, [value]
    while depth <= MAX_DEPTH and (level := [each for each in level if _holds(each)]):
        depth += 1
        level = [
            inner for each in level for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


def _holds(value: Any) -> bool:
    return isinstance(value, dict | list)


def _pieces(message: AIMessage) -> Iterable[Mapping[str, Any]]:
    if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
        return message.tool_call_chunks
    # A model that does not stream gives them whole.
    return [
        {"id": call["id"], "name": call["name"], "args": orjson.dumps(call["args"]).decode()}
        for call in message.tool_calls
    ]
