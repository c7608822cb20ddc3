"""How the tests are shared out among the workers of a whole run: see the Makefile."""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

# What a helper's assertion found is printed as well, not only a test's.
pytest.register_assert_rewrite(
    *(f"tests.{each.parent.name}" for each in Path(__file__).parent.glob("*/__init__.py"))
)

# What a busy machine makes fail: they keep it busy themselves, or take its silence for an outage,
# as the servers do. They run last and one by one, when the other workers have nothing left to do.
HEAVY = (
    "tests/chaos/test_chaos.py",
    "tests/memory/test_stress.py",
    "tests/stores/test_breaker_stays_closed.py",
    "tests/test_benchmarks.py",
)
# These share a browser and the servers behind it: on one worker, and from the start, since
# together they take longer than any other.
IN_A_BROWSER = "tests/web/test_page_"


def is_heavy(nodeid: str) -> bool:
    return nodeid.startswith(HEAVY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (is_heavy(item.nodeid), not item.nodeid.startswith(IN_A_BROWSER)))


class OneByOne(LoadScopeScheduling):
    """A worker that has nothing to do gets the next test, whichever file it is in.

    Instead of ``--dist loadgroup``, whose marks get lost on pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(IN_A_BROWSER):
            return "browser"
        return "heavy" if is_heavy(nodeid) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneByOne:
    config.option.loadscopereorder = False  # the largest group first
    return OneByOne(config, log)
