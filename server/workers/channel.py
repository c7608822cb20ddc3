"""The line between the supervisor and one worker: JSON objects, one a line, both ways.

Its end is how either hears of the other's death, whatever that was.

    worker → supervisor   {"ready": {…}}                    it listens; what is in force there
                          {"failed": "…"}                   why it could not start
                          {"gather": 3}                     what do the others measure?
                          {"measured": 7, "text": "…"}      the answer to "measure"
    supervisor → worker   {"leave": true}                   let the port go, then drain and end
                          {"measure": 7}                    what do you measure?
                          {"gathered": 3, "texts": {"2": "…"}, "restarts": {"1": 0, "2": 4}}
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

# The measures of 64 workers are far below.
MAX_LINE = 64_000_000


class Channel:
    """One end. ``open`` it before anything else."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(
            sock=self._end, limit=MAX_LINE
        )

    def send(self, **message: Any) -> None:
        """Nothing happens where the other end is gone: who reads there will hear of it."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the other end says, until it is gone."""
        try:
            async for line in self._reader:
                yield json.loads(line)
        except (ConnectionError, ValueError):  # cut, in the middle of a line maybe
            return

    def close(self) -> None:
        self._writer.close()
