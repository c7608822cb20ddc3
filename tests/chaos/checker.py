"""Holds what clients saw against what is kept. Each finding begins with its kind.

``check`` is told whether events cross servers. In this version they do not: a reader on another
server than the one that answers is sure to be right only after it has opened the conversation anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.chaos.evidence import Evidence, Kept, KeptTurn, Send
from tests.chaos.reading import check_readers

ENDED = ("completed", "stopped", "failed")
LATEST = 50
SURELY_REMEMBERED = 12
"""Exchanges that fit into the latest 50 messages even where many questions wait at their end."""
UNSEEMLY = ("Traceback", "never retrieved", "never awaited", "was destroyed but it is pending")


def check(evidence: Evidence, *, events_cross_servers: bool = False) -> list[str]:
    """All that is wrong, one sentence each; empty when the run was flawless."""
    findings = [*evidence.mishaps]
    findings += _acknowledgements(evidence)
    for kept in evidence.kept:
        findings += _turns(kept, evidence)
        findings += _copies(kept)
    findings += _stops(evidence)
    findings += _prompts(evidence)
    findings += check_readers(evidence, events_cross_servers=events_cross_servers)
    findings += [f"immortal key: {key} has no TTL" for key in evidence.immortal]
    for name, text in evidence.logs.items():
        for number, line in enumerate(text.splitlines(), 1):
            findings += [f"log: {name} line {number}: {line}" for bad in UNSEEMLY if bad in line]
    return findings


def _acknowledgements(evidence: Evidence) -> Iterator[str]:
    turns = [(kept.id, turn) for kept in evidence.kept for turn in kept.turns]
    by_message = {turn.question["id"]: (where, turn) for where, turn in turns}
    for what in ("id", "content"):
        for value, times in Counter(turn.question[what] for _, turn in turns).items():
            if times > 1:
                yield f"doubled message: {what} {value!r} is kept {times} times"
    acknowledged: dict[str, list[Send]] = {}
    for send in evidence.sends:
        if send.acknowledged is None:
            yield f"unanswered send: {send.message_id} was never acknowledged"
            continue
        acknowledged.setdefault(send.conversation_id, []).append(send)
        where, turn = by_message.get(send.message_id, (None, None))
        if turn is None:
            yield f"lost message: {send.message_id} ({send.content!r}) was acknowledged"
        elif where != send.conversation_id or turn.question["content"] != send.content:
            yield f"changed message: {send.message_id} is kept as {turn.question}"
        elif turn.question["seq"] != send.seq or turn.id != send.answer["turn"]["id"]:
            yield f"out of order: {send.message_id} was {send.answer}, and is {turn.question}"
    for sends in acknowledged.values():
        yield from _order(sends)


def _order(sends: list[Send]) -> Iterator[str]:
    """Of two messages, the earlier is what was acknowledged before the other was first sent; or, on
    one connection and without a retry, what was sent first."""
    for earlier in sends:
        for later in sends:
            assert earlier.acknowledged is not None
            known = earlier.acknowledged < later.sent
            one_line = earlier.connection == later.connection and earlier.sent < later.sent
            if (known or (one_line and earlier.tries == later.tries == 1)) and (
                earlier.seq >= later.seq
            ):
                yield f"out of order: {earlier.message_id} ({earlier.seq}) was acknowledged before "
                f"{later.message_id} ({later.seq})"


def _turns(kept: Kept, evidence: Evidence) -> Iterator[str]:
    numbers = [turn.question["seq"] for turn in kept.turns]
    if sorted(numbers) != [2 * n - 1 for n in range(1, len(numbers) + 1)]:
        yield f"gap in seq: {kept.id} has the questions {sorted(numbers)}"
    for turn in kept.turns:
        where = f"turn {turn.n} of {kept.id}"
        if turn.status not in ENDED or turn.open:
            yield f"no outcome: {where} is {turn.status}{' and open' if turn.open else ''}"
        if turn.status == "completed" and turn.answer is None:
            yield f"no answer: {where} is completed"
        if turn.answer is None:
            continue
        whole, said = evidence.answer_to(turn.question["content"]), turn.answer["content"]
        if said != whole if turn.status == "completed" else not whole.startswith(said):
            yield f"wrong answer: {where} is {turn.status} with {said!r}"
        if turn.answer["seq"] != 2 * turn.n:
            yield f"gap in seq: the answer of {where} has {turn.answer['seq']}"
    for what in ("id", "seq"):
        values = Counter(turn.answer[what] for turn in kept.turns if turn.answer)
        for value, times in values.items():
            if times > 1:
                yield f"second answer: {what} {value} is kept {times} times in {kept.id}"


def _copies(kept: Kept) -> Iterator[str]:
    """History, memory and the counters say what the store says."""
    messages = kept.messages
    if kept.history != messages:
        yield f"history differs: {kept.id}: {_difference(kept.history, messages)}"
    if kept.remembered != messages[-LATEST:]:
        yield f"memory differs: {kept.id}: {_difference(kept.remembered, messages[-LATEST:])}"
    answers = sum(turn.answer is not None for turn in kept.turns)
    if kept.counted != answers:
        yield f"memory differs: {kept.id}: {kept.counted} turns counted for {answers} answers"
    if kept.count != len(messages):
        yield f"wrong count: {kept.id} says {kept.count} messages, and has {len(messages)}"


def _difference(found: list[dict[str, object]], right: list[dict[str, object]]) -> str:
    for place, (one, other) in enumerate(zip(found, right, strict=False)):
        if one != other:
            return f"at {place}: {one} for {other}"
    return f"{len(found)} messages for {len(right)}"


def _stops(evidence: Evidence) -> Iterator[str]:
    by_id = {turn.id: turn for kept in evidence.kept for turn in kept.turns}
    for told in evidence.stops:
        turn = by_id.get(told["id"])
        if told["status"] in ENDED and (turn is None or turn.status != told["status"]):
            yield f"second outcome: turn:stop gave {told}, kept is {turn and turn.status}"


def _prompts(evidence: Evidence) -> Iterator[str]:
    asked: dict[str, tuple[Kept, KeptTurn]] = {}
    for kept in evidence.kept:
        asked |= {turn.question["content"]: (kept, turn) for turn in kept.turns}
    times: Counter[str] = Counter()
    for prompt in evidence.prompts:
        said = [message for message in prompt if message["role"] != "system"]
        question = said[-1]["content"]
        times[question] += 1
        if question not in asked or said[-1]["role"] != "user":
            yield f"unknown prompt: {said[-1]}"
            continue
        yield from _history_in_prompt(said[:-1], *asked[question])
    for question, count in times.items():
        if question in asked and count > asked[question][1].attempt:
            attempts = asked[question][1].attempt
            yield f"asked twice: {question!r} was sent {count} times in {attempts} attempts"


def _history_in_prompt(history: list[dict[str, str]], kept: Kept, turn: KeptTurn) -> Iterator[str]:
    """Before the question stand the latest answered exchanges before it, each once."""
    before = [each for each in sorted(kept.turns, key=lambda each: each.n) if each.n < turn.n]
    right = []
    for earlier in before:
        if earlier.answer is not None and earlier.answer["content"]:
            right.append(("user", earlier.question["content"]))
            right.append(("assistant", earlier.answer["content"]))
    found = [(message["role"], message["content"]) for message in history]
    where = f"turn {turn.n} of {kept.id}"
    questions = Counter(text for role, text in found if role == "user")
    questions[turn.question["content"]] += 1
    for text, count in questions.items():
        if count > 1:
            yield f"doubled in prompt: {text!r} stands {count} times in that of {where}"
    later = {each.question["content"] for each in kept.turns if each.n > turn.n}
    for text in later & set(questions):
        yield f"early in prompt: {text!r} is later than {where}"
    if found != right[len(right) - len(found) :]:
        yield f"wrong prompt: that of {where} has {found[-4:]}, not {right[-4:]}"
    elif len(found) < min(len(right), 2 * SURELY_REMEMBERED):
        yield f"forgotten: the prompt of {where} has {len(found)} of {len(right)} messages"
