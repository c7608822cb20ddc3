"""What keeps turns alive: this server's leases renewed, and turns that nobody holds taken on."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress

from memory.errors import Unavailable
from memory.records import Turn
from server.feed.feeds import NotTold
from server.signals import Signals
from server.tasks import again_and_again
from server.turns.answering import Answering
from stores.contract import TurnStore

log = logging.getLogger(__name__)

# A quarter of the lease leaves three tries before it is over.
RENEWALS_PER_LEASE = 4
RETRY_SECONDS = 0.2
SWEEP_LIMIT = 100
MOST_AT_ONCE = 10
SHORTEST_PAUSE = 0.05
# Where no signal can tell that a turn is to stop, the renewal does: as often as this.
STOP_SECONDS = 0.8


class Leases:
    """Renews and sweeps for as long as ``run`` runs."""

    def __init__(
        self, answering: Answering, turns: TurnStore, signals: Signals, *, sweep_seconds: float
    ) -> None:
        self._answering = answering
        self._turns = turns
        self._signals = signals
        self._sweep_seconds = sweep_seconds
        self._work = asyncio.Event()
        """Another server has left some."""
        signals.on("work", lambda _: self._work.set())

    async def renew_forever(self) -> None:
        pause = RETRY_SECONDS

        async def renew() -> None:
            nonlocal pause
            pause = RETRY_SECONDS
            if await self.renew():
                pause = self._answering.lease_ms / 1000 / RENEWALS_PER_LEASE
                if not self._signals.connected:
                    pause = min(pause, STOP_SECONDS)

        await again_and_again(renew, lambda: pause)

    async def renew(self) -> bool:
        """Once; False when the store was away."""
        async with self._answering.renewing:
            return self._answering.runs.has_let_go or await self._renew()

    async def _renew(self) -> bool:
        held = self._answering.held()
        if not held:
            return True
        asked = time.monotonic()
        try:
            renewed = await self._turns.renew(
                held, self._answering.owner, lease_ms=self._answering.lease_ms
            )
        except Unavailable:
            return False
        stopped = []
        for turn_id, stop_requested in renewed.items():
            run = self._answering.runs.get(turn_id)
            if run is None:
                # Stopped while it waited, and whoever did it has not concluded it.
                stopped += [turn_id] * stop_requested
            elif run is held[turn_id]:
                run.lease_until = asked + self._answering.lease_ms / 1000
                if stop_requested:
                    run.stop()
        lost = held.keys() - renewed.keys()
        self._answering.lost(each for each in lost if self._answering.still_holds(each, held[each]))
        stopped = [each for each in stopped if self._answering.still_holds(each, held[each])]
        if stopped:
            await self._answering.leave(stopped)
        return True

    async def sweep_forever(self) -> None:
        async def sweep() -> None:
            self._work.clear()
            await self.sweep()
            # Jitter, so that servers do not reach for the same turns at the same moment.
            pause = self._sweep_seconds * random.uniform(0.7, 1.3)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._work.wait()

        await again_and_again(sweep, lambda: SHORTEST_PAUSE)

    async def sweep(self) -> None:
        """Take on the turns that no server holds: their server died, or could not end them."""
        if self._answering.draining:
            return
        try:
            adrift = await self._turns.adrift(SWEEP_LIMIT)
            for first in range(0, len(adrift), MOST_AT_ONCE):
                await asyncio.gather(*map(self._adopt, adrift[first : first + MOST_AT_ONCE]))
            await self._answering.look_again()
        except Unavailable:
            log.debug("The sweep waits for the store.")

    async def _adopt(self, turn: Turn) -> None:
        try:
            await self._answering.adopt(turn)
        except NotTold:
            log.warning("A turn's end can't be told yet.", extra={"turn_id": turn.id})
        except Unavailable:
            raise
        except Exception:  # this turn, or its conversation: the others must not wait for it
            log.exception("A turn can't be taken on.", extra={"turn_id": turn.id})
