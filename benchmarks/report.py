"""One table: each figure, the floors beside it, and how many times the floor it is."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

Window = TypeVar("Window")
"""What was measured of one way in one round."""

WIDTHS = (51, 7, 9, 9, 8)
"""Of the columns but the last."""


class Missing(Exception):
    """Something a benchmark needs is not on this machine; the message says what."""


@dataclass(frozen=True)
class Floor:
    what: str
    value: float
    ratio: float
    """The figure divided by the floor, as measured round by round."""
    goal: float | None = None
    """What the ratio should not exceed, where that was agreed."""

    @property
    def name(self) -> str:
        return self.what if self.goal is None else f"{self.what} (goal {self.goal:g} ×)"


@dataclass(frozen=True)
class Row:
    what: str
    unit: str
    here: float
    floors: tuple[Floor, ...] = ()
    is_fault: bool = False
    """Wrong, and not just slow."""

    def lines(self) -> list[str]:
        """As many as there are floors, at least one."""
        first = (self.what, self.unit, number(self.here))
        if not self.floors:
            return [line(*first)]
        return [
            line(
                *(first if place == 0 else ("", "", "")),
                number(floor.value),
                f"{number(floor.ratio)} ×" if math.isfinite(floor.ratio) else "",
                floor.name,
            )
            for place, floor in enumerate(self.floors)
        ]


def against(what: str, here: float, value: float) -> Floor:
    """A floor whose ratio is simply that of the two figures."""
    return Floor(what, value, here / value if value else math.nan)


def compared(
    what: str,
    unit: str,
    windows: Mapping[str, Sequence[Window]],
    figure: Callable[[Window], float],
    *floors: str,
) -> Row:
    """The medians of "here" and of its floors; the ratios are the medians of the rounds' ratios."""
    values = {name: [figure(window) for window in windows[name]] for name in ("here", *floors)}

    def ratio(floor: str) -> float:
        pairs = zip(values["here"], values[floor], strict=True)
        return median(mine / theirs if theirs else math.nan for mine, theirs in pairs)

    beside = tuple(Floor(name, median(values[name]), ratio(name)) for name in floors)
    return Row(what, unit, median(values["here"]), beside)


def line(what: str, unit: str, here: str, floor: str = "", ratio: str = "", which: str = "") -> str:
    cells = (f"{what:<{WIDTHS[0]}}", f"{unit:<{WIDTHS[1]}}")
    figures = tuple(
        f"{text:>{width}}" for text, width in zip((here, floor, ratio), WIDTHS[2:], strict=True)
    )
    return " ".join((*cells, *figures, f" {which}")).rstrip()


def heading() -> str:
    return line("", "", "here", "floor", "ratio", "the floor")


def number(value: float) -> str:
    """Two or three digits that count, more only where they are whole; nothing for none."""
    if not math.isfinite(value):
        return ""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def machine() -> str:
    """Where and when this was measured, and what else was going on."""
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}\n"
        f"load before the start (1, 5, 15 minutes): {load}"
    )
