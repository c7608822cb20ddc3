"""One conversation's feed in this process: its log, those who follow it, what is written to it.

The log is *shared* while Redis is there: events are appended in Redis, and what this feed knows
and tells is what it hears of that, so that all servers' readers see the same. Or it is *local*:
Redis is away, and events go into the log as they come.

Races:

- An event is on its way to Redis when Redis goes: taken, and nobody heard of it, or not taken? What
  was not heard is put into the local log again, whose rules know what it has.
- A publication is lost: the next one shows the gap, and it is read. Was it the last: an append's
  answer says how far the log has come, and what is not heard soon after it is read.
- Something happens while a log is begun, or taken up: it waits in line, and the rules place it.
- The log is replaced under its readers: they are told by ``conversation:snapshot``, and what comes
  meanwhile waits behind that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Protocol

from memory.errors import NotFound, Unavailable
from memory.records import Position, Transcript
from redislink.link import RedisAway
from redislink.subscription import NotListening
from server.edge.connections import Deliver
from server.feed.checkpoints import Checkpoints
from server.feed.events import Ending, ending_of
from server.feed.following import Readers, shown
from server.feed.keys import MAX_EVENTS
from server.feed.line import Line, Write
from server.feed.log import Checkpoint, Entry, Log, Moment, new_epoch
from server.feed.mending import Mending, Step
from server.feed.shared import Heard, SharedLogs
from server.tasks import Tasks

log = logging.getLogger(__name__)

BEHIND_PAUSE = 0.03
BEHIND_SECONDS = 0.3
"""An earlier turn is announced in a moment by the server that took it; a third of a second later it
never will be, and the log begins anew."""
MOST_BEGINNINGS = 5
"""Of a log in one go. What the store says is what was told, and more: the first should do."""
MOST_MOMENTS = 50
# How far back an end is looked for: a turn after it may have been told meanwhile.
ENDS_LOOKED_AT = 2_000
MOMENT_SECONDS = 0.02
"""A snapshot's messages were read after an edit that the log has not heard of: it will, shortly."""


class Memory(Protocol):
    """How a snapshot gets a conversation's latest messages."""

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript: ...


class Feed:
    def __init__(
        self,
        conversation_id: str,
        *,
        checkpoints: Checkpoints,
        memory: Memory,
        shared: SharedLogs | None,
        deliver: Deliver,
        tasks: Tasks,
        forget: Callable[[str], None],
    ) -> None:
        """``forget`` is called where the conversation turns out to be deleted."""
        self.id = conversation_id
        self.readers = Readers(deliver)
        self.is_local = False
        self.has_diverged = False
        """Whether something was told here that the log in Redis lacks."""
        self._log: Log | None = None
        self._checkpoints = checkpoints
        self._memory = memory
        self._shared = shared
        self._forget = forget
        self._line = Line()
        steps: dict[Step, Callable[[], Awaitable[None]]] = {
            "ready": self.ready,
            "refill": self.refill,
            "restore": self.restore,
            "rejoin": self.rejoin,
            "renew": self.renew,
        }
        self._mending = Mending(conversation_id, steps, tasks, self._push)
        self._turning = asyncio.Lock()
        """Held while the log is begun, taken up or replaced; then writes wait in the line."""
        self._is_turning = False
        self._is_listening = False
        self._early: dict[int, Heard] = {}
        """Heard while the log was turning."""
        self._early_epoch: str | None = None
        """Of a log that was begun (or "": lost) meanwhile."""
        self._behind_since = 0.0
        self._is_closed = False

    @property
    def log(self) -> Log:
        if self._log is None:
            raise RuntimeError("a feed without a log: ready() first")
        return self._log

    @property
    def has_log(self) -> bool:
        return self._log is not None

    @property
    def is_busy(self) -> bool:
        """Whether something is still on its way into the log, or being done about it."""
        return bool(self._line) or self._is_turning or self._mending.is_at_work

    def mend(self, step: Step) -> None:
        """In the background, and for as long as it takes."""
        if not self._is_closed:
            self._mending.want(step)

    def close(self) -> None:
        """Nobody follows it, and nothing is written to it, here."""
        self._is_closed = True
        self._mending.close()
        if self._shared is not None and self._is_listening:
            self._shared.leave(self.id)
        self._line.close()

    # Having a log. Each raises ``Unavailable``, and ``NotFound``.

    async def ready(self) -> None:
        """Have a log: the shared one where Redis is there."""
        if self._log is not None:
            return
        async with self._turning:
            if self._log is None:
                await self._turn()

    async def renew(self) -> None:
        """Begin the log anew from the store: it lacks something, and its readers are told so."""
        asked_of = self._log
        async with self._turning:
            if self._log is asked_of:  # else it was renewed while this waited
                await self._turn(replacing=self._log)

    async def make_up(self, known: Position) -> None:
        """Tell what the store knows of and this log lacks: it was not heard, or told to nobody.

        Raises ``Unavailable`` while that can't be had, and ``NotFound``.
        """
        await self.refill()
        if self.reaches(known):
            return
        await self.renew()
        if not self.reaches(known):
            await self._stored()  # unless the store is away, it is now as the store says

    async def restore(self) -> None:
        """Redis has lost the log: it goes on from what was heard of it."""
        async with self._turning:
            await self._turn(restoring=True)

    async def rejoin(self) -> None:
        """Redis is there (again), or the log in it is gone: take up what there is."""
        async with self._turning:
            await self._turn(replacing=self._log if self.has_diverged else None)

    async def refill(self) -> None:
        """Read what was not heard."""
        shared = self._shared
        if shared is None or self._log is None:
            return
        async with self._turning, self._lines_held():
            if self.is_local:
                return
            try:
                await self._listen(shared)
                if not await self._fill(shared):
                    await self._take_up(shared, None, restoring=True)
            except NotFound:
                self._forget(self.id)
                raise
            except (RedisAway, Unavailable):
                self._go_on_alone()

    async def _turn(self, *, replacing: Log | None = None, restoring: bool = False) -> None:
        async with self._lines_held():
            try:
                if self._shared is not None and self._shared.connected:
                    with suppress(RedisAway):
                        await self._take_up(self._shared, replacing, restoring=restoring)
                        return
                if replacing is not None or self._log is None:
                    self._line.again()
                    await self._begin_locally()
                else:
                    self._go_on_alone()
            except NotFound:
                self._forget(self.id)
                raise
            except Unavailable:
                if self._log is None or self.is_local:
                    raise
                self._go_on_alone()  # the store is away too: what is known goes on

    @asynccontextmanager
    async def _lines_held(self) -> AsyncIterator[None]:
        self._is_turning = True
        try:
            yield
        finally:
            self._is_turning = False
            early, self._early_epoch = self._early_epoch, None
            if self._log is not None and not self.is_local and early not in (None, self._log.epoch):
                self.mend("rejoin")
            self._push()

    async def _take_up(self, shared: SharedLogs, replacing: Log | None, *, restoring: bool) -> None:
        """The shared log, begun if there is none, instead of that of ``replacing``."""
        await self._listen(shared)
        replaced = None
        if replacing is not None:
            replaced = replacing.epoch
            if self.is_local:  # whatever is in Redis lacks what was told here
                there = await shared.tail(self.id)
                replaced = there.epoch if there is not None else None
        found = None if replaced is not None else await shared.tail(self.id)
        begun = 0
        while found is None or (begun < MOST_BEGINNINGS and self._has_been_told_more_than(found)):
            begun += 1
            if found is not None:
                replaced = found.epoch  # who began it had not heard all
            read = self._known if restoring else self._stored
            await shared.begin(self.id, read, replacing=replaced)
            found = await shared.tail(self.id)
            restoring = False
        if not await self._fill_up_to(found, shared):
            await self._replace(found, is_local=False)

    def _has_been_told_more_than(self, found: Log) -> bool:
        known = self._log
        is_other = known is not None and known.epoch != found.epoch
        return is_other and known is not None and found.lacks(known)

    async def _fill_up_to(self, found: Log, shared: SharedLogs) -> bool:
        """Where it is this very log: take what was not heard. False where it has to be replaced."""
        return (
            self._log is not None
            and self._log.epoch == found.epoch
            and not self.is_local
            and await self._fill(shared)
        )

    async def _stored(self) -> Checkpoint:
        return await self._checkpoints.read(self.id, self._log)

    async def _known(self) -> Checkpoint:
        """What was told here, where that is all that the store has but for what waits in line here;
        else what the store has. What was told elsewhere may not have been heard."""
        stored = await self._stored()
        if self._log is None:
            return stored
        reached = Log(self.id, self._log.checkpoint())
        for write in self._line.waiting():
            reached.append(write.event)
        if reached.stands_where(Log(self.id, stored)):
            return self._log.checkpoint()
        return stored

    async def _listen(self, shared: SharedLogs) -> None:
        """A server that can't hear reads once a second instead (``Feeds.look``)."""
        if self._is_listening or shared.deaf:
            return
        try:
            await shared.listen(self.id, self._hear)
            self._is_listening = True
            if self._is_closed:
                shared.leave(self.id)
        except NotListening:
            log.debug("A feed is not heard yet.", extra={"conversation_id": self.id})

    async def _begin_locally(self) -> None:
        had_one = self._log is not None
        await self._replace(Log(self.id, await self._stored()), is_local=True)
        self.has_diverged = self.has_diverged or had_one

    async def _replace(self, fresh: Log, *, is_local: bool) -> None:
        """Go on with another log; readers are told its beginning as a snapshot, unless they have
        been told just that."""
        transcript = None
        known = self._log
        if known is not None and self.readers and not fresh.tells_the_same_as(known):
            transcript = await self._transcript_at(fresh)
        self._log = fresh
        self.is_local = is_local
        if not is_local:
            self.has_diverged = False
        elif self._shared is not None:
            self._shared.repair_soon()  # Redis may be there already, or never have been away
        self._line.again_but_in(fresh.epoch)
        if transcript is not None:
            moment = fresh.moment()
            snapshot = {
                "conversation_id": self.id,
                "cursor": moment.cursor,
                "messages": shown(self.id, moment, transcript),
                "turns": moment.turns,
            }
            self.readers.tell(Entry(fresh.number, "conversation:snapshot", snapshot))
        self._take_early()

    async def _transcript_at(self, fresh: Log) -> Transcript:
        for _ in range(MOST_MOMENTS):
            transcript = await self._memory.read(self.id, at_least=fresh.position)
            if transcript.position.revision == fresh.position.revision:
                return transcript
            self._hear_early(fresh)
            await asyncio.sleep(MOMENT_SECONDS)
        raise Unavailable("The conversation changes too quickly to be shown.")

    # What it has told

    def reaches(self, known: Position) -> bool:
        """Whether all was told here that the store knows of."""
        position = self.log.position
        return position.revision > known.revision or position.covers(known)

    def is_behind(self, cursor: str | None) -> bool:
        """Whether this is the cursor of something that was not heard here yet."""
        return not self.is_local and self.log.is_behind(cursor)

    async def missed_since(self, cursor: str | None, upto: Moment) -> list[Entry] | None:
        """What a reader with this cursor must be given up to a moment; None where nobody can tell.

        The latest are known here; what came before them is read from the shared log.
        """
        number = self.log.number_of(cursor)
        if number is None:
            return None
        missed = self.log.since(cursor)
        if missed is not None or self._shared is None or self.is_local:
            return missed
        epoch = self.log.epoch
        try:
            found = await self._shared.since(self.id, epoch, number, upto.number)
        except RedisAway:
            return None
        if found is None:
            return None
        return [
            Entry(each.number, each.name, {**each.fields(), "cursor": f"{epoch}-{each.number}"})
            for each in found
            if each.name
        ]

    async def end_of(self, turn_id: str) -> Ending | None:
        """How a turn ended, if that was told of late; None where nobody can tell."""
        log = self.log
        if turn_id in log.live or self._shared is None or self.is_local:
            return None
        number = max(0, log.number - ENDS_LOOKED_AT)
        try:
            found = await self._shared.since(self.id, log.epoch, number)
        except RedisAway:
            return None
        for each in reversed(found or []):
            if each.rule[0] == "ended" and each.rule[2] == turn_id:
                return ending_of(each.name, each.fields())
        return None

    # Writing

    def write(self, write: Write) -> None:
        """In the order of the calls; does not wait."""
        if self._is_closed:
            write.settle("skip")
            return
        if self._shared is not None:
            try:
                write.encode(self.id)
            except TypeError:  # it must not hold up what comes after it
                log.exception("An event can't be told.", extra={"event": write.event.name})
                write.settle("skip")
                return
        self._line.add(write)
        self._push()

    async def written(self, write: Write) -> None:
        """Returns when the log has it, or needs it no more."""
        write.done = asyncio.get_running_loop().create_future()
        self.write(write)
        await write.done

    def is_unheard_for(self, seconds: float) -> bool:
        """Whether something that the log took has not been heard for so long; or nothing is heard
        at all, because the channel could not be listened to when this feed began to."""
        is_shared = self._log is not None and self._shared is not None and not self.is_local
        return self._line.is_unheard_for(seconds) or (is_shared and not self._is_listening)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing can be unheard until something is written here again."""
        return not self._line and (self._shared is None or self._is_listening)

    def _push(self) -> None:
        if self._is_turning or self._is_closed or self._line.first() is None:
            return
        if self._log is None:
            self.mend("ready")
        elif self.is_local or self._shared is None:
            self._write_locally()
        elif not self._mending.is_at_work:  # else it goes on when that is done
            self._send(self._shared)

    def _send(self, shared: SharedLogs) -> None:
        batch = self._line.send()
        if not batch:
            return
        try:
            future = shared.append(self.id, batch)
        except RedisAway:
            self.lose_redis()
        else:
            future.add_done_callback(partial(self._sent, batch))

    def _sent(self, batch: list[Write], future: asyncio.Future[Any]) -> None:
        failed = future.cancelled() or future.exception() is not None
        if self._is_closed or not self._line.is_sent(batch):
            return
        if failed and self._is_turning:
            self._line.again()  # whoever turns it goes on from here
            return
        if failed:
            self.lose_redis()
            return
        status, number, epoch, *verdicts = future.result()
        self._line.answered(epoch.decode(), number, [verdict.decode() for verdict in verdicts])
        if verdicts:
            self._behind_since = 0.0
        if self._log is not None:
            self._line.heard(self._log)
        self._go_on(status.decode())

    def _go_on(self, status: str) -> None:
        """After a status of ``scripts/append.lua``, or of a local log's rules."""
        if status == "behind" and self._line.put_in_order():
            self._push()
            return
        now = asyncio.get_running_loop().time()
        self._behind_since = self._behind_since or now
        if status == "behind" and now < self._behind_since + BEHIND_SECONDS:
            asyncio.get_running_loop().call_later(BEHIND_PAUSE, self._push)
            return
        self._behind_since = 0.0
        if status == "ok":
            self._mending.went_well()
            self._push()
        elif status == "gone":
            self.mend("restore")
        else:
            self._mending.lost()

    def _write_locally(self) -> None:
        while (write := self._line.first()) is not None:
            verdict, entry = self.log.append(write.event)
            if verdict in ("behind", "lost"):
                self._go_on(verdict)
                return
            self._line.pop()
            self._behind_since = 0.0
            if entry is not None:
                self.has_diverged = True
                self.readers.tell(entry)
                if write.told is not None:
                    write.told()
            write.settle(verdict)
        self._mending.went_well()

    def lose_redis(self) -> None:
        """Redis is away. What was not heard of yet is not waited for."""
        if self._is_turning or self._is_closed or self.is_local:
            return
        if self._line.is_under_way:
            self._go_on_alone()
            self._push()

    def _go_on_alone(self) -> None:
        """From what is known: for the readers the log goes on without a break."""
        self._line.again()
        if self._shared is not None:
            self._shared.repair_soon()  # also where it was alone before: it is to be asked again
        if self._log is None or self.is_local:
            return
        self._log.fork(new_epoch())
        self.is_local = self.has_diverged = True
        self._early.clear()

    # Hearing

    def _hear(self, heard: Heard | None) -> None:
        if self._is_closed:
            return
        if self._is_turning or self._log is None:
            if heard is None or not heard.name:
                self._early_epoch = heard.epoch if heard else ""
            elif len(self._early) < MAX_EVENTS:
                self._early[heard.number] = heard
        elif self.is_local:
            return
        elif heard is None or heard.epoch != self._log.epoch:
            self.mend("rejoin")
        elif heard.number == self._log.number + 1:
            self._take(heard)
            self._line.heard(self._log)
        elif heard.number > self._log.number:
            self.mend("refill")

    def _take(self, heard: Heard) -> None:
        try:
            entry = self.log.hear(heard.number, heard.name, heard.rule, heard.fields())
        except (ValueError, LookupError, TypeError):
            self.mend("renew")  # it is no entry of a log: nobody can tell what it has changed
            raise
        self.readers.tell(entry)

    def _hear_early(self, fresh: Log) -> None:
        """Bring a log that nobody reads yet up to what was heard."""
        while (heard := self._early.pop(fresh.number + 1, None)) is not None:
            if heard.epoch == fresh.epoch:
                fresh.hear(heard.number, heard.name, heard.rule, heard.fields())

    def _take_early(self) -> None:
        while (heard := self._early.pop(self.log.number + 1, None)) is not None:
            if heard.epoch == self.log.epoch:
                self._take(heard)
        self._line.heard(self.log)
        if any(
            heard.epoch == self.log.epoch and heard.number > self.log.number
            for heard in self._early.values()
        ):
            self.mend("refill")  # something in between was not heard
        self._early.clear()

    async def _fill(self, shared: SharedLogs) -> bool:
        """False where the log is gone, or does not reach back to what was heard."""
        missed = await shared.since(self.id, self.log.epoch, self.log.number)
        if missed is None:
            return False
        for heard in missed:
            if heard.number == self.log.number + 1:
                self._take(heard)
        self._take_early()
        return True
