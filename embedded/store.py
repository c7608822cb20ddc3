"""The permanent store in one file, put together: nothing to install, nothing to start."""

from __future__ import annotations

import secrets
from pathlib import Path

from embedded.attachments import EmbeddedAttachments
from embedded.conversations import EmbeddedConversations
from embedded.database import Database, Transaction, now
from embedded.erasures import EmbeddedErasures
from embedded.facts import EmbeddedFacts
from embedded.search import EmbeddedSearch
from embedded.turns import EmbeddedTurns
from embedded.usage import EmbeddedUsage
from embedded.words import WORDS
from memory.records import Transcript
from stores.turn_archive import TurnArchive

MAKE_ONCE = """
    INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING
"""
READ_KEPT = "SELECT value FROM secrets WHERE name = :name"
PROBE = """
    INSERT INTO probes (name, at) VALUES ('ping', :now) ON CONFLICT (name) DO UPDATE SET at = :now
"""


class EmbeddedStore(TurnArchive):
    """``stores.contract.Store`` in an SQLite file, which several processes may share."""

    def __init__(self, path: Path, *, searched: bool = True) -> None:
        """``searched``: whether anybody will ask ``search``, which an index is kept for."""
        self._database = Database(path, also=WORDS if searched else None)
        self.facts = EmbeddedFacts(self._database)
        self.erasures = EmbeddedErasures(self._database)
        self.usage = EmbeddedUsage(self._database)
        self.conversations = EmbeddedConversations(self._database, self.facts, self.usage)
        self.turns = EmbeddedTurns(self._database, self.facts)
        self.attachments = EmbeddedAttachments(self._database)
        self.search = EmbeddedSearch(self._database)
        super().__init__(self.conversations, self.turns)

    @property
    def description(self) -> str:
        return f"embedded (SQLite) in {self._database.path}"

    async def connect(self) -> None:
        """Raises ``embedded.errors.Unusable``, whose message says what to do, for a file that can't
        be used; ``Unavailable`` where another process keeps it locked."""
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    async def empty_log(self) -> None:
        """See ``Database.empty_log``."""
        await self._database.empty_log()

    async def ping(self) -> None:
        async def work(transaction: Transaction) -> None:
            await transaction.change(PROBE, {"now": now()})

        await self._database.write(work)

    spooled = drained = 0  # there is no spool

    def forget(self, conversation_id: str) -> None:
        return None

    async def marked(self, conversation_id: str, transcript: Transcript) -> Transcript:
        return transcript

    async def ping_spool(self) -> bool:
        return False

    async def secret(self, name: str, *, offered: str | None = None) -> str:
        parameters = {"name": name, "value": offered or secrets.token_urlsafe(32)}

        async def work(transaction: Transaction) -> str:
            await transaction.change(MAKE_ONCE, parameters)
            found = await transaction.rows(READ_KEPT, {"name": name})
            value: str = found[0]["value"]
            return value

        return await self._database.write(work)
