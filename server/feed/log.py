"""One conversation's log: the rules by which it takes events, and what it knows by them.

From a checkpoint on, a log knows without asking anybody what a snapshot at its cursor must hold; so
a reader is given every event once, whichever moment it comes in at. Free of I/O.

The same rules decide in two places: here, where the log is this process's own because Redis is
away, and in ``scripts/rules.lua``, where it is shared by all servers. A shared log's entries are
*heard* here: what has been taken there is taken.

The cursor is ``{epoch}-{number}``; an epoch is new whenever the log is.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec

from memory.records import ENDED, Message, Position, Turn
from server.feed.events import Event, Rule
from server.feed.keys import MAX_BYTES, MAX_EVENTS

Verdict = Literal["take", "skip", "stale", "behind", "lost"]
"""What becomes of an event: ``take`` it; ``skip`` it, the log has it; ``stale``, a later attempt or
nobody at all has the turn; ``behind``, an earlier turn, or more of this one, must be told first;
``lost``, the log lacks something that was never told, and must begin anew."""

_CURSOR = re.compile(r"([1-9][0-9]{0,15})-(0|[1-9][0-9]{0,14})")


TOLD = ("created", "queued", "running")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An event in its place, as readers are given it. There are hundreds of thousands, and no way
    back from one to itself: the garbage collector need not look at them."""

    number: int
    name: str
    payload: dict[str, Any]

    @property
    def size(self) -> int:
        """About what it takes in memory."""
        text = self.payload.get("text")
        if isinstance(text, str):
            return 100 + len(text)
        message, tool = self.payload.get("message"), self.payload.get("tool")
        if tool:
            return 500 + len(tool.get("output", ""))
        return 300 + (len(message["content"]) if message else 0)


class LiveTurn:
    """A turn that was announced and has not ended: what a snapshot shows of it."""

    __slots__ = (
        "attempt",
        "id",
        "n",
        "next_index",
        "next_tool",
        "place",
        "size",
        "status",
        "text",
        "tools",
    )

    def __init__(
        self,
        turn_id: str,
        n: int,
        place: int,
        status: Literal["created", "queued", "running"] = "created",
        attempt: int = 0,
        text: Iterable[str] = (),
        next_index: int = 0,
        tools: Iterable[dict[str, Any]] = (),
        next_tool: int = 0,
    ) -> None:
        """``tools`` are what was told of each use, ``next_tool`` is how often that was."""
        self.id = turn_id
        self.n = n
        self.place = place
        self.status = status
        self.attempt = attempt
        self.text = list(text)
        self.next_index = next_index
        self.size = sum(map(len, self.text))
        self.tools = {str(tool["id"]): tool for tool in tools}
        """What was told last of each use of a tool, by its id, in order."""
        self.next_tool = next_tool

    def copy(self) -> LiveTurn:
        return LiveTurn(
            self.id,
            self.n,
            self.place,
            self.status,
            self.attempt,
            self.text,
            self.next_index,
            self.tools.values(),
            self.next_tool,
        )

    @property
    def told(self) -> tuple[int, int, int, int]:
        """How much of it was told; comparable."""
        return self.attempt, TOLD.index(self.status), self.next_index, self.next_tool

    def differs(self, stored: Turn | None) -> bool:
        """Whether the store knows of more. An end is told by whoever concludes the turn."""
        if stored is None:
            return True
        is_open = stored.status not in ENDED
        shown = "running" if self.status == "running" else "queued"
        return is_open and (stored.status, stored.attempt) != (shown, self.attempt)

    def shape(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "status": "running" if self.status == "running" else "queued",
            "attempt": self.attempt,
            "text": "".join(self.text),
            "next_index": self.next_index,
            "tools": list(self.tools.values()),
        }


class Checkpoint(NamedTuple):
    """Where a log begins."""

    n: int
    """The number of the last turn that was announced."""
    position: Position
    """What the announced transcript has: the last question's place, and how many answers."""
    live: list[LiveTurn]
    mark: int = 0
    """Up to where spooled messages were announced as stored: see ``events.stored``."""


class Moment:
    """What had been announced at one cursor, and which turns were open then."""

    __slots__ = ("cursor", "number", "open", "position", "turns")

    def __init__(self, log: Log) -> None:
        self.cursor = log.cursor
        self.number = log.number
        self.position = log.position
        self.open = {turn.place for turn in log.live.values()}
        self.turns = [turn.shape() for turn in log.live.values()]

    def holds(self, message: Message) -> bool:
        """False for a message that follows as an event after this moment."""
        place = ((message.seq or 0) + 1) // 2
        is_told = message.type != "ai" or place not in self.open
        return place <= self.position.turn and is_told


class Log:
    """The ordered events of one conversation, from a checkpoint on."""

    def __init__(
        self,
        conversation_id: str,
        checkpoint: Checkpoint,
        *,
        epoch: str | None = None,
        number: int = 0,
        most_events: int = MAX_EVENTS,
    ) -> None:
        """``most_events`` are kept for those who come back with a cursor."""
        self.conversation_id = conversation_id
        self.epoch = epoch or new_epoch()
        self.number = number
        self.n, self.position, live, self.mark = checkpoint
        self.live = {turn.id: turn for turn in live}
        self._before = ("", 0)
        self._most = most_events
        self._entries: deque[Entry] = deque()
        self._size = 0

    @property
    def size(self) -> int:
        """About what its events take in memory."""
        return self._size

    @property
    def cursor(self) -> str:
        return f"{self.epoch}-{self.number}"

    def moment(self) -> Moment:
        return Moment(self)

    def checkpoint(self) -> Checkpoint:
        """As it is now: a copy."""
        live = [turn.copy() for turn in self.live.values()]
        return Checkpoint(self.n, self.position, live, self.mark)

    def stands_where(self, other: Log) -> bool:
        """Whether both have announced the same turns, and the same of these have ended or begun."""
        return (self.n, self.position) == (other.n, other.position) and {
            (turn_id, live.attempt) for turn_id, live in self.live.items()
        } == {(turn_id, live.attempt) for turn_id, live in other.live.items()}

    def tells_the_same_as(self, other: Log) -> bool:
        """Whether a reader of the one has been told exactly what a reader of the other has."""
        return (
            (self.n, self.position, self.mark) == (other.n, other.position, other.mark)
            and self.live.keys() == other.live.keys()
            and all(live.told == other.live[turn_id].told for turn_id, live in self.live.items())
        )

    def lacks(self, known: Log) -> bool:
        """Whether something has been told by ``known`` that this log has not."""
        if self.n < known.n or self.position.revision < known.position.revision:
            return True
        if self.position.revision == known.position.revision and not self.position.covers(
            known.position
        ):
            return True
        for turn_id, live in self.live.items():
            there = known.live.get(turn_id)
            if there is None and live.n <= known.n:
                return True  # it has ended
            if there is not None and live.told < there.told:
                return True
        return False

    def since(self, cursor: str | None) -> list[Entry] | None:
        """The entries after ``cursor``; None where it can't be proved that these are all."""
        number = self.number_of(cursor)
        if number is None:
            return None
        first = self._entries[0].number if self._entries else self.number + 1
        if number < first - 1:
            return None
        return [entry for entry in self._entries if entry.number > number]

    def is_behind(self, cursor: str | None) -> bool:
        match = _CURSOR.fullmatch(cursor or "")
        return match is not None and match[1] == self.epoch and int(match[2]) > self.number

    def number_of(self, cursor: str | None) -> int | None:
        """The number in a cursor that this log may have given."""
        match = _CURSOR.fullmatch(cursor or "")
        if match is None:
            return None
        epoch, number = match[1], int(match[2])
        if epoch == self.epoch and number <= self.number:
            return number
        return number if epoch == self._before[0] and number <= self._before[1] else None

    def fork(self, epoch: str) -> None:
        """Go on under another epoch: what was told before it is the same in both."""
        self._before = (self.epoch, self.number)
        self.epoch = epoch

    def append(self, event: Event) -> tuple[Verdict, Entry | None]:
        """Take an event if the rules allow it."""
        verdict = self._verdict(event.rule)
        if verdict != "take":
            return verdict, None
        return verdict, self.hear(self.number + 1, event.name, event.rule, event.fields)

    def hear(self, number: int, name: str, rule: Rule, fields: dict[str, Any]) -> Entry:
        """Take an event that has been taken by the log that this one follows."""
        self.number = number
        follow = self._FOLLOW.get(rule[0])
        if follow is not None:  # else it is of a newer version, and is only passed on
            follow(self, rule, fields)
        payload = {"conversation_id": self.conversation_id, "cursor": self.cursor, **fields}
        entry = Entry(number, name, payload)
        self._entries.append(entry)
        self._size += entry.size
        while len(self._entries) > self._most or self._size > MAX_BYTES:
            self._size -= self._entries.popleft().size
        return entry

    # The rules. Each stands once more in scripts/rules.lua.

    def _verdict(self, rule: Rule) -> Verdict:
        kind, n, turn_id, *rest = rule
        if kind in ("created", "removed"):
            return self._verdict_on_a_new_turn(rule)
        if kind == "stored":
            if n > self.n:
                return "behind"
            return "take" if rest[0] > self.mark else "skip"
        live = self.live.get(turn_id)
        if live is None:
            if n > self.n:
                return "behind"
            return "stale" if kind in ("started", "delta", "tool") else "skip"
        if kind == "queued":
            return "take" if live.status == "created" else "skip"
        if kind == "started":
            attempt, *_more = rest
            if attempt <= live.attempt:
                return "skip" if attempt == live.attempt else "stale"
            # A turn begins when all before it have ended: then an end was never told.
            earlier = any(other.n < n for other in self.live.values())
            return "lost" if earlier else "take"
        if kind in ("delta", "tool"):
            attempt, index, *_more = rest
            if attempt < live.attempt:
                return "stale"
            if attempt > live.attempt or live.status != "running":
                return "lost"
            following = live.next_index if kind == "delta" else live.next_tool
            if index < following:
                return "skip"
            return "take" if index == following else "lost"
        if kind == "ended":
            _, attempt, size, is_whole, *_more = rest
            # Some of its deltas, or a whole attempt, are still to come: from the server that
            # answered, where another tells its end. Or they were told to nobody.
            told = (live.attempt, live.size)
            fits = attempt == live.attempt if is_whole else attempt >= live.attempt
            if size is not None and not (fits and size == live.size):
                return "behind" if (attempt, size) > told else "lost"
        return "take"

    def _verdict_on_a_new_turn(self, rule: Rule) -> Verdict:
        kind, n = rule[0], rule[1]
        if n <= self.n:
            return "skip"
        if n > self.n + 1:
            return "behind"
        if kind == "removed":
            revision: int = rule[4]
            if revision <= self.position.revision:
                return "skip"
            # What it puts aside has ended: then an end was never told.
            ends_are_told = all(live.place < rule[3] for live in self.live.values())
            is_next = revision == self.position.revision + 1
            return "take" if is_next and ends_are_told else "lost"
        return "take"

    # What follows from an event that was taken

    def _created(self, rule: Rule, _: dict[str, Any]) -> None:
        _, n, turn_id, place, *_more = rule
        self.n = n
        self.position = msgspec.structs.replace(self.position, turn=place)
        self.live[turn_id] = LiveTurn(turn_id, n, place)

    def _removed(self, rule: Rule, _: dict[str, Any]) -> None:
        _, n, turn_id, place, revision, answers, asks, taken, *_more = rule
        # An earlier turn may have ended since the store was asked.
        answers = max(answers, self.position.answers - taken)
        turn = place - 1 if asks else place
        self.position = Position(revision=revision, turn=turn, answers=answers)
        if not asks:
            self.n = n
            self.live[turn_id] = LiveTurn(turn_id, n, place)

    def _queued(self, rule: Rule, _: dict[str, Any]) -> None:
        self.live[rule[2]].status = "queued"

    def _started(self, rule: Rule, _: dict[str, Any]) -> None:
        live = self.live[rule[2]]
        live.status, live.attempt = "running", rule[3]
        live.text, live.next_index, live.size = [], 0, 0
        live.tools, live.next_tool = {}, 0

    def _stored(self, rule: Rule, _: dict[str, Any]) -> None:
        self.mark = rule[3]

    def _delta(self, rule: Rule, fields: dict[str, Any]) -> None:
        live = self.live[rule[2]]
        live.text.append(fields["text"])
        live.next_index = rule[4] + 1
        live.size += rule[5]

    def _tool(self, rule: Rule, fields: dict[str, Any]) -> None:
        live = self.live[rule[2]]
        live.tools[fields["tool"]["id"]] = fields["tool"]
        live.next_tool = rule[4] + 1

    def _ended(self, rule: Rule, _: dict[str, Any]) -> None:
        self.live.pop(rule[2], None)
        answers = rule[3]
        if answers is not None and answers > self.position.answers:
            self.position = msgspec.structs.replace(self.position, answers=answers)

    _FOLLOW: ClassVar[dict[str, Callable[[Log, Rule, dict[str, Any]], None]]] = {
        "created": _created,
        "removed": _removed,
        "queued": _queued,
        "started": _started,
        "stored": _stored,
        "delta": _delta,
        "tool": _tool,
        "ended": _ended,
    }


def new_epoch() -> str:
    """Unlike any other: a cursor can never fit the wrong log. Digits that Redis and a double in Lua
    can hold."""
    return str(secrets.randbelow(2**52) + 1)
