"""The tables and their indexes: the whole data model, made here and nowhere else.

Times are ms since 1970; yes and no are 1 and 0. A superseded turn (an edit or a regenerate took its
place) is out of every query but those by its own id, by its key (whoever repeats that call must
still be recognised) and by the turn that superseded it. Its number stays taken.
"""

from __future__ import annotations

# Kept in the file's header. A server refuses a file with a greater one than it knows.
VERSION = 3

# What makes a file of that version one of the next; then the schema adds what is still missing.
MIGRATIONS = {
    1: (
        "ALTER TABLE turns ADD COLUMN place INTEGER",
        "ALTER TABLE turns ADD COLUMN rewrites INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE turns ADD COLUMN superseded_by TEXT",
        "ALTER TABLE turns ADD COLUMN shown_id TEXT",
        "DROP INDEX turns_of_a_conversation",
    ),
    2: (
        "ALTER TABLE conversations ADD COLUMN choice TEXT",
        "ALTER TABLE turns ADD COLUMN attachments TEXT",
        "ALTER TABLE turns ADD COLUMN choice TEXT",
        "ALTER TABLE turns ADD COLUMN tools TEXT",
        "ALTER TABLE turns ADD COLUMN feedback TEXT",
        "ALTER TABLE turns ADD COLUMN context TEXT",
    ),
}

SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS conversations (
        id TEXT PRIMARY KEY NOT NULL,
        user TEXT NOT NULL,
        title TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        digest TEXT,
        revision INTEGER NOT NULL DEFAULT 0,
        turn INTEGER NOT NULL DEFAULT 0,
        answers INTEGER NOT NULL DEFAULT 0,
        summary TEXT,                               -- JSON
        summary_version INTEGER NOT NULL DEFAULT 0,
        deleted INTEGER NOT NULL DEFAULT 0,         -- a tombstone keeps id and user
        deleted_at INTEGER,
        purged INTEGER,                             -- of a tombstone: whether its turns are gone
        choice TEXT                                 -- JSON; none: the defaults
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS conversations_of_a_user
        ON conversations (user, updated_at DESC, id DESC) WHERE deleted = 0
    """,
    """
    CREATE INDEX IF NOT EXISTS conversations_unpurged ON conversations (deleted_at)
        WHERE purged = 0
    """,
    """
    CREATE TABLE IF NOT EXISTS turns (
        id TEXT PRIMARY KEY NOT NULL,
        conversation TEXT NOT NULL,
        user TEXT NOT NULL,
        n INTEGER NOT NULL,
        place INTEGER,                              -- none from a server of version 1: then it is n
        revision INTEGER NOT NULL,
        rewrites INTEGER NOT NULL DEFAULT 0,
        superseded INTEGER NOT NULL DEFAULT 0,
        superseded_by TEXT,                         -- the turn that rewrote its place or an earlier
        message_id TEXT NOT NULL,                   -- the question's key
        shown_id TEXT,                              -- the question's id, where it is another
        content TEXT NOT NULL,
        asked_at INTEGER NOT NULL,
        digest TEXT NOT NULL,
        accepted TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        status TEXT NOT NULL,
        open INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        stop_requested INTEGER NOT NULL,
        owner TEXT,
        lease_until INTEGER NOT NULL,               -- by this machine's clock
        answer TEXT,                                -- JSON
        error TEXT,                                 -- JSON
        answers INTEGER,
        attachments TEXT,                           -- JSON, as all below it
        choice TEXT,
        tools TEXT,
        feedback TEXT,
        context TEXT                                -- what the model was given
    )
    """,
    "CREATE UNIQUE INDEX IF NOT EXISTS turns_one_a_message ON turns (user, message_id)",
    # Also what a purge finds. Superseded turns keep their numbers: a number that came free could be
    # taken by somebody who has not seen yet what the conversation has become.
    "CREATE UNIQUE INDEX IF NOT EXISTS turns_numbered ON turns (conversation, n)",
    # What the last 50 messages, the last number and the prompt are read by.
    """
    CREATE UNIQUE INDEX IF NOT EXISTS turns_one_a_number ON turns (conversation, n)
        WHERE superseded = 0
    """,
    """
    CREATE INDEX IF NOT EXISTS turns_placed ON turns (conversation, coalesce(place, n), n)
        WHERE superseded = 0
    """,
    """
    CREATE INDEX IF NOT EXISTS turns_superseded ON turns (superseded_by, n)
        WHERE superseded_by IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX IF NOT EXISTS turns_one_running ON turns (conversation)
        WHERE status = 'running' AND superseded = 0
    """,
    """
    CREATE INDEX IF NOT EXISTS turns_open ON turns (conversation, n)
        WHERE open = 1 AND superseded = 0
    """,
    """
    CREATE INDEX IF NOT EXISTS turns_leases ON turns (lease_until)
        WHERE open = 1 AND superseded = 0
    """,
    "CREATE INDEX IF NOT EXISTS turns_owners ON turns (owner) WHERE open = 1 AND superseded = 0",
    """
    CREATE TABLE IF NOT EXISTS attachments (
        id TEXT PRIMARY KEY NOT NULL,
        conversation TEXT NOT NULL,
        user TEXT NOT NULL,
        key TEXT NOT NULL,                          -- of the call it came with
        type TEXT NOT NULL,
        media_type TEXT NOT NULL,
        size INTEGER NOT NULL,
        at INTEGER NOT NULL,
        claimed INTEGER NOT NULL,                   -- whether a turn was found that refers to it
        data BLOB NOT NULL
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS attachments_of_a_conversation ON attachments (conversation)
    """,
    # Covers the sum of what a user has stored.
    """
    CREATE INDEX IF NOT EXISTS attachments_sizes ON attachments (user, key, size)
    """,
    """
    CREATE INDEX IF NOT EXISTS attachments_unclaimed ON attachments (at) WHERE claimed = 0
    """,
    """
    CREATE TABLE IF NOT EXISTS erasures (
        user TEXT PRIMARY KEY NOT NULL,             -- all that is theirs is being deleted
        at INTEGER NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS erasures_unfinished ON erasures (at)",
    """
    CREATE TABLE IF NOT EXISTS facts (
        user TEXT PRIMARY KEY NOT NULL,
        stamp TEXT NOT NULL,                        -- another one with each change
        kept TEXT NOT NULL                          -- JSON: memory/facts.py
    )
    """,
    # What deleted conversations used: their turns are gone, and were paid for.
    """
    CREATE TABLE IF NOT EXISTS usage (
        conversation TEXT PRIMARY KEY NOT NULL,
        user TEXT NOT NULL,
        last_day INTEGER NOT NULL,                  -- days since 1970, UTC
        days TEXT NOT NULL                          -- JSON, by day
    )
    """,
    "CREATE INDEX IF NOT EXISTS usage_of_a_user ON usage (user, last_day)",
    """
    CREATE TABLE IF NOT EXISTS spent (
        day INTEGER NOT NULL,
        server TEXT NOT NULL,
        tokens INTEGER NOT NULL,                    -- of all users there; only rises
        PRIMARY KEY (day, server)
    )
    """,
    "CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS probes (name TEXT PRIMARY KEY NOT NULL, at INTEGER NOT NULL)",
)
