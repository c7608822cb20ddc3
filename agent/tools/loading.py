"""The operator's tools: TOOLS=module:list.

    def convert(amount: float, unit: str) -> str:
        "Convert an amount of …"            # what the model is told of it

    tools = [convert]

Each is one of LangChain's (``BaseTool``), or a function with a docstring.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool

from agent.loading import Unusable, load_named
from agent.tools.tool import Tool

MAX_TOOLS = 128
"""As many as most providers take."""


def load_tools(name: str, folder: Path, *, timeout: float) -> list[Tool]:
    """``name`` is module:list, found as ``load_named`` does. ``timeout``, in seconds, is for those
    that have none of their own. Raises ``Unusable``, in one line that says what to do."""
    found = load_named("TOOLS", name, folder)
    if isinstance(found, str | bytes | dict) or not isinstance(found, Iterable):
        raise Unusable("TOOLS", name, "it is to be a list of tools")
    tools = [_tool(each, place, name, timeout) for place, each in enumerate(found, 1)]
    if len(tools) > MAX_TOOLS:
        raise Unusable("TOOLS", name, f"it has {len(tools)} tools; {MAX_TOOLS} are the most")
    names = [tool.name for tool in tools]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise Unusable("TOOLS", name, f"it has two tools of the name {twice[0]}; rename one")
    return tools


def _tool(each: Any, place: int, name: str, timeout: float) -> Tool:
    what = getattr(each, "name", None) or getattr(each, "__name__", None) or f"number {place}"
    try:
        if isinstance(each, type) or not (isinstance(each, BaseTool) or callable(each)):
            raise TypeError("it is to be a function, or a tool of LangChain's")
        return Tool(each if isinstance(each, BaseTool) else as_tool(each), timeout=timeout)
    except Exception as error:  # LangChain's and Pydantic's: whatever is wrong with it
        said = " ".join(str(error).split()) or type(error).__name__
        raise Unusable(
            "TOOLS", name, f"its tool {what} can't be used: {said.rstrip('.')}"
        ) from error
