"""One conversation of a user: what is said, stopped, edited and answered anew in it."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from tests.chaos.evidence import Send
from tests.chaos.tab import ticks
from tests.support.client import new_id

if TYPE_CHECKING:
    from tests.chaos.user import User

WORDS = ("river", "lantern", "été", "stone", "paper", "雲", "garden", "north", "seven", "🙂")

RECOGNISED = 15
"""So many of the last messages are known when they are sent again while the store is away."""


class Asked:
    """A question as the user sees it in the conversation, and the turn that answers it."""

    def __init__(self, message_id: str, content: str, turn_id: str) -> None:
        self.message_id = message_id
        self.content = content
        self.turn_id = turn_id


class Talk:
    def __init__(self, user: User, number: int, rng: random.Random) -> None:
        self.id = ""
        self._user = user
        self._number = number
        self._rng = rng
        self._written = 0
        self._rewrites = 0
        """Calls under way that may take something out of the conversation."""
        self._asked: list[Asked] = []
        """The questions in the conversation, as far as this user's calls were answered."""

    async def go_on(self, until: float) -> None:
        await self._begin()
        self._user.conversations.append(self.id)
        await asyncio.gather(*(tab.follow(self.id) for tab in self._user.tabs))
        rng = self._rng
        while time.monotonic() < until:
            acts = [self._send() for _ in range(rng.choices((1, 2, 4), (6, 3, 1))[0])]
            if self._asked and rng.random() < 0.25:
                acts.append(self._rewrite(rng.uniform(0, 0.8)))
            if self._asked and rng.random() < 0.04:
                # Two tabs that don't know of each other's: at most one of them is too late.
                acts += [self._rewrite(0.0), self._rewrite(0.0)]
            if rng.random() < 0.1:
                acts.append(self._stop(rng.uniform(0, 0.6)))
            if rng.random() < 0.1:
                acts.append(self._repeat())
            await asyncio.gather(*acts)
            if self._asked and rng.random() < 0.8:
                await self._wait_for(self._asked[-1].turn_id, min(until, time.monotonic() + 4))
            await asyncio.sleep(rng.uniform(0, 0.4))

    async def _begin(self) -> None:
        """Either by a call of its own or by a first message."""
        if self._rng.random() < 0.5:
            self.id = new_id()
            tab = self._user.first
            await tab.call("conversation:create", conversation_id=self.id, title="chaos")
        else:
            await self._send()

    def _text(self) -> str:
        self._written += 1
        words = " ".join(self._rng.sample(WORDS, 3))
        return f"{self._user.name}.{self._number}.{self._written} {words}"

    async def _send(self) -> None:
        rng = self._rng
        send = Send(new_id(), self._text(), next(ticks))
        send.fields = {"message_id": send.message_id, "content": send.content}
        if not self.id:
            await self._user.begin(send, self._user.first)
            self.id = send.conversation_id
        else:
            send.fields["conversation_id"] = self.id
            if rng.random() < 0.04:
                send.fields["if_busy"] = "interrupt"
            await self._call(send)
        self._asked.append(Asked(send.message_id, send.content, str(send.turn_id)))

    async def _call(self, send: Send) -> None:
        tab, at_once = self._user.some_tab(self._rng), self._rng.random() < 0.05
        if at_once:
            await self._user.begin_on_all_tabs(send)
        else:
            await self._user.begin(send, tab)

    async def _rewrite(self, after: float) -> None:
        """Mostly of what was said last; of what is being answered, too."""
        rng = self._rng
        back = rng.choices((1, 2, 3, 6), (6, 3, 2, 1))[0]
        target = self._asked[-min(back, len(self._asked))]
        if rng.random() < 0.6:
            send = Send(new_id(), self._text(), 0, call="message:edit", rewrites=target.message_id)
            send.fields = {"message_id": target.message_id, "new_message_id": send.message_id}
            send.fields["content"] = send.content
        else:
            send = Send(new_id(), target.content, 0, call="turn:regenerate")
            send.rewrites = target.turn_id
            send.fields = {"turn_id": target.turn_id, "new_turn_id": send.message_id}
            if rng.random() < 0.8:  # otherwise the call waits for the end, being told `busy`
                await self._wait_for(target.turn_id, time.monotonic() + 3)
        send.fields["conversation_id"] = self.id
        await asyncio.sleep(after)
        send.sent = next(ticks)
        self._rewrites += 1
        try:
            await self._call(send)
        finally:
            self._rewrites -= 1
        if send.refused is None and target in self._asked:
            place = self._asked.index(target)
            asked = send.message_id if send.call == "message:edit" else target.message_id
            self._asked[place:] = [Asked(asked, send.content, str(send.turn_id))]

    async def _stop(self, after: float) -> None:
        """From whichever tab, so often on another server than the one that answers."""
        await asyncio.sleep(after)
        if self._asked:
            turn_id = self._rng.choice(self._asked[-4:]).turn_id
            await self._user.stop(self.id, turn_id, self._rng.choice(self._user.tabs))

    async def _repeat(self) -> None:
        sends = [each for each in self._user.sends if each.answer and not each.refused]
        if not sends:
            return
        send, tab = self._rng.choice(sends), self._rng.choice(self._user.tabs)
        if self._is_known_everywhere(send):
            await self._user.repeat(send, tab)
        elif not self._user.only_the_store_knows.locked():
            async with self._user.only_the_store_knows:
                await self._user.repeat(send, tab)

    def _is_known_everywhere(self, send: Send) -> bool:
        """Also while the permanent store is away: it still is in the conversation, near its end."""
        latest = {asked.turn_id for asked in self._asked[-RECOGNISED:]}
        return send.turn_id in latest and not self._rewrites

    async def _wait_for(self, turn_id: str, until: float) -> None:
        while turn_id not in self._user.first.ended and time.monotonic() < until:
            await asyncio.sleep(0.05)
