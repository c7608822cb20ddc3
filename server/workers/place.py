"""What a worker is told on its command line: that it is one, which, and where it listens."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

FLAG = "--worker="


class Place(NamedTuple):
    """One of several workers. ``channel`` is the file descriptor of its line to the supervisor."""

    number: int
    port: int
    channel: int

    @property
    def argument(self) -> str:
        """``--worker=number,port,channel``; a supervisor adds it to its own command line."""
        return f"{FLAG}{self.number},{self.port},{self.channel}"

    @classmethod
    def among(cls, arguments: Sequence[str]) -> Place | None:
        """None where this process is no worker. Its own children inherit nothing of the line."""
        for argument in arguments:
            if argument.startswith(FLAG):
                place = cls(*map(int, argument.removeprefix(FLAG).split(",")))
                os.set_inheritable(place.channel, False)
                return place
        return None

    def say(self, **message: Any) -> None:
        """Tell the supervisor at once, also where there is no event loop (any more)."""
        with suppress(OSError):  # it is gone, and so this worker will be
            os.write(self.channel, json.dumps(message).encode() + b"\n")

    def mark_log_lines(self) -> None:
        """``worker=2`` on each log line of this process."""
        make = logging.getLogRecordFactory()

        def marked(*arguments: Any, **named: Any) -> logging.LogRecord:
            record = make(*arguments, **named)
            record.worker = self.number
            return record

        logging.setLogRecordFactory(marked)
