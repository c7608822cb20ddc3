"""What one reader was told about one conversation, folded into what it must then believe."""

from __future__ import annotations

from typing import Any

from tests.chaos.evidence import BEGUN, OPENED, Kept, Seen, Shape
from tests.chaos.spooling import in_order, is_as_told
from tests.chaos.versions import Versions

ENDS = {"turn:completed": "completed", "turn:stopped": "stopped", "turn:failed": "failed"}


PICTURED = 20
"""Messages that are looked at where readers are held against each other: each view knows the latest
50 at least."""
Pictures = dict[tuple[str, str], tuple[list[Any], dict[str, Any]]]
"""By conversation and cursor: the latest messages, and what is known of the turns under way."""


class Live:
    """A turn that is under way, as a reader knows it."""

    def __init__(self, attempt: int, text: str = "", next_index: int = 0) -> None:
        self.attempt = attempt
        self.text = text
        self.next_index = next_index
        self.running = False

    @property
    def picture(self) -> tuple[int, str, int] | None:
        """None while it waits."""
        return (self.attempt, self.text, self.next_index) if self.running else None


class View:
    """A reader's picture of one conversation. Whatever is wrong goes to ``findings``."""

    def __init__(
        self,
        reader: str,
        kept: Kept,
        findings: list[str],
        pictures: Pictures,
    ) -> None:
        """``pictures`` are those of all readers, this one's too."""
        self.id = kept.id
        self._pictures = pictures
        self._reader = reader
        self._turns = {turn.id: turn for turn in kept.turns}
        self._places = {
            message["id"]: message["seq"] for turn in kept.turns for message in turn.messages
        }
        self._versions = Versions(kept.turns)
        self._findings = findings
        self._connection = -1
        self._epoch: str | None = None
        self._number = 0
        self._messages: dict[int, Shape] = {}
        """By seq."""
        self._unnumbered: dict[str, Shape] = {}
        """By id, in the order in which they came: what is not stored yet."""
        self._live: dict[str, Live] = {}

    @property
    def epoch(self) -> str | None:
        """Of the log that it has a cursor of."""
        return self._epoch

    def compare(self, kept: Kept, when: str) -> None:
        """Held against the store, from the first message it knows of."""
        for message in self._unnumbered.values():
            self._wrong("no number", f"{when}: {message}")
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
        epoch, _, text = payload["cursor"].partition("-")
        number = int(text)
        if seen.name not in (OPENED, "conversation:snapshot"):
            self._go_on(epoch, number)
            self._apply(seen.name, payload)
            self._hold_to_the_others()
        elif payload.get("recovery") != "replayed":
            self._begin_anew(epoch, number, payload)
            self._hold_to_the_others()
        elif self._epoch is None or (epoch == self._epoch and number < self._number):
            self._wrong("bad replay", f"{payload['cursor']} from {self._cursor}")

    def _go_on(self, epoch: str, number: int) -> None:
        """Numbers are without a gap. An epoch may change without a snapshot where the new one goes
        on from just what this reader knows."""
        if epoch != (self._epoch or epoch):
            self._epoch, self._number = epoch, number - 1
            self._hold_to_the_others()
        if number != self._number + 1:
            kind = "gap in the feed" if number > self._number else "cursor backwards"
            self._wrong(kind, f"{epoch}-{number} at {self._cursor}")
        self._epoch, self._number = epoch, number

    def _hold_to_the_others(self) -> None:
        """At one cursor all readers believe the same, whatever way they came there.

        While something is not stored yet that is left out: a snapshot may know its number before
        the feed tells it."""
        if self._unnumbered:
            return
        latest = sorted(self._messages.items())[-PICTURED:]
        messages = [(seq, each["id"], each["content"], each["status"]) for seq, each in latest]
        live = {turn_id: live.picture for turn_id, live in self._live.items()}
        picture = (messages, live)
        known, others = self._pictures.setdefault((self.id, self._cursor), picture)
        # One that began with a snapshot of the latest may know less of the past.
        short = min(len(messages), len(known))
        if max(len(messages), len(known)) < PICTURED or not short:
            short = PICTURED
        if (messages[-short:], live) != (known[-short:], others):
            what = f"{messages[-1:]} {live}, others {known[-1:]} {others}"
            self._wrong("one cursor, two pictures", f"{self._cursor}: {what}")

    @property
    def _cursor(self) -> str:
        return f"{self._epoch}-{self._number}"

    def _wrong(self, kind: str, what: str) -> None:
        self._findings.append(f"{kind}: {self._reader} in {self.id}: {what}")

    # Snapshots

    def _begin_anew(self, epoch: str, number: int, snapshot: Shape) -> None:
        # It may show an earlier moment than another server did: this one may be cut off from it.
        is_later = epoch == self._epoch and number >= self._number
        self._epoch, self._number = epoch, number
        messages = snapshot["messages"]
        if not in_order(messages):
            self._wrong("bad snapshot", f"its messages are {[each['seq'] for each in messages]}")
        shown = {each["seq"]: each for each in messages if each["seq"] is not None}
        self._hold_to_one_version(shown)
        self._hold_to_what_was_told(self._messages, shown)
        self._hold_to_what_is_not_stored(messages, is_later)
        self._messages = shown
        self._unnumbered = {each["id"]: each for each in messages if each["seq"] is None}
        self._live = {}
        for turn in snapshot["turns"]:
            live = Live(turn["attempt"], turn["text"], turn["next_index"])
            live.running = turn["status"] == "running"
            self._live[turn["id"]] = live

    def _accepted(self, shown: dict[int, Shape]) -> int:
        """The number of the latest turn that is seen in messages."""
        return max((self._n(message) for message in shown.values()), default=0)

    def _n(self, message: Shape) -> int:
        turn = self._turns.get(message["turn_id"])
        return turn.n if turn else 0

    def _hold_to_one_version(self, shown: dict[int, Shape]) -> None:
        """All of it stood in the transcript at one moment: right after its latest turn came."""
        at = self._versions.after(self._accepted(shown))
        for seq, message in shown.items():
            place = (seq + 1) // 2
            if place > len(at) or at[place - 1].id != message["turn_id"]:
                latest = self._accepted(shown)
                self._wrong("mixed snapshot", f"{message} did not stand when turn {latest} came")
                return

    def _hold_to_what_was_told(self, known: dict[int, Shape], shown: dict[int, Shape]) -> None:
        """It is kept, on whichever server one asks, unless another turn took its place since."""
        accepted, first = self._accepted(shown), min(shown, default=0)
        for seq, message in known.items():
            by = self._versions.removed_by.get(message["turn_id"])
            if by is not None and by.n <= accepted:
                continue
            if seq in shown and shown[seq] != message:
                self._wrong("second answer", f"{shown[seq]} was {message}")
            elif seq >= first and seq not in shown:
                self._wrong("forgetful snapshot", f"{message} is not in {sorted(shown)[-6:]}")

    def _hold_to_what_is_not_stored(self, messages: list[Shape], is_later: bool) -> None:
        """It is the same when it is shown again, with a number or still without. A log that began
        anew, on a server that does not have it, may show it later."""
        shown = {message["id"]: message for message in messages}
        accepted = self._accepted({each["seq"]: each for each in messages if each["seq"]})
        for message_id, message in self._unnumbered.items():
            by = self._versions.removed_by.get(message["turn_id"])
            is_gone = by is not None and by.n <= accepted
            now = shown.get(message_id)
            if now is not None:
                # A question that is answered anew belongs to that turn from then on.
                told = {**message, "turn_id": now["turn_id"]} if is_gone else message
                if not is_as_told(told, now):
                    self._wrong("second answer", f"{now} was {message}")
            elif is_later and not is_gone:
                self._wrong("forgetful snapshot", f"{message}, not stored yet, is not in it")

    # Events

    def _apply(self, name: str, payload: Shape) -> None:
        if name == "message:created":
            self._created(payload["message"])
        elif name == "message:stored":
            self._stored(payload["message_id"], payload["seq"])
        elif name == "message:removed":
            self._removed(payload["message_ids"])
        elif name == "turn:queued":
            self._waits(payload["turn_id"], payload["message_id"])
        elif name == "turn:started":
            self._started(payload)
        elif name == "turn:delta":
            self._delta(payload)
        elif name in ENDS:
            self._ended(name, payload)

    def _created(self, message: Shape) -> None:
        seq = message["seq"]
        if message["id"] in self._unnumbered:
            self._wrong("doubled message", f"{message} was told before, without a number")
        elif seq is not None:
            self._follows(seq)
        self._keep(message)
        self._live[message["turn_id"]] = Live(0)

    def _follows(self, seq: int) -> None:
        """The place of a question that is told. Places that are passed over belong to such as are
        not known to be stored yet."""
        latest = max((seq for seq in self._messages if seq % 2), default=seq - 2)
        waiting = sum(each["role"] == "user" for each in self._unnumbered.values())
        if seq in self._messages:
            self._wrong("doubled message", f"{seq} was told twice")
        elif seq not in range(latest + 2, latest + 3 + 2 * waiting, 2):
            self._wrong("out of order", f"question {seq} follows {latest}")

    def _keep(self, message: Shape) -> None:
        if message["seq"] is None:
            self._unnumbered[message["id"]] = message
        else:
            self._messages[message["seq"]] = message

    def _stored(self, message_id: str, seq: int) -> None:
        message = self._unnumbered.pop(message_id, None)
        known = self._messages.get(seq)
        if message is None:
            # A snapshot may have known it first.
            if known is None or known["id"] != message_id:
                self._wrong("stray number", f"{seq} of {message_id}, at {seq} is {known}")
            return
        if known is not None:
            self._wrong("doubled message", f"{message} is stored at {seq}, where {known} is")
        if self._places.get(message_id) != seq:
            place = self._places.get(message_id)
            self._wrong("told is not kept", f"{message_id} is stored at {seq}, kept at {place}")
        self._messages[seq] = {**message, "seq": seq}

    def _removed(self, ids: list[str]) -> None:
        """Exactly what one turn took out, and so all that was known from its place on."""
        for turn_id in self._versions.removed:
            turn = self._turns[turn_id]
            if ids == [message["id"] for message in self._versions.gone_messages(turn)]:
                break
        else:
            self._wrong("wrong removal", f"no turn took out {ids}")
            return
        first = 2 * turn.place - turn.asks
        for seq in [seq for seq in self._messages if seq >= first]:
            message = self._messages.pop(seq)
            if message["id"] not in ids:
                self._wrong("wrong removal", f"{message} stands after {first}, and was left")
        for message_id in ids:
            self._unnumbered.pop(message_id, None)
        for gone in self._versions.removed[turn_id]:
            if self._live.pop(gone.id, None) is not None:
                self._wrong("no outcome told", f"turn {gone.n} was removed before it ended")
        if not turn.asks:
            self._live[turn_id] = Live(0)

    def _waits(self, turn_id: str, message_id: str) -> None:
        """A question that is answered anew belongs to that turn from now on."""
        for message in [*self._messages.values(), *self._unnumbered.values()]:
            if message["id"] == message_id and message["turn_id"] != turn_id:
                self._keep({**message, "turn_id": turn_id})

    def _started(self, payload: Shape) -> None:
        turn_id, attempt = payload["turn_id"], payload["attempt"]
        self._waits(turn_id, payload["message_id"])
        live = self._live.get(turn_id)
        if live is None:
            self._wrong("second answer", f"turn {turn_id} starts, and is not open")
        elif live.running and attempt <= live.attempt:
            self._wrong("second answer", f"attempt {attempt} of {turn_id} after {live.attempt}")
        self._live[turn_id] = live = Live(attempt)
        live.running = True

    def _delta(self, payload: Shape) -> None:
        live = self._live.get(payload["turn_id"])
        if live is None or not live.running or live.attempt != payload["attempt"]:
            self._wrong("stale delta", f"{payload} of what does not run")
            return
        if payload["index"] != live.next_index:
            self._wrong("gap in deltas", f"{payload['index']} instead of {live.next_index}")
        live.next_index = payload["index"] + 1
        live.text += payload["text"]

    def _ended(self, name: str, payload: Shape) -> None:
        turn_id, message = payload["turn_id"], payload["message"]
        live = self._live.pop(turn_id, None)
        if live is None:
            self._wrong("second answer", f"{name} of {turn_id}, which is not open")
        kept = self._turns.get(turn_id)
        if kept is None or kept.status != ENDS[name] or not is_as_told(message, kept.answer):
            self._wrong("told is not kept", f"{name} with {message}, kept is {kept}")
        if message is not None:
            self._keep(message)
        said = message["content"] if message is not None else ""
        # What an edit superseded before its server could end it keeps nothing, and goes at once.
        is_lost = kept is not None and kept.superseded and message is None
        if live is not None and live.text != said and not is_lost:
            self._wrong("deltas are not the answer", f"{live.text!r} of {said!r} in {turn_id}")
