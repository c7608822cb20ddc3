"""Random conversations in a permanent store, and what a server before it notes of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from embedded.store import EmbeddedStore
from memory.records import Turn
from spool.cards import Cards
from spool.conversations import SpooledConversations
from spool.file import SpoolFile
from spool.leases import SpoolLeases
from spool.lodgings import Lodgings
from spool.turns import SpooledTurns
from tests.stores.samples import LEASE, ME, USER, an_answer, new_id, next_turn

Step = tuple[str, int]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.just(0)),
        st.tuples(st.sampled_from(["answer", "answer", "fail", "end"]), st.just(0)),
        st.tuples(st.sampled_from(["stop", "edit"]), st.integers(0, 4)),
    ),
    max_size=14,
)


class PermanentFile(EmbeddedStore):
    """A permanent store that is here, and into which nothing is drained."""

    away = False


class Journey:
    """One conversation on its way through a server whose permanent store is there."""

    def __init__(self, permanent: PermanentFile, cards: Cards, file: SpoolFile) -> None:
        # Nothing lodges, so the file stays as it is.
        lodgings = Lodgings(permanent, file, cards, SpoolLeases("slot-1"))
        self.permanent = permanent
        self.id = new_id()
        self.is_cut = False
        """It was edited, and no turn was closed since: nobody can tell the numbers before."""
        self._is_edited = False
        self._conversations = SpooledConversations(lodgings)
        self._turns = SpooledTurns(lodgings)

    async def go(self, steps: list[Step]) -> None:
        await self._conversations.create(self.id, USER, "", digest=None, at=1_000)
        for name, which in steps:
            await getattr(self, name)(which)

    async def is_tangled(self) -> bool:
        """It was edited, and one that is open stands before the last that was closed: whoever
        counts the numbers back from that one comes to the number of the open one."""
        opened, last = await self._open(), await self.permanent.turns.last(self.id)
        is_past = last is not None and not last.open and any(each.n < last.n for each in opened)
        return self._is_edited and is_past

    async def send(self, _: int) -> None:
        opened = await self._open()
        if len(opened) > 2:
            return
        await self._accept(await self._next(status="queued" if opened else "running"))

    async def edit(self, which: int) -> None:
        last = await self.permanent.turns.last(self.id)
        if last is None:
            return
        place = 1 + which % last.place
        turn = await self._next(rewriting=place)
        await self._turns.insert(turn, lease_ms=LEASE)
        await self._turns.supersede(turn)
        await self._conversations.touch(turn)
        self.is_cut = place > 1
        self._is_edited = self._is_edited or place > 1

    async def stop(self, which: int) -> None:
        """One that waits; it need not be the first."""
        waiting = [turn for turn in await self._open() if turn.status == "queued"]
        if waiting:
            turn = waiting[which % len(waiting)]
            stopped = await self._turns.request_stop(self.id, turn.id)
            assert stopped is not None
            await self._close(stopped)

    async def answer(self, _: int) -> None:
        await self._end(is_answered=True)

    async def fail(self, _: int) -> None:
        await self._end(is_answered=False)

    async def end(self, _: int) -> None:
        """And be cut off before it is closed."""
        await self._end(is_answered=True, closes=False)

    async def _end(self, *, is_answered: bool, closes: bool = True) -> None:
        opened = await self._open()
        if not opened:
            return
        turn: Turn | None = opened[0]
        if turn.status == "queued":
            turn = await self._turns.claim(turn, ME, lease_ms=LEASE)
        if turn.status == "running":
            answer = an_answer(turn) if is_answered else None
            turn = await self._turns.finish(turn, "completed" if is_answered else "failed", answer)
        if closes:
            await self._close(turn)

    async def _accept(self, turn: Turn) -> None:
        await self._turns.insert(turn, lease_ms=LEASE)
        await self._conversations.touch(turn)

    async def _close(self, turn: Turn) -> None:
        await self._turns.close(turn)
        self.is_cut = False

    async def _open(self) -> list[Turn]:
        return await self.permanent.turns.open_turns(self.id)

    async def _next(self, **fields: Any) -> Turn:
        return await next_turn(self.permanent, self.id, **fields)
