"""What waits to be sent to one connection: a queue that knows its size.

engine.io's own queue has no bound, and no back-pressure reaches who fills it: a reader that stalls
costs memory without end. Past its bound a connection is ended instead; it comes back, and goes on
from its cursor.
"""

from __future__ import annotations

import asyncio
from typing import Any

# More than any reader falls behind by who still reads: some minutes of an answer's stream. A single
# event may be larger (a snapshot of 50 long messages), which is why what waits *before* it counts.
MAX_WAITING_CHARS = 4_000_000


class Outbox(asyncio.Queue[Any]):
    """Of engine.io packets; None ends the connection. ``chars`` is what their texts add up to."""

    def __init__(self) -> None:
        super().__init__()
        self.chars = 0

    @property
    def is_overfull(self) -> bool:
        return self.chars > MAX_WAITING_CHARS

    # asyncio.Queue offers these two to subclasses.

    def _put(self, item: Any) -> None:
        self.chars += _size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.chars -= _size(item)
        return item

    def clear(self) -> None:
        """Let go of what waits: nobody will read it."""
        while not self.empty():
            self.get_nowait()
            self.task_done()


def _size(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return len(data) if isinstance(data, str | bytes) else 0
