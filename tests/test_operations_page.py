"""docs/operations.md has every setting, with its default, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.app import HOME

PAGE = (HOME / "docs" / "operations.md").read_text(encoding="utf-8")
SETTINGS = PAGE.split("\n## Settings\n")[1].split("\n## ")[0]
ROWS = [line.strip("|").split(" | ") for line in SETTINGS.splitlines() if line.startswith("| `")]
DEFAULTS = dict(
    re.findall(r"^# ([A-Z_]+)=(.*)$", (HOME / ".env.example").read_text(), re.MULTILINE)
)


def test_each_setting_has_its_row_and_its_default() -> None:
    shown: list[str] = []
    for names, defaults, *_ in ROWS:
        named = re.findall(r"`([A-Z_]+)`", names)
        shown += named
        values = defaults.split(", ")
        for name, value in zip(named, values * (len(named) // len(values)), strict=True):
            # What is not in backticks is said in words: unset, any, made once.
            if value.strip().startswith("`") and name != "DATA_DIR":
                assert value.strip() == f"`{DEFAULTS[name]}`", name
            else:
                assert DEFAULTS[name] in ("", "0"), name
    assert sorted(shown) == sorted(DEFAULTS)


@pytest.mark.parametrize("page", ["docs/operations.md", "docs/security.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (HOME / page).read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        if file:
            assert (HOME / Path(page).parent / file).exists(), target
        else:
            assert anchor in headings, target
