"""Whether this server hears what is published, and what it does about it when it does not.

A subscription can be dead while commands work: the link is silent and not closed, or something in
between has dropped it. Nothing shows that but silence. So each server publishes a beat to a channel
of its own, and is *deaf* when it does not come back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from redislink.link import RedisAway
from redislink.session import Session
from redislink.subscription import Handler, NotListening, Subscription
from server.feed.keys import beat_channel

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
DEAF_SECONDS = 3.0
"""Without a beat. Two may be lost to a slow moment; with the second that the next look may take it
is noticed within four."""


class Hearing:
    """``look`` is awaited once a second while this server is deaf, and whenever it hears again:
    what was published meanwhile has to be read."""

    def __init__(
        self, url: str, session: Session, *, server: str, look: Callable[[], Awaitable[None]]
    ) -> None:
        self._session = session
        self._channel = beat_channel(server)
        self._kept: dict[bytes, Handler] = {self._channel: self._heard}
        self._look = look
        self._subscription = Subscription(url, name="feed", on_return=self._returned)
        self._heard_at = time.monotonic()
        self._has_returned = asyncio.Event()
        self._is_unproven = False
        """Whether it has returned since the last beat: the next one is to prove it."""
        self.deaf = False

    def start(self) -> None:
        self._subscription.start()

    async def close(self) -> None:
        await self._subscription.close()

    async def listen(self, channel: bytes, handler: Handler) -> None:
        """Raises ``NotListening``."""
        await self._subscription.listen(channel, handler)

    def keep_listening(self, channel: bytes, handler: Handler) -> None:
        """From as soon as that is possible on, and without waiting for it."""
        self._kept[channel] = handler

    def leave(self, channel: bytes) -> None:
        self._subscription.leave(channel)

    async def beat_forever(self) -> None:
        expected = time.monotonic()
        while True:
            if time.monotonic() - expected > BEAT_SECONDS:
                self._heard_at = time.monotonic()  # it was this process that stood still
            await self._beat()
            if self._has_returned.is_set() or self.deaf:
                self._has_returned.clear()
                await self._look_safely()
            expected = time.monotonic() + BEAT_SECONDS
            if self.deaf:
                # What has returned may be dead again at once, time after time: only a beat that
                # comes back proves it, and until then looks keep their pace.
                await asyncio.sleep(BEAT_SECONDS)
                continue
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._has_returned.wait()
            except TimeoutError:
                continue

    async def _beat(self) -> None:
        if not self._session.connected:
            self._heard_at = time.monotonic()
            self._judge(deaf=False)  # nothing is published: everything is local
            return
        try:
            await self._listen_to_all_kept()
            await self._session.command("PUBLISH", self._channel, b"1")
        except (RedisAway, NotListening):
            pass
        silent = time.monotonic() - self._heard_at
        self._judge(deaf=silent > DEAF_SECONDS)
        if self.deaf and not self._is_unproven:
            self._subscription.restart()
        self._is_unproven = False

    async def _listen_to_all_kept(self) -> None:
        for channel, handler in list(self._kept.items()):
            if not self._subscription.listens_to(channel):
                await self._subscription.listen(channel, handler)

    def _heard(self, _: bytes) -> None:
        self._heard_at = time.monotonic()
        self._judge(deaf=False)

    def _judge(self, *, deaf: bool) -> None:
        if deaf and not self.deaf:
            log.warning(
                "This server does not hear what is published; it reads instead, and reconnects.",
                extra={"action": "feed.deaf"},
            )
        elif self.deaf and not deaf:
            log.info("This server hears again.", extra={"action": "feed.hears"})
        self.deaf = deaf

    def _returned(self) -> None:
        self._has_returned.set()
        self._is_unproven = True

    async def _look_safely(self) -> None:
        try:
            await self._look()
        except Exception:  # the top of a task that must not end
            log.exception("What was published could not be read.", extra={"action": "feed.look"})
