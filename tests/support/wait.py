"""Waiting for a condition rather than for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def wait_until(
    condition: Callable[[], Any | Awaitable[Any]],
    description: str,
    *,
    timeout: float = 10.0,
    interval: float = 0.02,
) -> Any:
    """The first true value of ``condition``; fails with ``description`` after ``timeout`` s."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s in vain until {description}")
        await asyncio.sleep(interval)
