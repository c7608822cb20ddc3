"""One SQLite file: a connection that writes in groups, and one that reads beside it.

In WAL mode readers see what is committed and never wait for a writer; with full sync a commit is on
the disk when it returns. Several processes may share the file: each write transaction takes
SQLite's write lock first, and waits for it a bounded time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import aiosqlite

from embedded.errors import Unusable, not_writable, sqlite_errors_wrapped
from embedded.schema import MIGRATIONS, SCHEMA, VERSION
from memory.errors import RememberingError, Unavailable
from stores.group_commit import GroupCommit

log = logging.getLogger(__name__)

T = TypeVar("T")

Parameters: TypeAlias = dict[str, Any]

# Another process holds the write lock for one group's commit: some milliseconds, unless it hangs.
LOCK_SECONDS = 2.0
# And where that one brings an earlier version's file up to date: a full-text index over all that
# was ever said, a minute or so for 50,000 turns.
UPDATE_SECONDS = 3_600.0
READ_SECONDS = 4.0
WRITE_SECONDS = 5.0
MOST_TOGETHER = 100
MOST_WAITING = 5_000

# What the log may keep of the disk after a burst, in bytes.
LOG_LIMIT = 64 * 1024 * 1024


def now() -> int:
    """The store's clock: this machine's, which all processes that share the file have in common."""
    return time.time_ns() // 1_000_000


class Transaction:
    """What a work may do inside its group's transaction."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def change(self, sql: str, parameters: Parameters) -> int:
        """How many rows it changed. Raises ``sqlite3.IntegrityError``, having changed none."""
        cursor = await self._connection.execute(sql, parameters)
        return cursor.rowcount

    async def rows(self, sql: str, parameters: Parameters) -> list[sqlite3.Row]:
        return list(await self._connection.execute_fetchall(sql, parameters))

    async def row(self, sql: str, parameters: Parameters) -> sqlite3.Row | None:
        found = await self.rows(sql, parameters)
        return found[0] if found else None


@dataclass(frozen=True)
class Also:
    """What follows from the schema's tables: made where it is missing, and then filled."""

    is_there: str
    schema: tuple[str, ...]
    fill: tuple[str, ...]


Work: TypeAlias = Callable[[Transaction], Awaitable[Any]]


class Database:
    def __init__(self, path: Path, *, also: Also | None = None) -> None:
        """``also`` has what is to be there beside the schema."""
        self.path = path
        self.also = also
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        # What takes its time has a connection of its own, so that no message waits for a search.
        self._searcher: aiosqlite.Connection | None = None
        self._writing = asyncio.Lock()
        self._searching = asyncio.Lock()
        self._group: GroupCommit[Work, Any] = GroupCommit(
            self._commit,
            most_together=MOST_TOGETHER,
            most_waiting=MOST_WAITING,
            patience=WRITE_SECONDS,
        )

    async def open(self) -> None:
        """Raises ``Unusable`` with what to do about it, or ``Unavailable`` where it is locked."""
        if self._writer is not None:
            return
        # At DEBUG aiosqlite logs every statement's parameters: people's messages.
        logging.getLogger("aiosqlite").setLevel(logging.INFO)
        self._make_file()
        with sqlite_errors_wrapped(self.path):
            writer = await self._connect()
            try:
                await self._prepare(writer)
                reader, searcher = await self._connect(), await self._connect()
            except BaseException:
                await writer.close()
                raise
            for each in (reader, searcher):
                await each.execute("PRAGMA query_only = 1")
        self._writer, self._reader, self._searcher = writer, reader, searcher

    async def close(self) -> None:
        """Waits for the writes under way."""
        await self._group.close()
        reader, self._reader = self._reader, None
        searcher, self._searcher = self._searcher, None
        writer, self._writer = self._writer, None
        # The writer last: whoever closes last folds the log into the file.
        for connection in (searcher, reader, writer):
            if connection is not None:
                await connection.close()

    async def rows(self, sql: str, parameters: Parameters) -> list[sqlite3.Row]:
        if self._reader is None:
            raise Unavailable(f"{self.path} is not open.")
        with sqlite_errors_wrapped(self.path):
            async with asyncio.timeout(READ_SECONDS):
                return list(await self._reader.execute_fetchall(sql, parameters))

    async def row(self, sql: str, parameters: Parameters) -> sqlite3.Row | None:
        found = await self.rows(sql, parameters)
        return found[0] if found else None

    async def searched_rows(self, sql: str, parameters: Parameters) -> list[sqlite3.Row]:
        """``rows``, for what may take long: it is broken off when its caller leaves."""
        if self._searcher is None:
            raise Unavailable(f"{self.path} is not open.")
        async with self._searching:
            with sqlite_errors_wrapped(self.path):
                try:
                    return list(await self._searcher.execute_fetchall(sql, parameters))
                except asyncio.CancelledError:
                    await self._searcher.interrupt()
                    raise

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Do ``work`` in a transaction, together with whatever else waits; synced when it returns.

        ``work`` may raise one of memory's errors, before it has changed anything. It may run twice
        (the first time undone), so it has no effects outside the transaction.
        """
        if self._writer is None:
            raise Unavailable(f"{self.path} is not open.")
        outcome: T = await self._group.submit(work)
        return outcome

    async def empty_log(self) -> None:
        """Move the log into the file and cut it, so that what was deleted is in neither. Where
        another process is reading, a later one does it."""
        async with self._writing:
            if self._writer is None:
                raise Unavailable(f"{self.path} is not open.")
            with sqlite_errors_wrapped(self.path):
                await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")

    def _make_file(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Conversations are nobody else's business on this machine. Opened here first, because
            # aiosqlite leaves a thread behind when SQLite can't open a file.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise not_writable(self.path) from error

    async def _connect(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(
            self.path, isolation_level=None, timeout=LOCK_SECONDS, cached_statements=256
        )
        connection.row_factory = sqlite3.Row
        return connection

    async def _prepare(self, writer: aiosqlite.Connection) -> None:
        await self._enter_wal(writer)
        await writer.execute("PRAGMA synchronous = FULL")
        await writer.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
        # A deleted conversation's text is overwritten, not only unlinked.
        await writer.execute("PRAGMA secure_delete = ON")
        await self._begin(writer)
        version = await _version_of(writer)
        if version > VERSION:
            raise Unusable(
                f"{self.path} was written by a newer version of this program: run that version, "
                "or set DATA_DIR to another folder."
            )
        if 0 < version < VERSION:
            log.info("%s is brought up to date, which may take minutes.", self.path)
        # A new file is of version 0, and needs the schema alone.
        steps = [MIGRATIONS[each] for each in range(version or VERSION, VERSION)]
        for statement in (*chain(*steps), *SCHEMA):
            await writer.execute(statement)
        if self.also is not None:
            is_there = await writer.execute_fetchall(self.also.is_there)
            fill = () if is_there else self.also.fill
            for statement in (*self.also.schema, *fill):
                await writer.execute(statement)
        await writer.execute(f"PRAGMA user_version = {VERSION}")
        await writer.execute("COMMIT")

    async def _begin(self, writer: aiosqlite.Connection) -> None:
        """Several processes come to an older file at once: one brings it up to date, and the others
        wait for that, however long it takes."""
        end = time.monotonic() + UPDATE_SECONDS
        while True:
            try:
                await writer.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorname == "SQLITE_BUSY"
                if not is_busy or time.monotonic() > end or await _version_of(writer) >= VERSION:
                    raise

    async def _enter_wal(self, writer: aiosqlite.Connection) -> None:
        """SQLite does not wait for its locks here, so two processes that make the file at the same
        moment would fail each other."""
        end = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                await writer.execute_fetchall("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > end:
                    raise
            await asyncio.sleep(0.02)

    async def _commit(self, works: list[Work]) -> list[Any]:
        async with self._writing:
            if self._writer is None:
                raise Unavailable(f"{self.path} is not open.")
            try:
                return await self._transaction(self._writer, works)
            except Unavailable:
                raise
            except (RememberingError, ValueError, OverflowError):
                if len(works) == 1:
                    raise
                # One work's mistake undid them all; alone, it fails only itself.
                return [await self._alone(self._writer, work) for work in works]

    async def _alone(self, writer: aiosqlite.Connection, work: Work) -> Any:
        try:
            return (await self._transaction(writer, [work]))[0]
        except (RememberingError, ValueError, OverflowError) as error:
            return error

    async def _transaction(self, writer: aiosqlite.Connection, works: list[Work]) -> list[Any]:
        transaction = Transaction(writer)
        outcomes: list[Any] = []
        with sqlite_errors_wrapped(self.path):
            try:
                await writer.execute("BEGIN IMMEDIATE")
                for work in works:
                    try:
                        outcomes.append(await work(transaction))
                    except RememberingError as refusal:
                        outcomes.append(refusal)
                await writer.execute("COMMIT")
            finally:
                # After a failure; SQLite itself has rolled back some of them already.
                if writer.in_transaction:
                    await writer.rollback()
        return outcomes


async def _version_of(connection: aiosqlite.Connection) -> int:
    [[version]] = await connection.execute_fetchall("PRAGMA user_version")
    return int(version)
