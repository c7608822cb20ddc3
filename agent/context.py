"""What the model was given for a question, and what each part of it cost: kept with the turn, so
that its owner can look it up (``turn:context``)."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from agent.recall import Recalled
from agent.wording import sendable
from memory.facts import Fact
from memory.records import Message, Summary, ToolUse


class Given(msgspec.Struct, kw_only=True):
    """Filled in as the prompt is put together and the model answers."""

    system_prompt: str
    budget: int
    """In tokens; ``sys.maxsize``: no limit."""
    tokens: dict[str, int]
    """By part, approximately, as the budget counts them."""
    facts: list[Fact] = []
    summary: Summary | None = None
    window: list[Message] = []
    """The earlier messages that were sent as they are, ascending."""
    recalled: list[Recalled] = []
    """Those from before it that were found by a search, ascending."""
    is_whole: bool = True
    """Nothing that was said before is left out."""
    tools: list[ToolUse] = []
    rounds: int = 1
    """How often the model was asked."""
    left_out: list[str] = []
    """What should have been there and could not be had: ``"summary: no room"``."""

    def record(self, model: str) -> dict[str, Any]:
        """As JSON can carry it; docs/protocol.md has it in words."""
        window, summary = self.window, self.summary
        return {
            "model": model,
            "system_prompt": sendable(self.system_prompt),
            "budget": None if self.budget == sys.maxsize else self.budget,
            "tokens": {"total": sum(self.tokens.values()), **self.tokens},
            "summary": summary
            and {"version": summary.version, "upto": summary.upto, "text": summary.text},
            "window": {
                "from_seq": window[0].seq if window else None,
                "to_seq": window[-1].seq if window else None,
                "message_ids": [message.id for message in window],
            },
            "facts": [{"id": fact.id, "text": fact.text} for fact in self.facts],
            "recalled": [
                {
                    "message_id": each.message_id,
                    "seq": each.seq,
                    "conversation_id": each.conversation_id,
                    "text": each.text,
                }
                for each in self.recalled
            ],
            "tools": [_shown(use) for use in self.tools],
            "rounds": self.rounds,
            "left_out": self.left_out,
        }

    def measures(self) -> dict[str, int]:
        """For a trace: how much, and never a word of it."""
        found = {f"mnemosio.context.{part}_tokens": n for part, n in self.tokens.items()}
        found["mnemosio.context.window_messages"] = len(self.window)
        found["mnemosio.context.facts"] = len(self.facts)
        found["mnemosio.context.recalled_messages"] = len(self.recalled)
        if self.summary is not None:
            found["mnemosio.context.summary_version"] = self.summary.version
            found["mnemosio.context.summary_upto"] = self.summary.upto
        return found


def _shown(use: ToolUse) -> dict[str, Any]:
    return {
        "id": use.id,
        "name": use.name,
        "status": use.status,
        "input": use.input,
        "output": use.output,
    }
