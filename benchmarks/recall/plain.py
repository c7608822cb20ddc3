"""Plain BM25, as in the textbook: words as they stand, each message by itself."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

K1, B = 1.2, 0.75


class PlainBM25:
    def __init__(self, texts: Sequence[str]) -> None:
        self._lengths: list[int] = []
        self._with: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for index, text in enumerate(texts):
            words = _words(text)
            self._lengths.append(len(words))
            for word, count in Counter(words).items():
                self._with[word].append((index, count))
        self._average = sum(self._lengths) / max(len(texts), 1) or 1.0

    def ranked(self, query: str) -> list[int]:
        scores: defaultdict[int, float] = defaultdict(float)
        for word in set(_words(query)):
            found = self._with.get(word, [])
            rarity = math.log(1 + (len(self._lengths) - len(found) + 0.5) / (len(found) + 0.5))
            for index, count in found:
                length = 1 - B + B * self._lengths[index] / self._average
                scores[index] += rarity * count * (K1 + 1) / (count + K1 * length)
        return sorted(scores, key=lambda index: (-scores[index], -index))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
