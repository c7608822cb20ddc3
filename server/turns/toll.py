"""What a new message costs its user. One that was accepted before is free, also when nothing is
left to pay with: a client that got no answer must be able to ask again."""

from __future__ import annotations

from typing import Protocol

from memory.errors import Unavailable
from memory.records import Turn
from server.errors import RateLimited
from stores.contract import TurnStore


class Purse(Protocol):
    """What the users have to pay with."""

    async def pay(self, user_id: str) -> None:
        """Take the price of a message. Raises ``RateLimited``, and then has taken nothing."""

    def give_back(self, user_id: str) -> None: ...


class Toll:
    def __init__(self, turns: TurnStore, purse: Purse) -> None:
        self._turns = turns
        self._purse = purse

    async def known(self, user_id: str, key: str) -> Turn | None:
        """The turn that was accepted under this key; where there is none, the price is taken.

        Raises ``RateLimited``, and ``Unavailable`` where nobody can tell.
        """
        turn = await self._turns.by_message(user_id, key)
        if turn is None:
            await self._purse.pay(user_id)
        return turn

    async def pay(self, user_id: str) -> RateLimited | None:
        """Take the price, and leave it to the store to find out, when it is to keep the message,
        whether that is known: then ``give_back``. Or why it can't be taken."""
        try:
            await self._purse.pay(user_id)
        except RateLimited as refusal:
            return refusal
        return None

    def give_back(self, user_id: str) -> None:
        """It was known."""
        self._purse.give_back(user_id)

    async def known_or_refused(
        self, refusal: RateLimited, user_id: str, key: str, turn_id: str, conversation_id: str
    ) -> Turn | None:
        """The known turn of who has nothing left. None where nobody can tell, and the conversation
        has the turn among its latest: then it is met there. Raises ``refusal``."""
        try:
            turn = await self._turns.by_message(user_id, key)
        except Unavailable:
            if await self._is_of_the_latest(turn_id, conversation_id):
                return None
            raise refusal from None
        if turn is None:
            raise refusal
        return turn

    async def _is_of_the_latest(self, turn_id: str, conversation_id: str) -> bool:
        try:
            last = await self._turns.last(conversation_id)
            latest = {turn.id for turn in await self._turns.open_turns(conversation_id)}
        except Unavailable:
            return False
        return turn_id in latest or (last is not None and last.id == turn_id)
