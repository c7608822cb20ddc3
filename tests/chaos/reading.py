"""What one reader was told, folded into what it must then believe; and whether that is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.chaos.evidence import BEGUN, END, OPENED, SETTLED, Evidence, Kept, Seen, Shape

ENDS = {"turn:completed": "completed", "turn:stopped": "stopped", "turn:failed": "failed"}


def check_readers(evidence: Evidence, *, events_cross_servers: bool) -> list[str]:
    kept = {each.id: each for each in evidence.kept}
    findings = list(_one_feed_for_all(evidence))
    for name, seen in evidence.readers.items():
        views: dict[str, View] = {}
        for each in seen:
            if each.name in (SETTLED, END):
                if each.name == END or events_cross_servers:
                    for view in views.values():
                        view.compare(kept[view.id], "in the end" if each.name == END else "live")
                continue
            conversation_id = each.payload.get("conversation_id")
            if conversation_id is None or not ("cursor" in each.payload or each.name == BEGUN):
                continue
            if conversation_id not in kept:
                findings.append(f"stray event: {name} got {each.name} of {conversation_id}")
                continue
            view = views.get(conversation_id)
            if view is None:
                view = views[conversation_id] = View(
                    name, kept[conversation_id], findings, strict=events_cross_servers
                )
            view.take(each)
    return findings


def _one_feed_for_all(evidence: Evidence) -> Iterator[str]:
    """One cursor, one event; one place in an attempt, one text; one turn, one outcome."""
    events: dict[tuple[str, str], tuple[str, Shape]] = {}
    texts: dict[tuple[str, int, int], str] = {}
    outcomes: dict[str, tuple[str, Any]] = {}
    for name, seen in evidence.readers.items():
        for each in seen:
            payload = each.payload
            if "cursor" not in payload or each.name in (OPENED, "conversation:snapshot"):
                continue
            place = (payload["conversation_id"], payload["cursor"])
            if events.setdefault(place, (each.name, payload)) != (each.name, payload):
                yield f"one cursor, two events: {name} got {each.name} at {place[1]} of {place[0]}"
            if each.name == "turn:delta":
                delta = (payload["turn_id"], payload["attempt"], payload["index"])
                if texts.setdefault(delta, payload["text"]) != payload["text"]:
                    yield f"two texts: {name} got another delta {delta}"
            elif each.name in ENDS:
                outcome = (each.name, payload["message"])
                if outcomes.setdefault(payload["turn_id"], outcome) != outcome:
                    yield f"second answer: {name} got another {each.name} of {payload['turn_id']}"


class Live:
    """A turn that is under way, as a reader knows it."""

    def __init__(self, attempt: int, text: str = "", next_index: int = 0) -> None:
        self.attempt = attempt
        self.text = text
        self.next_index = next_index
        self.running = False
        self.is_whole = next_index > 0
        """Whether all of this attempt was told, so that it must be the answer."""


class View:
    """A reader's picture of one conversation. Whatever is wrong goes to ``findings``."""

    def __init__(self, reader: str, kept: Kept, findings: list[str], *, strict: bool) -> None:
        self.id = kept.id
        self._reader = reader
        self._kept = {turn.id: turn for turn in kept.turns}
        self._findings = findings
        self._strict = strict
        self._connection = -1
        self._epoch: str | None = None
        self._number = 0
        self._messages: dict[int, Shape] = {}
        self._live: dict[str, Live] = {}

    def compare(self, kept: Kept, when: str) -> None:
        """Held against the store, from the first message it knows of."""
        first = min(self._messages, default=0)
        right = {message["seq"]: message for message in kept.messages if message["seq"] >= first}
        for seq in sorted(right.keys() | self._messages.keys()):
            if self._messages.get(seq) != right.get(seq):
                self._wrong(
                    f"wrong view {when}",
                    f"at {seq} {self._messages.get(seq)}, not {right.get(seq)}",
                )
                return
        if self._live:
            self._wrong(f"wrong view {when}", f"{list(self._live)} not ended")

    def take(self, seen: Seen) -> None:
        payload, is_new = seen.payload, seen.connection != self._connection
        if seen.name == BEGUN:
            self._connection = seen.connection
            if self._epoch is not None and is_new:
                self._epoch = None  # a snapshot comes
            return
        if is_new and seen.name not in (OPENED, "conversation:snapshot"):
            self._wrong("event before opening", f"{seen.name} {payload['cursor']}")
        self._connection = seen.connection
        epoch, _, number = payload["cursor"].partition("-")
        if seen.name in (OPENED, "conversation:snapshot"):
            if payload.get("recovery") == "replayed":
                if epoch != self._epoch or int(number) < self._number:
                    self._wrong("bad replay", f"{payload['cursor']} from {self._cursor}")
            else:
                self._begin_anew(epoch, int(number), payload)
            return
        if self._epoch is None:
            self._epoch = epoch
        if epoch != self._epoch:
            self._wrong("new epoch without a snapshot", f"{payload['cursor']} at {self._cursor}")
        elif int(number) <= self._number:
            self._wrong("cursor backwards", f"{payload['cursor']} at {self._cursor}")
        elif int(number) > self._number + 1:
            self._wrong("gap in the feed", f"{payload['cursor']} at {self._cursor}")
        self._epoch, self._number = epoch, int(number)
        self._apply(seen.name, payload)

    @property
    def _cursor(self) -> str:
        return f"{self._epoch}-{self._number}"

    def _wrong(self, kind: str, what: str) -> None:
        self._findings.append(f"{kind}: {self._reader} in {self.id}: {what}")

    def _begin_anew(self, epoch: str, number: int, snapshot: Shape) -> None:
        if epoch == self._epoch and number < self._number:
            self._wrong("cursor backwards", f"snapshot {epoch}-{number} at {self._cursor}")
        self._epoch, self._number = epoch, number
        places = [message["seq"] for message in snapshot["messages"]]
        if places != sorted(set(places)):
            self._wrong("bad snapshot", f"its messages are {places}")
        known = self._messages
        self._messages = {message["seq"]: message for message in snapshot["messages"]}
        for seq, message in self._messages.items():
            if known.get(seq, message) != message:
                self._wrong("second answer", f"{message} was {known[seq]}")
        # What was told is kept, on whichever server it is asked for.
        forgotten = [seq for seq in known if seq >= min(places, default=0) and seq not in places]
        if forgotten:
            self._wrong("forgetful snapshot", f"{forgotten} are not in {places[-6:]}")
        self._live = {}
        for turn in snapshot["turns"]:
            live = Live(turn["attempt"], turn["text"], turn["next_index"])
            live.running = turn["status"] == "running"
            self._live[turn["id"]] = live

    def _apply(self, name: str, payload: Shape) -> None:
        if name == "message:created":
            self._created(payload["message"])
        elif name == "turn:started":
            self._started(payload["turn_id"], payload["attempt"])
        elif name == "turn:delta":
            self._delta(payload)
        elif name in ENDS:
            self._ended(name, payload)

    def _created(self, message: Shape) -> None:
        latest = max((seq for seq in self._messages if seq % 2), default=-1)
        if message["seq"] in self._messages:
            self._wrong("doubled message", f"{message['seq']} was told twice")
        elif message["seq"] != latest + 2:
            self._wrong("out of order", f"question {message['seq']} follows {latest}")
        self._messages[message["seq"]] = message
        self._live[message["turn_id"]] = Live(0)

    def _started(self, turn_id: str, attempt: int) -> None:
        live = self._live.get(turn_id)
        if live is None:
            self._wrong("second answer", f"turn {turn_id} starts, and is not open")
        elif live.running and attempt <= live.attempt and live.is_whole:
            self._wrong("second answer", f"attempt {attempt} of {turn_id} after {live.attempt}")
        self._live[turn_id] = live = Live(attempt)
        live.running = live.is_whole = True

    def _delta(self, payload: Shape) -> None:
        live = self._live.get(payload["turn_id"])
        if live is None or not live.running or live.attempt != payload["attempt"]:
            self._wrong("stale delta", f"{payload} of what does not run")
            return
        if payload["index"] != live.next_index:
            self._wrong("gap in deltas", f"{payload['index']} instead of {live.next_index}")
        live.next_index = payload["index"] + 1
        live.text += payload["text"]
        live.is_whole = True

    def _ended(self, name: str, payload: Shape) -> None:
        turn_id, message = payload["turn_id"], payload["message"]
        live = self._live.pop(turn_id, None)
        if live is None:
            self._wrong("second answer", f"{name} of {turn_id}, which is not open")
        kept = self._kept.get(turn_id)
        if kept is None or kept.status != ENDS[name] or kept.answer != message:
            self._wrong("told is not kept", f"{name} with {message}, kept is {kept}")
        if message is not None:
            self._messages[message["seq"]] = message
        said = message["content"] if message is not None else ""
        if live is not None and (live.is_whole or self._strict) and live.text != said:
            self._wrong("deltas are not the answer", f"{live.text!r} of {said!r} in {turn_id}")
