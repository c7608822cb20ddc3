"""A tool's call and its results, where the fifty messages that are kept end."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from tests.memory.conftest import Make

PARALLEL: list[BaseMessage] = [
    AIMessage(
        "",
        id="asks",
        tool_calls=[
            {"name": "look", "args": {"at": n}, "id": f"call {n}", "type": "tool_call"}
            for n in range(3)
        ],
    ),
    *(ToolMessage(f"seen {n}", id=f"result {n}", tool_call_id=f"call {n}") for n in range(3)),
]


@pytest.mark.parametrize("later", [45, 46, 47, 48, 49, 50])
async def test_parallel_calls_and_their_results_are_given_all_or_none(
    make: Make, url: str, later: int
) -> None:
    memory = make(redis_url=url)
    await memory.add_message("c", HumanMessage("look around", id="first"))
    for message in PARALLEL:
        await memory.add_message("c", message)
    since = [HumanMessage(str(n), id=f"later {n}") for n in range(later)]
    for message in since:
        await memory.add_message("c", message)
    history = await memory.get_conversation_history("c")
    if later == 45:
        assert history == [HumanMessage("look around", id="first"), *PARALLEL, *since]
    else:
        assert history == [*(PARALLEL if later == 46 else []), *since]


async def test_results_still_missing_in_mid_turn_are_no_reason_to_leave_out_the_others(
    make: Make, url: str
) -> None:
    memory = make(redis_url=url)
    for n in range(60):
        await memory.add_message("c", HumanMessage(str(n)))
    for message in PARALLEL[:-1]:
        await memory.add_message("c", message)
    assert (await memory.get_conversation_history("c"))[-3:] == PARALLEL[:-1]
