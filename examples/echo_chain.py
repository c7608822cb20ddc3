"""The smallest agent: AGENT=examples.echo_chain:chain"""

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.runnables.config import ensure_config


async def echo(given: dict[str, Any]) -> AsyncIterator[str]:
    """Whatever it yields is the answer: here the last message again, word by word."""
    whose = ensure_config()["configurable"]["user_id"]
    yield f"Message {len(given['messages'])} of {whose}:"
    for word in given["messages"][-1].text.split():
        yield f" {word}"


chain: Runnable[dict[str, Any], str] = RunnableLambda(echo)
