"""How a projection, its tail, the log and its archive stand, as metrics: looked at when somebody asks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from eventlog import EventLog, EventLogError, ProjectionReader
from eventlog.archive_status import AWAY, find_archive_status
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import LogState, Verdict
from eventlog.doctor.entries import judge_writes
from eventlog.doctor.followers import count_behind
from eventlog.doctor.places import follower_of
from eventlog.errors import NotBuilt
from eventlog.position import START
from eventlog.reader_status import age_s
from eventlog.tail_status import TailState
from shared.freshness import Freshness
from shared.health import Check

_PATIENCE_S: Final = 1.0  # with a Redis that hangs; who scrapes gives up after 10 s
_ARCHIVE_STATES: Final = (*TailState, AWAY)


class Standing(Collector):
    """What cannot be known now is left out."""

    def __init__(
        self,
        reader: ProjectionReader,
        log: EventLog,
        archive: Path,
        others: Mapping[str, Callable[[], Check]],
    ) -> None:
        """As Health is made."""
        self._reader = reader
        self._log = log.with_patience(_PATIENCE_S)
        self._archive = archive
        self._others = others
        self._freshness = Freshness(reader.home, log)
        self._file = follower_of(reader.directory, reader.projection, "")

    def collect(self) -> Iterator[Metric]:
        """Of this moment; never raises."""
        yield self._of_others()
        checkpoint, parked = self._look()
        yield _gauge("projection_readable", "Whether reads can be answered.", float(checkpoint is not None))
        status = self._freshness.ask(checkpoint)()
        yield _one_of("projection_state", "What its tail does.", "state", TailState, status.state)
        yield _one_of(
            "projection_verdict", "Whether the log is the one it follows.", "verdict", Verdict, status.verdict
        )
        if checkpoint is not None:
            yield _gauge("projection_parked_entries", "Set aside, and nobody has acknowledged them.", parked)
            if checkpoint.position > START:
                made_s = checkpoint.position.milliseconds / 1000
                name = "projection_checkpoint_timestamp_seconds"
                yield _gauge(name, "When the last entry that it applied was written, by its id.", made_s)
        yield _gauge(
            "projection_wal_bytes", "Of the SQLite WAL beside its file.", _size_bytes(self._file.wal)
        )
        try:
            state = self._log.state()
        except EventLogError:
            state = None
        is_there = state is not None and state.log_id is not None and state.stream_exists
        yield _gauge("log_up", "Whether Redis answers, and has the log.", float(is_there))
        if state is not None and is_there:
            yield from self._of_log(state, checkpoint)

    def _of_others(self) -> Metric:
        documentation = "Whether what only this service has is as it must be, as /health/ready says."
        metric = GaugeMetricFamily("health_check_ok", documentation, labels=["check"])
        for name, look in self._others.items():
            metric.add_metric([name], float(look().status == "ok"))
        return metric

    def _look(self) -> tuple[Checkpoint | None, int]:
        try:
            with self._reader.look() as look:
                if not look.find_wrong_tables():
                    return look.checkpoint, look.count_unacknowledged()
        except (NotBuilt, sqlite3.Error):
            pass
        return None, 0

    def _of_log(self, state: LogState, checkpoint: Checkpoint | None) -> Iterator[Metric]:
        try:
            accepted = judge_writes(self._log) is None
            yield _gauge("log_accepts_writes", "Whether an append would be accepted.", float(accepted))
            yield _gauge("log_entries", "Entries ever counted.", state.sequence)
            yield _gauge("log_missing_entries", "Entries that were counted, and are gone.", state.missing)
            now = self._log.now()
            ahead_s = max(0.0, state.end.milliseconds / 1000 - now.timestamp())
            yield _gauge("log_ids_ahead_seconds", "Of the last id, to the clock of Redis.", ahead_s)
            if checkpoint is not None and checkpoint.log_id == state.log_id:
                behind = count_behind(state, checkpoint)
                yield _gauge("projection_lag_events", "Entries that it has not applied.", behind)
                lag_s = age_s(self._log, checkpoint.position, now) if behind else 0.0
                yield _gauge("projection_lag_seconds", "Age of the oldest of them.", lag_s)
            archive = find_archive_status(self._log, self._archive, state)
            if archive is not None:
                yield _one_of("archive_state", "What it does.", "state", _ARCHIVE_STATES, archive.state)
                yield _gauge("archive_lag_events", "Entries that it has not kept.", archive.lag_events)
                yield _gauge("archive_lag_seconds", "Age of the oldest of them.", archive.lag_seconds)
        except EventLogError:
            return  # it went meanwhile: the next look says so


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value)


def _one_of(name: str, documentation: str, label: str, known: Iterable[str], found: str) -> Metric:
    """1 for what is, 0 for all that is not."""
    metric = GaugeMetricFamily(name, documentation, labels=[label])
    for each in known:
        metric.add_metric([str(each)], float(each == found))
    return metric


def _size_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
