"""What must be known of a conversation to go on with it while the permanent store is away.

A *card* says whose it is, how far it has come and which of its turns are open. Every server notes
what it writes to the permanent store: in Redis, where all servers find it, and in this process, for
when both are away. It may lag by what was on its way when a server died; then the permanent store
has another turn of a number that was given here, and the drain gives the later one a new number.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from functools import partial

import msgspec
from msgspec.structs import replace

from memory.records import ENDED, Conversation, Turn, current
from redislink.link import Link, RedisAway, ScriptFailed
from redislink.session import Session
from spool.keys import CARD_MS, card_key
from spool.scripts import NOTE, REWRITE

log = logging.getLogger(__name__)

MAX_BYTES = 32 * 1024 * 1024
MAX_TURNS = 26
"""Of a conversation in this process: those of the last 50 messages, and one."""
MAX_GONE = 10_000
NOTED_TOGETHER = 100
MAX_SUPERSEDED = 100
"""Turns of a conversation that are remembered though they do not stand in it any more."""
ANSWERED_SECONDS = 3_600
"""Nothing is answered for so long: it has ended on another server, and was not noted here."""

_CARD_OVERHEAD = 1_500
_TURN_OVERHEAD = 1_500
_ID_OVERHEAD = 200


class Card(msgspec.Struct, frozen=True):
    conversation: Conversation
    turns: list[Turn]
    """Ascending: the open ones, the last closed one, and what else this process has seen of it."""
    last: int = 0
    """The number of the last closed turn; 0 where nothing is known of one."""
    shared: bool = False
    """Whether Redis has it, and all that is known here, so that all servers have had a part in
    it."""
    waited: frozenset[str] = frozenset()
    """Of the latest turns, those that were accepted to wait."""
    superseded: frozenset[str] = frozenset()
    """Turns that do not stand in it any more; the latest ones."""
    made: bool = False
    """Whether the permanent store does not know the conversation yet."""

    @property
    def open(self) -> list[Turn]:
        return open_of(self.turns)


class _Held:
    __slots__ = ("about", "noted_at", "size", "superseded", "turns")

    def __init__(self) -> None:
        self.about: Conversation | None = None
        self.turns: dict[str, Turn] = {}
        self.superseded: dict[int, str] = {}
        """Ids by number."""
        self.noted_at = 0.0
        self.size = 0

    @property
    def is_answered(self) -> bool:
        return any(turn.open for turn in self.turns.values())

    @property
    def weighed(self) -> int:
        ids = _ID_OVERHEAD * len(self.superseded)
        return _CARD_OVERHEAD + sum(map(_size, self.turns.values())) + ids


class Cards:
    """``note`` never waits, ``read`` and ``forget`` don't raise for an absent Redis."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.session: Session | None = None
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, _Held] = OrderedDict()
        """The one noted longest ago first."""
        self._quiet: OrderedDict[str, None] = OrderedDict()
        """Those of them in which nothing is open; in the same order."""
        self._bytes = 0
        self._conversations: dict[str, str] = {}
        """Of each open turn that was noted here."""
        # What Redis, which was away, is to be told yet.
        self._gone: set[str] = set()
        self._rewritten: dict[str, dict[int, str]] = {}
        self._kept: set[str] = set()
        self._unnoted: dict[str, set[str]] = {}
        """Turns by conversation."""
        self._deleted: OrderedDict[str, None] = OrderedDict()

    @property
    def bytes(self) -> int:
        """What this process keeps, about."""
        return self._bytes

    def conversation_of(self, turn_id: str) -> str | None:
        """Of a turn that is open, as far as this process knows."""
        return self._conversations.get(turn_id)

    def note(
        self, conversation: Conversation | None = None, *turns: Turn, made: bool = False
    ) -> None:
        """``conversation`` None: nothing new of it. ``made``: the permanent store does not know it
        yet, until it ``is_kept``."""
        for turn in turns or (None,):
            if _id_of(conversation, turn) in self._deleted:
                return
            self._note_here(conversation, turn)
            self._note_in_redis(conversation, turn, made=made)

    def _note_here(self, conversation: Conversation | None, turn: Turn | None) -> None:
        conversation_id = _id_of(conversation, turn)
        held = self._held.pop(conversation_id, None) or _Held()
        self._held[conversation_id] = held
        self._bytes -= held.size
        if conversation is not None:
            held.about = conversation
        if turn is not None:
            held.turns[turn.id] = turn
            if turn.open:
                self._conversations[turn.id] = conversation_id
            else:
                self._conversations.pop(turn.id, None)
            while len(held.turns) > MAX_TURNS:
                earliest = min(held.turns.values(), key=lambda each: (each.open, each.n))
                self._let_go(held, earliest)
        held.noted_at = time.monotonic()
        held.size = held.weighed
        self._bytes += held.size
        self._quiet.pop(conversation_id, None)
        if not held.is_answered:
            self._quiet[conversation_id] = None
        while self._bytes > self._max_bytes and len(self._held) > 1:
            self._make_room()

    def _make_room(self) -> None:
        """What is answered here is kept in mind the longest, and of that only what is open."""
        conversation_id, held = next(iter(self._held.items()))
        if self._quiet and time.monotonic() - held.noted_at < ANSWERED_SECONDS:
            self._drop(next(iter(self._quiet)))
            return
        closed = [turn for turn in held.turns.values() if not turn.open]
        if not closed or not held.is_answered:
            self._drop(conversation_id)
            return
        for turn in closed:
            del held.turns[turn.id]
        self._bytes -= held.size
        held.size = held.weighed
        self._bytes += held.size
        self._held.move_to_end(conversation_id)

    def _let_go(self, held: _Held, turn: Turn) -> None:
        del held.turns[turn.id]
        self._conversations.pop(turn.id, None)

    def _drop(self, conversation_id: str) -> None:
        held = self._held.pop(conversation_id, None)
        if held is None:
            return
        self._quiet.pop(conversation_id, None)
        self._unnoted.pop(conversation_id, None)
        self._bytes -= held.size
        for turn_id in held.turns:
            self._conversations.pop(turn_id, None)

    def _note_in_redis(
        self, conversation: Conversation | None, turn: Turn | None, *, made: bool
    ) -> None:
        if self.session is None:
            return
        key = card_key(_id_of(conversation, turn))
        try:
            future = self.session.submit(NOTE, (key,), *_noting(conversation, turn, made=made))
        except RedisAway:
            self._is_unnoted(turn)
        else:
            future.add_done_callback(partial(self._heard, turn))

    def _heard(self, turn: Turn | None, future: asyncio.Future[object]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            log.debug("A card was not noted in Redis.")
            if not isinstance(error, ScriptFailed):  # there is junk under its key
                self._is_unnoted(turn)

    def _is_unnoted(self, turn: Turn | None) -> None:
        """Redis is to be told when it is back, before others go by what it has: they would begin
        from a card without this turn, and show the conversation without it."""
        if turn is None or turn.conversation_id in self._deleted:
            return
        if turn.conversation_id in self._unnoted or len(self._unnoted) < MAX_GONE:
            self._unnoted.setdefault(turn.conversation_id, set()).add(turn.id)
        if self.session is not None:
            self.session.repair_soon()

    async def read(self, conversation_id: str) -> Card | None:
        """None where nothing is known of it, here or in Redis."""
        shared = await self._read_from_redis(conversation_id)
        held = self._held.get(conversation_id)
        if held is None or held.about is None:
            return shared
        mine = list(held.turns.values())
        superseded = frozenset(held.superseded.values())
        last = max((turn.n for turn in mine if not turn.open), default=0)
        if shared is None:
            return Card(held.about, _ascending(mine), last, superseded=superseded)
        # What this process has just written may not be in Redis yet; what another server has, is
        # only there.
        turns = {turn.id: turn for turn in shared.turns}
        latest = max([shared.last, *(turn.n for turn in shared.turns)])
        is_whole = True
        for turn in mine:
            known = turns.get(turn.id)
            # Redis has lost what was noted, and was told of the conversation anew: others may have
            # gone on with this turn, and ended it, which could not be noted.
            is_whole = is_whole and not (known is None and turn.open and turn.n > latest)
            if known is None or progress(turn) >= progress(known):
                turns[turn.id] = turn
        about = max(shared.conversation, held.about, key=lambda each: each.updated_at)
        return Card(
            about,
            _ascending(turns.values()),
            max(last, shared.last),
            shared=is_whole,
            made=shared.made,
            waited=shared.waited,
            superseded=shared.superseded | superseded,
        )

    async def _read_from_redis(self, conversation_id: str) -> Card | None:
        if self.session is None:
            return None
        try:
            reply = await self.session.command("HGETALL", card_key(conversation_id))
        except RedisAway:
            return None
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        try:
            about = msgspec.json.decode(fields.pop(b"about"), type=Conversation)
            last = int(fields.pop(b"last", b"0"))
            made = fields.pop(b"made", None) is not None
            waited = frozenset(
                text.decode() for name, text in fields.items() if name.startswith(b"w:")
            )
            superseded = frozenset(
                text.decode() for name, text in fields.items() if name.startswith(b"g:")
            )
            turns = [
                msgspec.json.decode(text, type=Turn)
                for name, text in fields.items()
                if name.startswith(b"t:")
            ]
        except (KeyError, ValueError):  # msgspec's errors are ValueErrors
            return None
        return Card(
            about,
            _ascending(turns),
            last,
            shared=True,
            made=made,
            waited=waited,
            superseded=superseded,
        )

    async def is_kept(self, conversation_id: str) -> None:
        """The permanent store knows the conversation by now."""
        if self.session is None:
            return
        try:
            await self.session.command("HDEL", card_key(conversation_id), "made")
        except RedisAway:
            self._owe(self._kept, conversation_id)

    def is_deleted(self, conversation_id: str) -> None:
        """Note no more of it: what was read before may be on its way here."""
        self._deleted[conversation_id] = None
        while len(self._deleted) > MAX_GONE:
            self._deleted.popitem(last=False)
        self._drop(conversation_id)

    async def rewritten(self, conversation_id: str, superseded: Iterable[Turn]) -> None:
        """Leave nothing of it but who had to wait, and what does not stand in it any more: should
        that be sent again while the permanent store is away, it must not pass for new."""
        ids = {turn.n: turn.id for turn in superseded}
        known = self._held.get(conversation_id)
        ids = _latest(ids if known is None else {**known.superseded, **ids})
        self._drop(conversation_id)
        if conversation_id in self._deleted:
            return
        held = self._held[conversation_id] = _Held()
        held.superseded = ids
        held.noted_at = time.monotonic()
        held.size = held.weighed
        self._bytes += held.size
        self._quiet[conversation_id] = None
        if self.session is None:
            return
        try:
            await self.session.run(REWRITE, (card_key(conversation_id),), *_rewriting(ids))
        except RedisAway:
            if len(self._rewritten) < MAX_GONE:
                self._rewritten[conversation_id] = ids
            self.session.repair_soon()

    async def forget(self, conversation_id: str) -> None:
        """Leave nothing of it: it is deleted."""
        self._drop(conversation_id)
        self._rewritten.pop(conversation_id, None)
        if self.session is None:
            return
        try:
            await self.session.command("DEL", card_key(conversation_id))
        except RedisAway:
            self._owe(self._gone, conversation_id)

    def _owe(self, owed: set[str], conversation_id: str) -> None:
        if len(owed) < MAX_GONE:  # beyond it, cards are as they are for a day
            owed.add(conversation_id)
        if self.session is not None:
            self.session.repair_soon()  # it may count as there: one time-out does not open it

    # Repairs of the session

    @property
    def wanting(self) -> bool:
        return bool(self._gone or self._kept or self._rewritten or self._unnoted)

    async def repair(self, link: Link) -> None:
        """Raises ``RedisAway``."""
        for conversation_id in list(self._kept):
            await link.command("HDEL", card_key(conversation_id), "made")
            self._kept.discard(conversation_id)
        for conversation_id, ids in list(self._rewritten.items()):
            await link.run(REWRITE, (card_key(conversation_id),), *_rewriting(ids))
            if self._rewritten.get(conversation_id) is ids:
                del self._rewritten[conversation_id]
        unnoted = list(self._unnoted)
        for first in range(0, len(unnoted), NOTED_TOGETHER):
            some = unnoted[first : first + NOTED_TOGETHER]
            await asyncio.gather(*(self._note_again(link, each) for each in some))
        for conversation_id in list(self._gone):
            await link.command("DEL", card_key(conversation_id))
            self._gone.discard(conversation_id)

    async def _note_again(self, link: Link, conversation_id: str) -> None:
        """What could not be noted, as it is known by now. A card that is gone is not begun: all
        that others had noted would be missing on it."""
        turn_ids = self._unnoted.pop(conversation_id, set())
        held = self._held.get(conversation_id)
        turns = [] if held is None else [held.turns[each] for each in turn_ids & held.turns.keys()]
        try:
            for turn in _ascending(turns):
                await link.run(NOTE, (card_key(conversation_id),), *_noting(None, turn))
        except ScriptFailed:
            return  # there is junk under its key
        except RedisAway:
            self._unnoted.setdefault(conversation_id, set()).update(turn_ids)
            raise


def _id_of(conversation: Conversation | None, turn: Turn | None) -> str:
    if turn is not None:
        return turn.conversation_id
    if conversation is None:
        raise ValueError("there is nothing to note")
    return conversation.id


def _noting(
    conversation: Conversation | None, turn: Turn | None, *, made: bool = False
) -> list[str | bytes | int]:
    """The arguments of ``note.lua``."""
    return [
        CARD_MS,
        b"" if conversation is None else msgspec.json.encode(conversation),
        b"" if turn is None else msgspec.json.encode(turn if turn.open else _bare(turn)),
        turn.n if turn is not None else 0,
        int(turn is not None and turn.open),
        int(made),
        turn.id if turn is not None and turn.accepted == "queued" else b"",
    ]


def _latest(ids: Mapping[int, str]) -> dict[int, str]:
    return {n: ids[n] for n in sorted(ids)[-MAX_SUPERSEDED:]}


def _rewriting(ids: Mapping[int, str]) -> list[str | int]:
    """The arguments of ``rewrite.lua``."""
    return [CARD_MS, MAX_SUPERSEDED, *(each for item in ids.items() for each in item)]


def _ascending(turns: Iterable[Turn]) -> list[Turn]:
    return sorted(turns, key=lambda turn: turn.n)


def open_of(turns: Collection[Turn]) -> list[Turn]:
    """Those that are open indeed: turns run in order, so what stands before one that has run is
    closed, whatever was last noted of it. The note of its end may have been lost with Redis. And an
    edit on another server may have superseded some."""
    ran = max((turn.n for turn in turns if turn.attempt), default=0)
    return [turn for turn in current(turns) if turn.open and turn.n >= ran]


def progress(turn: Turn) -> tuple[bool, bool, int]:
    """How far it has come; comparable."""
    return not turn.open, turn.status in ENDED, turn.attempt


def _bare(turn: Turn) -> Turn:
    """Without its texts: memory has these. Nobody goes on with it, and needs its tools."""
    return replace(turn, question=replace(turn.question, content=""), answer=None, tools=[])


def _size(turn: Turn) -> int:
    # A text with an emoji takes four bytes a character.
    answer = 0 if turn.answer is None else sys.getsizeof(turn.answer.content)
    tools = sum(_TURN_OVERHEAD + sys.getsizeof(use.output or "") for use in turn.tools)
    return _TURN_OVERHEAD + sys.getsizeof(turn.question.content) + answer + tools
