"""A turn's uses of tools, kept for whoever goes on with it; and what earlier attempts have kept.

A use is noted before it begins and after its end. So an attempt that takes over finds of each
whether it had begun, and what came of it, and:

- is given what came of those that had ended, and does not run them again;
- runs again what had begun and may be repeated;
- tells the model of all others that nobody knows whether they took effect, and runs none like them.

Race: a server dies between a use's end and its note. Nobody can close that from here: so what must
not be repeated is not, and the model is told what is not known.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict, deque
from typing import Any

import orjson
from msgspec.structs import replace

from agent.answering import AnswerRequest
from agent.tools.running import MAX_OUTPUT_CHARS, Outcome, cut
from agent.tools.tool import Tool
from memory.errors import Unavailable
from memory.records import ToolUse

log = logging.getLogger(__name__)

MAX_USES = 256
"""In one turn, all of its attempts together."""
MAX_KEPT_CHARS = 400_000
"""Of a turn's outputs together; beyond it each is cut to ``LEAST_KEPT_CHARS``. And of its inputs:
beyond it nothing is run any more. A turn is one record, and a store has a bound for that."""
LEAST_KEPT_CHARS = 1_000

IN_DOUBT = (
    "It was begun before, and nobody knows how it ended: it may have taken effect. It is not run "
    "again in this answer. Tell the user so."
)


class Uses:
    def __init__(self, request: AnswerRequest) -> None:
        self.all = list(request.tools)
        """In the order in which they began, as they are known now."""
        self.earlier = list(request.tools)
        self._note = request.note_tools
        self._recorded: defaultdict[bytes, deque[ToolUse]] = defaultdict(deque)
        self._in_doubt: set[bytes] = set()
        self._ids = Counter(use.id for use in self.all)
        self._given_chars = sum(_size(use.input) for use in self.all)

    @property
    def are_too_many(self) -> bool:
        return len(self.all) >= MAX_USES or self._given_chars >= MAX_KEPT_CHARS

    def begin(self, call_id: str, tool: Tool, given: dict[str, Any]) -> ToolUse:
        """A new one; to be noted before it is run."""
        use = ToolUse(
            id=self._new_id(call_id),
            name=tool.name,
            status="started",
            input=given,
            may_repeat=tool.may_repeat,
        )
        self._given_chars += _size(given)
        self.all.append(use)
        return use

    def refuse(self, call_id: str, name: str, given: dict[str, Any], why: str) -> ToolUse:
        """One that is not run. Where there are too many, it is told and not kept."""
        use = ToolUse(id=self._new_id(call_id), name=name, status="failed", input=given, output=why)
        if not self.are_too_many:
            self._given_chars += _size(given)
            self.all.append(use)
        return use

    def end(self, use: ToolUse, outcome: Outcome) -> ToolUse:
        """The use as it has ended; to be noted."""
        kept = sum(len(each.output or "") for each in self.all)
        most = max(LEAST_KEPT_CHARS, min(MAX_OUTPUT_CHARS + 100, MAX_KEPT_CHARS - kept))
        ended = replace(use, status=outcome.status, output=cut(outcome.output, most))
        self.all[next(at for at, each in enumerate(self.all) if each.id == use.id)] = ended
        return ended

    async def note(self) -> bool:
        """Whether all of them are kept. What ends while a note is under way is in the next one."""
        try:
            await self._note(list(self.all))
        except Unavailable:
            log.warning("Uses of tools can't be kept now.", extra={"action": "tools_not_noted"})
            return False
        return True

    # Of earlier attempts

    def is_known(self, use: ToolUse) -> None:
        """It has ended in an earlier attempt, or was run again: asked for in the same words, once,
        it is not run."""
        self._recorded[_key(use.name, use.input)].append(use)

    def is_in_doubt(self, use: ToolUse) -> None:
        self._in_doubt.add(_key(use.name, use.input))

    def recorded(self, name: str, given: dict[str, Any]) -> ToolUse | None:
        """An earlier attempt's use by the same name with the same input, in order, each once."""
        found = self._recorded.get(_key(name, given))
        return found.popleft() if found else None

    def doubts(self, name: str, given: dict[str, Any]) -> bool:
        return _key(name, given) in self._in_doubt

    def _new_id(self, call_id: str) -> str:
        """The provider's, unless that has given it before: some count anew in each round."""
        call_id = call_id or "call"
        count = self._ids[call_id]
        self._ids[call_id] += 1
        return call_id if not count else self._new_id(f"{call_id}-{count + 1}")


def _size(given: dict[str, Any]) -> int:
    return len(orjson.dumps(given))


def _key(name: str, given: dict[str, Any]) -> bytes:
    return orjson.dumps([name, given], option=orjson.OPT_SORT_KEYS)
