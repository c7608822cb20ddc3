"""Each measure's name and what it means to an operator, by the part that counts it.

docs/metrics.md says more, and what to be woken by; a test holds it to this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Literal, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from server import __version__
from server.observability.counting import Histogram


def gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"mnemosio_{name}", help, value)


def counter(name: str, help: str, value: float) -> Metric:
    """Its name gets ``_total``."""
    return CounterMetricFamily(f"mnemosio_{name}", help, value)


def counters(
    name: str, help: str, labels: tuple[str, ...], counts: Iterable[tuple[tuple[str, ...], int]]
) -> Metric:
    family = CounterMetricFamily(f"mnemosio_{name}", help, labels=labels)
    for values, count in sorted(counts):
        family.add_metric(values, count)
    return family


def by(label: str, name: str, help: str, counts: Mapping[str, int]) -> Metric:
    """Counters that differ in one label."""
    return counters(name, help, (label,), [((value,), count) for value, count in counts.items()])


def histogram(name: str, help: str, counted: Histogram) -> Metric:
    return HistogramMetricFamily(
        f"mnemosio_{name}", help, buckets=counted.buckets, sum_value=counted.sum
    )


def of_this_build() -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "mnemosio_build_info", "Always 1; its label says which version runs.", labels=["version"]
    )
    family.add_metric([__version__], 1)
    yield family


# The edge


class Transport(Protocol):
    @property
    def slow_readers(self) -> int: ...

    def waiting(self) -> Iterable[int]: ...


class Sessions(Protocol):
    @property
    def refused(self) -> Mapping[str, int]: ...


class Calls(Protocol):
    @property
    def answered(self) -> Mapping[tuple[str, str], int]: ...


def of_connections(
    connections: Sized, transport: Transport, sessions: Sessions
) -> Iterator[Metric]:
    waiting = list(transport.waiting())
    yield gauge("connections", "Clients connected to this server.", len(connections))
    yield by(
        "code",
        "connects_refused",
        "Clients that were not let in, by the error they were told.",
        sessions.refused,
    )
    yield gauge("outbox_bytes", "What waits to be sent, of all connections together.", sum(waiting))
    yield gauge(
        "outbox_bytes_max",
        "What waits for the connection that has the most waiting; one that does not read is cut "
        "off at MAX_OUTBOX_BYTES.",
        max(waiting, default=0),
    )
    yield counter(
        "slow_readers_cut_off",
        "Connections that were ended because their client did not read what it was sent.",
        transport.slow_readers,
    )


def of_calls(calls: Calls) -> Iterator[Metric]:
    yield counters(
        "calls",
        "Calls that were answered, by their name and by ok or the error's code; names that there "
        "are not count as unknown.",
        ("name", "code"),
        calls.answered.items(),
    )


# Turns


class TurnCounts(Protocol):
    @property
    def outcomes(self) -> Mapping[str, int]: ...
    @property
    def failures(self) -> Mapping[str, int]: ...
    @property
    def tokens(self) -> Mapping[str, int]: ...
    @property
    def taken_over(self) -> int: ...
    @property
    def deltas(self) -> int: ...
    @property
    def tools(self) -> Mapping[tuple[str, str], int]: ...
    @property
    def first_token(self) -> Histogram: ...
    @property
    def duration(self) -> Histogram: ...
    @property
    def delivery(self) -> Histogram: ...


class Answering(Protocol):
    @property
    def runs(self) -> Sized: ...
    @property
    def waiting(self) -> int: ...
    @property
    def counts(self) -> TurnCounts: ...


def of_turns(answering: Answering) -> Iterator[Metric]:
    counts = answering.counts
    yield gauge("turns_running", "Answers in the making here.", len(answering.runs))
    yield gauge(
        "turns_waiting",
        "Messages accepted here whose conversation answers another, and conversations whose next "
        "answer waits for room here.",
        answering.waiting,
    )
    yield by("outcome", "turns", "Turns that ended here, by their outcome.", counts.outcomes)
    yield by(
        "code",
        "turn_failures",
        "Turns that failed here, by the error that was told.",
        counts.failures,
    )
    yield counter(
        "turns_taken_over",
        "Turns begun anew here after another server, or an earlier life, let them go.",
        counts.taken_over,
    )
    yield counter("deltas", "Pieces of answers that were told to readers.", counts.deltas)
    yield by(
        "kind",
        "tokens",
        "Tokens that answers have used, as far as the provider tells: input or output.",
        counts.tokens,
    )
    yield counters(
        "tool_uses",
        "Uses of tools that ran here, by the tool's name and by finished or failed.",
        ("name", "status"),
        counts.tools.items(),
    )
    yield histogram(
        "turn_first_token_seconds",
        "From an answer's beginning, its prompt being made included, to its first piece.",
        counts.first_token,
    )
    yield histogram(
        "turn_duration_seconds",
        "From an answer's beginning to its end being kept.",
        counts.duration,
    )
    yield histogram(
        "delivery_lag_seconds",
        "From a piece of an answer having come from the provider to its being queued for its "
        "readers here, its frame of up to 30 ms included; of one frame in 16.",
        counts.delivery,
    )


class Feedback(Protocol):
    @property
    def given(self) -> Mapping[str, int]: ...


def of_feedback(feedback: Feedback) -> Iterator[Metric]:
    yield by(
        "value",
        "feedback",
        "What users said of answers here: 1, -1, or 0 where they took it back.",
        feedback.given,
    )


class Budgets(Protocol):
    @property
    def refused(self) -> Mapping[str, int]: ...


def of_budgets(budgets: Budgets) -> Iterator[Metric]:
    yield by(
        "budget",
        "budget_refusals",
        "Messages that were refused because the day's tokens were used up: a user's, or those of "
        "all users together.",
        budgets.refused,
    )


# The feed, memory, the stores


class Feeds(Protocol):
    @property
    def state(self) -> str: ...

    def followed(self) -> Sized: ...


def of_feeds(feeds: Feeds) -> Iterator[Metric]:
    yield gauge(
        "feed_deaf",
        "1 while Redis answers and what is published is not heard.",
        feeds.state == "deaf",
    )
    yield gauge(
        "feed_shared",
        "1 while feeds are shared through Redis, 0 while they are this process's own.",
        feeds.state != "local",
    )
    yield gauge(
        "conversations_followed",
        "Conversations that somebody here follows.",
        len(feeds.followed()),
    )


class Memory(Protocol):
    @property
    def state(self) -> Literal["redis", "local"]: ...
    @property
    def counts(self) -> Mapping[str, int]: ...


READS = {"hot": "hot", "local": "local", "loaded": "cold", "waited": "waited"}
MISSES = ("absent", "stale", "broken")
ADDED = "add "


def of_memory(memory: Memory) -> Iterator[Metric]:
    counts = memory.counts
    yield gauge("redis_up", "1 while memory uses Redis.", memory.state == "redis")
    yield by(
        "way",
        "memory_reads",
        "Conversations that memory gave: hot from Redis, cold from the permanent store, waited "
        "where another server was loading it, local from this process while Redis is away.",
        {way: counts.get(name, 0) for name, way in READS.items()},
    )
    yield by(
        "why",
        "memory_misses",
        "Conversations that Redis did not have as far as needed: absent, stale (the store has "
        "more) or broken (can't be read).",
        {why: counts.get(why, 0) for why in MISSES},
    )
    yield by(
        "outcome",
        "memory_adds",
        "Messages brought to Redis after the permanent store had them, by what became of them "
        "there; absent is usual: what nobody has read lately is not kept there.",
        {
            name.removeprefix(ADDED): count
            for name, count in counts.items()
            if name.startswith(ADDED)
        },
    )
    yield counter(
        "memory_fallbacks",
        "Operations on memory that Redis failed, and that went on without it.",
        counts.get("failed", 0),
    )


class Store(Protocol):
    @property
    def spooled(self) -> int: ...
    @property
    def drained(self) -> int: ...


class Health(Protocol):
    @property
    def store_ok(self) -> bool: ...


def of_store(store: Store, health: Health) -> Iterator[Metric]:
    yield gauge("store_up", "1 while the permanent store answers.", health.store_ok)
    yield gauge(
        "turns_spooled",
        "Turns in this server's spool, which wait for the permanent store.",
        store.spooled,
    )
    yield counter(
        "turns_drained",
        "Turns that were brought from the spool to the permanent store.",
        store.drained,
    )


def of_the_loop(lag: Histogram) -> Iterator[Metric]:
    yield histogram(
        "loop_lag_seconds",
        "How late the event loop was for a timer, looked at twice a second: whoever holds it up "
        "holds up everybody.",
        lag,
    )
