"""What is told first of what was found: the one order for both stores. No I/O.

Measured on long dialogues (docs/benchmarks.md): a message is worth what its own words say (BM25),
and half of what its neighbours' do, since an answer is often found by the words of its question.
With an order by meaning beside it, the two are joined by their ranks.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from memory.records import Message, Spot, Turn, current, messages_of
from stores.words import Wanted, counts_of, places_of

# A turn's place in its conversation.
Place = tuple[str, int]

# So many turns are read, by what words they have alone …
CANDIDATES = 200
# … and of these so many ranked among those beside them, some three times as many.
CORES = 60

# How a word's weight in a message rises with its count, and falls with the message's length.
K1 = 1.2
B = 0.4

# What a message is worth by those one and two beside it.
NEIGHBOURS = ((1, 0.5), (2, 0.25))

# For a prompt, what is worth less than this share of the best is left out: by measurement nothing
# that is needed.
LEAST = 0.1

# Joining two orders by their ranks: the higher, the less the first few matter.
RANK_OFFSET = 60

# So much of their texts is looked at, in characters: of more, a part of each of the longest. It is
# work of this process, a second of it at the worst, and texts may be as long as a packet.
MOST_CHARS = 1_000_000

# Of a text, so much is looked at for where what is wanted stands thickest, in characters.
MOST_PLACED = 20_000

# Of the order by meaning, which never ends, so many count as found by it.
MEANT = 20


class Match(msgspec.Struct, frozen=True):
    """A database says that a turn has a word."""

    term: int
    """Which one, by its place in ``Wanted.terms``."""
    conversation_id: str
    place: int


class Ranked(msgspec.Struct, frozen=True):
    message: Message
    conversation_id: str
    is_found: bool
    """Itself, not only beside one that is."""
    at: int
    """Where in its text what was looked for begins to stand thickest."""


def candidates(
    matches: Iterable[Match], near: Sequence[Spot], counts: Mapping[int, int], turns: int
) -> list[Place]:
    """The turns that promise most, by which words they and those beside them have, best first.

    ``counts`` has how many turns have a term, ``turns`` how many there are.
    """
    worth: defaultdict[Place, float] = defaultdict(float)
    for term, conversation_id, place in {(m.term, m.conversation_id, m.place) for m in matches}:
        worth[conversation_id, place] += _rarity(counts[term], turns)
    summed = {
        (conversation_id, place): value
        + worth.get((conversation_id, place - 1), 0.0) / 2
        + worth.get((conversation_id, place + 1), 0.0) / 2
        for (conversation_id, place), value in worth.items()
    }
    chosen = sorted(summed, key=lambda each: (-summed[each], -each[1]))[:CANDIDATES]
    meant = dict.fromkeys((spot.conversation_id, (spot.seq + 1) // 2) for spot in near)
    return list(dict.fromkeys([*chosen, *list(meant)[:CORES]]))


def cores(
    turns: Iterable[Turn],
    wanted: Wanted,
    near: Sequence[Spot],
    counts: Mapping[int, int],
    total: int,
) -> list[Place]:
    """Of candidates, where those that are worth most stand: short ones say a word louder."""
    best: dict[Place, None] = {}
    for conversation_id, message, _, _ in _ordered(turns, wanted, near, counts, total, 0.0):
        best[conversation_id, ((message.seq or 0) + 1) // 2] = None
        if len(best) == CORES:
            break
    return list(best)


def ranked(
    turns: Iterable[Turn],
    wanted: Wanted,
    near: Sequence[Spot],
    counts: Mapping[int, int],
    total: int,
    *,
    least: float = 0.0,
    limit: int | None = None,
    beside: bool = True,
) -> list[Ranked]:
    """The messages of these turns that are worth something, best first. Of those with the very same
    text only the latest, where the best of them would stand. ``beside``: also what only stands
    beside something found.

    ``least`` is the share of the best one's worth by words under which they are worth nothing.
    """
    asked = frozenset(wanted.terms)
    best = [
        each for each in _ordered(turns, wanted, near, counts, total, least) if beside or each[2]
    ]
    return [
        Ranked(message, conversation_id, is_found, _at(part, asked))
        for conversation_id, message, is_found, part in best[:limit]
    ]


def _ordered(
    turns: Iterable[Turn],
    wanted: Wanted,
    near: Sequence[Spot],
    counts: Mapping[int, int],
    total: int,
    least: float,
) -> list[tuple[str, Message, bool, tuple[int, str]]]:
    """Conversation, message, whether it is found itself, and the part of it that was looked at."""
    texts = [
        (conversation_id, message)
        for conversation_id, messages in _conversations(turns)
        for message in messages
    ]
    rarity: dict[str, float] = {}
    for index, term in enumerate(wanted.terms):
        rarity[term] = max(rarity.get(term, 0.0), _rarity(counts.get(index, 0), total))
    asked = frozenset(rarity)
    parts = _looked_at([_text(message) for _, message in texts], asked)
    counted = [counts_of(part, asked) for _, part in parts]
    average = sum(length for _, length in counted) / len(texts) if texts else 1
    own = [_worth(has, length, rarity, average or 1) for has, length in counted]
    worth = [own[i] + _by_neighbours(texts, own, i) for i in range(len(texts))]
    bound = least * max(worth, default=0.0)
    by_words = sorted(
        (i for i, value in enumerate(worth) if value > bound),
        key=lambda i: (-worth[i], -texts[i][1].created_at),
    )
    meant = {(spot.conversation_id, spot.seq): rank for rank, spot in enumerate(near)}
    joined: defaultdict[int, float] = defaultdict(float)
    for rank, i in enumerate(by_words):
        joined[i] += 1 / (RANK_OFFSET + 1 + rank)
    found = {i for i, value in enumerate(own) if value > 0}
    for i, (conversation_id, message) in enumerate(texts):
        meaning = meant.get((conversation_id, message.seq or 0))
        if meaning is not None:
            joined[i] += 1 / (RANK_OFFSET + 1 + meaning)
            if meaning < MEANT:
                found.add(i)
    order = sorted(joined, key=lambda i: (-joined[i], -texts[i][1].created_at))
    latest: dict[tuple[str, str, str], int] = {}
    for i in order:
        conversation_id, message = texts[i]
        said = (conversation_id, message.type, _text(message))
        latest[said] = max(latest.get(said, i), i)
    return [
        (conversation_id, texts[i][1], i in found, parts[i])
        for (conversation_id, _, text), i in latest.items()
        if text
    ]


def _looked_at(texts: Sequence[str], wanted: frozenset[str]) -> list[tuple[int, str]]:
    """Of each text the part that is looked at, behind where it begins: mostly all of it."""
    share = _share(sorted(map(len, texts)))
    return [(0, text) if len(text) <= share else _part(text, wanted, share) for text in texts]


def _share(sizes: Sequence[int]) -> int:
    """What each may have of ``MOST_CHARS``; what the short ones leave is the long ones'."""
    left = MOST_CHARS
    for i, size in enumerate(sizes):
        if size > (share := left // (len(sizes) - i)):
            return share
        left -= size
    return MOST_CHARS


def _part(text: str, wanted: frozenset[str], size: int) -> tuple[int, str]:
    """From a little before the first of the wanted terms, as near as a quick look tells."""
    small = text.lower()
    found = [at for term in wanted if (at := small.find(term[:-1] or term)) >= 0]
    begin = max(0, min(min(found, default=0) - size // 4, len(text) - size))
    return begin, text[begin : begin + size]


def _at(part: tuple[int, str], wanted: frozenset[str]) -> int:
    begin, text = part
    further, text = _part(text, wanted, MOST_PLACED)
    return begin + further + thickest(text, wanted)


def thickest(text: str, wanted: frozenset[str], width: int = 160) -> int:
    """Where the ``width`` characters begin that have most of the wanted terms."""
    places = places_of(text, wanted)
    here: Counter[str] = Counter()
    best = at = end = 0
    for start, term in places:
        while end < len(places) and places[end][0] < start + width:
            here[places[end][1]] += 1
            end += 1
        if len(here) > best:
            best, at = len(here), start
        here[term] -= 1
        if not here[term]:
            del here[term]
    return at


def _conversations(turns: Iterable[Turn]) -> list[tuple[str, list[Message]]]:
    """Of each conversation the messages in their order; what a later turn has taken the place of is
    left out."""
    by_conversation: defaultdict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        by_conversation[turn.conversation_id].append(turn)
    return [
        (conversation_id, [message for turn in current(some) for message in messages_of(turn)])
        for conversation_id, some in by_conversation.items()
    ]


def _rarity(count: int, total: int) -> float:
    return math.log(1 + (max(total - count, 0) + 0.5) / (count + 0.5))


def _worth(
    counts: Mapping[str, int], terms: int, rarity: Mapping[str, float], average: float
) -> float:
    if not counts:
        return 0.0
    length = K1 * (1 - B + B * terms / average)
    return sum(rarity[term] * n * (K1 + 1) / (n + length) for term, n in counts.items())


def _by_neighbours(texts: Sequence[tuple[str, Message]], own: Sequence[float], i: int) -> float:
    conversation_id, message = texts[i]
    value = 0.0
    for distance, share in NEIGHBOURS:
        for j in (i - distance, i + distance):
            if 0 <= j < len(texts) and texts[j][0] == conversation_id:
                apart = abs((texts[j][1].seq or 0) - (message.seq or 0))
                value += share * own[j] if apart <= distance + 1 else 0.0
    return value


def _text(message: Message) -> str:
    return message.content if isinstance(message.content, str) else ""
