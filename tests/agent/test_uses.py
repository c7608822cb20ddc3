"""What a turn keeps of its uses of tools has a bound: a turn is one record."""

from __future__ import annotations

import msgspec
from langchain_core.tools import tool

from agent.tools.running import MAX_OUTPUT_CHARS, Outcome
from agent.tools.tool import Tool
from agent.tools.uses import MAX_USES, Uses
from tests.agent.conversation import Conversation

# Of MongoDB's, whose documents are the smaller ones; kept twice, in the turn and in its context.
DOCUMENT_BYTES = 16 * 2**20


@tool
async def look(words: str) -> str:
    """Look something up."""
    return words


async def test_uses_are_refused_before_a_record_is_full() -> None:
    uses = Uses(Conversation().ask("look"))
    wide = Tool(look, timeout=1.0)
    run = 0
    while not uses.are_too_many:
        use = uses.begin(f"call {run}", wide, {"words": "𝄞" * 29_000})
        uses.end(use, Outcome("finished", "𝄞" * MAX_OUTPUT_CHARS))
        run += 1
    assert 3 < run < MAX_USES
    for _ in range(1_000):
        uses.refuse("more", "look", {"words": "x" * 29_000}, "There are too many.")
    assert len(uses.all) == run
    assert len(msgspec.json.encode(uses.all)) < DOCUMENT_BYTES / 2


async def test_small_uses_are_bounded_by_their_number() -> None:
    uses = Uses(Conversation().ask("look"))
    small = Tool(look, timeout=1.0)
    while not uses.are_too_many:
        uses.begin("call", small, {"words": "x"})
    assert len(uses.all) == MAX_USES
