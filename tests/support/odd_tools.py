"""What TOOLS may name by mistake."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import tool

from tests.support.toolbox import look


def _silent(a: int) -> int:
    return a


@tool
def waits() -> str:
    """Wait."""
    return ""


waits.metadata = {"timeout": "long"}

no_docstring: list[Any] = [_silent]
twice: list[Any] = [look, look]
no_tool: list[Any] = [look, "look"]
odd_time: list[Any] = [waits]
