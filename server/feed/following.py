"""One conversation's log and those who follow it.

A reader is *held* while it is given the past: what is published meanwhile waits, and follows its
verdict in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from memory.records import Transcript
from server import protocol
from server.connections import Connection, Deliver
from server.feed.log import Event, Log, Moment


class Opening(msgspec.Struct, frozen=True):
    """A reader's verdict. ``release`` goes after it: what was missed, then what is live.
    ``withdraw`` instead of it, where the verdict is not given: all is as it was before."""

    recovery: Literal["replayed", "snapshot"]
    cursor: str
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
        self.held: list[Event] = []


class Feed:
    """One conversation's log and its readers."""

    def __init__(self, log: Log, deliver: Deliver) -> None:
        self.log = log
        self.readers: dict[str, Reader] = {}
        self.idle_since = time.monotonic()
        self._deliver = deliver

    def publish(self, event: Event | None) -> None:
        if event is None:
            return
        live = []
        for sid, reader in self.readers.items():
            if reader.holds:
                reader.held.append(event)
            else:
                live.append(sid)
        self._deliver(event[1], event[2], live)
        self.idle_since = time.monotonic()

    def hold(self, connection: Connection, missed: list[Event]) -> Reader:
        """Put it on the feed, held, to be told what it missed and what comes."""
        reader = self.readers.setdefault(connection.sid, Reader(connection))
        reader.holds += 1
        reader.held = missed
        return reader

    def release(self, reader: Reader) -> None:
        sid = reader.connection.sid
        if self.readers.get(sid) is not reader:
            return
        reader.holds -= 1
        if not reader.holds:
            held, reader.held = reader.held, []
            for _, name, payload in held:
                self._deliver(name, payload, [sid])

    def renew(self, log: Log, transcript: Transcript) -> None:
        """Go on with another log; its beginning is told as a snapshot."""
        self.log = log
        moment = log.moment()
        snapshot = {
            "conversation_id": log.conversation_id,
            "cursor": moment.cursor,
            "messages": shown(log.conversation_id, moment, transcript),
            "turns": moment.turns,
        }
        self.publish((log.number, "conversation:snapshot", snapshot))


def shown(conversation_id: str, moment: Moment, transcript: Transcript) -> list[dict[str, Any]]:
    """The messages of a snapshot: those that had been announced at its moment."""
    return [
        protocol.message_shape(conversation_id, message)
        for message in transcript.messages
        if moment.holds(message)
    ]
