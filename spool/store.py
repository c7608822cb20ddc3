"""The permanent store with a spool before it: what the server is given where there is MongoDB."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from memory.errors import NotFound, Refused, RememberingError, Unavailable
from memory.records import Message, Summary, Transcript
from redislink.session import Session
from spool.cards import Cards
from spool.conversations import SpooledConversations
from spool.draining import Drain
from spool.file import Lodging, SpoolFile
from spool.leases import SpoolLeases
from spool.lodgings import Hot, Lodgings
from spool.orphans import Orphans
from spool.permanent import Permanent
from spool.turns import RETURN_SECONDS, SpooledTurns
from stores.contract import Drained

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
DRAINED_TOGETHER = 8
# So often leases are renewed, and longer where there are many: so many a second.
LEASES_SECONDS = 1.0
LEASES_A_SECOND = 1_000
ORPHANS_SECONDS = 10.0


class SpooledStore:
    """``stores.contract.Store``. Drains once ``drain_to`` was called."""

    def __init__(
        self,
        permanent: Permanent,
        *,
        data_dir: Path,
        slot: Path,
        slot_id: str,
        owner: str,
        lease_ms: int,
        redis_url: str | None,
    ) -> None:
        """``slot`` is this server's folder in ``data_dir``, ``slot_id`` its name through all its
        restarts; ``lease_ms`` what an answer that goes on is given in the permanent store."""
        self._permanent = permanent
        self._file = SpoolFile(slot)
        self._redis_url = redis_url
        self._session: Session | None = None
        self._cards = Cards()
        self._leases = SpoolLeases(slot_id)
        self._lodgings = Lodgings(permanent, self._file, self._cards, self._leases)
        self.conversations = SpooledConversations(self._lodgings)
        self.turns = SpooledTurns(self._lodgings)
        # Nothing of these is spooled: while the permanent store is away it says so itself. And what
        # is only in the spool is not found, or counted, yet.
        self.attachments = permanent.attachments
        self.facts = permanent.facts
        self.erasures = permanent.erasures
        self.usage = permanent.usage
        self.search = permanent.search
        self._drain = Drain(
            self._file,
            permanent,
            lambda turn: lease_ms if turn.owner == owner else 0,
            self._tell,
        )
        self._orphans = Orphans(data_dir, slot, permanent, self._tell)
        self._on_drained: Callable[[Drained], Awaitable[None]] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._returned = asyncio.Event()
        self.drained = 0
        """Turns that were brought to the permanent store since the start."""
        self.spooled = 0
        """Turns that wait for it, as of the last look."""

    def look_in(self, hot: Hot) -> None:
        """``hot`` gives what memory has of a conversation, without asking this store."""
        self._lodgings.hot = hot

    @property
    def away(self) -> bool:
        return self._permanent.away

    @property
    def description(self) -> str:
        return f"{self._permanent.description}; while it is away, a spool in {self._file.path}"

    # Its life

    async def connect(self) -> None:
        """Raises what the spool's file, or a permanent store that can never be reached, raises. One
        that is away is no error."""
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        self._tasks.append(asyncio.create_task(self._look_forever(), name="spool-look"))

    async def _open(self) -> None:
        await self._file.connect()
        if self._redis_url is not None:
            session = Session(self._redis_url, self._cards, name="spool", tell=_told)
            self._session = self._cards.session = self._leases.session = session
            await session.opened()
        await self._lodgings.load()
        try:
            await self._permanent.connect()
        except Refused:
            raise  # it does not mend itself
        except Unavailable:
            log.debug("The permanent store is to be reached later.")

    def drain_to(self, on_drained: Callable[[Drained], Awaitable[None]]) -> None:
        """From now on what is in the spool goes to the permanent store. ``on_drained`` is called
        for each conversation that is there again, while its calls still wait."""
        self._on_drained = on_drained
        self._tasks.append(asyncio.create_task(self._drain_forever(), name="spool-drain"))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._session is not None:
            await self._session.close()
        await self._permanent.close()
        await self._file.close()

    async def ping(self) -> None:
        await self._permanent.ping()

    async def ping_spool(self) -> bool:
        try:
            await self._file.ping()
        except RememberingError:
            return False
        return True

    def changed(self, away: bool) -> None:
        """The permanent store went, or is back."""
        if away:
            log.warning(
                "The permanent store is away: what is said is kept in the spool.",
                extra={"action": "store_away"},
            )
        else:
            self.turns.settled_at = time.monotonic() + RETURN_SECONDS
            log.info("The permanent store is back.", extra={"action": "store_back"})
            self._returned.set()

    async def _tell(self, drained: Drained) -> None:
        await self._cards.is_kept(drained.conversation_id)
        if drained.gone:
            await self._cards.forget(drained.conversation_id)
        if drained.gone and not drained.moved:
            self._cards.is_deleted(drained.conversation_id)
        for turn in {turn.id: turn for turn, _ in drained.stored}.values():
            self._cards.note(None, turn)  # as the permanent store has it now
        if self._on_drained is not None:
            await self._on_drained(drained)

    async def _look_forever(self) -> None:
        orphans_at = leases_at = time.monotonic()
        while True:
            try:
                if time.monotonic() > leases_at:
                    many = len(self._lodgings.lodged) / LEASES_A_SECOND
                    await self._lodgings.keep_leases()
                    leases_at = time.monotonic() + max(LEASES_SECONDS, min(many, 10))
                await self._leases.look()
                self.spooled = await self._file.spooled_turns() if self._lodgings.lodged else 0
                drains = self._on_drained is not None and not self._permanent.away
                if drains and time.monotonic() > orphans_at:
                    orphans_at = time.monotonic() + ORPHANS_SECONDS
                    self.drained += await self._orphans.drain(self._session)
            except Unavailable:
                log.debug("The spool was not looked after.")
            except Exception:  # the top of a task that must not end
                log.exception("The spool could not be looked after.")
            await asyncio.sleep(LOOK_SECONDS)

    async def _drain_forever(self) -> None:
        while True:
            if not self._permanent.away:
                await self._drain_all()
            # Also what could not be drained then is tried again.
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._returned.wait()
            except TimeoutError:
                continue
            self._returned.clear()

    async def _drain_all(self) -> None:
        waiting = list(self._lodgings.lodged)
        for first in range(0, len(waiting), DRAINED_TOGETHER):
            await asyncio.gather(*map(self._drain_one, waiting[first : first + DRAINED_TOGETHER]))
            if self._permanent.away:
                return
        for conversation_id in list(self._file.left):
            if conversation_id not in self._file.left:
                continue  # it has come to lodge again
            try:
                await self._file.let_go(conversation_id)
            except RememberingError:
                break  # the file can't be written yet
        if waiting and not self._lodgings.lodged:
            try:
                await self._file.empty_log()  # nobody needs its texts any more
            except RememberingError:
                log.debug("The spool's log is emptied later.")

    async def _drain_one(self, conversation_id: str) -> None:
        async with self._lodgings.moving.holding(conversation_id):
            lodging = self._lodgings.lodged.get(conversation_id)
            if lodging is None:
                return
            try:
                drained = await self._drain.drain(lodging)
            except Unavailable:
                return
            except Exception:
                log.exception(
                    "A conversation can't be drained; it stays in the spool.",
                    extra={"action": "drain_failed", "conversation_id": conversation_id},
                )
                return
            del self._lodgings.lodged[conversation_id]
        await self._leases.release(conversation_id)
        self.drained += len({turn.id for turn, _ in drained.stored})
        log.info(
            "A conversation was drained.",
            extra={
                "action": "drained",
                "conversation_id": conversation_id,
                "messages": len(drained.stored),
            },
        )

    # The archive

    async def load(self, conversation_id: str, max_messages: int) -> Transcript:
        async def there() -> Transcript:
            with suppress(NotFound):
                loaded = await self._permanent.load(conversation_id, max_messages)
                if loaded.messages:
                    return loaded
            await self._lodgings.require_brought(conversation_id)
            return await self._permanent.load(conversation_id, max_messages)

        async def here(_: Lodging) -> Transcript:
            loaded = await self._file.load(conversation_id, max_messages)
            reaches_back = not loaded.messages or loaded.messages[0].seq == 1
            is_whole = reaches_back or len(loaded.messages) >= max_messages
            return replace(loaded, whole=is_whole)

        async def otherwise() -> Transcript:
            hot = await self._lodgings.hot(conversation_id)
            if hot is not None:
                return _latest(hot, max_messages)
            if self._session is not None and self._session.connected:
                raise Unavailable
            # Nobody else can be asked: what this process has seen of it is all there is.
            return await self._lodgings.do(conversation_id, there, here)

        return await self._lodgings.see(conversation_id, there, here, otherwise)

    def forget(self, conversation_id: str) -> None:
        self._cards.is_deleted(conversation_id)

    async def marked(self, conversation_id: str, transcript: Transcript) -> Transcript:
        return await self._lodgings.marked(conversation_id, transcript)

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        return await self._lodgings.only_there(
            conversation_id, lambda: self._permanent.messages_after(conversation_id, seq, limit)
        )

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        return await self._lodgings.only_there(
            conversation_id,
            lambda: self._permanent.save_summary(conversation_id, summary, revision=revision),
        )

    async def secret(self, name: str, *, offered: str | None = None) -> str:
        return await self._permanent.secret(name, offered=offered)


def _told(error: BaseException | None) -> None:
    if error is not None:
        log.debug("The spool is without Redis.", extra={"action": "spool.disconnected"})


def _latest(transcript: Transcript, max_messages: int) -> Transcript:
    messages = transcript.messages
    return replace(transcript, messages=messages[max(0, len(messages) - max_messages) :])
