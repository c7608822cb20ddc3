"""A short run of ``make chaos``: whatever can break breaks, and nothing is lost or doubled."""

from __future__ import annotations

import pytest

from tests.chaos.run import run
from tests.support.mongod import require_mongod
from tests.support.redis_server import redis_server_binary

# Of the first two thousand, one of those that break the most different things in so short a time.
SEED = 339
SECONDS = 10


@pytest.mark.timeout(240)  # the faults, then as long as healing and settling may take
async def test_nothing_acknowledged_is_lost_or_doubled_whatever_breaks() -> None:
    require_mongod()
    redis_server_binary()
    outcome = await run(SEED, seconds=SECONDS, users=3)
    assert not outcome.findings, str(outcome)
    # It was no idle run: turns were answered, and servers and what they share broke meanwhile.
    assert outcome.counts["completed"] > 15
    assert sum(outcome.faults.values()) > 10
