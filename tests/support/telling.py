"""Events that a log as it is would take, or that are just off: what hypothesis tells a log."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from memory.records import ToolUse, Turn, messages_of
from server.feed import events
from server.feed.events import Event
from server.feed.line import Write
from server.feed.log import LiveTurn, Log
from tests.support.turns import a_turn

RIGHT = ("ask", "ask", "wait", "start", "start", "say", "say", "say", "use", "end", "keep")
WRONG = (
    "ask the next but one",
    "ask the last again",
    "wait for ever",
    "start it again",
    "start the attempt before",
    "start one attempt more",
    "start out of turn",
    "start what is over",
    "start what is not there",
    "say it again",
    "say what comes later",
    "say as the attempt before",
    "say as one attempt more",
    "say what waits",
    "use it again",
    "use what comes later",
    "use as the attempt before",
    "use as one attempt more",
    "use what waits",
    "end what waits",
    "end with fewer answers",
    "end with more text",
    "end as the attempt before",
    "end what is over",
    "end what is not there",
    "keep what is kept",
    "keep what is not there",
)
REWRITING = (
    "edit",
    "edit",
    "regenerate",
    "edit too far",
    "edit at an old revision",
    "edit too new",
)
MOVES = st.tuples(
    # As often right as wrong, or one would never get far.
    st.one_of(
        st.sampled_from(RIGHT),
        st.sampled_from(RIGHT),
        st.sampled_from((*WRONG, "repeat")),
        st.sampled_from(REWRITING),
    ),
    st.integers(0, 3),
)
BATCHES = st.lists(st.lists(MOVES, min_size=1, max_size=8), min_size=3, max_size=12)


class Teller:
    """Makes events that the log as it is would take, or that are just off."""

    def __init__(self) -> None:
        self.told: list[Write] = []
        self._places: dict[int, tuple[int, int]] = {}

    def write(self, log: Log, move: tuple[str, int]) -> Write:
        what, which = move
        if what == "repeat":
            return self.told[-1 - which] if which < len(self.told) else self.write(log, ("ask", 0))
        verb = what.partition(" ")[0]
        makers = {
            "keep": self._keeping,
            "edit": self._rewriting,
            "regenerate": self._rewriting,
            "say": self._saying,
            "use": self._using,
        }
        write = makers.get(verb, self._turning)(log, what, which)
        self.told.append(write)
        return write

    def _turning(self, log: Log, what: str, which: int) -> Write:
        live = sorted(log.live.values(), key=lambda turn: turn.n)
        first = live[0] if live else LiveTurn(f"turn-{log.n}", log.n, log.n)
        later = live[which % len(live)] if live else first
        over = self._turn(log, max(first.n - 1, 1))
        not_there = self._turn(log, log.n + 1 + which)
        attempt = first.attempt
        match what:
            case "ask":
                return Write(events.created(self._turn(log, log.n + 1)))
            case "ask the next but one":
                return Write(events.created(self._turn(log, log.n + 2)))
            case "ask the last again":
                return Write(events.created(self._turn(log, max(log.n - which, 1))))
            case "wait":
                return Write(events.queued(self._turn(log, log.n)))
            case "wait for ever":
                return Write(events.queued(self._turn(log, later.n)))
            case "start" | "start one attempt more":
                return Write(events.started(self._turn(log, first.n, attempt=attempt + 1)))
            case "start it again":
                return Write(events.started(self._turn(log, first.n, attempt=attempt)))
            case "start the attempt before":
                return Write(events.started(self._turn(log, first.n, attempt=attempt - 1)))
            case "start out of turn":
                return Write(events.started(self._turn(log, later.n)))
            case "start what is over":
                return Write(events.started(over))
            case "start what is not there":
                return Write(events.started(not_there))
            case "end":
                answers = log.position.answers + 1 if first.status == "running" else None
                return self._ending(first, answers)
            case "end with fewer answers":
                return self._ending(first, max(log.position.answers - 1, 0))
            case "end with more text":
                return self._ending(first, log.position.answers + 1, size=first.size + 1)
            case "end as the attempt before":
                return self._ending(first, log.position.answers + 1, attempt=attempt - 1)
            case "end what waits":
                return self._ending(later, None)
            case "end what is over":
                return self._ending(over, log.position.answers)
        return self._ending(not_there, log.position.answers + 1)

    def _keeping(self, log: Log, what: str, which: int) -> Write:
        """That something which was spooled is stored: the question or the answer of some turn."""
        n = {"keep": max(log.n - which, 1), "keep what is kept": max((log.mark + 1) // 2, 1)}
        turn = a_turn(n.get(what, log.n + 1 + which), "completed", answer="kept")
        return Write(events.stored(turn, messages_of(turn)[which % 2]))

    def _saying(self, log: Log, what: str, which: int) -> Write:
        turn, attempt, off = self._answering(log, what, which)
        index = max(turn.next_index + off, 0)
        text = f"{turn.n}.{attempt}.{index} "
        said = used = ""
        if (index + 1) % 4 == 0:  # wrong where the event must not be taken
            said = "".join(turn.text) + text if index == turn.next_index else "WRONG"
            used = json.dumps(list(turn.tools.values())) if turn.tools else ""
        told = events.delta(self._turn(log, turn.n, attempt=attempt), index, text)
        return Write(told, said=said, used=used)

    def _using(self, log: Log, what: str, which: int) -> Write:
        turn, attempt, off = self._answering(log, what, which)
        index = max(turn.next_tool + off, 0)
        is_end = index % 2 == 1
        use = ToolUse(
            id=f"{attempt}.{index // 2}",
            name="look",
            status="finished" if is_end else "started",
            input={"for": ["ß", index]},
            output=f"found {index}" if is_end else None,
        )
        return Write(events.tool(self._turn(log, turn.n, attempt=attempt), index, use))

    def _answering(self, log: Log, what: str, which: int) -> tuple[LiveTurn, int, int]:
        """The turn that says or uses something, its attempt, and how far off the index is."""
        _, _, how = what.partition(" ")
        live = sorted(log.live.values(), key=lambda turn: turn.status != "running")
        turn = live[0] if live else LiveTurn(f"turn-{log.n}", log.n, log.n)
        if how == "what waits":
            turn = live[-1] if live else turn
        attempt = {"as the attempt before": -1, "as one attempt more": 1}.get(how, 0)
        off = {"it again": -1, "what comes later": 1 + which}.get(how, 0)
        return turn, turn.attempt + attempt, off

    @staticmethod
    def _ending(
        turn: Turn | LiveTurn, answers: int | None, *, attempt: int | None = None, size: int = 0
    ) -> Write:
        if isinstance(turn, LiveTurn) and not size:
            size = turn.size
        attempt = turn.attempt if attempt is None else attempt
        rule = ("ended", turn.n, turn.id, answers, attempt, size or None, size % 2 == 0)
        return Write(Event("turn:completed", rule, {"turn_id": turn.id, "message": None}))

    def _turn(self, log: Log, n: int, *, attempt: int = 1) -> Turn:
        """It keeps the place that it had when it was first spoken of."""
        known = (log.position.turn + n - log.n, log.position.revision)
        place, revision = self._places.setdefault(n, known)
        return a_turn(n, attempt=max(attempt, 0), place=max(place, 1), revision=revision)

    def _rewriting(self, log: Log, what: str, back: int) -> Write:
        n = log.n + 1 + (what == "edit too far")
        place = max(log.position.turn - back, 1)
        off = {"edit at an old revision": -1, "edit too new": 1}.get(what, 0)
        revision = log.position.revision + 1 + off
        self._places[n] = (place, revision)
        again = place if what == "regenerate" else None
        turn = a_turn(n, "queued", place=place, revision=revision, rewrites=True, asks_again=again)
        gone = [self._turn(log, live.n) for live in log.live.values() if live.place >= place]
        gone += [a_turn(1000 + number, "completed") for number in range(back)]
        answers = max(min(place - 1, log.position.answers) - back, 0)
        return Write(events.removed(turn, gone, answers=answers))
