"""Those who follow a conversation.

A reader is *held* while it is given the past: what is published meanwhile waits, and follows its
verdict in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from memory.records import Position, Transcript
from server import shapes
from server.edge.connections import Connection, Deliver
from server.feed.log import Entry, Moment


class Opening(msgspec.Struct, frozen=True):
    """A reader's verdict. ``release`` goes after it: what was missed, then what is live.
    ``withdraw`` instead of it, where the verdict is not given: all is as it was before."""

    recovery: Literal["replayed", "snapshot"]
    cursor: str
    position: Position
    """What had been announced at the cursor."""
    messages: list[dict[str, Any]] | None
    turns: list[dict[str, Any]] | None
    release: Callable[[], None]
    withdraw: Callable[[], None]

    def shape(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"cursor": self.cursor}
        if self.recovery == "snapshot":
            shape.update(messages=self.messages, turns=self.turns)
        return shape


class Reader:
    """A connection on a feed. While it is held, what it is to be told waits here."""

    __slots__ = ("connection", "held", "holds")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.holds = 0
        self.held: list[Entry] = []


class Hold:
    """One reader's wait for its verdict. Of two at once, the later one's past is what it is told:
    its cursor is the newer."""

    def __init__(self, readers: Readers, reader: Reader, *, is_new: bool) -> None:
        self._readers = readers
        self._reader = reader
        self._is_new = is_new
        self._waiting = reader.held
        self._given = 0
        reader.holds += 1
        self._mine: list[Entry] = []
        reader.held = self._mine

    def restart(self) -> None:
        """Its past is told as of now: what has happened since the hold is in that."""
        if self._reader.held is self._mine:
            self._mine.clear()
            self._given = 0

    def precede(self, missed: list[Entry]) -> None:
        """What the reader missed comes before what has happened since the hold."""
        if self._reader.held is self._mine:
            self._mine[:0] = missed
            self._given += len(missed)

    def release(self) -> None:
        self._readers.let_on(self._reader)

    def withdraw(self) -> None:
        """As if it had not been; a reader that was on the feed stays there without a gap."""
        if self._is_new:
            self._readers.leave(self._reader.connection.sid)
            return
        if self._reader.held is self._mine:
            self._reader.held = self._waiting + self._mine[self._given :]
        self._readers.let_on(self._reader)


class Readers:
    """The readers of one conversation."""

    def __init__(self, deliver: Deliver) -> None:
        self.idle_since = time.monotonic()
        self._deliver = deliver
        self._readers: dict[str, Reader] = {}

    def __bool__(self) -> bool:
        return bool(self._readers)

    def __contains__(self, sid: str) -> bool:
        return sid in self._readers

    def __iter__(self) -> Iterator[Reader]:
        return iter(list(self._readers.values()))

    def tell(self, entry: Entry) -> None:
        live = []
        for sid, reader in self._readers.items():
            if reader.holds:
                reader.held.append(entry)
            else:
                live.append(sid)
        if live:
            self._deliver(entry.name, entry.payload, live)

    def hold(self, connection: Connection) -> Hold:
        """Put it on the feed, held."""
        is_new = connection.sid not in self._readers
        reader = self._readers.setdefault(connection.sid, Reader(connection))
        return Hold(self, reader, is_new=is_new)

    def let_on(self, reader: Reader) -> None:
        """One hold less; with the last, it is told what has waited."""
        sid = reader.connection.sid
        if self._readers.get(sid) is not reader:
            return
        reader.holds -= 1
        if not reader.holds:
            held, reader.held = reader.held, []
            for entry in held:
                self._deliver(entry.name, entry.payload, [sid])

    def leave(self, sid: str) -> None:
        if self._readers.pop(sid, None) is not None:
            self.idle_since = time.monotonic()


def shown(conversation_id: str, moment: Moment, transcript: Transcript) -> list[dict[str, Any]]:
    """The messages of a snapshot: those that had been announced at its moment."""
    return [
        shapes.message_shape(conversation_id, message)
        for message in transcript.messages
        if moment.holds(message)
    ]
