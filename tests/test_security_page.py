"""docs/security.md names a test for each threat: here is whether they exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.app import HOME

PAGE = (HOME / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
ROWS = [
    line.strip("|").split(" | ")
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| --- ", "| attack ", "| danger "))
]


def those_in(file: str) -> set[str]:
    module = ast.parse((HOME / file).read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_each_test_that_the_page_names_exists(file: str) -> None:
    assert {name for of, name in NAMED if of == file} <= those_in(file)


def test_each_threat_names_a_test() -> None:
    assert len(ROWS) > 30
    for row in ROWS:
        assert len(row) == 3, row
        assert re.search(r"`tests/[\w/]+\.py::\w+`", row[-1]), row
