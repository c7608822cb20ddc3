"""How late the event loop is: whatever holds it up holds up everybody on this server."""

from __future__ import annotations

import asyncio
import time

from server.observability.counting import DELAY_SECONDS, Histogram

SLEEP_SECONDS = 0.5


class LoopLag:
    """Sleeps half a second, again and again, and measures how much later it wakes."""

    def __init__(self) -> None:
        self.lag = Histogram(DELAY_SECONDS)

    async def measure_forever(self) -> None:
        while True:
            due = time.monotonic() + SLEEP_SECONDS
            await asyncio.sleep(SLEEP_SECONDS)
            self.lag.observe(max(0.0, time.monotonic() - due))
