"""A LangGraph agent with a tool: AGENT=examples.langgraph_agent:graph

It needs ``pip install langgraph``, which the server itself does without.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


@tool
def time_in(place: str) -> str:
    """The time now in a place named as in the tz database, such as Europe/Paris."""
    return f"{datetime.now(ZoneInfo(place)):%H:%M}"


def graph(model: BaseChatModel) -> Runnable[Any, Any]:
    """``model`` is the one that OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL name."""
    tools = [time_in]
    thinking = model.bind_tools(tools)

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await thinking.ainvoke(state["messages"])]}

    steps = StateGraph(MessagesState)
    steps.add_node("think", think)
    steps.add_node("tools", ToolNode(tools))
    steps.add_edge(START, "think")
    steps.add_conditional_edges("think", tools_condition)
    steps.add_edge("tools", "think")
    return steps.compile()
