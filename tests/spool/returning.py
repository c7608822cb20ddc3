"""Conversations that went into a spool and come back from it; short to write."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from memory.records import Conversation, Turn
from mongo.store import MongoStore
from spool.draining import Drain
from spool.file import Lodging, SpoolFile
from stores.contract import Drained
from tests.stores.samples import LEASE, ME, USER, claimed, closed, finished, sent


class Died(Exception):
    """A server did."""


class Spool:
    """A spool before a permanent store, with which conversations lodge as they are there."""

    def __init__(self, file: SpoolFile, permanent: MongoStore) -> None:
        self.file = file
        self.permanent = permanent
        self.told: list[Drained] = []
        self._lodgings: dict[str, Lodging] = {}

    @staticmethod
    def _lease_ms(turn: Turn) -> int:
        return LEASE if turn.owner == ME else 0

    async def _tell(self, drained: Drained) -> None:
        # It is told while it can still be drained again.
        assert drained.conversation_id in {
            each.conversation_id for each in await self.file.lodgings()
        }
        self.told.append(drained)

    async def lodge(self, conversation_id: str) -> Lodging:
        """As the permanent store has it; but nobody tells who has answered what is closed."""
        conversation = await self.permanent.conversations.get(conversation_id, USER)
        kept = await self.permanent.turns.before(conversation_id, None, 25)
        turns = [turn if turn.open else replace(turn, owner=None) for turn in kept]
        return await self._lodge(conversation, turns, made=False)

    async def begin(self, conversation_id: str, *, user_id: str = USER) -> Lodging:
        """One that the permanent store does not know."""
        fresh = Conversation(
            id=conversation_id, user_id=user_id, title="new", created_at=1, updated_at=1
        )
        return await self._lodge(fresh, [], made=True)

    async def _lodge(self, conversation: Conversation, turns: list[Turn], *, made: bool) -> Lodging:
        lodging = await self.file.lodge(
            conversation, turns, summary=None, made=made, lease_ms=LEASE
        )
        self._lodgings[conversation.id] = lodging
        return lodging

    async def drain(
        self, conversation_id: str, *, into: MongoStore | None = None, keeping: bool = False
    ) -> Drained:
        """``keeping`` it all in the spool: as where a server dies when it has told it."""

        async def tell(drained: Drained) -> None:
            await self._tell(drained)
            if keeping:
                raise Died

        drain = Drain(self.file, into or self.permanent, self._lease_ms, tell)
        try:
            return await drain.drain(self._lodgings[conversation_id])
        except Died:
            return self.told[-1]

    async def ask(self, conversation_id: str, **fields: Any) -> Turn:
        """A message, accepted here."""
        return await sent(self.file, conversation_id, **fields)

    async def exchange(self, conversation_id: str, content: str | None = None) -> Turn:
        """A whole turn here: accepted, answered, closed."""
        fields = {} if content is None else {"content": content}
        return await self.answer(await self.ask(conversation_id, **fields))

    async def answer(self, turn: Turn) -> Turn:
        running = turn if turn.status == "running" else await claimed(self.file, turn)
        return await closed(self.file, await finished(self.file, running))


async def exchange(store: MongoStore, conversation_id: str, **fields: Any) -> Turn:
    """The next whole turn, in the permanent store."""
    turn = await sent(store, conversation_id, status="running", **fields)
    return await closed(store, await finished(store, turn))


async def assert_in_order(store: MongoStore, conversation_id: str, *contents: str) -> list[Turn]:
    """These questions, each once, each answered (or ``-`` before those that are not), with all that
    is counted right; and nothing is open."""
    turns = await store.turns.before(conversation_id, None, 100)
    asked = [
        turn.question.content if turn.answer else f"-{turn.question.content}" for turn in turns
    ]
    assert asked == list(contents)
    assert [turn.n for turn in turns] == list(range(1, len(turns) + 1))
    assert [turn.place for turn in turns] == [turn.n for turn in turns]
    count = 0
    for turn in turns:
        count += turn.answer is not None
        assert turn.answers in (None, count)
    transcript = await store.load(conversation_id, 1_000)
    assert transcript.position.answers == count
    assert transcript.position.turn == len(turns)
    conversation = await store.conversations.get(conversation_id, USER)
    assert conversation.position == transcript.position
    assert await store.turns.open_turns(conversation_id) == []
    return turns
