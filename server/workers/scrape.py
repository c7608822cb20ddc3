"""The measures of several workers as one Prometheus text: each sample says whose it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(\{)?(.*)", re.ASCII | re.DOTALL)


def merged(texts: Mapping[int, str], restarts: Mapping[int, int]) -> str:
    """``texts`` are of the workers that answered, by their number; ``restarts`` has all workers.

    A metric's samples stand together, whatever worker they are of, and its description stands once
    before them, as the format wants it.
    """
    described: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in sorted(texts.items()):
        name = ""
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                name = line.split(" ", 3)[2]
                lines = described.setdefault(name, [])
                if not any(known.split(" ", 2)[1] == line.split(" ", 2)[1] for known in lines):
                    lines.append(line)
            elif line and not line.startswith("#"):
                samples.setdefault(name, []).append(_marked(line, number))
    parts = [
        "\n".join([*described.get(name, ()), *of_all]) + "\n" for name, of_all in samples.items()
    ]
    return "".join([*parts, _of_the_supervisor(texts, restarts)])


def _marked(sample: str, number: int) -> str:
    """``name 1`` and ``name{a="b"} 1`` with the label ``worker``, before any others."""
    found = SAMPLE.fullmatch(sample)
    if found is None:
        return sample
    name, labels, rest = found.groups()
    rest = f",{rest}" if labels and not rest.startswith("}") else rest if labels else f"}}{rest}"
    return f'{name}{{worker="{number}"{rest}'


def _of_the_supervisor(texts: Mapping[int, str], restarts: Mapping[int, int]) -> str:
    up = "".join(f'mnemosio_worker_up{{worker="{n}"}} {int(n in texts)}\n' for n in restarts)
    again = "".join(
        f'mnemosio_worker_restarts_total{{worker="{n}"}} {count}\n' for n, count in restarts.items()
    )
    return (
        "# HELP mnemosio_worker_up 1 where the worker told what it measures.\n"
        f"# TYPE mnemosio_worker_up gauge\n{up}"
        "# HELP mnemosio_worker_restarts_total Starts of a worker after it ended by itself.\n"
        f"# TYPE mnemosio_worker_restarts_total counter\n{again}"
    )
