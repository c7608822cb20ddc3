"""What a conversation's transcript was, from the order in which its turns were accepted.

A turn that rewrites takes a place that was taken, and all from there on goes with it. Everything
else follows the last place. So the order alone says what the transcript was at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.evidence import Kept, KeptTurn, Shape


class Versions:
    def __init__(self, turns: list[KeptTurn]) -> None:
        self.before: dict[str, list[KeptTurn]] = {}
        """By turn: what stood before its place when it was accepted."""
        self.removed: dict[str, list[KeptTurn]] = {}
        """By a turn that rewrites: those it took out, the one in its own place first."""
        self.removed_by: dict[str, KeptTurn] = {}
        self.current: list[KeptTurn] = []
        """What stands in the end."""
        self._after: dict[int, list[KeptTurn]] = {}
        for turn in sorted(turns, key=lambda turn: turn.n):
            kept, gone = self.current[: turn.place - 1], self.current[turn.place - 1 :]
            self.before[turn.id] = kept
            if turn.rewrites:
                self.removed[turn.id] = gone
                self.removed_by |= {each.id: turn for each in gone}
            self.current = [*kept, turn]
            self._after[turn.n] = self.current

    @property
    def last(self) -> int:
        """The number of the latest turn."""
        return max(self._after, default=0)

    def after(self, n: int) -> list[KeptTurn]:
        """The transcript as it was when turn ``n`` had come; before the first, none."""
        return self._after.get(n, [])

    def gone_messages(self, turn: KeptTurn) -> list[Shape]:
        """What ``turn`` took out of the transcript, ascending; a regenerated answer's question
        stays."""
        messages = [message for each in self.removed[turn.id] for message in each.messages]
        return messages[0 if turn.asks else 1 :]


def check_versions(kept: Kept) -> Iterator[str]:
    """The store's own marks say the same as the order does."""
    turns = sorted(kept.turns, key=lambda turn: turn.n)
    numbers = [turn.n for turn in turns]
    if numbers != list(range(1, len(turns) + 1)):
        yield f"gap in turns: {kept.id} has those numbered {numbers}"
        return
    versions = Versions(turns)
    last, revision = 0, 0
    for turn in turns:
        where = f"turn {turn.n} of {kept.id}"
        if turn.rewrites:
            gone = versions.removed[turn.id]
            if not gone:
                yield f"wrong place: {where} rewrites {turn.place} of {last}"
            elif not turn.asks and gone[0].question["id"] != turn.question["id"]:
                yield f"wrong place: {where} answers {turn.question}, not {gone[0].question}"
        elif turn.place != last + 1:
            yield f"wrong place: {where} stands at {turn.place}, after {last}"
        last = turn.place
        if turn.revision != revision + turn.rewrites:
            yield f"wrong revision: {where} is of {turn.revision}, after {revision}"
        revision = turn.revision
        if turn.superseded != (turn.id in versions.removed_by):
            by = versions.removed_by.get(turn.id)
            marked = "is" if turn.superseded else "is not"
            yield f"wrong version: {where} {marked} superseded, by turn {by and by.n}"
