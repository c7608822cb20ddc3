"""Turns for good: one row each, from a message's acceptance to its answer's end."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from embedded import statements as sql
from embedded.conversations import follow, revision_of, rewrite, touch
from embedded.database import Database, Parameters, Transaction, now
from embedded.facts import EmbeddedFacts
from embedded.rows import as_json, choice_json, turn_record, turn_row
from memory.errors import Duplicate, DuplicateMessage, DuplicateNumber, DuplicateRunning
from memory.records import Answer, Choice, Feedback, ToolUse, Turn, TurnError, TurnStatus, current
from stores.contract import Rest
from stores.facts import forget_superseded
from stores.rules import (
    is_end_of,
    require_brought,
    require_choice_text,
    require_end,
    require_end_text,
    require_rewriting,
    require_text,
    require_turn_text,
)

# Of what is brought so many turns at a time, so that other writes get their turn in between.
BROUGHT_TOGETHER = 50


class EmbeddedTurns:
    """``stores.contract.TurnStore``, and the archive's reads."""

    def __init__(self, database: Database, facts: EmbeddedFacts) -> None:
        self._database = database
        self._facts = facts

    async def get(self, conversation_id: str, turn_id: str) -> Turn | None:
        found = await self.selected(sql.BY_ID, {"id": turn_id, "conversation": conversation_id})
        return found[0] if found else None

    async def context(self, conversation_id: str, turn_id: str) -> dict[str, Any] | None:
        parameters = {"id": turn_id, "conversation": conversation_id}
        found = await self._database.row(sql.CONTEXT, parameters)
        text = found and found["context"]
        return msgspec.json.decode(text, type=dict[str, Any]) if text else None

    async def by_message(self, user_id: str, key: str) -> Turn | None:
        found = await self.selected(sql.BY_KEY, {"user": user_id, "message_id": key})
        return found[0] if found else None

    async def last(self, conversation_id: str) -> Turn | None:
        found = await self.before(conversation_id, None, 1)
        return found[0] if found else None

    async def at_place(self, conversation_id: str, place: int) -> Turn | None:
        found = await self.selected(sql.AT_PLACE, {"conversation": conversation_id, "place": place})
        return found[0] if found else None

    async def open_turns(self, conversation_id: str) -> list[Turn]:
        return await self.selected(sql.OPEN_TURNS, {"conversation": conversation_id})

    def at_rest(self, conversation_id: str) -> Rest | None:
        return None  # to ask costs as little

    def comes_to_rest(self, turn: Turn) -> None:
        return None

    def forget_rest(self, conversation_id: str) -> None:
        return None

    async def before(self, conversation_id: str, place: int | None, limit: int) -> list[Turn]:
        parameters: Parameters = {"conversation": conversation_id, "limit": limit}
        if place is None:
            return current(await self.selected(sql.LATEST, parameters))
        return current(await self.selected(sql.BEFORE, {**parameters, "place": place}))

    async def since(self, conversation_id: str, place: int, limit: int) -> list[Turn]:
        parameters = {"conversation": conversation_id, "place": place, "limit": limit}
        return current(await self.selected(sql.SINCE, parameters))

    async def answers_before(self, turn: Turn) -> int:
        found = await self._database.row(sql.ANSWERS_BEFORE, _numbers_of(turn))
        return 0 if found is None else int(found["answers"])

    async def insert(self, turn: Turn, *, lease_ms: int) -> Turn:
        require_turn_text(turn)
        parameters = turn_row(turn)

        async def work(transaction: Transaction) -> None:
            lease_until = now() + lease_ms
            try:
                await transaction.change(sql.INSERT, {**parameters, "lease_until": lease_until})
            except sqlite3.IntegrityError as error:
                raise await _duplicate(transaction, parameters) from error

        await self._database.write(work)
        return turn

    async def choose(self, turn: Turn, choice: Choice) -> bool:
        require_choice_text(choice)
        parameters: Parameters = {"id": turn.id, "status": turn.status, "attempt": turn.attempt}
        parameters |= {"owner": turn.owner, "choice": choice_json(choice)}

        async def work(transaction: Transaction) -> bool:
            return bool(await transaction.change(sql.CHOOSE, parameters))

        return await self._database.write(work)

    async def bring(self, turns: Sequence[Turn], *, at: int) -> None:
        for turn in turns:
            require_brought(turn)
        for first in range(0, len(turns), BROUGHT_TOGETHER):
            await self._bring_some(turns[first : first + BROUGHT_TOGETHER], at)

    async def _bring_some(self, turns: Sequence[Turn], at: int) -> None:
        async def work(transaction: Transaction) -> None:
            last = turns[-1]
            # A conversation that is gone takes nothing: what came before is purged with it.
            await revision_of(transaction, last.conversation_id)
            for turn in turns:
                parameters = turn_row(turn)
                try:
                    await transaction.change(sql.INSERT, {**parameters, "lease_until": 0})
                except sqlite3.IntegrityError as error:
                    kept = await _stored(transaction, turn)
                    if kept is None or kept.digest != turn.digest:
                        raise await _duplicate(transaction, parameters) from error
            await touch(transaction, msgspec.structs.replace(last, created_at=at))
            await follow(transaction, last)

        await self._database.write(work)

    async def require_rewritable(self, conversation_id: str) -> None:
        return None

    async def supersede(self, turn: Turn) -> list[Turn]:
        require_rewriting(turn)
        require_text(turn.conversation_id, turn.id)

        async def work(transaction: Transaction) -> list[Turn]:
            known = await revision_of(transaction, turn.conversation_id)
            await _mark(transaction, turn)
            if turn.revision > known + 1:
                # An edit before this one has not come so far. What it supersedes before this one's
                # place must not count either.
                later = {**_numbers_of(turn), "revision": known}
                for row in await transaction.rows(sql.REWRITING, later):
                    await _mark(transaction, turn_record(row))
            await rewrite(transaction, turn)
            found = await transaction.rows(sql.SUPERSEDED_BY, {"id": turn.id})
            return [turn_record(row) for row in found]

        superseded = await self._database.write(work)
        await forget_superseded(self._facts, turn)
        return superseded

    async def remove(self, turn: Turn) -> None:
        require_text(turn.id, turn.conversation_id)

        async def work(transaction: Transaction) -> None:
            await transaction.change(
                sql.REMOVE, {"id": turn.id, "conversation": turn.conversation_id}
            )

        await self._database.write(work)

    async def claim(self, turn: Turn, owner: str, *, lease_ms: int) -> Turn | None:
        require_text(turn.id, owner)
        if turn.status not in ("queued", "running"):
            return None
        parameters: Parameters = {"id": turn.id, "status": turn.status, "attempt": turn.attempt}
        parameters |= {"owner": turn.owner, "claimant": owner}

        async def work(transaction: Transaction) -> Turn | None:
            at = now()
            try:
                claimed = await transaction.change(
                    sql.CLAIM, {**parameters, "now": at, "lease_until": at + lease_ms}
                )
            except sqlite3.IntegrityError:  # another turn of the conversation runs
                return None
            return await _stored(transaction, turn) if claimed else None

        return await self._database.write(work)

    async def renew(
        self, turn_ids: Collection[str], owner: str, *, lease_ms: int
    ) -> dict[str, bool]:
        ids = msgspec.json.encode(list(turn_ids)).decode()

        async def work(transaction: Transaction) -> dict[str, bool]:
            held: Parameters = {"ids": ids, "owner": owner}
            await transaction.change(sql.RENEW, {**held, "lease_until": now() + lease_ms})
            found = await transaction.rows(sql.HELD, held)
            return {row["id"]: bool(row["stop_requested"]) for row in found}

        return await self._database.write(work)

    async def release(self, owner: str) -> int:
        require_text(owner)
        # ";" is the character after ":", so the range is what begins with "owner:".
        parameters = {"owner": owner, "first": owner + ":", "after": owner + ";"}

        async def work(transaction: Transaction) -> int:
            return await transaction.change(sql.RELEASE, parameters)

        return await self._database.write(work)

    async def adrift(self, limit: int) -> list[Turn]:
        return await self.selected(sql.ADRIFT, {"now": now(), "limit": limit})

    async def request_stop(self, conversation_id: str, turn_id: str) -> Turn | None:
        require_text(conversation_id, turn_id)
        parameters = {"id": turn_id, "conversation": conversation_id}

        async def work(transaction: Transaction) -> Turn | None:
            await transaction.change(sql.REQUEST_STOP, parameters)
            found = await transaction.row(sql.BY_ID, parameters)
            return None if found is None else turn_record(found)

        return await self._database.write(work)

    async def note_tools(self, turn: Turn, uses: Sequence[ToolUse]) -> bool:
        parameters: Parameters = {"id": turn.id, "attempt": turn.attempt, "owner": turn.owner}
        parameters |= {"tools": as_json(uses)}

        async def work(transaction: Transaction) -> bool:
            return await transaction.change(sql.NOTE_TOOLS, parameters) == 1

        return await self._database.write(work)

    async def finish(
        self,
        turn: Turn,
        status: TurnStatus,
        answer: Answer | None,
        error: TurnError | None = None,
        context: dict[str, Any] | None = None,
    ) -> Turn | None:
        require_end(status)
        require_end_text(answer, error)
        parameters: Parameters = {"id": turn.id, "attempt": turn.attempt, "owner": turn.owner}
        parameters |= {"status": status, "answer": as_json(answer), "error": as_json(error)}
        parameters |= {"context": as_json(context)}

        async def work(transaction: Transaction) -> Turn | None:
            before = await transaction.row(sql.ANSWERS_BEFORE, _numbers_of(turn))
            answers = (0 if before is None else before["answers"]) + (answer is not None)
            ended = await transaction.change(sql.FINISH, {**parameters, "answers": answers})
            found = await _stored(transaction, turn)
            if ended or (found is not None and is_end_of(found, turn, status, answer)):
                return found
            return None

        return await self._database.write(work)

    async def set_feedback(
        self, conversation_id: str, message_id: str, feedback: Feedback | None
    ) -> Turn | None:
        require_text(conversation_id, message_id, feedback.comment if feedback else None)
        parameters = {"conversation": conversation_id, "message_id": message_id}
        # Before the transaction, because nobody else may write while that looks through many.
        found = await self._database.row(sql.ANSWERED_BY, parameters)
        if found is None:
            return None
        there = await self.at_place(conversation_id, found["place"])
        # What an edit has superseded may not be marked yet.
        if there is None or there.id != found["id"]:
            return None
        turn, kept = there, {"id": there.id, "feedback": as_json(feedback)}

        async def work(transaction: Transaction) -> Turn | None:
            changed = await transaction.change(sql.SET_FEEDBACK, kept)
            return await _stored(transaction, turn) if changed else None

        return await self._database.write(work)

    async def close(self, turn: Turn, *, soon: bool = False) -> bool:
        async def work(transaction: Transaction) -> bool:
            await follow(transaction, turn)
            await transaction.change(sql.CLOSE, {"id": turn.id})
            others = await transaction.row(sql.OPEN_TURNS, {"conversation": turn.conversation_id})
            return others is not None

        return await self._database.write(work)

    async def selected(self, statement: str, parameters: Parameters) -> list[Turn]:
        """The turns that an SQL statement gives."""
        return [turn_record(row) for row in await self._database.rows(statement, parameters)]


def _numbers_of(turn: Turn) -> Parameters:
    return {"conversation": turn.conversation_id, "n": turn.n, "place": turn.place}


async def _mark(transaction: Transaction, turn: Turn) -> None:
    await transaction.change(sql.SUPERSEDE, {"id": turn.id, **_numbers_of(turn)})


async def _stored(transaction: Transaction, turn: Turn) -> Turn | None:
    found = await transaction.row(sql.BY_ID, {"id": turn.id, "conversation": turn.conversation_id})
    return None if found is None else turn_record(found)


async def _duplicate(transaction: Transaction, parameters: Parameters) -> Duplicate:
    """Which key is in use already; SQLite names only the first index it looked at."""
    for statement, duplicate in (
        (sql.BY_KEY, DuplicateMessage),
        (sql.BY_NUMBER, DuplicateNumber),
        (sql.BY_ID_ALONE, Duplicate),
    ):
        if await transaction.row(statement, parameters) is not None:
            return duplicate()
    return DuplicateRunning()
