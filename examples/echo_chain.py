"""The smallest agent: AGENT=examples.echo_chain:chain"""

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.runnables import RunnableConfig, RunnableGenerator


async def echo(inputs: AsyncIterator[Any], config: RunnableConfig) -> AsyncIterator[str]:
    """The last message again, word by word; whatever it yields is the answer."""
    async for given in inputs:
        messages = given["messages"]
        yield f"Message {len(messages)} of {config['configurable']['user_id']}:"
        for word in messages[-1].text.split():
            yield f" {word}"


chain = RunnableGenerator(echo)
