"""The one port of several processes.

Each worker listens for itself, with SO_REUSEPORT: the kernel spreads the connections, and those
that come while a worker is away go to the others. The supervisor holds the port with sockets that
are bound and never listen, so that no other program gets it while a worker starts again; they get
no connections.
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

Address = tuple[socket.AddressFamily, tuple[object, ...]]


WHAT_TO_DO = {
    errno.EADDRINUSE: " Stop what runs there, or set PORT to another one.",
    errno.EADDRNOTAVAIL: " Set HOST to an address of this machine.",
    errno.EACCES: " Set PORT to one from 1024 on.",
}


class CannotListen(Exception):
    """The address or the port can't be had."""

    @classmethod
    def at(cls, host: str, port: int, error: OSError) -> CannotListen:
        reason = (error.strerror or str(error)).rpartition(": ")[2].lower()
        return cls(f"HOST {host}, PORT {port}: {reason}.{WHAT_TO_DO.get(error.errno or 0, '')}")


class Port:
    """Held from ``take`` to ``release``; ``number`` is known then, also where 0 was asked for."""

    def __init__(self, host: str, number: int) -> None:
        self._host = host
        self.number = number
        self._held = ExitStack()

    def take(self) -> None:
        """Raises ``CannotListen`` where somebody has it, or another supervisor holds it."""
        try:
            for family, address in self._addresses():
                port = self.number or address[1]
                where = (address[0], port, *address[2:])
                self.number = self._hold(family, where)
        except OSError as error:
            self.release()
            raise CannotListen.at(self._host, self.number, error) from error

    def _addresses(self) -> list[Address]:
        found = socket.getaddrinfo(
            self._host, self.number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return list({(family, address): None for family, _, _, _, address in found})

    def _hold(self, family: socket.AddressFamily, address: tuple[object, ...]) -> int:
        number = self._free(family, address)
        address = (address[0], number, *address[2:])
        try:
            held = _bound(family, address, socket.SO_REUSEPORT)
        except OSError:
            # It is free; but connections of an earlier server, that shared it with nobody, are
            # still to be forgotten. Another supervisor that starts now would not be noticed.
            held = _bound(family, address, socket.SO_REUSEPORT, socket.SO_REUSEADDR)
        self._held.enter_context(held)
        return number

    @staticmethod
    def _free(family: socket.AddressFamily, address: tuple[object, ...]) -> int:
        """The port, which nobody listens on: with SO_REUSEPORT alone one would not be told."""
        with _bound(family, address, socket.SO_REUSEADDR) as trial:
            return int(trial.getsockname()[1])

    def release(self) -> None:
        self._held.close()


def _bound(
    family: socket.AddressFamily, address: tuple[object, ...], *options: int
) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:  # as asyncio's servers have it: IPv4 has its own socket
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
