"""Finding by meaning: vectors that an embedding model makes of messages, compared one by one.

Loaded only where ``EMBEDDING_MODEL`` is set (numpy takes its time and space). Each message's vector
is kept as one signed byte a dimension: of two that are compared only the angle counts, and that is
off by less than a hundredth. They are made in the background after a turn's end, for that turn and
for what the conversation has without, the newest first; what has none yet is found by its words.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import numpy as np
import openai
from langchain_core.embeddings import Embeddings

from agent.background import Background
from agent.errors import ProviderUnavailable
from memory.errors import RememberingError
from memory.records import Answer, Question, Spot, Turn

log = logging.getLogger(__name__)

# Of a longer message its beginning counts: small models take no more.
MOST_CHARS = 2_000

# A user's latest turns are compared, so many; 1,000 dimensions of 10,000 turns are 20 MB.
MOST_TURNS = 10_000

# What all users' vectors may take in this process; those asked for longest ago go first. And so
# long one is kept that nobody asks for: deleted messages are to be out of mind, too.
CACHE_BYTES = 64 * 1024 * 1024
CACHE_SECONDS = 600.0

NEAREST = 100

# A question waits for its vector so long; after a failure none is asked for one for a while.
ASK_SECONDS = 1.5
PAUSE_SECONDS = 10.0

# One request to the model, and how many of them for a conversation at one turn's end.
BATCH_TURNS = 32
MOST_BATCHES = 20
MAKE_SECONDS = 30.0

# Of a conversation that was seen to have all, only the last few turns can be without.
LAST_TURNS = 20
WHOLE_TURNS = 100_000
MOST_REMEMBERED = 10_000

# As in ``stores/ranking.py``: a message is meant with those beside it.
NEIGHBOURS = ((1, 0.5), (2, 0.25))

# Clocks of several servers of a store may be apart.
OVERLAP_MS = 5_000

Matrix = np.ndarray[Any, np.dtype[Any]]


class Kept(Protocol):
    @property
    def turn_id(self) -> str: ...
    @property
    def conversation_id(self) -> str: ...
    @property
    def place(self) -> int: ...
    @property
    def question(self) -> bytes: ...
    @property
    def answer(self) -> bytes: ...
    @property
    def at(self) -> int: ...


class VectorStore(Protocol):
    """``stores.search.SearchStore`` answers to it."""

    async def without_vectors(
        self, user_id: str, conversation_id: str, model: str, *, among: int, limit: int
    ) -> list[Turn]: ...

    async def keep_vectors(
        self, turn: Turn, model: str, question: bytes, answer: bytes
    ) -> None: ...

    async def vectors(
        self, user_id: str, model: str, *, since: int, limit: int
    ) -> Sequence[Kept]: ...


class EmbeddedMeaning:
    """``agent.finding.Meaning``, on an embedding model. Owns its background work."""

    def __init__(
        self,
        store: VectorStore,
        embeddings: Embeddings,
        model: str,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        """``model``: vectors of another one are not comparable, and made anew."""
        self._store = store
        self._embeddings = embeddings
        self._model = model
        self._close = close
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._whole: OrderedDict[str, None] = OrderedDict()
        self._not_before = 0.0
        self._background = Background(
            "vectors", "Vectors could not be made; they are made later.", max_running=2
        )

    async def near(self, user_id: str, query: str, conversation_id: str | None) -> list[Spot]:
        if time.monotonic() < self._not_before:
            return []
        asked, known = await asyncio.gather(self._vector_of(query), self._in_time(user_id))
        if asked is None or known is None:
            return []
        return await asyncio.to_thread(known.nearest, asked, conversation_id)

    async def _vector_of(self, query: str) -> list[float] | None:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._embeddings.aembed_query(query[-MOST_CHARS:])
        except (TimeoutError, openai.OpenAIError, ValueError) as error:
            self._not_before = time.monotonic() + PAUSE_SECONDS
            log.warning(
                "Nothing is found by meaning for a while, only by words.",
                extra={"action": "search", "error": type(error).__name__},
            )
            return None

    async def _in_time(self, user_id: str) -> _Known | None:
        """None where it takes too long to read: that is this user's affair alone."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._of(user_id)
        except (TimeoutError, RememberingError) as error:
            log.warning(
                "A user's vectors could not be read: theirs is found by words alone.",
                extra={"action": "search", "error": type(error).__name__},
            )
            return None

    def turn_ended(self, conversation_id: str, user_id: str) -> None:
        async def work() -> None:
            await self._make(user_id, conversation_id)

        self._background.start(conversation_id, work)

    async def close(self) -> None:
        await self._background.close()
        await self._close()

    async def _of(self, user_id: str) -> _Known:
        """What is kept of this user, with what has come since it was last asked for."""
        known = self._known.pop(user_id, None)
        if known is None or known.read_at + CACHE_SECONDS < time.monotonic():
            known = _Known()
        self._known[user_id] = known
        async with known.reading:
            kept = await self._store.vectors(
                user_id,
                self._model,
                since=max(0, known.newest - OVERLAP_MS),
                limit=MOST_TURNS,
            )
            await asyncio.to_thread(known.take, kept)
        self._trim()
        return known

    def _trim(self) -> None:
        now = time.monotonic()
        for user_id, known in list(self._known.items()):
            if known.read_at + CACHE_SECONDS < now and not known.reading.locked():
                del self._known[user_id]
        while len(self._known) > 1 and self._size() > CACHE_BYTES:
            self._known.popitem(last=False)

    def _size(self) -> int:
        return sum(known.size for known in self._known.values())

    async def _make(self, user_id: str, conversation_id: str) -> None:
        among = LAST_TURNS if conversation_id in self._whole else WHOLE_TURNS
        for _ in range(MOST_BATCHES):
            turns = await self._store.without_vectors(
                user_id, conversation_id, self._model, among=among, limit=BATCH_TURNS
            )
            if turns:
                await self._embed(turns)
            if len(turns) < BATCH_TURNS:
                self._whole[conversation_id] = None
                if len(self._whole) > MOST_REMEMBERED:
                    self._whole.popitem(last=False)
                return

    async def _embed(self, turns: list[Turn]) -> None:
        texts: dict[str, None] = {}
        for turn in turns:
            texts.update(dict.fromkeys(_texts(turn)))
        asked = [text for text in texts if text.strip()]
        try:
            async with asyncio.timeout(MAKE_SECONDS):
                made = await self._embeddings.aembed_documents(asked)
        except (TimeoutError, openai.OpenAIError) as error:
            raise ProviderUnavailable from error
        vectors = {text: packed(vector) for text, vector in zip(asked, made, strict=True)}
        for turn in turns:
            question, answer = _texts(turn)
            await self._store.keep_vectors(
                turn, self._model, vectors.get(question, b""), vectors.get(answer, b"")
            )


class _Known:
    """One user's vectors, as this process has read them."""

    def __init__(self) -> None:
        self.reading = asyncio.Lock()
        self.read_at = time.monotonic()
        self.newest = 0
        self._turns: dict[str, Kept] = {}
        self._spots: list[Spot] = []
        self._rows: Matrix = np.zeros((0, 0), dtype=np.int8)

    @property
    def size(self) -> int:
        return 2 * int(self._rows.nbytes)  # the rows, and the turns they were made of

    def take(self, kept: Sequence[Kept]) -> None:
        self.read_at = time.monotonic()
        fresh = [each for each in kept if self._turns.get(each.turn_id) != each]
        if not fresh:
            return
        self.newest = max(self.newest, *(each.at for each in fresh))
        self._turns.update({each.turn_id: each for each in fresh})
        latest = sorted(self._turns.values(), key=lambda each: each.at)[-MOST_TURNS:]
        self._turns = {each.turn_id: each for each in latest}
        said = sorted(
            (each.conversation_id, seq, vector)
            for each in latest
            for seq, vector in (
                (2 * each.place - 1, each.question),
                (2 * each.place, each.answer),
            )
            if vector
        )
        # A model that has changed its dimensions under the same name: those of the most count.
        sizes = [len(vector) for _, _, vector in said]
        size = max(set(sizes), key=sizes.count, default=0)
        said = [each for each in said if len(each[2]) == size]
        self._spots = [Spot(conversation_id, seq) for conversation_id, seq, _ in said]
        joined = b"".join(vector for _, _, vector in said)
        self._rows = np.frombuffer(joined, dtype=np.int8).reshape(len(said), size)

    def nearest(self, vector: Sequence[float], conversation_id: str | None) -> list[Spot]:
        spots, rows = self._spots, self._rows
        if not spots or rows.shape[1] != len(vector):
            return []
        near = _angles(rows, np.asarray(vector, dtype=np.float32))
        worth = near.copy()
        for distance, share in NEIGHBOURS:
            same = np.array(
                [
                    a.conversation_id == b.conversation_id and b.seq - a.seq <= distance + 1
                    for a, b in zip(spots, spots[distance:], strict=False)
                ],
                dtype=bool,
            )
            worth[:-distance] += share * near[distance:] * same
            worth[distance:] += share * near[:-distance] * same
        if conversation_id is not None:
            here = np.array([spot.conversation_id == conversation_id for spot in spots])
            worth = np.where(here, worth, -np.inf)
        order = np.argsort(-worth, kind="stable")[:NEAREST]
        return [spots[i] for i in order if np.isfinite(worth[i])]


def packed(vector: Sequence[float]) -> bytes:
    """One signed byte a dimension."""
    values = np.asarray(vector, dtype=np.float32)
    greatest = float(np.abs(values).max(initial=0.0))
    if not np.isfinite(greatest) or greatest == 0.0:
        return b""
    return bytes(np.rint(values / greatest * 127).astype(np.int8).tobytes())


def _angles(rows: Matrix, vector: Matrix) -> Matrix:
    """The cosines, some thousand rows at a time: as floats all would take four times the space."""
    found = np.zeros(len(rows), dtype=np.float32)
    length = float(np.linalg.norm(vector)) or 1.0
    for first in range(0, len(rows), 4096):
        some = rows[first : first + 4096].astype(np.float32)
        lengths = np.linalg.norm(some, axis=1)
        found[first : first + 4096] = some @ vector / (np.maximum(lengths, 1e-9) * length)
    return found


def _texts(turn: Turn) -> tuple[str, str]:
    question: Question = turn.question
    answer: Answer | None = turn.answer
    return question.content[:MOST_CHARS], answer.content[:MOST_CHARS] if answer else ""
