"""Which tools a model is offered for an answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from langchain_core.language_models import BaseChatModel

from agent.models import name_of
from agent.streaming import takes_tools
from agent.tools.tool import Tool

log = logging.getLogger(__name__)


class Offer(NamedTuple):
    tools: Sequence[Tool] = ()
    is_optional: bool = False
    """Whether an answer can do without."""

    def room(self, budget: int) -> int:
        """Tokens that a prompt leaves to them: to tell of them, and for what they give."""
        if not self.tools:
            return 0
        given = budget // 8 if self.is_optional else budget // 4
        return min(sum(tool.tokens for tool in self.tools) + given, budget // 2)


NOTHING = Offer()


class Offering:
    """The operator's tools, and those that search what was said before.

    Where there are none of the operator's, nobody has said that the model takes any. It is offered
    a search all the same; where its provider refuses that, and takes the request without, it is
    offered none any more.
    """

    def __init__(self, tools: Sequence[Tool], searching: Sequence[Tool]) -> None:
        """The operator's come first: one of theirs takes the place of a search of its name."""
        taken = {tool.name for tool in tools}
        self._tools = [*tools, *(tool for tool in searching if tool.name not in taken)]
        self._is_optional = not tools
        self._refused: set[str] = set()

    def to(self, chat: BaseChatModel) -> Offer:
        if not self._tools or not takes_tools(chat):
            return NOTHING
        if self._is_optional and name_of(chat) in self._refused:
            return NOTHING
        return Offer(self._tools, self._is_optional)

    def refused_by(self, chat: BaseChatModel) -> None:
        """It took the same request without tools."""
        name = name_of(chat)
        self._refused.add(name)
        log.warning(
            "The model takes no tools: from now on it is not offered to search what was said. "
            "SEARCH_TOOLS=false spares the asking.",
            extra={"action": "tools_refused", "model": name},
        )
