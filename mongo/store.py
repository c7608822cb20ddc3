"""The permanent store on MongoDB, put together."""

from __future__ import annotations

import secrets
from contextlib import suppress

from pymongo.errors import DuplicateKeyError

from memory.errors import Unavailable
from memory.records import Transcript
from mongo.attachments import MongoAttachments
from mongo.breaker import Told
from mongo.client import DEFAULT_DRIVER, Connection, DriverFactory, hosts_of
from mongo.conversations import MongoConversations
from mongo.erasures import MongoErasures
from mongo.facts import MongoFacts
from mongo.search import MongoSearch
from mongo.turns import MongoTurns
from mongo.usage import MongoUsage
from stores.turn_archive import TurnArchive


class MongoStore(TurnArchive):
    """``stores.contract.Store`` on a MongoDB replica set, or on a single server.

    Once ``connect`` was called it needs no further care. When MongoDB goes away whoever waits for
    it gets ``Unavailable`` within 0.7 s, and what they asked for may have happened or may yet.
    From then on every method raises it at once, and works again within a second of MongoDB's
    return.
    """

    def __init__(
        self,
        uri: str,
        database: str,
        *,
        driver: DriverFactory = DEFAULT_DRIVER,
        on_change: Told | None = None,
    ) -> None:
        """``on_change`` is called in the event loop, in the moment in which ``away`` changes, with
        what it becomes. It must not raise."""
        self._connection = Connection(uri, database, driver, on_change)
        self.facts = MongoFacts(self._connection)
        self.erasures = MongoErasures(self._connection)
        self.usage = MongoUsage(self._connection)
        self.conversations = MongoConversations(self._connection, self.facts, self.usage)
        self.turns = MongoTurns(self._connection, self.conversations, self.facts)
        self.attachments = MongoAttachments(self._connection)
        self.search = MongoSearch(self._connection)
        super().__init__(self.conversations, self.turns)
        hosts = hosts_of(uri)
        self._description = f"MongoDB{f' at {hosts}' if hosts else ''}, database {database}"

    @property
    def description(self) -> str:
        return self._description

    @property
    def away(self) -> bool:
        """Whether MongoDB counts as away; False before the first ``connect``."""
        return self._connection.away

    async def connect(self) -> None:
        """Raises ``Unavailable`` where MongoDB is away; then it goes on connecting by itself, and
        may be used when it is not ``away`` any more."""
        try:
            await self._connection.open()
        except Unavailable as error:
            raise type(error)(f"{self._description}: {error}") from error

    async def close(self) -> None:
        await self.turns.finish_groups()
        await self._connection.close()

    async def ping(self) -> None:
        async with self._connection.operation() as collections:
            await collections.probe()

    spooled = drained = 0  # there is no spool

    def forget(self, conversation_id: str) -> None:
        return None

    async def marked(self, conversation_id: str, transcript: Transcript) -> Transcript:
        return transcript

    async def ping_spool(self) -> bool:
        return False

    async def secret(self, name: str, *, offered: str | None = None) -> str:
        fresh = {"$setOnInsert": {"value": offered or secrets.token_urlsafe(32)}}
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
