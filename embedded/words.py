"""The full-text index over turns, and what a model made of them: tables that follow the turns by
triggers, so that they are true to them in every transaction, whoever writes it.

``words`` has a row for each message that is current: twice the number that ``searched`` gives its
turn, and one more for the answer. It keeps no texts, only which words are in which row. A message's
scope are two words that only its user's and its conversation's messages have; the letter and the
digit around them keep the stemmer from changing them.
"""

from __future__ import annotations

from embedded.database import Also, Database, Transaction

_SCOPE = "'u' || hex({0}.user) || '0 c' || hex({0}.conversation) || '0'"
_QUESTION = "{0}.content"
_ANSWER = "json_extract({0}.answer, '$.content')"


def _change(row: str, text: str, of: str, *, delete: bool = False) -> str:
    columns, value = ("words, ", "'delete', ") if delete else ("", "")
    return f"""
        INSERT INTO words ({columns}rowid, scope, text)
        SELECT {value}{row}, {_SCOPE.format(of)}, {text.format(of)}
        FROM searched WHERE turn = {of}.id AND {text.format(of)} IS NOT NULL;
    """


_FORGET = f"""
    {_change("2 * row", _QUESTION, "old", delete=True)}
    {_change("2 * row + 1", _ANSWER, "old", delete=True)}
    DELETE FROM searched WHERE turn = old.id;
    DELETE FROM vectors WHERE turn = old.id;
"""

TABLES = (
    "CREATE TABLE IF NOT EXISTS searched (row INTEGER PRIMARY KEY, turn TEXT NOT NULL UNIQUE)",
    """
    CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
        scope, text, content = '', columnsize = 0, detail = column,
        tokenize = 'porter unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS vectors (
        turn TEXT PRIMARY KEY NOT NULL,
        user TEXT NOT NULL,
        conversation TEXT NOT NULL,
        place INTEGER NOT NULL,
        model TEXT NOT NULL,
        question BLOB NOT NULL,
        answer BLOB NOT NULL,
        at INTEGER NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS vectors_of_a_user ON vectors (user, model, at DESC)",
    f"""
    CREATE TRIGGER IF NOT EXISTS turn_asked AFTER INSERT ON turns WHEN new.superseded = 0 BEGIN
        INSERT INTO searched (turn) VALUES (new.id);
        {_change("2 * row", _QUESTION, "new")}
        {_change("2 * row + 1", _ANSWER, "new")}
    END
    """,
    f"""
    CREATE TRIGGER IF NOT EXISTS turn_answered AFTER UPDATE OF answer ON turns
    WHEN old.superseded = 0 AND new.superseded = 0 AND new.answer IS NOT old.answer BEGIN
        {_change("2 * row + 1", _ANSWER, "old", delete=True)}
        {_change("2 * row + 1", _ANSWER, "new")}
        DELETE FROM vectors WHERE turn = new.id;
    END
    """,
    f"""
    CREATE TRIGGER IF NOT EXISTS turn_superseded AFTER UPDATE OF superseded ON turns
    WHEN old.superseded = 0 AND new.superseded = 1 BEGIN
        {_FORGET}
    END
    """,
    f"""
    CREATE TRIGGER IF NOT EXISTS turn_removed AFTER DELETE ON turns WHEN old.superseded = 0 BEGIN
        {_FORGET}
    END
    """,
)

# What an earlier version wrote, once.
FILL = (
    "INSERT INTO searched (turn) SELECT id FROM turns WHERE superseded = 0",
    f"""
    INSERT INTO words (rowid, scope, text)
    SELECT 2 * row, {_SCOPE.format("turns")}, content
    FROM searched JOIN turns ON turns.id = searched.turn
    """,
    f"""
    INSERT INTO words (rowid, scope, text)
    SELECT 2 * row + 1, {_SCOPE.format("turns")}, {_ANSWER.format("turns")}
    FROM searched JOIN turns ON turns.id = searched.turn WHERE answer IS NOT NULL
    """,
)

WORDS = Also("SELECT 1 FROM sqlite_master WHERE name = 'searched'", TABLES, FILL)

# The index is merged in steps of so many pages, so that other writes get their turn in between.
MERGED_PAGES = 500

BEGIN_MERGE = f"INSERT INTO words (words, rank) VALUES ('merge', -{MERGED_PAGES})"
GO_ON_MERGING = f"INSERT INTO words (words, rank) VALUES ('merge', {MERGED_PAGES})"
CHANGES = "SELECT total_changes() AS changes"


def scope_of(user_id: str, conversation_id: str | None) -> str:
    """As a condition of a full-text query."""
    scope = f'scope : "u{user_id.encode().hex()}0"'
    if conversation_id is None:
        return scope
    return f'{scope} AND scope : "c{conversation_id.encode().hex()}0"'


async def forget_words(database: Database) -> None:
    """Write the index anew without what was deleted: until then it only says that it is gone."""
    if database.also is not WORDS:
        return
    statement = BEGIN_MERGE

    async def work(transaction: Transaction) -> bool:
        before = await transaction.rows(CHANGES, {})
        await transaction.change(statement, {})
        after = await transaction.rows(CHANGES, {})
        # SQLite's way to tell: a step that did nothing makes one change.
        return bool(after[0]["changes"] - before[0]["changes"] < 2)

    while not await database.write(work):
        statement = GO_ON_MERGING
