"""What a new message costs its user. One that was accepted before is free, also when nothing is
left to pay with: a client that got no answer must be able to ask again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from memory.errors import Unavailable
from memory.records import Turn
from stores.contract import TurnStore

Pay = Callable[[str], Awaitable[None]]
"""Takes the price of a message from a user. Raises ``RateLimited``."""


class Toll:
    def __init__(self, turns: TurnStore, pay: Pay) -> None:
        self._turns = turns
        self.pay = pay

    async def known(self, user_id: str, key: str) -> Turn | None:
        """The turn that was accepted under this key; where there is none, the price is taken.

        Raises ``RateLimited``, and ``Unavailable`` where nobody can tell.
        """
        turn = await self._turns.by_message(user_id, key)
        if turn is None:
            await self.pay(user_id)
        return turn

    async def pay_unless_last(self, user_id: str, turn_id: str, conversation_id: str) -> None:
        """Where nobody can tell whether a turn is known: it is, if the conversation has it among
        its latest. Raises ``RateLimited``."""
        try:
            last = await self._turns.last(conversation_id)
            latest = {turn.id for turn in await self._turns.open_turns(conversation_id)}
        except Unavailable:
            last, latest = None, set()
        if turn_id not in latest and (last is None or last.id != turn_id):
            await self.pay(user_id)
