"""Ports for the servers that tests start."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

# Below what systems give to connections and to whoever asks for any port: those would take the
# port of a server that a test has ended, and will start again.
FIRST = 10_000
LAST = 32_000
BLOCK = 250


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at the moment.

    No other process that asks here gets it, and this one not soon again: it may also be kept for
    a server that comes later, or that ends and comes back.
    """
    for port in itertools.islice(_ports(), BLOCK):
        with suppress(OSError):
            _bound(port).close()
            return port
    raise RuntimeError("there is no free port")


@cache
def _ports() -> Iterator[int]:
    """The ports of a block of this process's own, over and over.

    The first of a block is bound, for as long as the process lives, by the one whose block it is.
    """
    for first in range(FIRST, LAST, BLOCK):
        with suppress(OSError):
            _locks.append(_bound(first))
            return itertools.cycle(range(first + 1, first + BLOCK))
    raise RuntimeError("there is no block of ports left")


_locks: list[socket.socket] = []


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound
