"""What is acknowledged while the permanent store is away: ``durability: "spooled"``.

Such a message is shown with ``seq: null``, and so is its answer, until they are stored and told so
(``message:stored``, or any snapshot that has the number). In a transcript they stand last, in the
order in which they came.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.evidence import Kept, Shape


def is_as_told(told: Shape | None, kept: Shape | None) -> bool:
    """Whether they are one message, whose number need not have been known when it was told."""
    if told is None or kept is None:
        return told is kept
    return told == kept or (told["seq"] is None and {**told, "seq": kept["seq"]} == kept)


def is_one_answer(first: Shape, now: Shape) -> bool:
    """Whether a repeated call is answered as it was the first time. What was spooled then may be
    stored by now, which its durability and its number may say."""
    if first == now:
        return True
    if _as_if_it_ran(first) != first or _as_if_it_ran(now) != now:
        # In an outage, and where Redis has lost the card, nobody can tell whether it had to wait.
        return is_one_answer(_as_if_it_ran(first), _as_if_it_ran(now))
    ways = (first.get("durability"), now.get("durability"))
    if ways == ("permanent", "spooled"):
        # MongoDB took it, and the server that it was sent to did not hear of it.
        return is_one_answer(now, first)
    if ways != ("spooled", "permanent") or not is_as_told(first["message"], now["message"]):
        return False
    return {**first, "durability": ways[1], "message": now["message"]} == now


def _as_if_it_ran(answer: Shape) -> Shape:
    turn = answer.get("turn") or {}
    if (turn.get("status"), turn.get("attempt")) != ("queued", 0):
        return answer
    return {**answer, "turn": {**turn, "status": "running", "attempt": 1}}


def in_order(messages: list[Shape]) -> bool:
    """Ascending, none twice, and those without a number last."""
    numbers = [message["seq"] for message in messages]
    known = [seq for seq in numbers if seq is not None]
    return numbers[: len(known)] == sorted(set(known))


def check_numbers(kept: Kept) -> Iterator[str]:
    """In the end everything is stored, so everything has its number, wherever it is shown."""
    shown = {
        "the store": kept.messages,
        "the history": kept.history,
        "the memory": kept.remembered,
        "Redis": kept.hot.messages or [],
    }
    for where, messages in shown.items():
        for message in messages:
            if message["seq"] is None:
                yield f"no number: {message} of {kept.id} in {where}"
