"""A provider that says what messages tell of their user."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from agent.wording import fenced
from tests.support.provider import Body, Script, echo, is_facts

Respond = Callable[[Body], Script]


def shown(body: Body) -> dict[str, str]:
    """What was shown: the messages and the facts, by their tags."""
    return dict(fenced(body["messages"][-1]["content"]))


def messages_shown(body: Body) -> list[str]:
    return [text for tag, text in shown(body).items() if tag.startswith("message")]


def facts_shown(body: Body) -> list[str]:
    return [text for tag, text in shown(body).items() if tag.startswith("fact")]


def saying(*entries: dict[str, Any], **script: Any) -> Respond:
    """These entries, whatever is asked about; answers as ever."""
    text = json.dumps({"facts": entries})
    return lambda body: Script([text], **script) if is_facts(body) else echo(body)


def reading(facts: Mapping[str, str | tuple[str, str]], **script: Any) -> Respond:
    """By what stands in a message: the fact to add; or the fact that is there, and the one to put
    in its place. Answers as ever."""

    def entries(body: Body) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        known = facts_shown(body)
        for number, message in enumerate(messages_shown(body), 1):
            for words, fact in facts.items():
                if words not in message:
                    continue
                entry = {"confidence": 0.8, "message": number}
                if isinstance(fact, str):
                    found.append({"do": "add", "text": fact, **entry})
                else:
                    there = known.index(fact[0]) + 1
                    found.append({"do": "replace", "fact": there, "text": fact[1], **entry})
        return found

    def respond(body: Body) -> Script:
        if not is_facts(body):
            return echo(body)
        return Script([json.dumps({"facts": entries(body)})], **script)

    return respond
