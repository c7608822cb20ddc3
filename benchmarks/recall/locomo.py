"""LoCoMo: very long dialogues of two people, with questions and the messages that answer them.

``data/locomo10.json`` of https://github.com/snap-research/locomo, which is not part of this
project. The first who speaks counts as the user, the other as the assistant; who speaks stands
before the text, and what a shared picture shows behind it, as in the dialogues themselves.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.recall.measuring import Wanted


class Dialogue(NamedTuple):
    turns: list[tuple[str, str]]
    questions: list[Wanted]


def dialogues(file: Path) -> list[Dialogue]:
    return [_dialogue(each) for each in json.loads(file.read_text(encoding="utf-8"))]


def _dialogue(sample: dict[str, Any]) -> Dialogue:
    said = sample["conversation"]
    sessions = sorted(
        (key for key in said if re.fullmatch(r"session_\d+", key)),
        key=lambda key: int(key.split("_")[1]),
    )
    turns: list[tuple[str, str]] = []
    places: dict[str, tuple[int, str]] = {}
    for session in sessions:
        messages = [(each["dia_id"], _text(each)) for each in said[session]]
        for first in range(0, len(messages), 2):
            pair = messages[first : first + 2]
            turns.append((pair[0][1], pair[1][1] if len(pair) > 1 else ""))
            for offset, (dia_id, text) in enumerate(pair):
                places[dia_id] = (2 * len(turns) - 1 + offset, text)
    questions = []
    for each in sample["qa"]:
        ids = {found for text in each["evidence"] for found in re.findall(r"D\d+:\d+", text)}
        needs = [places[dia_id] for dia_id in sorted(ids) if dia_id in places]
        if needs:
            questions.append(Wanted(str(each["question"]), needs))
    return Dialogue(turns, questions)


def _text(message: dict[str, Any]) -> str:
    shown = message.get("blip_caption")
    text = f"{message['speaker']}: {message['text']}"
    return f"{text} [shares {shown}]" if shown else text
