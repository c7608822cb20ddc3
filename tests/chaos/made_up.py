"""Evidence of a flawless run that never was, for the tests of the checker to break."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

from tests.chaos.checker import check
from tests.chaos.evidence import (
    END,
    OPENED,
    SETTLED,
    Evidence,
    Hot,
    Kept,
    KeptTurn,
    Seen,
    Send,
    Shape,
)
from tests.chaos.model import note_on
from tests.chaos.versions import Versions

CONVERSATION = "c"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}


def answer_to(question: str, time: int) -> str:
    return f"№{time}: to {question}"


class Feed:
    """Numbers the events of one feed, as its reader is told them."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.number = 0
        snapshot = {"recovery": "snapshot", "messages": [], "turns": []}
        self._add(OPENED, cursor="e-0", **snapshot)

    def event(self, name: str, **fields: Any) -> None:
        self.number += 1
        self._add(name, cursor=f"e-{self.number}", **fields)

    def answered(self, turn: KeptTurn, shown: Shape | None) -> None:
        assert turn.answer is not None
        question, answer = turn.question["content"], turn.answer["content"]
        self.event("turn:started", turn_id=turn.id, attempt=1, message_id=turn.question["id"])
        for index, text in enumerate((answer.removesuffix(question), question)):
            self.event("turn:delta", turn_id=turn.id, attempt=1, index=index, text=text)
        self.event("turn:completed", turn_id=turn.id, message=shown)

    def _add(self, name: str, **payload: Any) -> None:
        self.seen.append(Seen(1, name, {"conversation_id": CONVERSATION, **payload}))


class Story:
    """One conversation: each act is acknowledged and answered before the next."""

    def __init__(self) -> None:
        self.turns: list[KeptTurn] = []
        self.feed = Feed()
        self.sends: list[Send] = []
        self.prompts: list[list[Shape]] = []
        self._asked: Counter[str] = Counter()
        self._is_store_away = False
        self._unstored: list[Shape] = []

    def lose_the_store(self) -> Story:
        """What is asked from now on is spooled."""
        self._is_store_away = True
        return self

    def find_the_store(self) -> Story:
        """What was spooled is stored, and told so in its order."""
        self._is_store_away = False
        for message in self._unstored:
            self.feed.event("message:stored", message_id=message["id"], seq=message["seq"])
        self._unstored = []
        return self

    def ask(self, content: str) -> Story:
        return self._turn("message:send", content, len(Versions(self.turns).current) + 1)

    def edit(self, place: int, content: str) -> Story:
        return self._turn("message:edit", content, place)

    def regenerate(self, place: int) -> Story:
        old = Versions(self.turns).current[place - 1]
        return self._turn("turn:regenerate", old.question["content"], place)

    def _turn(self, call: str, content: str, place: int) -> Story:
        n, asks = len(self.turns) + 1, call != "turn:regenerate"
        versions = Versions(self.turns)
        gone = versions.current[place - 1 :]
        self._asked[content] += 1
        turn_id = f"turn {n}"
        question_id = f"question {n}" if asks else gone[0].question["id"]
        question = _message(turn_id, question_id, 2 * place - 1, "user", content)
        said = answer_to(content, self._asked[content])
        answer = _message(turn_id, f"answer {n}", 2 * place, "assistant", said)
        turn = KeptTurn(turn_id, n, place, "completed", False, 1, question, answer)
        turn.rewrites, turn.asks = call != "message:send", asks
        turn.revision = sum(each.rewrites for each in [*self.turns, turn])
        self.turns.append(turn)
        for each in gone:
            each.superseded = True
        if turn.rewrites:
            ids = [message["id"] for message in Versions(self.turns).gone_messages(turn)]
            self.feed.event("message:removed", message_ids=ids)
        if asks:
            self.feed.event("message:created", message=self._shown(question))
        self.feed.answered(turn, self._shown(answer))
        if self._is_store_away:
            self._unstored += turn.messages
        self._acknowledge(turn, call, gone[0] if gone else None)
        self._prompt(turn, versions.current[: place - 1])
        return self

    def _shown(self, message: Shape) -> Shape:
        return {**message, "seq": None} if self._is_store_away else message

    def _acknowledge(self, turn: KeptTurn, call: str, old: KeptTurn | None) -> None:
        shape = {"id": turn.id, "conversation_id": CONVERSATION}
        answer: Shape = {"turn": {**shape, "message_id": turn.question["id"]}}
        key, rewrites = turn.id, old.id if old else None
        if turn.asks:
            answer |= {"conversation_id": CONVERSATION, "message": self._shown(turn.question)}
            answer["durability"] = "spooled" if self._is_store_away else "permanent"
            key, rewrites = turn.question["id"], old.question["id"] if old else None
        send = Send(key, turn.question["content"], 2 * turn.n, call=call, rewrites=rewrites)
        send.tries, send.acknowledged, send.connection = 1, 2 * turn.n + 1, 1
        send.tab = "reader"
        send.answer = deepcopy(answer)
        self.sends.append(send)

    def _prompt(self, turn: KeptTurn, before: list[KeptTurn]) -> None:
        said = [
            {"role": message["role"], "content": message["content"]}
            for each in before
            for message in each.messages
        ]
        question = {"role": "user", "content": turn.question["content"]}
        self.prompts.append([SYSTEM, *said, question])

    def evidence(self) -> Evidence:
        kept = Kept(CONVERSATION, self.turns, count=0, history=[], remembered=[], counted=0)
        kept.count, kept.counted = len(kept.messages), len(kept.current)
        kept.history, kept.remembered = deepcopy(kept.messages), deepcopy(kept.messages)
        kept.notes = kept.remembered_notes = " ".join(
            note_on(turn.question["content"], turn.answer["content"])
            for turn in kept.current[:1]
            if turn.answer is not None
        )
        kept.found = Hot(deepcopy(kept.messages), kept.notes, kept.counted)
        kept.found.revision = kept.current[-1].revision
        kept.hot = deepcopy(kept.found)
        seen = deepcopy([*self.feed.seen, Seen(1, SETTLED, {}), Seen(1, END, {})])
        return Evidence(
            answer_to,
            sends=self.sends,
            readers={"reader": seen},
            kept=[kept],
            prompts=self.prompts,
        )


def kinds(evidence: Evidence) -> set[str]:
    return {finding.partition(":")[0] for finding in check(evidence)}


def place_of(seen: list[Seen], name: str, times: int = 1) -> int:
    return [place for place, each in enumerate(seen) if each.name == name][times - 1]


def _message(turn_id: str, message_id: str, seq: int, role: str, content: str) -> Shape:
    shape = {"id": message_id, "conversation_id": CONVERSATION, "seq": seq, "role": role}
    return {**shape, "content": content, "status": "complete", "turn_id": turn_id}
