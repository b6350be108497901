"""What is counted for Prometheus: requests and publishes by web workers, batches by tails.

Labels are names from the code (routes, outcomes), never what a client sent: their number has a bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, disable_created_metrics
from prometheus_client.registry import Collector

from eventlog import Event, Published
from eventlog.deciding import AroundPublish
from eventlog.errors import (
    CommandReused,
    Conflict,
    IdsTaken,
    LogUnavailable,
    OutcomeUnknown,
    WeakDurability,
    WrongLog,
)
from eventlog.subscription import AppliedBatch
from shared.counted_files import CountedFile, read_all

_TIMES_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ENTRIES: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)

_METHODS: Final = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
UNMATCHED: Final = "unmatched"  # the route of a request that is for none of ours

_PUBLISHED, _REPLAYED, _OTHER_ERROR = "published", "replayed", "error"
_OUTCOMES: Final = {
    Conflict: "conflict",
    IdsTaken: "ids_taken",
    CommandReused: "command_reused",
    LogUnavailable: "unavailable",
    OutcomeUnknown: "outcome_unknown",
    WeakDurability: "weak_durability",
    WrongLog: "wrong_log",
}

disable_created_metrics()  # type: ignore[no-untyped-call]  # of the library


def known_method(method: str) -> str:
    """`other` for what a client made up."""
    return method if method in _METHODS else "other"


class WebMetrics(Collector):
    """Of one web worker; in a directory shared with its siblings, and that of the tail, of all of them."""

    def __init__(self, directory: Path | None = None) -> None:
        registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._times = Histogram(
            "http_request_duration_seconds",
            "From the request to the beginning of its answer, time in line included.",
            ["method", "route"],
            buckets=_TIMES_S,
            registry=registry,
        )
        self._overloaded = Counter(
            "http_requests_overloaded", "Requests refused because too many were in line.", registry=registry
        )
        self._internal_errors = Counter(
            "http_internal_errors", "Requests answered with 500: a fault of ours.", registry=registry
        )
        self._replays = Counter(
            "commands_replayed",
            "Writes that had been done before and were answered the same.",
            registry=registry,
        )
        self._publishes = Counter(
            "log_publishes", "Appends tried, by what came of them.", ["outcome"], registry=registry
        )
        self._publish_times = Histogram(
            "log_publish_duration_seconds",
            "From the append to its answer, after the fsync.",
            buckets=_TIMES_S,
            registry=registry,
        )
        self.watchers = Gauge("event_watchers", "Clients that watch /events.", registry=registry)
        for outcome in (_PUBLISHED, _REPLAYED, _OTHER_ERROR, *_OUTCOMES.values()):
            self._publishes.labels(outcome)  # from 0 on: a rate of what appears as 1 is 0
        self._seen: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._registry = registry
        self._directory = directory
        self._file = CountedFile(directory / "web", registry) if directory else None

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One that was answered; a known method, and a rule of ours or `UNMATCHED`."""
        key = method, route, status
        seen = self._seen.get(key)
        if seen is None:
            counter = self._requests.labels(method, route, str(status))
            seen = self._seen[key] = counter, self._times.labels(method, route)
        counter, times = seen
        counter.inc()
        times.observe(seconds)
        if status == 500:
            self._internal_errors.inc()
        if self._file is not None:
            self._file.is_behind = True  # of all that a request counts: it is noted last

    def note_overload(self) -> None:
        """A request that was refused before it came to any route."""
        self._overloaded.inc()

    def note_replay(self) -> None:
        """A write that had been done before."""
        self._replays.inc()

    def around_publish(self, inner: AroundPublish | None) -> AroundPublish:
        """Counts what `inner`, or the publish itself, comes to."""

        def publish_counted(
            events: Sequence[Event],
            traceparent: str | None,
            publish: Callable[[str | None], Published],
        ) -> Published:
            outcome, began_s = _OTHER_ERROR, time.perf_counter()
            try:
                published = inner(events, traceparent, publish) if inner else publish(traceparent)
                outcome = _REPLAYED if published.replayed else _PUBLISHED
            except Exception as error:
                outcome = _OUTCOMES.get(type(error), _OTHER_ERROR)
                raise
            finally:
                self._publish_times.observe(time.perf_counter() - began_s)
                self._publishes.labels(outcome).inc()
            return published

        return publish_counted

    def collect(self) -> Iterator[Metric]:
        """Of all processes of this service."""
        if self._file is None or self._directory is None:
            yield from self._registry.collect()
            return
        self._file.write()  # what was told once is told by whichever worker is asked next
        yield from read_all(self._directory / "web", self._directory / "tail")


class TailMetrics:
    """Of a tail; the web workers of its service tell of them."""

    def __init__(self, directory: Path) -> None:
        registry = CollectorRegistry()
        self._times = Histogram(
            "projection_batch_duration_seconds",
            "From the first entry of a batch to its commit.",
            buckets=_TIMES_S,
            registry=registry,
        )
        self._entries = Histogram(
            "projection_batch_entries", "Entries applied together.", buckets=_ENTRIES, registry=registry
        )
        self._parked = Counter(
            "projection_entries_parked", "Entries set aside, acknowledged since or not.", registry=registry
        )
        self._file = CountedFile(directory / "tail", registry)

    def note_batch(self, batch: AppliedBatch) -> None:
        """What `on_applied` is told."""
        self._times.observe((batch.ended_ns - batch.began_ns) / 1e9)
        self._entries.observe(batch.entries)
        self._parked.inc(len(batch.parked))
        self._file.is_behind = True
