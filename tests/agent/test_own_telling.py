"""What of a Runnable's doings is its answer: events in, text and tools out."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda

from agent.own.events import Event, Kind
from agent.own.telling import MAX_SHOWN, Telling, beyond, final_text, last_step

IDS = {name: uuid.uuid5(uuid.NAMESPACE_DNS, name) for name in ("root", "a", "b", "c", "tool")}
ROOT = IDS["root"]


def event(
    kind: Kind, run: str, data: Any = None, *, parent: str = "root", tags: tuple[str, ...] = ()
) -> Event:
    return Event(kind, IDS[run], data, IDS[parent], tags, run)


def model(run: str, *, parent: str = "root", tags: tuple[str, ...] = ()) -> Event:
    return event("model", run, parent=parent, tags=tags)


def told(*events: Event, last_step: str | None = None) -> tuple[str, Telling]:
    telling = Telling(ROOT, last_step)
    chunks = [chunk for each in events for chunk in telling.hear(each)]
    chunks += telling.end()
    return "".join(chunk.text for chunk in chunks), telling


def said(text: str, *, tokens: int = 0) -> AIMessage:
    usage = {"input_tokens": 10, "output_tokens": tokens, "total_tokens": 10 + tokens}
    return AIMessage(content=text, usage_metadata=usage if tokens else None)


def test_two_models_that_speak_at_once_are_told_one_after_the_other() -> None:
    text, telling = told(
        model("a"),
        model("b"),
        event("token", "b", "b1 "),
        event("token", "a", "a1 "),
        event("token", "b", "b2"),
        event("said", "b", said("b1 b2", tokens=2)),
        event("token", "a", "a2"),
        event("said", "a", said("a1 a2", tokens=3)),
    )
    assert text == "b1 b2\n\na1 a2"
    assert telling.usage is not None
    assert telling.usage["output_tokens"] == 5
    assert telling.rounds == 2


def test_what_waits_is_told_at_the_end_where_somebody_never_ends() -> None:
    text, _ = told(
        model("a"),
        event("token", "a", "half"),
        model("b"),
        event("token", "b", "whole"),
        event("said", "b", said("whole")),
    )
    assert text == "half\n\nwhole"


def test_a_model_that_fails_makes_room_for_the_next() -> None:
    telling = Telling(ROOT, None)
    for each in (model("a"), event("token", "a", "half"), event("model_failed", "a", OSError())):
        list(telling.hear(each))
    list(telling.hear(model("b")))
    [between, whole] = telling.hear(event("token", "b", "whole"))
    assert between.text + whole.text == "\n\nwhole"


def test_a_model_that_does_not_stream_is_told_at_its_end() -> None:
    text, _ = told(
        model("a"),
        event("said", "a", said("Let me see.")),
        model("b"),
        event("said", "b", said("Fine.")),
        event("ended", "root", {"messages": [said("Fine.")]}),
    )
    assert text == "Let me see.\n\nFine."


def test_what_happens_inside_a_tool_is_the_tools_own_business() -> None:
    text, telling = told(
        event("tool", "tool", {"q": 1}),
        event("step", "c", parent="tool"),
        model("a", parent="c"),
        event("token", "a", "thinking"),
        event("said", "a", said("thinking", tokens=1)),
        event("tool", "b", {"q": 2}, parent="c"),
        event("tool_ended", "b", "inner"),
        event("tool_ended", "tool", "outer"),
    )
    assert text == ""
    assert [(use.name, use.status, use.output) for use in telling.tools] == [
        ("tool", "finished", "outer")
    ]
    assert telling.usage is not None  # but it is paid for


def test_what_is_tagged_is_not_told() -> None:
    text, telling = told(
        model("a", tags=("nostream",)),
        event("token", "a", "plan"),
        event("said", "a", said("plan")),
        event("tool", "tool", {}, tags=("nostream",)),
        event("tool_ended", "tool", "x"),
        model("b"),
        event("token", "b", "answer"),
    )
    assert (text, telling.tools) == ("answer", [])


def test_of_a_chain_only_the_last_step_speaks() -> None:
    text, _ = told(
        event("step", "root"),
        model("a", tags=("seq:step:1",)),
        event("token", "a", "rewritten"),
        event("step", "c", tags=("seq:step:2",)),
        model("b", parent="c", tags=("seq:step:1",)),
        event("token", "b", "answer"),
        event("chunk", "root", {"node": {}}),
        event("ended", "root", {"output": "answer"}),
        last_step="seq:step:2",
    )
    assert text == "answer"


def test_one_that_yields_text_before_its_models_speak_speaks_for_itself() -> None:
    text, _ = told(
        event("step", "root"),
        event("chunk", "root", "Well, "),
        model("a"),
        event("token", "a", "loud"),
        event("chunk", "root", "LOUD"),
        event("ended", "root", "Well, LOUD"),
    )
    assert text == "Well, LOUD"


def test_one_of_which_no_callback_tells_is_taken_by_what_it_yields() -> None:
    assert told(event("chunk", "root", {"output": "only this"}))[0] == "only this"
    assert told(event("chunk", "root", AIMessage(content="or that")))[0] == "or that"


@pytest.mark.parametrize(
    ("final", "earlier", "rest"),
    [
        ("", ["a"], ""),
        ("one", ["one"], ""),
        (" one\n", ["one"], ""),
        ("one two", ["one"], " two"),
        ("two", ["one", "two"], ""),
        ("one", ["one", "two"], ""),  # what came after it was not part of it
        ("two three", ["one", "two"], " three"),
        ("onetwo", ["one", "two"], ""),
        ("ONE", ["one"], None),
        ("ne", ["one"], None),
        ("new", [], None),
    ],
)
def test_of_the_final_message_only_what_was_not_said_is_added(
    final: str, earlier: list[str], rest: str | None
) -> None:
    assert beyond(final, earlier) == rest


HISTORY = [HumanMessage("q1"), AIMessage("a1"), HumanMessage("q2")]


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("text", "text"),
        (AIMessage("text"), "text"),
        (AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "t"}]), "t"),
        ({"messages": [*HISTORY, AIMessage("a2")]}, "a2"),
        ({"messages": [*HISTORY, AIMessage("a2"), ToolMessage("t", tool_call_id="1")]}, "a2"),
        ({"messages": HISTORY}, ""),
        ({"messages": [("human", "q"), {"role": "assistant", "content": "a"}]}, "a"),
        ({"messages": "text"}, "text"),
        ({"messages": [object()]}, ""),
        ({"output": "text"}, "text"),
        ({"output": {"messages": [AIMessage("a")]}}, "a"),
        ({"answer": "text"}, ""),
        ([AIMessage("a")], "a"),
        (HumanMessage("q"), ""),
        (7, ""),
        (None, ""),
    ],
)
def test_the_answer_is_found_in_what_comes_out(output: Any, text: str) -> None:
    assert final_text(output) == text


def test_a_tool_may_answer_itself() -> None:
    output = {"messages": [*HISTORY, AIMessage(""), ToolMessage("the result", tool_call_id="1")]}
    assert told(event("step", "root"), event("ended", "root", output))[0] == "the result"


class Strange:
    def __str__(self) -> str:
        return "strange \ud800"


class Command:
    """As LangGraph's: what a tool wants done to the state."""

    def __init__(self) -> None:
        self.update = {"messages": [ToolMessage("done", tool_call_id="1")]}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"a": 1, "b": ["x"]}, {"a": 1, "b": ["x"]}),
        ({"a": Strange()}, {"a": "strange ?"}),
        ({"a": "\ud800"}, {"a": "?"}),
        ({(1, 2): 3}, {"input": "dict"}),
        ({1: 2}, {"1": 2}),
        ("text", {"input": "text"}),
    ],
)
def test_a_tools_input_is_shown_as_json_can_carry_it(given: Any, shown: dict[str, Any]) -> None:
    _, telling = told(event("tool", "tool", given))
    assert telling.tools[0].input == shown


@pytest.mark.parametrize(
    ("output", "status", "shown"),
    [
        ("text", "finished", "text"),
        (ToolMessage("text", tool_call_id="1"), "finished", "text"),
        (ToolMessage("no", tool_call_id="1", status="error"), "failed", "no"),
        ({"a": 1}, "finished", '{"a": 1}'),
        ({(1, 2): 3}, "finished", "dict"),
        (Command(), "finished", "done"),
        ("x" * 2 * MAX_SHOWN, "finished", "x" * MAX_SHOWN),
        ("\ud800", "finished", "?"),
    ],
)
def test_a_tools_output_is_shown_as_text(output: Any, status: str, shown: str) -> None:
    _, telling = told(event("tool", "tool", {}), event("tool_ended", "tool", output))
    assert [(use.status, use.output) for use in telling.tools] == [(status, shown)]


def test_of_an_input_without_end_only_the_beginning_is_kept() -> None:
    _, telling = told(event("tool", "tool", {"a": "x" * 100_000}))
    assert len(str(telling.tools[0].input)) < MAX_SHOWN + 100


def test_of_a_tools_error_only_its_kind_is_shown() -> None:
    error = RuntimeError("mongodb://user:hunter2@db")
    _, telling = told(event("tool", "tool", {}), event("tool_failed", "tool", error))
    assert [(use.status, use.output) for use in telling.tools] == [("failed", "RuntimeError")]


def test_the_last_step_of_a_chain_is_found_through_what_is_bound_to_it() -> None:
    one = RunnableLambda(str)
    assert last_step(one) is None
    assert last_step(one | one | one) == "seq:step:3"
    assert last_step((one | one).with_config(tags=["mine"])) == "seq:step:2"
