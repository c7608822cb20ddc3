"""One tool: LangChain's, and what its metadata says of it.

| in its ``metadata`` | means | unset |
| --- | --- | --- |
| ``timeout`` | seconds that one use may take | ``TOOL_TIMEOUT_SECONDS`` |
| ``changes`` | it changes something outside the conversation | false |
| ``repeat`` | a use whose end nobody knows may be run again | true, unless it changes something |
"""

from __future__ import annotations

import asyncio
import contextvars
import re
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any

import orjson
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.tools import Tool as SimpleTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ValidationError

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What providers take for a tool's name."""


class Tool:
    def __init__(self, tool: BaseTool, *, timeout: float) -> None:
        """Raises ``ValueError``, in words that stand behind the tool's name, for what no provider
        could be told of, and for metadata that can't be meant."""
        said: Mapping[str, Any] = tool.metadata or {}
        self.name = tool.name
        self.timeout = said.get("timeout", timeout)
        """In seconds."""
        self.changes = said.get("changes", False)
        self.may_repeat = said.get("repeat", not self.changes)
        self.plain = tool
        """As the operator has it: LangChain's."""
        self._tool = tool
        if not NAME.fullmatch(self.name):
            raise ValueError("its name may have letters, digits, _ and -, up to 64 of them")
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float):
            raise ValueError("its timeout is to be a number of seconds")
        if not 0 < self.timeout <= 3_600:
            raise ValueError("its timeout is to be above 0, and at most an hour")
        if not isinstance(self.changes, bool) or not isinstance(self.may_repeat, bool):
            raise ValueError("changes and repeat are to be true or false")
        self.shape: dict[str, Any] = convert_to_openai_tool(tool)
        """As providers are told of it."""
        self.tokens = len(orjson.dumps(self.shape)) // 4
        """What telling of it costs, about."""

    def misfit(self, given: dict[str, Any]) -> str | None:
        """What is wrong with an input, in words for the model; None where it fits."""
        schema = self._tool.tool_call_schema
        if isinstance(schema, dict):
            missing = [name for name in schema.get("required", []) if name not in given]
            return f"Missing: {', '.join(missing)}." if missing else None
        if not issubclass(schema, BaseModel):
            return None  # of Pydantic 1: the tool itself looks
        try:
            schema.model_validate(given)
        except ValidationError as error:
            found = [
                f"{'.'.join(map(str, each['loc'])) or 'all of it'}: {each['msg']}"
                for each in error.errors(include_url=False, include_input=False)
            ]
            return "; ".join(found[:10]) + "."
        return None

    async def call(
        self, given: dict[str, Any], config: RunnableConfig, threads: Executor
    ) -> ToolMessage:
        """Its result. Raises whatever it raises. A tool that is not async runs in ``threads``:
        cancelled before its thread begins it does not run, after that it runs to its end."""
        asked = {"name": self.name, "args": given, "id": "call", "type": "tool_call"}
        if _is_async(self._tool):
            result = await self._tool.ainvoke(asked, config)
        else:
            context = contextvars.copy_context()
            work = partial(context.run, self._tool.invoke, asked, config)
            result = await asyncio.get_running_loop().run_in_executor(threads, work)
        if not isinstance(result, ToolMessage):
            raise TypeError(f"a tool is to give a result, not {type(result).__name__}")
        return result


def _is_async(tool: BaseTool) -> bool:
    if isinstance(tool, StructuredTool | SimpleTool):
        return tool.coroutine is not None
    return type(tool)._arun is not BaseTool._arun
