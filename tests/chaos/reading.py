"""What all readers were told, held against each other; each one's own picture is in view.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.chaos.evidence import BEGUN, END, OPENED, SETTLED, Evidence, Shape
from tests.chaos.spooling import is_as_told
from tests.chaos.view import ENDS, Pictures, View

SNAPSHOT = "conversation:snapshot"


def check_readers(evidence: Evidence) -> list[str]:
    kept = {each.id: each for each in evidence.kept}
    findings = list(_one_feed_for_all(evidence))
    pictures: Pictures = {}
    for name, seen in evidence.readers.items():
        views: dict[str, View] = {}
        is_over = False
        for each in seen:
            if each.name in (SETTLED, END):
                is_over = each.name == END
                for view in views.values():
                    view.compare(kept[view.id], "in the end" if is_over else "live")
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
                    name, kept[conversation_id], findings, pictures
                )
            epoch = view.epoch
            view.take(each)
            # Nothing is broken, or all is healed and its log is there.
            there = evidence.shared.get(conversation_id, "").partition("-")[0]
            is_sure = epoch is not None and (evidence.calm or (is_over and epoch == there))
            is_anew = each.name == SNAPSHOT or each.payload.get("recovery") == "snapshot"
            if is_sure and is_anew:
                what = f"{name} in {conversation_id}: {each.name} {each.payload['cursor']}"
                findings.append(f"not replayed: {what}")
    return findings


def _one_feed_for_all(evidence: Evidence) -> Iterator[str]:
    """One cursor, one event; one place in an attempt, one text; one turn, one outcome."""
    events: dict[tuple[str, str], tuple[str, Shape]] = {}
    texts: dict[tuple[str, int, int], str] = {}
    outcomes: dict[str, tuple[str, Any]] = {}
    for name, seen in evidence.readers.items():
        for each in seen:
            payload = each.payload
            if "cursor" not in payload or each.name in (OPENED, SNAPSHOT):
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
                known = outcomes.setdefault(payload["turn_id"], outcome)
                if not _is_one_outcome(known, outcome):
                    yield f"second answer: {name} got another {each.name} of {payload['turn_id']}"


def _is_one_outcome(known: tuple[str, Any], outcome: tuple[str, Any]) -> bool:
    """Of two logs, one may be told it before the answer has its number, and one after."""
    same = is_as_told(known[1], outcome[1]) or is_as_told(outcome[1], known[1])
    return known[0] == outcome[0] and same
