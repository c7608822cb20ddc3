"""The measures of several workers in one text."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from server.workers.scrape import merged

ONE = """\
# HELP turns_total Turns that ended.
# TYPE turns_total counter
turns_total{outcome="completed"} 3.0
turns_total{outcome="a \\"quoted\\" } brace"} 1.0
# HELP wait_seconds How long one waits.
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.1"} 1.0
wait_seconds_bucket{le="+Inf"} 2.0
wait_seconds_count 2.0
wait_seconds_sum 0.5
"""
TWO = """\
# HELP turns_total Turns that ended.
# TYPE turns_total counter
turns_total{outcome="completed"} 5.0
# HELP only_here Of the second.
# TYPE only_here gauge
only_here{} 7.0
"""


def test_each_sample_says_whose_it_is_and_a_metric_is_described_once() -> None:
    text = merged({2: TWO, 1: ONE}, {1: 0, 2: 4, 3: 9})
    assert text.splitlines() == [
        "# HELP turns_total Turns that ended.",
        "# TYPE turns_total counter",
        'turns_total{worker="1",outcome="completed"} 3.0',
        'turns_total{worker="1",outcome="a \\"quoted\\" } brace"} 1.0',
        'turns_total{worker="2",outcome="completed"} 5.0',
        "# HELP wait_seconds How long one waits.",
        "# TYPE wait_seconds histogram",
        'wait_seconds_bucket{worker="1",le="0.1"} 1.0',
        'wait_seconds_bucket{worker="1",le="+Inf"} 2.0',
        'wait_seconds_count{worker="1"} 2.0',
        'wait_seconds_sum{worker="1"} 0.5',
        "# HELP only_here Of the second.",
        "# TYPE only_here gauge",
        'only_here{worker="2"} 7.0',
        "# HELP mnemosio_worker_up 1 where the worker told what it measures.",
        "# TYPE mnemosio_worker_up gauge",
        'mnemosio_worker_up{worker="1"} 1',
        'mnemosio_worker_up{worker="2"} 1',
        'mnemosio_worker_up{worker="3"} 0',
        "# HELP mnemosio_worker_restarts_total Starts of a worker after it ended by itself.",
        "# TYPE mnemosio_worker_restarts_total counter",
        'mnemosio_worker_restarts_total{worker="1"} 0',
        'mnemosio_worker_restarts_total{worker="2"} 4',
        'mnemosio_worker_restarts_total{worker="3"} 9',
    ]


def test_prometheus_reads_it() -> None:
    families = {f.name: f for f in text_string_to_metric_families(merged({1: ONE, 2: TWO}, {1: 0}))}
    assert set(families) == {
        *("turns", "wait_seconds", "only_here"),
        *("mnemosio_worker_up", "mnemosio_worker_restarts"),
    }
    turns = [(sample.labels, sample.value) for sample in families["turns"].samples]
    assert turns == [
        ({"worker": "1", "outcome": "completed"}, 3.0),
        ({"worker": "1", "outcome": 'a "quoted" } brace'}, 1.0),
        ({"worker": "2", "outcome": "completed"}, 5.0),
    ]
