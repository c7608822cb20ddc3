"""Parts of long texts, cut at words."""

from __future__ import annotations

CUT = "…"


def excerpt(text: str, at: int, size: int) -> str:
    """About ``size`` characters of ``text`` around ``at``, and a sign where something is left out;
    the whole text where it is no longer."""
    if len(text) <= size:
        return text
    # A third before it: what follows is more often what was looked for.
    begin = max(0, min(at - size // 3, len(text) - size))
    end = min(len(text), begin + size)
    begin = _at_word(text, begin, end, first=True) if begin else 0
    end = _at_word(text, begin, end, first=False) if end < len(text) else end
    return f"{CUT if begin else ''}{text[begin:end].strip()}{CUT if end < len(text) else ''}"


def _at_word(text: str, begin: int, end: int, *, first: bool) -> int:
    """The nearest end of a word inside, unless that is far away: there may be no spaces."""
    reach = (end - begin) // 6
    if first:
        space = text.find(" ", begin, begin + reach)
        return space + 1 if space >= 0 else begin
    space = text.rfind(" ", end - reach, end)
    return space if space >= 0 else end
