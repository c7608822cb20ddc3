"""The figures as a picture: an SVG of bars, with nothing in it but text and rectangles."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from benchmarks.report import number

WIDTH, MARGIN = 720, 10
NAME_WIDTH, VALUE_WIDTH = 130, 90
BAR, STEP, TOP, TITLE = 18, 28, 16, 30
"""Heights."""
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .note { font-size: 11px; fill: #6e7781 }
  rect { fill: #8c959f }
  .ours { fill: #1a7f5a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .note { fill: #8d96a0 }
    .ours { fill: #3fb98a }
  }
"""


def drawn(charts: Mapping[str, Mapping[str, float]], ours: str, note: str) -> str:
    """A chart of bars for each title, one under the other; a name to its value."""
    pieces: list[str] = []
    top = TOP
    for title, values in charts.items():
        pieces.append(_text(0, top + 12, title, "title"))
        top += TITLE
        most = max(values.values(), default=0.0)
        for name, value in values.items():
            longest = WIDTH - NAME_WIDTH - VALUE_WIDTH
            length = longest * value / most if most else 0.0
            kind = ' class="ours"' if name == ours else ""
            pieces += [
                _text(0, top + 13, name),
                f'<rect x="{NAME_WIDTH}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2"'
                f"{kind}/>",
                _text(NAME_WIDTH + length + 8, top + 13, number(value)),
            ]
            top += STEP
        top += TOP
    pieces.append(_text(0, top, note, "note"))
    body = "\n".join(f"  {piece}" for piece in pieces)
    height, label = top + TOP, escape("; ".join(charts), quote=True)
    size = f'width="{WIDTH}" height="{height}" viewBox="-{MARGIN} 0 {WIDTH} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">\n'
        f"  <style>{STYLE}  </style>\n{body}\n</svg>\n"
    )


def _text(left: float, top: float, text: str, kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{left:.1f}" y="{top}"{of_kind}>{escape(text)}</text>'
