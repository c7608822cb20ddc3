"""What a reader of one conversation was told, folded into what it must then believe.

    story = Story(conversation_id).on(guest)          # it began this conversation
    await story.until(lambda told: told.text(turn_id), "the answer begins")
    await guest.vanish()
    assert await story.resume(tab) == "replayed"      # another connection, the last cursor
    told = await story.until(lambda told: turn_id in told.ended, "it ends")

Every look at it goes through all that was told, and fails at the first event that a reader of the
contract could not place: a gap, a double, a word of an attempt that is over, an end that is not
what was streamed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.client import Client
from tests.support.wait import wait_until

Shape = dict[str, Any]

OPENED = "opened"
SNAPSHOT = "conversation:snapshot"
ENDS = ("turn:completed", "turn:stopped", "turn:failed")


def words(count: int) -> list[str]:
    """The chunks of an answer in which every word is another."""
    return [f"word{number} " for number in range(count)]


@dataclass
class Live:
    """A turn that has not ended."""

    attempt: int = 0
    text: str = ""
    next_index: int = 0


@dataclass
class Told:
    messages: list[Shape] = field(default_factory=list)
    live: dict[str, Live] = field(default_factory=dict)
    ended: dict[str, tuple[str, Shape]] = field(default_factory=dict)
    """By turn: the event and its payload."""
    removed: list[str] = field(default_factory=list)
    snapshots: int = 0
    """How often it was told anew, other than at the first opening."""
    deltas: int = 0
    cursor: str | None = None
    attempts: dict[str, list[int]] = field(default_factory=dict)
    """By turn: the attempts whose start was told."""
    doomed: set[str] = field(default_factory=set)
    """Turns that were stopped without the words that were streamed, so that they must be removed
    before anything else happens."""
    elsewhere: set[str] = field(default_factory=set)
    """Messages that were stored and are another server's alone, until a snapshot has them."""

    def text(self, turn_id: str) -> str:
        """What was streamed of a turn that has not ended."""
        live = self.live.get(turn_id)
        return live.text if live else ""

    @property
    def contents(self) -> list[str]:
        """The transcript by its places."""
        return [message["content"] for message in sorted(self.messages, key=_place)]


def _place(message: Shape) -> float:
    """Spooled messages come last, in the order in which they were told."""
    return float("inf") if message["seq"] is None else int(message["seq"])


class Story:
    def __init__(self, conversation_id: str, *, divided: bool = False) -> None:
        """``divided``: the servers could not see each other, so that what one of them has told is
        not what another's readers know; a snapshot must follow."""
        self.conversation_id = conversation_id
        self._divided = divided
        self._parts: list[tuple[Client, Shape | None, int]] = []

    def on(self, client: Client) -> Story:
        """All that this connection was told, and will be, follows."""
        self._parts.append((client, None, 0))
        return self

    async def open(self, client: Client, after: str | None = None) -> str:
        """Go on with a connection that is not on the feed: the verdict."""
        start = len(client.events)
        answer = await client.open(self.conversation_id, after)
        self._parts.append((client, answer, start))
        return str(answer["recovery"])

    async def resume(self, client: Client) -> str:
        """The same with the last cursor that was told."""
        return await self.open(client, self.told.cursor)

    @property
    def events(self) -> list[tuple[str, Shape]]:
        """All of it in order, the openings' answers as ``opened``."""
        found: list[tuple[str, Shape]] = []
        for place, (client, answer, start) in enumerate(self._parts):
            stop = next(
                (begun for other, _, begun in self._parts[place + 1 :] if other is client), None
            )
            if answer is not None:
                found.append((OPENED, answer))
            found += [
                (name, payload)
                for name, payload in client.events[start:stop]
                if "cursor" in payload and payload["conversation_id"] == self.conversation_id
            ]
        return found

    @property
    def told(self) -> Told:
        told, seen = Told(), set[str]()
        for name, payload in self.events:
            if name == SNAPSHOT or payload.get("recovery") == "snapshot":
                told.snapshots += name == SNAPSHOT or told.cursor is not None
                _anew(told, payload)
            elif name != OPENED:
                assert payload["cursor"] not in seen, ("told twice", name, payload)
                seen.add(payload["cursor"])
                told.cursor = payload["cursor"]
                if self._divided and _is_of_others(told, name, payload):
                    told.elsewhere.add(payload["message_id"])
                else:
                    _take(told, name, payload)
        return told

    async def until(self, condition: Any, description: str, *, timeout: float = 10.0) -> Told:
        """Wait for a condition on what was told."""

        def met() -> Told | None:
            told = self.told
            return told if condition(told) else None

        found: Told = await wait_until(met, description, timeout=timeout, interval=0.03)
        return found

    async def shows(self, contents: list[str], *, timeout: float = 10.0) -> Told:
        """Wait until the transcript is this, with nothing open."""
        try:
            return await self.until(
                lambda told: told.contents == contents and not told.live,
                f"{contents} is told",
                timeout=timeout,
            )
        except AssertionError as error:
            told = self.told
            raise AssertionError(f"{error}; told is {told.contents}, {told.live}") from None

    async def end_of(self, turn_id: str, *, timeout: float = 15.0) -> Told:
        """By its event; or by a snapshot, where its server died between storing and telling it."""

        def ended(told: Told) -> bool:
            answered = {each["turn_id"] for each in told.messages if each["role"] == "assistant"}
            return turn_id in told.ended or turn_id in answered - told.live.keys()

        return await self.until(ended, f"turn {turn_id} ends", timeout=timeout)


def _anew(told: Told, snapshot: Shape) -> None:
    told.cursor = snapshot["cursor"]
    told.messages = list(snapshot["messages"])
    told.elsewhere.clear()
    places = [_place(message) for message in told.messages]
    assert places == sorted(places), ("not in order", places)
    numbered = [message["seq"] for message in told.messages if message["seq"] is not None]
    assert len(numbered) == len(set(numbered)), ("two messages at one place", numbered)
    told.live = {
        turn["id"]: Live(turn["attempt"], turn["text"], turn["next_index"])
        for turn in snapshot["turns"]
    }


def _is_of_others(told: Told, name: str, payload: Shape) -> bool:
    return name == "message:stored" and payload["message_id"] not in {
        each["id"] for each in told.messages
    }


def _take(told: Told, name: str, payload: Shape) -> None:
    turn_id = payload.get("turn_id", "")
    is_stop = name in ("turn:stopped", "message:removed")
    assert is_stop or not told.doomed, ("stopped without its words, and kept", told.doomed, payload)
    if name == "message:created":
        _add(told, payload["message"])
        told.live[payload["message"]["turn_id"]] = Live()
    elif name == "message:stored":
        [stored] = [each for each in told.messages if each["id"] == payload["message_id"]]
        assert stored["seq"] in (None, payload["seq"]), ("it has moved", stored, payload)
        told.messages = [
            {**each, "seq": payload["seq"]} if each is stored else each for each in told.messages
        ]
    elif name == "message:removed":
        gone = payload["message_ids"]
        there = [message["id"] for message in told.messages]
        assert set(gone) <= set(there), ("removed what was not there", gone, there)
        told.removed += gone
        told.doomed -= {message["turn_id"] for message in told.messages if message["id"] in gone}
        told.messages = [message for message in told.messages if message["id"] not in gone]
    elif name == "turn:queued":
        told.live.setdefault(turn_id, Live())
    elif name == "turn:started":
        before = told.live.get(turn_id, Live())
        assert turn_id not in told.ended, ("started after its end", payload)
        assert payload["attempt"] > before.attempt, ("an attempt that is over", payload)
        told.live[turn_id] = Live(payload["attempt"])
        told.attempts.setdefault(turn_id, []).append(payload["attempt"])
    elif name == "turn:delta":
        live = told.live.get(turn_id)
        assert live is not None, ("a word of what does not run", payload)
        assert payload["attempt"] == live.attempt, ("a word of another attempt", payload)
        assert payload["index"] == live.next_index, ("gap or double", live.next_index, payload)
        live.text += payload["text"]
        live.next_index += 1
        told.deltas += 1
    elif name in ENDS:
        live = told.live.pop(turn_id, None)
        assert live is not None, ("ended twice, or never began", name, payload)
        message = payload["message"]
        said = message["content"] if message is not None else ""
        if name == "turn:stopped" and message is None and live.text:
            told.doomed.add(turn_id)
        else:
            assert said == live.text, ("not what was streamed", live.text, name, said)
        if message is not None:
            _add(told, message)
        told.ended[turn_id] = (name, payload)


def _add(told: Told, message: Shape) -> None:
    for other in told.messages:
        assert other["id"] != message["id"], ("a message twice", message)
        at_one_place = message["seq"] is not None and other["seq"] == message["seq"]
        assert not at_one_place, ("two messages at one place", other, message)
    told.messages.append(message)
