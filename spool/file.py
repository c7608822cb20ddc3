"""The spool: an embedded store of this server's own, in its slot's folder of ``DATA_DIR``.

A conversation that lodges here has in it what memory had of it (copies of turns that have ended),
its open turns, and from then on all that happens to it. It is a store with the same rules as any
other (unique numbers, conditional ends), synced to disk, and SQLite drops what a crash left half
written at the end of its log. What must reach the permanent store is what is no copy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from pathlib import Path

import msgspec

from embedded import statements as sql
from embedded.conversations import BY_ID
from embedded.database import Transaction, now
from embedded.rows import as_json, choice_json, conversation_record, turn_row
from embedded.store import EmbeddedStore
from memory.errors import NotFound, RememberingError, Unavailable
from memory.records import ENDED, Conversation, Message, Summary, Turn, messages_of

NAME = "spool.db"

TABLE = """
    CREATE TABLE IF NOT EXISTS lodgings (
        conversation TEXT PRIMARY KEY NOT NULL,
        since INTEGER NOT NULL,
        made INTEGER NOT NULL,      -- the permanent store does not know the conversation
        first_n INTEGER NOT NULL,   -- of the turns that it does not know: their first number
        first_place INTEGER NOT NULL,
        begun TEXT NOT NULL,        -- JSON: turns before these that had not ended
        ended TEXT NOT NULL         -- JSON: ... that had ended, and were not closed
    )
"""
# Turns that were in a conversation before it came here, and are not any more. Their own table: a
# file of an older version has none, and what else is in it stays as it is.
SUPERSEDED = """
    CREATE TABLE IF NOT EXISTS superseded (
        turn TEXT PRIMARY KEY NOT NULL,
        conversation TEXT NOT NULL
    )
"""
SUPERSEDE = """
    INSERT INTO superseded (turn, conversation) VALUES (:turn, :id) ON CONFLICT (turn) DO NOTHING
"""
SUPERSEDED_IN = "SELECT conversation FROM superseded WHERE turn = :turn"
CONVERSATION = """
    INSERT INTO conversations (
        id, user, title, created_at, updated_at, digest, revision, turn, answers, summary,
        summary_version, choice
    ) VALUES (
        :id, :user, :title, :created_at, :updated_at, :digest, :revision, :turn, :answers, :summary,
        :summary_version, :choice
    )
"""
LODGE = """
    INSERT INTO lodgings (conversation, since, made, first_n, first_place, begun, ended)
    VALUES (:id, :now, :made, :first_n, :first_place, :begun, :ended)
    ON CONFLICT (conversation) DO NOTHING
"""
ALL = "SELECT * FROM lodgings ORDER BY since"
TURNS = "SELECT * FROM turns WHERE conversation = :id ORDER BY n"
LET_GO = (
    "DELETE FROM turns WHERE conversation = :id",
    "DELETE FROM conversations WHERE id = :id",
    "DELETE FROM superseded WHERE conversation = :id",
    "DELETE FROM lodgings WHERE conversation = :id",
)
COUNT = """
    SELECT count(*) AS turns FROM turns JOIN lodgings USING (conversation)
    WHERE n >= first_n OR turns.id IN (SELECT value FROM json_each(begun))
"""


class Lodging(msgspec.Struct, kw_only=True):
    """What is to be known of a conversation that lodges here, besides what the file has of it."""

    conversation_id: str
    made: bool
    """It was begun here: the permanent store does not know it."""
    first_n: int
    """The number of the first turn that it does not know; all before are copies, or among these:"""
    first_place: int
    begun: frozenset[str]
    """Turns whose questions it has; how they end is to be seen here."""
    ended: frozenset[str]
    """Turns whose ends it has as well; only that they are concluded is to be seen here."""
    is_held: bool = True
    """False where another server has it by now; then it only waits to be drained."""

    @classmethod
    def from_place(cls, conversation_id: str, first_place: int) -> Lodging:
        """One of another server, as far as its lease tells."""
        return cls(
            conversation_id=conversation_id,
            made=False,
            first_n=0,
            first_place=first_place,
            begun=frozenset(),
            ended=frozenset(),
        )

    def new_of(self, turn: Turn) -> list[Message]:
        """Those of its messages that the permanent store did not have before."""
        if turn.id in self.begun:
            return messages_of(turn)[1:]
        return messages_of(turn) if turn.n >= self.first_n else []

    def is_copy(self, turn: Turn) -> bool:
        """Whether the permanent store has it as it is here."""
        return turn.n < self.first_n and turn.id not in self.begun and turn.id not in self.ended

    def is_new(self, message: Message) -> bool:
        """Whether it is nowhere but here."""
        if message.turn_id in self.begun:
            return message.type == "ai"
        return ((message.seq or 0) + 1) // 2 >= self.first_place

    def marked(self, turn: Turn) -> Turn:
        """The turn, saying what of it is nowhere but here."""
        if turn.n >= self.first_n:
            return msgspec.structs.replace(turn, spooled="whole")
        if turn.id in self.begun and turn.answer is not None:
            return msgspec.structs.replace(turn, spooled="answer")
        return turn


class SpoolFile(EmbeddedStore):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder / NAME, searched=False)
        self.left: set[str] = set()
        """What was let go and is still in the file, because that could not be written."""

    @property
    def path(self) -> Path:
        return self._database.path

    @staticmethod
    def is_in(folder: Path) -> bool:
        return (folder / NAME).exists()

    async def connect(self) -> None:
        """See ``EmbeddedStore.connect``."""
        await super().connect()

        async def work(transaction: Transaction) -> None:
            await transaction.change(TABLE, {})
            await transaction.change(SUPERSEDED, {})

        await self._database.write(work)

    async def lodgings(self) -> list[Lodging]:
        """In the order in which they came."""
        return [_lodging(row) for row in await self._database.rows(ALL, {})]

    async def conversation(self, conversation_id: str) -> Conversation:
        """Raises ``NotFound``."""
        found = await self._database.row(BY_ID, {"id": conversation_id})
        if found is None:
            raise NotFound
        return conversation_record(found)

    async def turns_of(self, conversation_id: str) -> list[Turn]:
        """All of them, ascending by number."""
        return await self.turns.selected(TURNS, {"id": conversation_id})

    async def superseded_in(self, turn_id: str) -> str | None:
        """The conversation that it was in before that came here, and was replaced in."""
        found = await self._database.row(SUPERSEDED_IN, {"turn": turn_id})
        return None if found is None else str(found["conversation"])

    async def spooled_turns(self) -> int:
        """How many turns wait for the permanent store."""
        found = await self._database.row(COUNT, {})
        return 0 if found is None else int(found["turns"])

    async def lodge(
        self,
        conversation: Conversation,
        turns: list[Turn],
        *,
        summary: Summary | None,
        made: bool,
        lease_ms: int,
        superseded: Collection[str] = (),
    ) -> Lodging:
        """Take a conversation in: all of it in one transaction. ``turns`` as the permanent store
        has them, ``superseded`` the ids of some that are not among them any more. Raises
        ``Unavailable`` also where they don't fit what lodges here."""
        if conversation.id in self.left:
            await self.let_go(conversation.id)
        lodging = _begun_with(conversation.id, turns, made=made)
        position = conversation.position
        fields = {
            "id": conversation.id,
            "user": conversation.user_id,
            "title": conversation.title,
            "created_at": conversation.created_at,
            "updated_at": conversation.updated_at,
            "digest": conversation.digest,
            "revision": position.revision,
            "turn": position.turn,
            "answers": position.answers,
            "summary": as_json(summary),
            "summary_version": 0 if summary is None else summary.version,
            "choice": choice_json(conversation.choice),
        }
        mark = {
            "id": conversation.id,
            "now": now(),
            "made": made,
            "first_n": lodging.first_n,
            "first_place": lodging.first_place,
            "begun": as_json(sorted(lodging.begun)),
            "ended": as_json(sorted(lodging.ended)),
        }

        async def work(transaction: Transaction) -> None:
            if not await transaction.change(LODGE, mark):
                return
            await transaction.change(CONVERSATION, fields)
            for turn in turns:
                row = {**turn_row(turn), "lease_until": now() + lease_ms}
                await transaction.change(sql.INSERT, row)
            for turn_id in superseded:
                await transaction.change(SUPERSEDE, {"turn": turn_id, "id": conversation.id})

        try:
            await self._database.write(work)
        except RememberingError as error:
            if not isinstance(error.__cause__, sqlite3.IntegrityError):
                raise
            # One of its messages was sent again to another conversation that lodges here.
            raise Unavailable("A message of this conversation is in the spool already.") from error
        return lodging

    async def let_go(self, conversation_id: str) -> None:
        """The permanent store has all of it, or it is deleted."""

        async def work(transaction: Transaction) -> None:
            for statement in LET_GO:
                await transaction.change(statement, {"id": conversation_id})

        self.left.add(conversation_id)
        await self._database.write(work)
        self.left.discard(conversation_id)


def _begun_with(conversation_id: str, turns: list[Turn], *, made: bool) -> Lodging:
    # Another server may have begun it in its own spool, and not have come to draining that.
    only_spooled = [turn for turn in turns if turn.spooled == "whole"]
    known = [turn for turn in turns if turn.spooled != "whole"]
    after = max((turn.n for turn in known), default=0) + 1
    place = max((turn.place for turn in known), default=0) + 1
    opened = [turn for turn in known if turn.open]
    return Lodging(
        conversation_id=conversation_id,
        made=made,
        first_n=min([after, *(turn.n for turn in only_spooled)]),
        first_place=min([place, *(turn.place for turn in only_spooled)]),
        begun=frozenset(turn.id for turn in opened if turn.status not in ENDED or turn.spooled),
        ended=frozenset(turn.id for turn in opened if turn.status in ENDED and not turn.spooled),
    )


def _lodging(row: sqlite3.Row) -> Lodging:
    ids = msgspec.json.Decoder(frozenset[str])
    return Lodging(
        conversation_id=row["conversation"],
        made=bool(row["made"]),
        first_n=row["first_n"],
        first_place=row["first_place"],
        begun=ids.decode(row["begun"]),
        ended=ids.decode(row["ended"]),
    )
