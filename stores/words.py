"""What a text is found by: its words, and pieces of what is written without spaces. No I/O.

The databases cut words and stem them by rules of their own when they look for candidates; the rank
of a candidate is decided by these, so that both stores rank alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

import msgspec

# Of a long question its beginning and its end are looked at, in characters: where people ask.
HEAD = 400
TAIL = 800

# Each word costs the database a look of its own.
MOST_WORDS = 16

_WORD = re.compile(r"[^\W_]+")

# Scripts in which no space parts the words (or, in Korean, parts them with their endings): Thai,
# Lao, Burmese, Khmer, kana, Han and Hangul.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]+"
)

# What is in every other sentence; a search for nothing but these looks for them all the same.
_COMMON = (
    "a about all also am an and any are as at be been being but by can could did do does doing "
    "done d for from had has have having he her here him his how i if in into is it its just ll m "
    "may me might mine must my no not of on or our out over re s shall she should so some t than "
    "that the their them then there these they this those to too up us ve very was we were what "
    "when where which who whom whose why will with would you your yours"
)
COMMON = frozenset(_COMMON.split())


class Wanted(msgspec.Struct, frozen=True):
    """What is looked for."""

    words: tuple[str, ...] = ()
    """In the full-text index."""
    pieces: tuple[str, ...] = ()
    """In the texts themselves: what no full-text index has as a word."""

    @property
    def terms(self) -> tuple[str, ...]:
        """What it comes to in ``terms_of`` a text, by the place in ``words``, then ``pieces``."""
        return (*(stem(word) for word in self.words), *(stem(piece) for piece in self.pieces))

    def __bool__(self) -> bool:
        return bool(self.words or self.pieces)


def wanted_in(query: str) -> Wanted:
    """What a free text asks for. Nothing in it is an operator."""
    text = plain(query if len(query) <= HEAD + TAIL else f"{query[:HEAD]} {query[-TAIL:]}")
    words: dict[str, None] = {}
    pieces: dict[str, None] = {}
    for word in _WORD.findall(text):
        runs = _SPACELESS.findall(word)
        if not runs:
            words[word] = None
        for run in runs:
            pieces.update(dict.fromkeys(_pairs(run) or [run]))
    telling = [word for word in words if word not in COMMON]
    # The database's index may leave such words out, so they are looked for like pieces.
    common = [] if telling or pieces else list(words)
    return Wanted(tuple(telling[:MOST_WORDS]), tuple([*pieces, *common][:MOST_WORDS]))


def terms_of(text: str) -> list[str]:
    """The terms of a text in their order, with repetitions."""
    text = plain(text)
    if text.isascii():
        return [stem(word) for word in _WORD.findall(text)]
    terms: list[str] = []
    for word in _WORD.findall(text):
        runs = _SPACELESS.findall(word)
        if not runs:
            terms.append(stem(word))
        for run in runs:
            terms += _pairs(run)
            terms += run
    return terms


def counts_of(text: str, wanted: frozenset[str]) -> tuple[Counter[str], int]:
    """How often the ``wanted`` terms stand in a text, and how many terms it has."""
    text = plain(text)
    if not text.isascii():
        terms = terms_of(text)
        return Counter(term for term in terms if term in wanted), len(terms)
    words = _WORD.findall(text)
    initials = _initials(wanted)
    likely = (stem(word) for word in words if word[0] in initials)
    return Counter(term for term in likely if term in wanted), len(words)


def places_of(text: str, wanted: frozenset[str]) -> list[tuple[int, str]]:
    """Where in ``text`` the ``wanted`` terms stand: offsets with the term, ascending."""
    # Accents come off letter by letter here, so that the offsets are the text's own.
    found = []
    initials = _initials(wanted)
    for match in _WORD.finditer(text):
        if match[0].isascii() and match[0][0].lower() not in initials:
            continue
        word = plain(match[0])
        if stem(word) in wanted:
            found.append((match.start(), stem(word)))
            continue
        for run in _SPACELESS.finditer(match[0]):
            for at, piece in enumerate([*_pairs(run[0]), *run[0]]):
                if piece in wanted:
                    offset = at if len(piece) > 1 else at - len(_pairs(run[0]))
                    found.append((match.start() + run.start() + offset, piece))
    return sorted(found)


def _initials(wanted: frozenset[str]) -> set[str]:
    """A word's stem begins as the word does."""
    return {term[0] for term in wanted}


def plain(text: str) -> str:
    """In small letters, without accents."""
    text = text.casefold()
    if text.isascii():
        return text
    parts = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in parts if not unicodedata.combining(c) or _is_of_spaceless(c))
    return unicodedata.normalize("NFC", bare)


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A word without its commonest English endings; others' words lose little by it."""
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 4 and word.endswith("ly"):
        word = word[:-2]
    return word


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)]


def _is_of_spaceless(character: str) -> bool:
    """Of these the marks are letters: a vowel in Thai, the two dots of が."""
    return bool(_SPACELESS.match(character)) or character in "\u3099\u309a"
