"""The logs that all servers share: one stream a conversation in Redis, and what is heard of it."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from memory.errors import Unavailable
from memory.records import Position
from redislink.link import Link, Reply, ScriptFailed
from redislink.session import Repairs, Session, State, url_without_password
from server.feed.events import VERSION, Event, Rule
from server.feed.hearing import Hearing
from server.feed.keys import (
    BEGIN_MS,
    EVERY_LOG,
    LOG_SECONDS,
    MAX_BYTES,
    MAX_EVENTS,
    SIGNALS,
    events_channel,
    feed_keys,
)
from server.feed.log import Checkpoint, LiveTurn, Log, new_epoch
from server.feed.scripts import APPEND, BEGIN, DROP, PROBE, SINCE, TAIL
from server.tasks import Tasks

log = logging.getLogger(__name__)

KEPT_EVENTS = 256
"""Of a shared log in this process: some seconds of an answer. Older ones are read from Redis."""
BEGIN_SECONDS = 5.0
"""To begin a log. A beginner that died is waited for, until its lease is over."""
BEGIN_PAUSE = (0.01, 0.05)
"""Between tries: another is at it, or somebody had news meanwhile."""


class Heard(NamedTuple):
    """An entry as it was published; ``name`` is empty where the log has begun anew."""

    epoch: str
    number: int
    rule: Rule
    name: str
    body: bytes

    def fields(self) -> dict[str, Any]:
        return _fields(self.body)


class Appending(Protocol):
    """An event that is to be appended, and what its answer has ``said`` and ``used`` with it: the
    text, and the tools as JSON (both "" but rarely)."""

    @property
    def event(self) -> Event: ...

    def encode(self, conversation_id: str) -> None:
        """Make ``rule`` and ``body``, where that was not done before."""
        ...

    @property
    def rule(self) -> bytes: ...

    @property
    def body(self) -> bytes: ...

    @property
    def said(self) -> str: ...

    @property
    def used(self) -> str: ...


class SharedLogs:
    """``repairs`` makes good what was not told here while Redis was away; ``look`` reads what was
    not heard. Every method but ``connect``, ``close`` and ``leave`` may raise
    ``RedisAway``."""

    def __init__(
        self,
        redis_url: str,
        *,
        server: str,
        repairs: Repairs,
        look: Callable[[], Awaitable[None]],
        on_change: Callable[[State], None],
    ) -> None:
        """``server`` is this process's name, unlike any other's. Raises ``ValueError`` for a URL
        that is none of Redis. Must be made in the event loop that it is for."""
        self._url = url_without_password(redis_url)
        self._session = Session(
            redis_url, repairs, name="feed", tell=self._tell, on_change=on_change, probe=PROBE
        )
        self._hearing = Hearing(redis_url, self._session, server=server, look=look)
        self._tasks = Tasks()

    async def connect(self) -> None:
        """Try Redis; without it every log is this process's own until it comes."""
        await self._session.opened()
        self._hearing.start()
        self._tasks.start(self._hearing.beat_forever(), "feed heartbeat")

    async def close(self) -> None:
        await self._tasks.close()
        await self._hearing.close()
        await self._session.close()

    @property
    def connected(self) -> bool:
        return self._session.connected

    @property
    def deaf(self) -> bool:
        """Whether what is published is not heard here although Redis answers."""
        return self._session.connected and self._hearing.deaf

    def repair_soon(self) -> None:
        self._session.repair_soon()

    # One conversation's log

    async def listen(self, conversation_id: str, heard: Callable[[Heard | None], None]) -> None:
        """Hear the log's entries from now on; None where it is gone. Raises ``NotListening``."""

        def hear(message: bytes) -> None:
            try:
                published = _published(message)
            except ValueError:
                return  # not ours; what should have been heard is read
            heard(published)

        await self._hearing.listen(events_channel(conversation_id), hear)

    def leave(self, conversation_id: str) -> None:
        self._hearing.leave(events_channel(conversation_id))

    def append(self, conversation_id: str, writes: Sequence[Appending]) -> asyncio.Future[Reply]:
        """Take these encoded events as far as the rules allow.

        Answers [status, last number, epoch, verdicts …]: see ``scripts/append.lua``. Does not
        wait; harmless when repeated.
        """
        arguments: list[bytes | str] = []
        for write in writes:
            write.encode(conversation_id)
            arguments += (write.rule, write.event.name, write.body, write.said, write.used)
        return self._session.submit(
            APPEND,
            feed_keys(conversation_id),
            LOG_SECONDS,
            MAX_EVENTS,
            MAX_BYTES,
            events_channel(conversation_id),
            *arguments,
        )

    async def tail(self, conversation_id: str) -> Log | None:
        """The log at its end, without its past; None where there is none. One that can't be read
        is erased."""
        try:
            reply = await self._session.run(TAIL, feed_keys(conversation_id), LOG_SECONDS)
            return None if reply[0] == b"absent" else self._log(conversation_id, reply)
        except (ScriptFailed, ValueError, LookupError, TypeError, AttributeError) as error:
            why = type(error).__name__  # JSON and UTF-8 too raise ValueErrors
        log.warning(
            "A log that can't be read is begun anew.",
            extra={"action": "feed.poison", "conversation_id": conversation_id, "error": why},
        )
        await self.erase(conversation_id)
        return None

    @staticmethod
    def _log(conversation_id: str, reply: Reply) -> Log:
        _, cursor, state, said, used, *bodies = reply
        texts, tools = [said.decode()], orjson.loads(used or b"[]")
        for fields in map(_fields, bodies):
            if "tool" in fields:
                tools.append(fields["tool"])
            else:
                texts.append(fields["text"])
        epoch, _, number = cursor.decode().partition("-")
        checkpoint = _checkpoint(orjson.loads(state), texts, tools)
        return Log(
            conversation_id, checkpoint, epoch=epoch, number=int(number), most_events=KEPT_EVENTS
        )

    async def since(
        self, conversation_id: str, epoch: str, number: int, upto: int | None = None
    ) -> list[Heard] | None:
        """The entries after ``number``, up to ``upto``; None where these can't be proved to be all.
        At most as many as a log keeps."""
        try:
            reply = await self._session.run(
                SINCE,
                feed_keys(conversation_id),
                epoch,
                number,
                "" if upto is None else upto,
                2 * MAX_EVENTS,
            )
            return None if reply[0] == b"gone" else _all_heard(epoch, reply[2:])
        except (ScriptFailed, ValueError, TypeError, AttributeError):
            await self.erase(conversation_id)  # what can't be read can't be proved to be all
            return None

    async def begin(
        self,
        conversation_id: str,
        read: Callable[[], Awaitable[Checkpoint]],
        *,
        replacing: str | None = None,
    ) -> None:
        """See to it that there is a log, other than that of epoch ``replacing``.

        ``read`` reads the store. Races: two servers begin at once, or one appends what the other
        has not read. The lease decides: an append that finds no log takes it away.
        Raises what ``read`` raises, and ``Unavailable`` where it never came to it.
        """
        keys = feed_keys(conversation_id)
        end = time.monotonic() + BEGIN_SECONDS
        while time.monotonic() < end:
            token = secrets.token_hex(8)
            if await self._session.command("SET", keys.begin, token, "NX", "PX", BEGIN_MS):
                checkpoint = await read()
                state, said, used = _state(checkpoint)
                outcome = await self._session.run(
                    BEGIN,
                    keys,
                    LOG_SECONDS,
                    token,
                    replacing or "",
                    new_epoch(),
                    state,
                    said,
                    used,
                    events_channel(conversation_id),
                )
                if outcome != b"overtaken":
                    return
            await asyncio.sleep(random.uniform(*BEGIN_PAUSE))
            found = await self.tail(conversation_id)
            if found is not None and found.epoch != replacing:
                return
        raise Unavailable("The conversation changes too quickly to be shown.")

    @staticmethod
    async def drop(link: Link, conversation_id: str) -> None:
        """The log lacks something: who follows it is told that it is gone."""
        await link.run(DROP, feed_keys(conversation_id), events_channel(conversation_id))

    async def erase(self, conversation_id: str) -> None:
        """The conversation is deleted: nothing of it stays."""
        await self._session.command("DEL", *feed_keys(conversation_id))

    @staticmethod
    async def drop_all(link: Link) -> None:
        cursor: bytes | str = b"0"
        while True:
            cursor, names = await link.command("SCAN", cursor, "MATCH", EVERY_LOG, "COUNT", 1000)
            if names:
                await link.command("UNLINK", *names)
            if cursor == b"0":
                return

    # What servers tell each other

    async def signal(self, message: bytes) -> None:
        await self._session.command("PUBLISH", SIGNALS, message)

    def listen_to_signals(self, handler: Callable[[bytes], None]) -> None:
        """From the moment on when that is possible."""
        self._hearing.keep_listening(SIGNALS, handler)

    def _tell(self, error: BaseException | None) -> None:
        if error is None:
            log.info(
                "Feeds are shared through Redis: %s", self._url, extra={"action": "feed.shared"}
            )
        else:
            log.warning(
                "Feeds are this process's own while Redis is away: %s",
                str(error) or type(error).__name__,
                extra={"action": "feed.local"},
            )


def _all_heard(epoch: str, found: list[Any]) -> list[Heard]:
    return [
        Heard(epoch, found[i], orjson.loads(found[i + 1]), found[i + 2].decode(), found[i + 3])
        for i in range(0, len(found), 4)
    ]


def _published(message: bytes) -> Heard | None:
    if message == b"gone":
        return None
    cursor, rule, name, body = message.split(b"\n", 3)
    epoch, _, number = cursor.decode().partition("-")
    return Heard(epoch, int(number), orjson.loads(rule), name.decode(), body)


def _fields(body: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(b"{" + body)
    return fields


def _checkpoint(state: dict[str, Any], texts: list[str], tools: list[dict[str, Any]]) -> Checkpoint:
    """``texts`` and ``tools`` are the running answer's."""
    live = []
    for turn_id, each in state["live"].items():
        is_running = each["status"] == "running"  # one turn of a conversation is, at a time
        turn = LiveTurn(
            turn_id,
            each["n"],
            each["place"],
            each["status"],
            each["attempt"],
            next_index=each["next"],
            tools=tools if is_running else (),
            next_tool=each.get("tools", 0),
        )
        if is_running:
            turn.text, turn.size = texts, each["size"]
        live.append(turn)
    live.sort(key=lambda turn: turn.n)
    position = Position(revision=state["revision"], turn=state["turn"], answers=state["answers"])
    return Checkpoint(state["n"], position, live, state.get("mark", 0))


def _state(checkpoint: Checkpoint) -> tuple[bytes, str, bytes]:
    """The state of a log that begins here, what its running answer has said, and its tools."""
    n, position, live, mark = checkpoint
    running = [turn for turn in live if turn.status == "running"]
    said = "".join(text for turn in running for text in turn.text)
    tools = [tool for turn in running for tool in turn.tools.values()]
    state = {
        "v": VERSION,
        "n": n,
        "revision": position.revision,
        "turn": position.turn,
        "answers": position.answers,
        "mark": mark,
        "live": {
            turn.id: {
                "n": turn.n,
                "place": turn.place,
                "status": turn.status,
                "attempt": turn.attempt,
                "next": turn.next_index,
                "size": turn.size,
                "tools": turn.next_tool,
            }
            for turn in live
        },
    }
    return orjson.dumps(state), said, orjson.dumps(tools) if tools else b""
