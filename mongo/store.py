"""The permanent store on MongoDB, put together."""

from __future__ import annotations

import secrets
from contextlib import suppress

from pymongo.errors import DuplicateKeyError

from memory.errors import Unavailable
from mongo.client import DEFAULT_DRIVER, Connection, DriverFactory, hosts_of
from mongo.conversations import MongoConversations
from mongo.turns import MongoTurns
from stores.turn_archive import TurnArchive


class MongoStore(TurnArchive):
    """``server.stores.Store`` on a MongoDB replica set, or on a single server.

    Once ``connect`` was called it needs no further care: while MongoDB is away every method raises
    ``Unavailable`` within seconds, and works again when it is back.
    """

    def __init__(self, uri: str, database: str, *, driver: DriverFactory = DEFAULT_DRIVER) -> None:
        self._connection = Connection(uri, database, driver)
        self.conversations = MongoConversations(self._connection)
        self.turns = MongoTurns(self._connection, self.conversations)
        super().__init__(self.conversations, self.turns)
        hosts = hosts_of(uri)
        self._description = f"MongoDB{f' at {hosts}' if hosts else ''}, database {database}"

    @property
    def description(self) -> str:
        return self._description

    async def connect(self) -> None:
        """Raises ``Unavailable`` where MongoDB is away; then it may still be used, and goes on
        connecting with every call."""
        try:
            await self._connection.open()
        except Unavailable as error:
            raise Unavailable(f"{self._description}: {error}") from error

    async def close(self) -> None:
        await self.turns.finish_inserts()
        await self._connection.close()

    async def ping(self) -> None:
        async with self._connection.operation() as collections:
            await collections.probes.update_one(
                {"_id": "ping"}, {"$currentDate": {"at": True}}, upsert=True
            )

    async def secret(self, name: str) -> str:
        fresh = {"$setOnInsert": {"value": secrets.token_urlsafe(32)}}
        async with self._connection.operation() as collections:
            # Written before it is read: also a write that changes nothing waits for the majority,
            # so what is read then is every server's secret from now on.
            with suppress(DuplicateKeyError):  # another server's was made in this very moment
                await collections.secrets.update_one({"_id": name}, fresh, upsert=True)
            found = await collections.secrets.find_one({"_id": name})
        if found is None:
            raise Unavailable("MongoDB has not shown the secret yet.")
        value: str = found["value"]
        return value
