"""What the documentation prints, to be run as printed."""

from __future__ import annotations

import re

from tests.support.app import HOME


def block(page: str, language: str) -> str:
    """The one block of code in this language."""
    text = (HOME / page).read_text(encoding="utf-8")
    [code] = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return str(code)
