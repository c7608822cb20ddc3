"""The settings of a memory that nobody configured, as the plain script's is."""

from __future__ import annotations

import math
import os

from memory.facade import RedisConversationMemory
from redislink.session import Session


class EnvironmentMemory(RedisConversationMemory):
    """Its settings are the environment's at the time of its first use."""

    _is_configured = False

    async def _opened(self) -> Session:
        if not self._is_configured:
            self._configure(max_messages(), ttl_hours())
            self._is_configured = True
        return await super()._opened()


def max_messages() -> int:
    """Raises ``ValueError``."""
    value = os.environ.get("MEMORY_MAX_MESSAGES") or "50"
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"MEMORY_MAX_MESSAGES must be a whole number above 0, not {value!r}")
    return int(value)


def ttl_hours() -> float:
    """Raises ``ValueError``."""
    value = os.environ.get("MEMORY_TTL_HOURS") or "24"
    try:
        hours = float(value)
    except ValueError:
        hours = math.nan
    if not 0 < hours < math.inf:
        raise ValueError(f"MEMORY_TTL_HOURS must be a number above 0, not {value!r}")
    return hours
