"""Finding messages, by an index that SQLite keeps."""

from __future__ import annotations

from collections.abc import Collection

from embedded.conversations import ALIVE
from embedded.database import Database, Parameters, Transaction, now
from embedded.rows import as_json, conversation_record, turn_record
from embedded.words import scope_of
from memory.records import Conversation, Turn
from stores.ranking import Match, Place
from stores.rules import require_text
from stores.search import MOST_A_WORD, MOST_LOOKED_THROUGH, Searching, Vectors
from stores.words import Wanted

# All of a turn's record, without what is asked for by itself alone.
_COLUMNS = (
    "id conversation user n place revision rewrites superseded message_id shown_id content "
    "asked_at digest accepted created_at status open attempt stop_requested owner answer error "
    "answers attachments choice tools feedback"
)
RECORD = ", ".join(f"turns.{name}" for name in _COLUMNS.split())

# A cross join is SQLite's way to keep the tables' order: it would begin with all turns of the user.
# Who stands here once more: the index's scope narrows, the turn's own row decides. The latest come
# first, where there are more than are asked for.
WITH_WORD = """
    SELECT :{0}_term AS term, conversation, coalesce(place, n) AS place
    FROM (
        SELECT rowid FROM words WHERE words MATCH :{0} ORDER BY rowid DESC LIMIT :most
    ) AS found
    CROSS JOIN searched ON searched.row = found.rowid / 2
    CROSS JOIN turns ON turns.id = searched.turn AND turns.user = :user AND turns.superseded = 0
"""
LOOKED_THROUGH = """
    SELECT conversation, coalesce(place, n) AS place, content, answer FROM turns
    WHERE user = :user AND superseded = 0 LIMIT :most
"""
LOOKED_THROUGH_ONE = """
    SELECT conversation, coalesce(place, n) AS place, content, answer FROM turns
    WHERE conversation = :conversation AND user = :user AND superseded = 0
    ORDER BY n DESC LIMIT :most
"""
HAS_PIECE = "(instr(lower(content), :{0}) > 0 OR instr(lower(coalesce(answer, '')), :{0}) > 0)"
COUNT = "SELECT count(*) AS turns FROM (SELECT 1 FROM turns WHERE user = :user LIMIT :most)"
COUNT_ONE = """
    SELECT count(*) AS turns FROM (
        SELECT 1 FROM turns WHERE conversation = :conversation AND superseded = 0 LIMIT :most
    )
"""
TURNS_AT = f"""
    SELECT {RECORD}
    FROM json_each(:places) AS asked
    CROSS JOIN turns ON turns.conversation = json_extract(asked.value, '$[0]')
        AND coalesce(turns.place, turns.n) = json_extract(asked.value, '$[1]')
    WHERE turns.superseded = 0 AND turns.user = :user
"""
REWRITING = """
    SELECT conversation, n, coalesce(place, n) AS place FROM turns
    WHERE conversation IN (SELECT value FROM json_each(:ids))
        AND open = 1 AND superseded = 0 AND rewrites = 1
"""
WITHOUT_VECTORS = f"""
    SELECT {RECORD}
    FROM (
        SELECT * FROM turns WHERE conversation = :conversation AND superseded = 0
        ORDER BY n DESC LIMIT :among
    ) AS turns
    LEFT JOIN vectors ON vectors.turn = turns.id AND vectors.model = :model
    WHERE turns.user = :user AND turns.open = 0 AND vectors.turn IS NULL
    ORDER BY turns.n DESC LIMIT :limit
"""
# Only where the turn is still there, and current.
KEEP_VECTORS = """
    INSERT OR REPLACE INTO vectors (turn, user, conversation, place, model, question, answer, at)
    SELECT id, user, conversation, coalesce(place, n), :model, :question, :answer, :at
    FROM turns WHERE id = :id AND superseded = 0
"""
VECTORS = """
    SELECT turn, conversation, place, question, answer, at FROM vectors
    WHERE user = :user AND model = :model AND at >= :since ORDER BY at DESC LIMIT :limit
"""


class EmbeddedSearch(Searching):
    """``stores.search.SearchStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        super().__init__(self)

    async def matches(
        self, wanted: Wanted, user_id: str, conversation_id: str | None
    ) -> list[Match]:
        found = await self._with_words(wanted, user_id, conversation_id)
        if wanted.pieces:
            found += await self._with_pieces(wanted, user_id, conversation_id)
        return found

    async def count(self, user_id: str, conversation_id: str | None) -> int:
        parameters: Parameters = {"most": MOST_LOOKED_THROUGH, "user": user_id}
        parameters["conversation"] = conversation_id
        statement = COUNT if conversation_id is None else COUNT_ONE
        found = await self._database.searched_rows(statement, parameters)
        return int(found[0]["turns"])

    async def turns_at(self, user_id: str, places: Collection[Place]) -> list[Turn]:
        parameters = {"places": as_json(list(places)), "user": user_id}
        found = await self._database.searched_rows(TURNS_AT, parameters)
        return [turn_record(row) for row in found]

    async def rewriting(self, conversation_ids: Collection[str]) -> list[tuple[str, int, int]]:
        parameters = {"ids": as_json(list(conversation_ids))}
        found = await self._database.searched_rows(REWRITING, parameters)
        return [(row["conversation"], row["n"], row["place"]) for row in found]

    async def alive(self, user_id: str, ids: Collection[str]) -> dict[str, Conversation]:
        parameters = {"ids": as_json(list(ids)), "user": user_id}
        found = await self._database.searched_rows(ALIVE, parameters)
        return {row["id"]: conversation_record(row) for row in found}

    async def without_vectors(
        self, user_id: str, conversation_id: str, model: str, *, among: int, limit: int
    ) -> list[Turn]:
        parameters: Parameters = {"conversation": conversation_id, "user": user_id}
        parameters |= {"model": model, "among": among, "limit": limit}
        found = await self._database.searched_rows(WITHOUT_VECTORS, parameters)
        return [turn_record(row) for row in found]

    async def keep_vectors(self, turn: Turn, model: str, question: bytes, answer: bytes) -> None:
        require_text(turn.id, model)
        kept: Parameters = {"id": turn.id, "model": model, "question": question, "answer": answer}

        async def work(transaction: Transaction) -> None:
            await transaction.change(KEEP_VECTORS, {**kept, "at": now()})

        await self._database.write(work)

    async def vectors(self, user_id: str, model: str, *, since: int, limit: int) -> list[Vectors]:
        parameters: Parameters = {"user": user_id, "model": model, "since": since, "limit": limit}
        found = await self._database.searched_rows(VECTORS, parameters)
        return [
            Vectors(
                turn_id=row["turn"],
                conversation_id=row["conversation"],
                place=row["place"],
                question=row["question"],
                answer=row["answer"],
                at=row["at"],
            )
            for row in found
        ]

    async def _with_words(
        self, wanted: Wanted, user_id: str, conversation_id: str | None
    ) -> list[Match]:
        if not wanted.words:
            return []
        scope = scope_of(user_id, conversation_id)
        parameters: Parameters = {"user": user_id, "most": MOST_A_WORD}
        selects = []
        for term, word in enumerate(wanted.words):
            # A word has letters and digits alone: nothing in it can end the quotation.
            parameters |= {f"w{term}": f'{scope} AND text : "{word}"', f"w{term}_term": term}
            selects.append(f"SELECT * FROM ({WITH_WORD.format(f'w{term}')})")
        statement = " UNION ALL ".join(selects)
        found = await self._database.searched_rows(statement, parameters)
        return [Match(row["term"], row["conversation"], row["place"]) for row in found]

    async def _with_pieces(
        self, wanted: Wanted, user_id: str, conversation_id: str | None
    ) -> list[Match]:
        """One look through the texts for all of them."""
        parameters: Parameters = {"user": user_id, "conversation": conversation_id}
        parameters["most"] = MOST_LOOKED_THROUGH
        names = [f"p{i}" for i in range(len(wanted.pieces))]
        parameters |= dict(zip(names, wanted.pieces, strict=True))
        flags = ", ".join(f"{HAS_PIECE.format(name)} AS {name}" for name in names)
        turns = LOOKED_THROUGH if conversation_id is None else LOOKED_THROUGH_ONE
        statement = f"""
            SELECT * FROM (SELECT conversation, place, {flags} FROM ({turns}))
            WHERE {" OR ".join(names)}
        """
        found = await self._database.searched_rows(statement, parameters)
        first = len(wanted.words)
        return [
            Match(first + i, row["conversation"], row["place"])
            for row in found
            for i, name in enumerate(names)
            if row[name]
        ]
