"""What waits to be sent to one connection: a queue that knows its size.

engine.io's own queue has no bound, and no back-pressure reaches who fills it: a reader that stalls
costs memory without end. Past its bound a connection is ended instead; it comes back, and goes on
from its cursor.
"""

from __future__ import annotations

import asyncio
from typing import Any

# What a packet costs beside its text. Some have none, and a client can ask for as many as it likes.
PACKET_BYTES = 64


class Outbox(asyncio.Queue[Any]):
    """Of engine.io packets; None ends the connection. ``bytes`` is what they add up to on the wire.

    ``most`` bytes may wait, 0 for any number. A single event may be larger (a snapshot of 50 long
    messages), which is why what waits *before* it counts.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.bytes = 0
        self._most = most

    @property
    def is_overfull(self) -> bool:
        return 0 < self._most < self.bytes

    # asyncio.Queue offers these two to subclasses.

    def _put(self, item: Any) -> None:
        self.bytes += size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.bytes -= size(item)
        return item

    def clear(self) -> None:
        """Let go of what waits: nobody will read it."""
        while not self.empty():
            self.get_nowait()


def size(packet: Any) -> int:
    """Of a packet, or None, in bytes; counted once, as one packet may wait for many readers."""
    if packet is None:
        return 0
    known: int | None = getattr(packet, "size", None)
    if known is None:
        data = packet.data
        if isinstance(data, str) and not data.isascii():
            data = data.encode(errors="replace")
        known = PACKET_BYTES + (len(data) if isinstance(data, str | bytes) else 0)
        packet.size = known
    return known
