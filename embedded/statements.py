"""The SQL of turns. Each condition that an index is partial by stands in the query as well."""

from __future__ import annotations

BY_ID = "SELECT * FROM turns WHERE id = :id AND conversation = :conversation"
CONTEXT = "SELECT context FROM turns WHERE id = :id AND conversation = :conversation"
BY_ID_ALONE = "SELECT 1 FROM turns WHERE id = :id"
BY_KEY = "SELECT * FROM turns WHERE user = :user AND message_id = :message_id"
BY_NUMBER = "SELECT 1 FROM turns WHERE conversation = :conversation AND n = :n"
OPEN_TURNS = """
    SELECT * FROM turns WHERE conversation = :conversation AND open = 1 AND superseded = 0
    ORDER BY n
"""
LATEST = """
    SELECT * FROM turns WHERE conversation = :conversation AND superseded = 0
    ORDER BY n DESC LIMIT :limit
"""
# What was rewritten and is not marked yet is beyond the last place, or has a newer turn at its own.
AT_PLACE = """
    SELECT * FROM turns
    WHERE conversation = :conversation AND superseded = 0 AND coalesce(place, n) = :place
        AND :place <= (
            SELECT coalesce(place, n) FROM turns
            WHERE conversation = :conversation AND superseded = 0 ORDER BY n DESC LIMIT 1
        )
    ORDER BY n DESC LIMIT 1
"""
BEFORE = """
    SELECT * FROM turns
    WHERE conversation = :conversation AND superseded = 0 AND coalesce(place, n) < :place
        AND coalesce(place, n) <= (
            SELECT coalesce(place, n) FROM turns
            WHERE conversation = :conversation AND superseded = 0 ORDER BY n DESC LIMIT 1
        )
    ORDER BY coalesce(place, n) DESC, n DESC LIMIT :limit
"""
SINCE = """
    SELECT * FROM turns
    WHERE conversation = :conversation AND superseded = 0 AND coalesce(place, n) >= :place
    ORDER BY coalesce(place, n), n LIMIT :limit
"""
# A turn stopped while it was queued has no count, and no answer to count either. The plus keeps
# the order of places out of it.
ANSWERS_BEFORE = """
    SELECT answers FROM turns
    WHERE conversation = :conversation AND n < :n AND superseded = 0 AND answers IS NOT NULL
        AND +coalesce(place, n) < :place
    ORDER BY n DESC LIMIT 1
"""
INSERT = """
    INSERT INTO turns (
        id, conversation, user, n, place, revision, rewrites, superseded, message_id, shown_id,
        content, asked_at, digest, accepted, created_at, status, open, attempt, stop_requested,
        owner, lease_until, answer, error, answers, attachments, choice, tools, feedback, context
    ) VALUES (
        :id, :conversation, :user, :n, :place, :revision, :rewrites, :superseded, :message_id,
        :shown_id, :content, :asked_at, :digest, :accepted, :created_at, :status, :open, :attempt,
        :stop_requested, :owner, :lease_until, :answer, :error, :answers, :attachments,
        :choice, :tools, :feedback, :context
    )
"""
# From the last on, as most are asked for soon after they came.
ANSWERED_BY = """
    SELECT id, coalesce(place, n) AS place FROM turns
    WHERE conversation = :conversation AND superseded = 0
        AND json_extract(answer, '$.message_id') = :message_id
    ORDER BY n DESC LIMIT 1
"""
SET_FEEDBACK = "UPDATE turns SET feedback = :feedback WHERE id = :id AND superseded = 0"
CHOOSE = """
    UPDATE turns SET choice = :choice
    WHERE id = :id AND open = 1 AND superseded = 0
        AND status = :status AND attempt = :attempt AND owner IS :owner
"""
REMOVE = "DELETE FROM turns WHERE id = :id AND conversation = :conversation"
SUPERSEDE = """
    UPDATE turns
    SET superseded = 1, superseded_by = :id, open = 0,
        status = CASE WHEN status IN ('queued', 'running') THEN 'stopped' ELSE status END
    WHERE conversation = :conversation AND superseded = 0
        AND coalesce(place, n) >= :place AND n < :n
"""
SUPERSEDED_BY = "SELECT * FROM turns WHERE superseded_by = :id ORDER BY n"
# Looks at the whole conversation, once after a server died, or two edits met.
REWRITING = """
    SELECT * FROM turns
    WHERE conversation = :conversation AND superseded = 0 AND n < :n
        AND rewrites = 1 AND revision > :revision
    ORDER BY n
"""
CLAIM = """
    UPDATE turns
    SET status = 'running', attempt = attempt + 1, owner = :claimant, lease_until = :lease_until
    WHERE id = :id AND open = 1 AND superseded = 0
        AND status = :status AND attempt = :attempt AND owner IS :owner
        AND (status = 'queued' OR lease_until <= :now)
        AND NOT EXISTS (
            SELECT 1 FROM turns AS earlier
            WHERE earlier.conversation = turns.conversation AND earlier.n < turns.n
                AND earlier.open = 1 AND earlier.superseded = 0
        )
"""
RENEW = """
    UPDATE turns SET lease_until = :lease_until
    WHERE id IN (SELECT value FROM json_each(:ids))
        AND owner = :owner AND open = 1 AND superseded = 0
"""
HELD = """
    SELECT id, stop_requested FROM turns
    WHERE id IN (SELECT value FROM json_each(:ids))
        AND owner = :owner AND open = 1 AND superseded = 0
"""
RELEASE = """
    UPDATE turns SET lease_until = 0
    WHERE open = 1 AND superseded = 0 AND lease_until > 0
        AND (owner = :owner OR (owner >= :first AND owner < :after))
"""
ADRIFT = """
    SELECT * FROM turns
    WHERE open = 1 AND superseded = 0 AND lease_until <= :now
        AND NOT EXISTS (
            SELECT 1 FROM turns AS earlier
            WHERE earlier.conversation = turns.conversation AND earlier.n < turns.n
                AND earlier.open = 1 AND earlier.superseded = 0
        )
    ORDER BY lease_until LIMIT :limit
"""
REQUEST_STOP = """
    UPDATE turns
    SET stop_requested = 1, status = CASE status WHEN 'queued' THEN 'stopped' ELSE status END
    WHERE id = :id AND conversation = :conversation AND status IN ('queued', 'running')
"""
NOTE_TOOLS = """
    UPDATE turns SET tools = :tools
    WHERE id = :id AND status = 'running' AND attempt = :attempt AND owner IS :owner
        AND open = 1 AND superseded = 0
"""
FINISH = """
    UPDATE turns
    SET status = :status, answer = :answer, error = :error, answers = :answers, context = :context,
        tools = NULL
    WHERE id = :id AND status = 'running' AND attempt = :attempt AND owner IS :owner
        AND open = 1 AND superseded = 0
"""
CLOSE = """
    UPDATE turns SET open = 0 WHERE id = :id AND status IN ('completed', 'stopped', 'failed')
"""
