"""Agents of an operator's own, for a server's AGENT=tests.support.agents:…"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnablePassthrough,
)
from langchain_core.tools import BaseTool, tool

Given = dict[str, Any]


def _last(given: Given) -> str:
    return str(given["messages"][-1].text)


def _ids(given: Given, config: RunnableConfig) -> str:
    """What it was told of whose question it is."""
    return json.dumps([config["configurable"], config["metadata"]], default=str)


ids = RunnableLambda(_ids)


def _seen(given: Given) -> str:
    return json.dumps([[message.type, message.text] for message in given["messages"]])


seen = RunnableLambda(_seen)


async def _fails(given: Given) -> AsyncIterator[str]:
    yield "so far "
    if _last(given) != "go on":
        raise RuntimeError("mongodb://user:hunter2@db is down")
    yield "and further"


fails: Runnable[Given, str] = RunnableLambda(_fails)


async def _hangs(given: Given) -> AsyncIterator[str]:
    yield "half "
    await asyncio.Event().wait()


hangs: Runnable[Given, str] = RunnableLambda(_hangs)


async def _deaf(given: Given) -> AsyncIterator[str]:
    """It does not end when it is cancelled, and would go on talking."""
    yield "half "
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            yield "still here "


deaf: Runnable[Given, str] = RunnableLambda(_deaf)


class Blocking(Runnable[Given, str]):
    """It is not async at all, and as slow as it is asked to be."""

    def invoke(self, input: Given, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        time.sleep(float(_last(input)))
        return f"slept {_last(input)}"


blocking = Blocking()


def _pieces(inputs: Iterator[Given]) -> Iterator[str]:
    for given in inputs:
        for word in _last(given).split():
            time.sleep(0.05)
            yield f"{word} "


in_pieces: Runnable[Given, str] = RunnableGenerator(_pieces)


def silent(model: BaseChatModel) -> Runnable[Any, Any]:
    """One model that nobody hears, and one that answers."""
    planner = model.with_config(tags=["nostream"])

    async def answer(given: Given) -> AIMessage:
        plan = await planner.ainvoke(given["messages"])
        said = await model.ainvoke([*given["messages"], ("user", f"do as planned: {plan.text}")])
        return AIMessage(content=said.content)

    return RunnableLambda(answer)


def chain(model: BaseChatModel) -> Runnable[Any, Any]:
    """Two models, of which the second answers."""

    def rewritten(message: AIMessage) -> str:
        return f"rewritten: {message.text}"

    return RunnablePassthrough() | (lambda given: given["messages"]) | model | rewritten | model


def plain(model: BaseChatModel) -> Runnable[Any, Any]:
    return RunnableLambda(lambda given: given["messages"]) | model


@asynccontextmanager
async def opened() -> AsyncIterator[Runnable[Any, Any]]:
    print("OPENED", flush=True)
    await asyncio.sleep(0)
    yield seen
    print("CLOSED", flush=True)


async def made_later() -> Runnable[Any, Any]:
    await asyncio.sleep(0)
    return seen


def offered(tools: list[BaseTool]) -> Runnable[Any, Any]:
    names = ", ".join(each.name for each in tools)
    return RunnableLambda(lambda given: f"offered: {names}")


def needs_more(model: BaseChatModel, database: Any) -> Runnable[Any, Any]:
    raise AssertionError("it can't be called")


not_an_agent = 7


def breaks() -> Runnable[Any, Any]:
    raise ValueError("no such file")


@tool
def lookup(word: str) -> str:
    """What a word means."""
    if word == "nothing":
        raise LookupError("the secret shelf is empty")
    return f"{word} means well"


def remembering(model: BaseChatModel) -> Runnable[Any, Any]:
    """A graph with a memory of its own, and a tool whose errors the model is told."""
    from langgraph.checkpoint.memory import MemorySaver
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition

    thinking = model.bind_tools([lookup])

    def think(state: MessagesState) -> dict[str, Any]:  # not async: in a thread
        return {"messages": [thinking.invoke(state["messages"])]}

    steps = StateGraph(MessagesState)
    steps.add_node("think", think)
    steps.add_node("tools", ToolNode([lookup], handle_tool_errors=True))
    steps.add_edge(START, "think")
    steps.add_conditional_edges("think", tools_condition)
    steps.add_edge("tools", "think")
    return steps.compile(checkpointer=MemorySaver())


def uncompiled() -> Any:
    from langgraph.graph import MessagesState, StateGraph

    return StateGraph(MessagesState)


tools = [lookup]
