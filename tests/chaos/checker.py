"""Holds what clients saw against what is kept. Each finding begins with its kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.chaos.evidence import Evidence, Kept, KeptTurn, Send
from tests.chaos.hot import LATEST, check_hot, difference
from tests.chaos.model import request_of
from tests.chaos.prompts import check_prompts
from tests.chaos.reading import check_readers
from tests.chaos.spooling import check_numbers
from tests.chaos.versions import Versions, check_versions

ENDED = ("completed", "stopped", "failed")
UNSEEMLY = ("Traceback", "never retrieved", "never awaited", "was destroyed but it is pending")


def check(evidence: Evidence) -> list[str]:
    """All that is wrong, one sentence each; empty when the run was flawless."""
    findings = [*evidence.mishaps]
    findings += _acknowledgements(evidence)
    for kept in evidence.kept:
        findings += check_versions(kept)
        findings += _turns(kept, evidence)
        findings += _copies(kept)
        findings += check_hot(kept, evidence)
        findings += check_numbers(kept)
    findings += _doubles(evidence)
    findings += _stops(evidence)
    findings += check_prompts(evidence)
    findings += check_readers(evidence)
    findings += [f"immortal key: {key} has no TTL" for key in evidence.immortal]
    for name, text in evidence.logs.items():
        findings += _unseemly(name, text.splitlines())
    return findings


def _unseemly(name: str, lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if any(bad in line for bad in UNSEEMLY):
            # What it was stands in the first line after it that is not set in.
            rest = (later for later in lines[number:] if not later.startswith(" "))
            yield f"log: {name} line {number}: {line} {next(rest, '')}"


def _acknowledgements(evidence: Evidence) -> Iterator[str]:
    turns = {turn.id: (kept, turn) for kept in evidence.kept for turn in kept.turns}
    by_message = {
        turn.question["id"]: turn for _, turn in turns.values() if turn.asks
    }  # where an answer is made anew, the question is the one that was asked before
    acknowledged: dict[str, list[tuple[Send, KeptTurn]]] = {}
    for send in evidence.sends:
        if send.refused is not None:
            yield from _refusal(send, evidence)
            continue
        if send.acknowledged is None:
            yield f"unanswered send: {send.message_id} was never acknowledged"
            continue
        kept, turn = turns.get(send.turn_id, (None, None))
        if kept is None or turn is None:
            also = by_message.get(send.message_id)
            what = f"moved to {also}" if also else "lost"
            yield f"lost message: {send.message_id} ({send.content!r}) was acknowledged, and {what}"
            continue
        acknowledged.setdefault(kept.id, []).append((send, turn))
        yield from _as_acknowledged(send, kept, turn)
    for sends in acknowledged.values():
        yield from _order(sends)


def _as_acknowledged(send: Send, kept: Kept, turn: KeptTurn) -> Iterator[str]:
    asks, rewrites = send.call != "turn:regenerate", send.call != "message:send"
    key = turn.question["id"] if asks else turn.id
    same = (key, turn.question["content"], turn.asks, turn.rewrites)
    if same != (send.message_id, send.content, asks, rewrites) or kept.id != send.conversation_id:
        yield f"changed message: {send} is kept as {turn}"
    told = send.answer.get("message", turn.question)
    if "message" in send.answer and send.is_spooled != (told["seq"] is None):
        yield f"wrong durability: {send.message_id} was answered with {send.answer}"
    moved = told["seq"] not in (None, turn.question["seq"])
    if moved or send.answer["turn"]["message_id"] != told["id"]:
        yield f"out of order: {send.message_id} was {send.answer}, and is {turn.question}"
    if rewrites:
        gone = Versions(kept.turns).removed.get(turn.id)
        of = gone[0] if gone else None
        if of is None or send.rewrites not in ((of.question["id"],) if asks else (of.id,)):
            yield f"wrong place: {send.message_id} was to rewrite {send.rewrites}, and did {of}"


def _refusal(send: Send, evidence: Evidence) -> Iterator[str]:
    """Only what another call has rewritten before can't be rewritten; and nothing comes of it."""
    for kept in evidence.kept:
        versions = Versions(kept.turns)
        for turn in kept.turns:
            if send.message_id in (turn.id, turn.question["id"]):
                yield f"refused and done: {send} is kept as {turn}"
            if send.rewrites in (turn.id, turn.question["id"]):
                by = versions.removed_by.get(turn.id)
                calls = [each for each in evidence.sends if by and each.turn_id == by.id]
                assert send.acknowledged is not None
                if by is None or any(each.sent > send.acknowledged for each in calls):
                    yield f"refused in vain: {send} of turn {turn.n}"


def _order(sends: list[tuple[Send, KeptTurn]]) -> Iterator[str]:
    """Of two messages, the earlier is what was acknowledged before the other was first sent; or, on
    one connection and without a retry, what was sent first.

    What was spooled has its place later, so another tab's message may overtake it, on a server that
    reaches the store already. One of its own tab's may not."""
    for earlier, first in sends:
        for later, second in sends:
            assert earlier.acknowledged is not None
            one_tab = bool(earlier.tab) and earlier.tab == later.tab
            known = earlier.acknowledged < later.sent and (one_tab or not earlier.is_spooled)
            one_line = earlier.connection == later.connection and earlier.sent < later.sent
            if (known or (one_line and earlier.tries == later.tries == 1)) and first.n >= second.n:
                yield (
                    f"out of order: {earlier.message_id} (turn {first.n}) was acknowledged before "
                    f"{later.message_id} ({second.n})"
                )


def _turns(kept: Kept, evidence: Evidence) -> Iterator[str]:
    for turn in kept.turns:
        where = f"turn {turn.n} of {kept.id}"
        if turn.question["seq"] != 2 * turn.place - 1:
            yield f"gap in seq: the question of {where} has {turn.question['seq']}"
        if turn.status not in ENDED or turn.open:
            yield f"no outcome: {where} is {turn.status}{' and open' if turn.open else ''}"
        if turn.status == "failed" and turn.error != "unavailable":  # the provider never fails
            yield f"wrong failure: {where} failed as {turn.error}"
        if turn.status == "completed" and turn.answer is None:
            yield f"no answer: {where} is completed"
        if turn.answer is None:
            continue
        said = turn.answer["content"]
        whole = evidence.answer_to(turn.question["content"], request_of(said) or 0)
        if said != whole if turn.status == "completed" else not whole.startswith(said):
            yield f"wrong answer: {where} is {turn.status} with {said!r}"
        if turn.answer["seq"] != 2 * turn.place:
            yield f"gap in seq: the answer of {where} has {turn.answer['seq']}"


def _doubles(evidence: Evidence) -> Iterator[str]:
    """Each message is kept once, and so is what the provider said to each request."""
    turns = [turn for kept in evidence.kept for turn in kept.turns]
    for what in ("id", "content"):
        for value, times in Counter(turn.question[what] for turn in turns if turn.asks).items():
            if times > 1:
                yield f"doubled message: {what} {value!r} is kept {times} times"
    answers = [(turn, turn.answer) for turn in turns if turn.answer is not None]
    said = [(turn.question["id"], request_of(answer["content"])) for turn, answer in answers]
    for values in ([answer["id"] for _, answer in answers], [each for each in said if each[1]]):
        for value, times in Counter(values).items():
            if times > 1:
                yield f"second answer: {value} is kept {times} times"


def _copies(kept: Kept) -> Iterator[str]:
    """History, memory and the counters say what the store says."""
    messages = kept.messages
    if kept.history != messages:
        yield f"history differs: {kept.id}: {difference(kept.history, messages)}"
    if kept.remembered != messages[-LATEST:]:
        yield f"memory differs: {kept.id}: {difference(kept.remembered, messages[-LATEST:])}"
    answers = sum(turn.answer is not None for turn in kept.current)
    if kept.counted != answers:
        yield f"memory differs: {kept.id}: {kept.counted} turns counted for {answers} answers"
    if kept.count != len(messages):
        yield f"wrong count: {kept.id} says {kept.count} messages, and has {len(messages)}"


def _stops(evidence: Evidence) -> Iterator[str]:
    by_id = {turn.id: turn for kept in evidence.kept for turn in kept.turns}
    for told in evidence.stops:
        turn = by_id.get(told["id"])
        if told["status"] in ENDED and (turn is None or turn.status != told["status"]):
            yield f"second outcome: turn:stop gave {told}, kept is {turn and turn.status}"
