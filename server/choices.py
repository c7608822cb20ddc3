"""What a conversation may be answered with: names of the operator's, and nothing else."""

from __future__ import annotations

from typing import Protocol

import msgspec

from memory.records import Choice
from server.errors import Invalid


class Asked(Protocol):
    """A call that chooses: a name, ``""`` for the default, None where it says nothing of it."""

    @property
    def model(self) -> str | None: ...

    @property
    def system_prompt(self) -> str | None: ...


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """Names that may be chosen. The prompts' texts are the operator's own: no client sees them."""

    models: tuple[str, ...] = ()
    system_prompts: tuple[str, ...] = ()

    def require(self, call: Asked) -> None:
        """Raises ``Invalid`` for a name that is not among them."""
        if call.model and call.model not in self.models:
            raise Invalid("There is no such model to choose.", field="model")
        if call.system_prompt and call.system_prompt not in self.system_prompts:
            raise Invalid("There is no such system prompt to choose.", field="system_prompt")

    def of(self, call: Asked) -> Choice:
        """As the call says it. Raises ``Invalid``."""
        self.require(call)
        return Choice(model=call.model or None, system_prompt=call.system_prompt or None)

    def shape(self) -> dict[str, list[str]]:
        """For ``session``."""
        return {"models": list(self.models), "system_prompts": list(self.system_prompts)}
