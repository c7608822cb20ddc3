"""The drivers: made, named and bounded in time here only.

PyMongo's own ``AsyncMongoClient``, or Motor, whose calls it has taken over: the stores' contract
suite passes on both. Motor works in threads, and a busy event loop and its threads wait for one
another at each of their steps (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ConfigurationError, PyMongoError

from memory.errors import Unavailable
from mongo.breaker import Breaker, Operation, Told
from mongo.collections import Collections, Document
from mongo.detached import Calls, Detached
from mongo.errors import driver_errors_wrapped
from mongo.pool import DirectPool

log = logging.getLogger(__name__)

DriverFactory: TypeAlias = Callable[..., Any]


def motor_client(*arguments: Any, **options: Any) -> Any:
    # Here, because nobody is to pay for loading it who does not use it.
    from motor.motor_asyncio import AsyncIOMotorClient

    return AsyncIOMotorClient(*arguments, **options)


def pymongo_client(*arguments: Any, **options: Any) -> Any:
    return AsyncMongoClient(*arguments, **options, _pool_class=DirectPool)


DRIVERS: dict[str, DriverFactory] = {"pymongo": pymongo_client, "motor": motor_client}
DEFAULT_DRIVER = DRIVERS["pymongo"]

OPTIONS: dict[str, Any] = {
    "w": "majority",
    # On a replica set a majority implies the journal; a single server would only say "in memory".
    "journal": True,
    # What was read has been acknowledged by a majority too, so an answer given by it (a replay of
    # a message, say) can't be rolled back. A failed write of ours waits for the majority as well,
    # so whatever it collided with is visible to the next read.
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "retryWrites": True,
    "retryReads": True,
    # Milliseconds. The first bounds a whole operation, its one retry included.
    "timeoutMS": 3_000,
    "serverSelectionTimeoutMS": 2_000,
    "connectTimeoutMS": 1_000,
    # A frozen server, whose connections stay open, is noticed within this and the line above; only
    # then is what waits for it set free, and with Motor its threads. And so often is a server that
    # is gone looked for: the driver allows no less.
    "heartbeatFrequencyMS": 500,
    "appname": "mnemosio",
}

# Motor runs operations in a few threads, so under a frozen server they also wait for a thread; the
# driver's own time starts after that.
OPERATION_SECONDS = 4.0

# A write that shows whether MongoDB is there. The driver's own time ends first, so that a silent
# server holds one thread for a probe, and not one for each.
PROBE_SECONDS = 1.0
PROBE_DRIVER_SECONDS = 0.9

# Building an index over a large collection, at most once in the collection's life: the full-text
# one took half a minute for 30,000 turns on two busy cores. MongoDB drops a build that nobody waits
# for any more, so it must not be given up. (Silence meanwhile is noticed: the driver's heartbeat.)
INDEX_SECONDS = 6 * 3_600.0
# After so long it is said that the start waits for that.
TOLD_SECONDS = 5.0


class Connection:
    """One client, and the collections of one database. Whoever uses it needs no reconnecting."""

    def __init__(
        self, uri: str, database: str, driver: DriverFactory, on_change: Told | None = None
    ) -> None:
        self._uri = uri
        self._database = database
        self._driver = driver
        self._client: Any = None
        self._collections: Collections | None = None
        self._has_indexes = False
        self._making_indexes = asyncio.Lock()
        self._calls = Calls()
        self._breaker = Breaker(self._prove, on_change)

    @property
    def away(self) -> bool:
        return self._breaker.away

    async def open(self) -> None:
        """Raises ``Unavailable``; then the opening goes on until MongoDB is there."""
        # At DEBUG the driver logs whole commands, and with them people's messages.
        logging.getLogger("pymongo").setLevel(logging.INFO)
        if self._client is None:
            self._client = self._new_client()
            self._collections = self._new_collections()
        self._breaker.watch()
        try:
            await self._prove()
        except Unavailable as error:
            self._breaker.open(str(error))
            raise
        self._breaker.shut()

    async def close(self) -> None:
        client, self._client, self._collections = self._client, None, None
        self._has_indexes = False
        await self._breaker.close()
        if client is None:
            return
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                if _is_pymongo(client):
                    await client.close()
                    await self._calls.ended()
                else:  # Motor's would hold up the event loop for as long as a server is silent
                    await asyncio.to_thread(client.close)
        except (PyMongoError, TimeoutError):
            log.warning("MongoDB's driver did not close in time")

    def operation(self) -> Operation[Collections]:
        """For ``async with``: the collections, for one operation (or a few that belong together).

        The driver's errors leave it as ``Unavailable``; so does running out of time, and the moment
        in which MongoDB counts as away. While it is away ``Unavailable`` is raised at once. An
        operation that is cancelled, or broken off, may have taken effect or may not.
        """
        collections = self._collections
        # Without its unique indexes the store would accept what it must refuse.
        if collections is None or not (self._has_indexes or self.away):
            raise Unavailable("The connection to MongoDB is not open.")
        return self._breaker.operation(OPERATION_SECONDS, collections)

    def _new_client(self) -> Any:
        with driver_errors_wrapped():
            try:
                return self._driver(self._uri, **OPTIONS)
            except ValueError as error:  # a port that is no number, say
                raise ConfigurationError from error

    def _new_collections(self) -> Collections:
        collections = Collections.of(self._client[self._database])
        if not _is_pymongo(self._client):
            return collections
        detached: list[Any] = [Detached(each, self._calls) for each in collections.all()]
        return Collections(*detached)

    async def _prove(self) -> None:
        """Returns when MongoDB has taken a write, and has the indexes. Raises ``Unavailable``
        within a second where it has them and does not answer."""
        await self._make_indexes()
        if self._collections is None:
            raise Unavailable("The connection to MongoDB is closed.")
        with driver_errors_wrapped():
            async with asyncio.timeout(PROBE_SECONDS):
                with pymongo.timeout(PROBE_DRIVER_SECONDS):
                    await self._collections.probe()

    async def _make_indexes(self) -> None:
        async with self._making_indexes:
            if self._has_indexes or self._collections is None:
                return
            with driver_errors_wrapped():
                hello = await self._client.admin.command("hello")
                telling = asyncio.get_running_loop().call_later(TOLD_SECONDS, _tell_of_building)
                try:
                    with pymongo.timeout(INDEX_SECONDS):
                        await self._collections.make_indexes()
                finally:
                    telling.cancel()
            self._has_indexes = True
        log.info(
            "MongoDB is connected",
            extra={"database": self._database, "replica_set": hello.get("setName")},
        )


def _tell_of_building() -> None:
    log.info("MongoDB builds indexes that a new version needs, which may take minutes.")


def _is_pymongo(client: Any) -> bool:
    return inspect.iscoroutinefunction(client.close)


async def aggregated(
    collection: AsyncCollection[Document],
    pipeline: Sequence[Document],
    *,
    most_ms: int | None = None,
) -> list[Document]:
    """MongoDB gives up after ``most_ms``."""
    options: dict[str, Any] = {} if most_ms is None else {"maxTimeMS": most_ms}
    cursor: Any = collection.aggregate(pipeline, **options)
    if inspect.isawaitable(cursor):  # PyMongo's; Motor gives the cursor at once
        cursor = await cursor
    documents: list[Document] = await cursor.to_list()
    return documents


def hosts_of(uri: str) -> str:
    """The hosts that a connection string names, and nothing else of it; "" when in doubt.

    An unescaped ``@``, ``/`` or ``?`` in a password makes it ambiguous where the hosts begin.
    """
    plain = re.fullmatch(r"mongodb(?:\+srv)?://(?:[^@/?]*@)?([\w.,:%\[\]-]+)(?:/[^@]*)?", uri)
    return plain[1] if plain else ""
