"""What operators measure, as Prometheus text. The parts count; they are read when asked.

Names and units follow Prometheus's conventions. What there is, and what it means, is in
``measures.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Measures = Callable[[], Iterable[Metric]]
"""What some part measures, as it is at this moment."""


class Metrics(Collector):
    """``text`` is one moment's measures, of all parts and of the process they are in."""

    def __init__(self, parts: Iterable[Measures]) -> None:
        self._parts = list(parts)
        # One of its own: the library's is shared by all that is in the process, and so by servers.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        for measures in self._parts:
            yield from measures()
