"""The call about all that is a user's."""

from __future__ import annotations

from typing import Any

from server import protocol
from server.calls.dispatch import Handler
from server.edge.connections import Connection
from server.edge.transport import Reply
from server.erasing import Erasing


class UserCalls:
    def __init__(self, erasing: Erasing) -> None:
        self._erasing = erasing

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"user:delete": self.delete}

    async def delete(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        protocol.parse(protocol.DeleteUser, arguments)
        return Reply({"conversations": await self._erasing.erase(connection.user_id)})
