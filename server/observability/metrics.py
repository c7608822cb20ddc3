"""What operators measure, as Prometheus text. The parts count; they are read when asked.

Names and units follow Prometheus's conventions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Number = Callable[[], float]


class Metrics(Collector):
    """``text`` is one moment's measures."""

    def __init__(
        self,
        *,
        connections: Number,
        running: Number,
        taken_over: Number,
        outcomes: Callable[[], Mapping[str, int]],
        feed_state: Callable[[], str],
        followed: Number,
        store_ok: Callable[[], bool],
        spooled: Number,
        drained: Number,
    ) -> None:
        self._connections = connections
        self._running = running
        self._taken_over = taken_over
        self._outcomes = outcomes
        self._feed_state = feed_state
        self._followed = followed
        self._store_ok = store_ok
        self._spooled = spooled
        self._drained = drained
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "mnemosio_connections", "Clients connected to this server.", self._connections()
        )
        yield GaugeMetricFamily(
            "mnemosio_turns_running", "Answers in the making here.", self._running()
        )
        outcomes = CounterMetricFamily(
            "mnemosio_turns", "Turns that ended here, by their outcome.", labels=["outcome"]
        )
        for outcome, count in sorted(self._outcomes().items()):
            outcomes.add_metric([outcome], count)
        yield outcomes
        yield CounterMetricFamily(
            "mnemosio_turns_taken_over",
            "Turns begun anew here after another server, or an earlier life, let them go.",
            self._taken_over(),
        )
        yield GaugeMetricFamily(
            "mnemosio_feed_deaf",
            "1 while Redis answers and what is published is not heard.",
            self._feed_state() == "deaf",
        )
        yield GaugeMetricFamily(
            "mnemosio_feed_shared",
            "1 while feeds are shared through Redis, 0 while they are this process's own.",
            self._feed_state() != "local",
        )
        yield GaugeMetricFamily(
            "mnemosio_conversations_followed",
            "Conversations that somebody here follows.",
            self._followed(),
        )
        yield GaugeMetricFamily(
            "mnemosio_store_up", "1 while the permanent store answers.", self._store_ok()
        )
        yield GaugeMetricFamily(
            "mnemosio_turns_spooled",
            "Turns in this server's spool, which wait for the permanent store.",
            self._spooled(),
        )
        yield CounterMetricFamily(
            "mnemosio_turns_drained",
            "Turns that were brought from the spool to the permanent store.",
            self._drained(),
        )
