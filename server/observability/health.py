"""What works and what is away at the moment, for clients, for operators, for load balancers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, Protocol

from memory.errors import RememberingError
from server.tasks import again_and_again

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0

FEED_STATES = {
    "shared": "ok",
    "local": "this process's own: it can't be shared through Redis now",
    "deaf": "deaf: Redis answers, but what is published is not heard; it is read once a second",
}


class Store(Protocol):
    async def ping(self) -> None: ...

    async def ping_spool(self) -> bool: ...


class Memory(Protocol):
    @property
    def state(self) -> Literal["redis", "local"]: ...

    async def check(self) -> None: ...


class Agent(Protocol):
    @property
    def state(self) -> str: ...


class Health:
    """Looks once a second. ``changed`` is called with the new status when it differs."""

    def __init__(
        self,
        store: Store,
        memory: Memory,
        agent: Agent,
        *,
        feed_state: Callable[[], str],
        changed: Callable[[dict[str, Any]], None],
    ) -> None:
        """``feed_state`` is "shared", "local" or "deaf"."""
        self._store = store
        self._memory = memory
        self._agent = agent
        self._feed_state = feed_state
        self._changed = changed
        self._store_ok = True
        self._can_spool = False
        self._has_shared = False
        self._told = self.status()
        self.draining = False

    def status(self) -> dict[str, Any]:
        """As ``server:status`` has it."""
        return {"memory": self._memory.state, "store": "ok" if self._store_ok else "down"}

    @property
    def has_shared(self) -> bool:
        """Whether memory has been in Redis since the start: then it is away while it is not."""
        return self._has_shared or self._memory.state == "redis"

    @property
    def store_ok(self) -> bool:
        return self._store_ok

    @property
    def degraded(self) -> bool:
        return self.status() != {"memory": "redis", "store": "ok"}

    @property
    def ready(self) -> bool:
        """Whether a new message can be accepted here now. Without Redis it can; without the
        permanent store, where there is a spool."""
        return (self._store_ok or self._can_spool) and not self.draining

    def components(self) -> dict[str, str]:
        """As ``/readyz`` has it: the state of each part."""
        return {
            "redis": "ok" if self._memory.state == "redis" else "away: memory is in this process",
            "store": "ok" if self._store_ok else self._without_store(),
            "feed": "draining" if self.draining else FEED_STATES[self._feed_state()],
            "model": self._agent.state,
        }

    def _without_store(self) -> str:
        return "down: what is said is kept in this server's spool" if self._can_spool else "down"

    async def check(self) -> None:
        try:
            await self._store.ping()
        except RememberingError as error:  # away, or damaged: it can keep nothing either way
            if self._store_ok:
                log.warning(
                    "The permanent store is away.",
                    extra={"action": "store_health", "error": str(error)},
                )
            self._can_spool = await self._store.ping_spool()
            self._store_ok = False
        else:
            if not self._store_ok:
                log.info("The permanent store is back.", extra={"action": "store_health"})
            self._store_ok = True
        await self._memory.check()
        self._has_shared = self.has_shared
        status = self.status()
        if status != self._told:
            self._told = status
            self._changed(status)

    async def check_forever(self) -> None:
        await again_and_again(self.check, lambda: CHECK_SECONDS)
