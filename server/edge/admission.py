"""How many connections one user, and one address, may have to this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.edge.addresses import Addresses, counted_as
from server.edge.connections import Connections
from server.errors import RateLimited

# Nobody knows when another of its connections ends.
RETRY_SECONDS = 10.0


class Admission:
    """A limit of 0 is none. What is counted are the connections that are there: nothing has to be
    given back."""

    def __init__(
        self, connections: Connections, addresses: Addresses, *, per_user: int, per_address: int
    ) -> None:
        self._connections = connections
        self._addresses = addresses
        self._per_user = per_user
        self._per_address = per_address

    def address(self, environ: Mapping[str, Any]) -> str | None:
        """Where a client connects from, as it is counted; None where that has no address."""
        request = environ["aiohttp.request"]
        # ``remote`` stays when the connection of the handshake is gone, as it may be with polling.
        client = self._addresses.client(
            request.remote, request.headers.getall("X-Forwarded-For", ())
        )
        return None if client is None else counted_as(client)

    def require_room(self, user_id: str, address: str | None) -> None:
        """For one connection more. Raises ``RateLimited``."""
        if self._per_user and self._connections.of_user(user_id) >= self._per_user:
            raise RateLimited("You have too many connections here.", retry_after=RETRY_SECONDS)
        from_there = 0 if address is None else self._connections.from_address(address)
        if self._per_address and from_there >= self._per_address:
            raise RateLimited(
                "There are too many connections from your address.", retry_after=RETRY_SECONDS
            )
