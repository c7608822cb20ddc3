"""What was seen, in lines."""

from __future__ import annotations

from benchmarks.capacity.levels import Result

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
    ("CPU/1,000", 10),
    ("redis", 7),
    ("mongod", 7),
    ("server", 7),
    ("provider", 9),
    ("generator", 10),
    ("foreign", 8),
    ("MB", 6),
)


def heading() -> str:
    return "".join(
        f"{name:<{width}}" if place == 0 else f"{name:>{width}}"
        for place, (name, width) in enumerate(COLUMNS)
    )


def line(name: str, result: Result) -> str:
    """Times in ms, CPU for 1,000 tokens in ms, CPU of processes in cores."""
    seen, cpu = result.seen, result.seen.cpu
    cells = (
        name,
        f"{seen.users}",
        f"{result.rate:,.0f}",
        f"{result.pace:.1%}",
        *(f"{1e3 * value:.1f}" for value in seen.firsts),
        f"{1e3 * seen.gaps[1]:.0f}",
        f"{1e3 * seen.lags[0]:.1f}",
        f"{1e3 * seen.lags[1]:.0f}",
        f"{result.cpu:.1f}",
        f"{result.of('redis'):.1f}",
        f"{result.of('mongod'):.1f}",
        *(f"{cpu.get(each, 0.0):.2f}" for each in ("server", "provider", "generator", "foreign")),
        f"{seen.resident / 1e6:.0f}",
    )
    laid_out = "".join(
        f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
        for place, (cell, (_, width)) in enumerate(zip(cells, COLUMNS, strict=True))
    )
    verdict = "real time" if result.is_real_time else "; ".join(result.faults)
    return f"{laid_out}  {verdict}"
