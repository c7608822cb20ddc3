"""What must be known of a conversation to go on with it while the permanent store is away.

A *card* says whose it is, how far it has come and which of its turns are open. Every server notes
what it writes to the permanent store: in Redis, where all servers find it, and in this process, for
when both are away. It may lag by what was on its way when a server died; then the permanent store
has another turn of a number that was given here, and the drain gives the later one a new number.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import partial

import msgspec
from msgspec.structs import replace

from memory.records import Conversation, Turn
from redislink.link import Link, RedisAway, ScriptFailed
from redislink.session import Session
from spool.card import Card, ascending, progress
from spool.held_cards import MAX_BYTES, MAX_TURNS, HeldCards
from spool.keys import CARD_MS, card_key
from spool.scripts import NOTE, REWRITE

log = logging.getLogger(__name__)

MAX_GONE = 10_000
NOTED_TOGETHER = 100
MOST_PASSES = 10
MAX_SUPERSEDED = 100
"""Turns of a conversation that are remembered though they do not stand in it any more."""


class Cards:
    """``note`` never waits, ``read`` and ``forget`` don't raise for an absent Redis."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.session: Session | None = None
        self._held = HeldCards(max_bytes, dropped=self._is_dropped)
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
        return self._held.bytes

    def conversation_of(self, turn_id: str) -> str | None:
        """Of a turn that is open, as far as this process knows."""
        return self._held.conversation_of(turn_id)

    def note(
        self, conversation: Conversation | None = None, *turns: Turn, made: bool = False
    ) -> None:
        """``conversation`` None: nothing new of it. ``made``: the permanent store does not know it
        yet, until it ``is_kept``."""
        for turn in turns or (None,):
            conversation_id = _id_of(conversation, turn)
            if conversation_id in self._deleted:
                return
            self._held.note(conversation_id, conversation, turn)
            self._note_in_redis(conversation, turn, made=made)

    def note_here(self, turn: Turn) -> None:
        """A turn has ended in the permanent store. For this process alone: the others are told in
        a moment, when it is closed. But that store may be gone before, and who puts the
        conversation together here would take the turn for one that still runs."""
        if turn.conversation_id not in self._deleted:
            self._held.note(turn.conversation_id, None, turn)

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
            unnoted = self._unnoted.setdefault(turn.conversation_id, set())
            unnoted.add(turn.id)
            if len(unnoted) > MAX_TURNS:  # what is held no more can't be noted any more
                held = self._held.get(turn.conversation_id)
                unnoted.intersection_update(() if held is None else held.turns)
        if self.session is not None:
            self.session.repair_soon()

    def _is_dropped(self, conversation_id: str) -> None:
        """Nothing is held of it that could be noted yet."""
        self._unnoted.pop(conversation_id, None)

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
            return Card(held.about, ascending(mine), last, superseded=superseded)
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
            ascending(turns.values()),
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
            ascending(turns),
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
        self._held.drop(conversation_id)

    async def rewritten(self, conversation_id: str, superseded: Iterable[Turn]) -> None:
        """Leave nothing of it but who had to wait, and what does not stand in it any more: should
        that be sent again while the permanent store is away, it must not pass for new."""
        ids = {turn.n: turn.id for turn in superseded}
        known = self._held.get(conversation_id)
        ids = _latest(ids if known is None else {**known.superseded, **ids})
        self._held.drop(conversation_id)
        if conversation_id in self._deleted:
            return
        self._held.begin_anew(conversation_id, ids)
        if self.session is None:
            return
        try:
            await self.session.run(REWRITE, (card_key(conversation_id),), *_rewriting(ids))
            self._rewritten.pop(conversation_id, None)
        except RedisAway:
            if len(self._rewritten) < MAX_GONE:
                self._rewritten[conversation_id] = ids
            self.session.repair_soon()

    async def forget(self, conversation_id: str) -> None:
        """Leave nothing of it: it is deleted."""
        self._held.drop(conversation_id)
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
        for _ in range(MOST_PASSES):  # meanwhile there are more
            unnoted = list(self._unnoted)
            for first in range(0, len(unnoted), NOTED_TOGETHER):
                some = unnoted[first : first + NOTED_TOGETHER]
                await asyncio.gather(*(self._note_again(link, each) for each in some))
            if not self._unnoted:
                break
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
            for turn in ascending(turns):
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


def _bare(turn: Turn) -> Turn:
    """Without its texts: memory has these. Nobody goes on with it, and needs its tools."""
    return replace(turn, question=replace(turn.question, content=""), answer=None, tools=[])
