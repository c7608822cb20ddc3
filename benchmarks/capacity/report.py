"""What was seen: a line a level while it is measured, and a table in the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from benchmarks.capacity.levels import Result
from benchmarks.capacity.search import Found
from benchmarks.capacity.targets import DIRECT, NAMES, OURS
from benchmarks.report import Floor, Row

COLUMNS = (
    ("server", 13),
    ("users", 6),
    ("tokens/s", 9),
    ("of ideal", 9),
    ("first 50", 9),
    ("99 ms", 7),
    ("gap 99", 8),
    ("lag 50", 8),
    ("99 ms", 7),
    ("a piece", 8),
    ("CPU/1,000", 10),
    ("redis", 7),
    ("mongod", 7),
    ("server", 7),
    ("provider", 9),
    ("generator", 10),
    ("foreign", 8),
    ("MB", 6),
)
FIRST_TOKEN_USERS = 50
LAG_USERS = 200

Figure = Callable[[Found], float]
"""NaN where it was not measured."""


def heading() -> str:
    return _laid_out([name for name, _ in COLUMNS])


def line(name: str, result: Result) -> str:
    """Times in ms; CPU for 1,000 tokens in ms (server, Redis, mongod), then of processes in cores.

    ``lag``: from the provider's write to the user. ``a piece``: tokens that came as one event.
    """
    seen, cpu = result.seen, result.seen.cpu
    cells = [
        name,
        f"{seen.users}",
        f"{result.rate:,.0f}",
        f"{result.pace:.1%}",
        *(f"{1e3 * value:.1f}" for value in seen.firsts),
        f"{1e3 * seen.gaps[1]:.0f}",
        f"{1e3 * seen.lags[0]:.1f}",
        f"{1e3 * seen.lags[1]:.0f}",
        f"{seen.tokens / max(1, seen.deliveries):.1f}",
        *(f"{result.cpu(each):.1f}" for each in ("server", "redis", "mongod")),
        *(f"{cpu.get(each, 0.0):.2f}" for each in ("server", "provider", "generator", "foreign")),
        f"{seen.resident / 1e6:.0f}",
    ]
    verdict = "real time" if result.is_real_time else "; ".join(result.faults)
    return f"{_laid_out(cells)}  {verdict}{' (compressed)' if seen.deflates else ''}"


def _laid_out(cells: list[str]) -> str:
    return "".join(
        f"{cell:{'<' if place == 0 else '>'}{width}}"
        for place, (cell, (_, width)) in enumerate(zip(cells, COLUMNS, strict=True))
    )


def rows(found: Mapping[str, Found], missing: Mapping[str, str]) -> list[Row]:
    """Ours beside the others; nothing of what was not measured, but why."""
    later = f"{FIRST_TOKEN_USERS} users: first token, the server's part"
    everything = [result for each in found.values() for result in each.all]
    users = _row(found, "users in real time", "", lambda each: each.held, less_is_better=False)
    left_out = [
        Floor(f"{NAMES[name]} left out: {why}", math.nan, math.nan) for name, why in missing.items()
    ]
    table = [
        replace(users, floors=(*users.floors, *left_out)),
        _row(found, "tokens a second at most", "", lambda each: each.rate, less_is_better=False),
        _row(found, "server CPU for 1,000 tokens, at these users", "ms", cpu_when_held("server")),
        *(
            Row(f"{name} CPU for 1,000 tokens", "ms", cpu_when_held(process)(found[OURS]))
            for name, process in (("Redis", "redis"), ("MongoDB", "mongod"))
        ),
        _row(found, f"{later}, median", "ms", _first_token_added(found[DIRECT], 0)),
        _row(found, f"{later}, p99", "ms", _first_token_added(found[DIRECT], 1)),
        _row(found, f"{LAG_USERS} users: lag of a token, p99", "ms", _lag_p99),
        *(
            Row(f"{name}, at most", "cores", max(each.seen.cpu[process] for each in everything))
            for name, process in (
                ("the users' process", "generator"),
                ("the provider", "provider"),
                ("foreign load", "foreign"),
            )
        ),
        Row(
            "tokens lost or doubled",
            "",
            sum(each.seen.wrong for each in found[OURS].all),
            is_fault=any(each.seen.wrong for each in everything),
        ),
    ]
    return [each for each in table if not math.isnan(each.here)]


def _row(
    found: Mapping[str, Found], what: str, unit: str, figure: Figure, *, less_is_better: bool = True
) -> Row:
    """A ratio above 1 says that something is worse, so there is none where more is better."""
    here = figure(found[OURS])
    floors = []
    for name, each in found.items():
        value = figure(each)
        if name not in (OURS, DIRECT) and not math.isnan(value):
            ratio = here / value if less_is_better and value > 0 else math.nan
            floors.append(Floor(NAMES[name], value, ratio))
    return Row(what, unit, here, tuple(floors))


def cpu_when_held(process: str) -> Figure:
    """Milliseconds for 1,000 tokens at the most users in real time; at the fewest where none."""
    return lambda each: each.at(each.held or min(each.results), lambda level: level.cpu(process))


def _first_token_added(direct: Found, place: int) -> Figure:
    """Milliseconds; ``place`` in ``Seen.firsts``."""

    def first(found: Found) -> float:
        return _at(found, FIRST_TOKEN_USERS, lambda level: 1e3 * level.seen.firsts[place])

    return lambda each: first(each) - first(direct)


def _lag_p99(found: Found) -> float:
    """Milliseconds."""
    return _at(found, LAG_USERS, lambda level: 1e3 * level.seen.lags[1])


def _at(found: Found, users: int, figure: Callable[[Result], float]) -> float:
    """NaN where that level was not measured."""
    return found.at(users, figure) if users in found.results else math.nan
