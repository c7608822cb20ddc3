"""docs/agents.md shows the examples as they are, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.app import HOME

PAGE = (HOME / "docs/agents.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES = sorted(path for path in (HOME / "examples").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_on_the_page_as_it_is(path: Path) -> None:
    assert path.read_text(encoding="utf-8") in BLOCKS


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert target.startswith("https://") or (HOME / "docs" / target).exists(), target
