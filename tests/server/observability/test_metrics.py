"""What the parts count with. What ``/metrics`` says of a real server is in
tests/acceptance/test_observed.py."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest

from server.observability import measures
from server.observability.counting import DELAY_SECONDS, Histogram
from server.observability.loop_lag import LoopLag
from server.observability.metrics import Metrics
from server.turns.counts import TurnCounts
from tests.support.wait import wait_until


@pytest.mark.parametrize(
    ("value", "bucket"), [(0.0, "0.1"), (0.1, "0.1"), (0.11, "0.5"), (0.5, "0.5"), (9.0, "+Inf")]
)
def test_a_value_is_in_the_first_bucket_whose_bound_it_does_not_exceed(
    value: float, bucket: str
) -> None:
    histogram = Histogram((0.1, 0.5))
    histogram.observe(value)
    counts = dict(histogram.buckets)
    assert next(bound for bound, count in counts.items() if count) == bucket
    assert counts["+Inf"] == 1
    assert histogram.sum == value


def test_each_servers_measures_are_its_own() -> None:
    lag = Histogram(DELAY_SECONDS)
    one = Metrics([measures.of_this_build])
    other = Metrics([measures.of_this_build, partial(measures.of_the_loop, lag)])
    for metrics, has_lag in ((one, False), (other, True)):
        text = metrics.text().decode()
        assert text.count("# TYPE process_open_fds ") == 1
        assert text.count("# TYPE python_gc_collections_total ") == 1
        assert ("mnemosio_loop_lag_seconds" in text) is has_lag


async def test_what_holds_up_the_event_loop_shows() -> None:
    loop_lag = LoopLag()
    measuring = asyncio.create_task(loop_lag.measure_forever())
    await asyncio.sleep(0.45)
    time.sleep(0.3)
    await wait_until(lambda: loop_lag.lag.buckets[-1][1] == 1, "it wakes")
    measuring.cancel()
    counts = dict(loop_lag.lag.buckets)
    assert (counts["0.1"], counts["0.5"]) == (0, 1)


def test_tokens_are_counted_where_a_provider_tells_of_them() -> None:
    counts = TurnCounts()
    counts.used({"input_tokens": 3, "output_tokens": 2, "total_tokens": 5})
    counts.used({"input_tokens": 1, "output_tokens": None})
    counts.used({})
    assert counts.tokens == {"input": 4, "output": 2}
