"""Is this process alive, and can it answer? And what is wrong, with the mend, where it is degraded."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from eventlog import EventLog, EventLogError, ProjectionReader
from eventlog.archive_status import describe_archive, find_archive_status
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import LogState
from eventlog.counted import counted
from eventlog.doctor.entries import judge_state, judge_writes
from eventlog.doctor.findings import Finding, Name
from eventlog.doctor.followers import LAGGING_ENTRIES, count_behind, judge_lag, judge_parked
from eventlog.doctor.server import judge_durability
from eventlog.errors import NotBuilt, WrongLog
from eventlog.log import Durability
from eventlog.mends import mend_of
from eventlog.tail_lock import LOCK_NAME, find_holders
from eventlog.tail_status import TailState, TailStatusFile, judge_dead
from shared.freshness import Freshness

_PATIENCE_S = 1.0  # with a Redis that hangs; who asks seldom waits for longer than a few


Status: TypeAlias = Literal["ok", "degraded", "failed"]


class Check(msgspec.Struct, frozen=True):
    """One thing looked at, and what to do about it."""

    status: Status
    detail: str
    mend: str = ""


class _Applied(NamedTuple):
    """How far the projection is, how many entries it parked that nobody acknowledged, and what tables are wrong."""

    checkpoint: Checkpoint
    parked: int
    wrong_tables: list[str]


class Health:
    """Looks at the projection, its tail and the log; never raises."""

    def __init__(
        self,
        service: str,
        reader: ProjectionReader,
        log: EventLog,
        archive: Path,
        others: Mapping[str, Callable[[], Check]] | None = None,
    ) -> None:
        """`archive` is the file of the log's archive; `others` are what only this service has, by name."""
        self._service = service
        self._reader = reader
        self._log = log.with_patience(_PATIENCE_S)
        self._archive = archive
        self._others = others or {}
        self._freshness = Freshness(reader.home, log)
        self._looking = threading.Lock()
        self._began_s = -math.inf  # the last look
        self._found: dict[str, Check] = {}

    def checks(self) -> dict[str, Check]:
        """Each thing that can be looked at now, by name.

        One looks at a time, for all who asked before it began: what many ask for at once costs no more than one.
        """
        asked_s = time.monotonic()
        with self._looking:
            if self._began_s < asked_s:
                self._began_s = time.monotonic()
                self._found = self._look_at_all()
            return self._found

    def _look_at_all(self) -> dict[str, Check]:
        applied, log = self._look(), self._look_at_log()
        found = {"projection": applied} if isinstance(applied, Check) else self._check_applied(applied)
        found["tail"] = self._check_tail(applied.checkpoint if isinstance(applied, _Applied) else None)
        if isinstance(log, Check):
            found["log"] = log
        else:
            followed = isinstance(applied, _Applied) and bool(applied.checkpoint.log_id)
            found |= self._check_log(log, followed)
            if isinstance(applied, _Applied) and "writes" in found:
                found["lag"] = _check_lag(log, applied.checkpoint)
        if not isinstance(log, Check):
            found["durability"] = self._check_durability()
            found["archive"] = self._check_archive(log)
        return found | {name: look() for name, look in self._others.items()}

    def _look(self) -> _Applied | Check:
        try:
            with self._reader.look() as look:
                wrong_tables = look.find_wrong_tables()
                parked = 0 if wrong_tables else look.count_unacknowledged()
                return _Applied(look.checkpoint, parked, wrong_tables)
        except NotBuilt as problem:
            mend = f"start the tail, and see its log; where the file is damaged: `{self._service} verify --repair`"
            return Check("failed", str(problem), mend)
        except sqlite3.Error as problem:
            return Check("failed", f"cannot be read: {problem}", "see the tail's log; check disk and file")

    def _check_tail(self, checkpoint: Checkpoint | None) -> Check:
        status = self._freshness.ask(checkpoint)()
        if status.state is TailState.FOLLOWING:
            return Check("ok", f"verdict {status.verdict}")
        if status.state is TailState.DEAD:
            detail, mend = judge_dead(status, find_holders(self._reader.home / LOCK_NAME), "start the tail")
            return Check("degraded", f"dead: {detail}", mend)
        verdict = f" ({status.verdict})" if status.state is TailState.HALTED else ""
        return Check("degraded", f"{status.state}{verdict}", status.message)

    def _look_at_log(self) -> LogState | Check:
        try:
            return self._log.state()
        except WrongLog as problem:
            return Check("degraded", str(problem.verdict), str(problem))
        except EventLogError as problem:
            return Check("degraded", str(problem), mend_of(problem))

    def _check_applied(self, applied: _Applied) -> dict[str, Check]:
        parked = judge_parked(applied.parked, self._reader.projection.name, self._service)
        projection = Check("ok", f"applied up to {applied.checkpoint.position}")
        if applied.wrong_tables:
            wrong = "; ".join(applied.wrong_tables)
            projection = Check("degraded", wrong, f"`{self._service} verify --repair` builds the file anew")
        return {
            "projection": projection,
            "parked": _degraded_by(parked) or Check("ok", "none unacknowledged"),
        }

    def _check_log(self, log: LogState, followed: bool) -> dict[str, Check]:
        judged = judge_state(log, followed=followed)
        whole = Check("ok", f"log {log.log_id}, {counted(log.sequence, 'entry')} counted, ends at {log.end}")
        found = {"log": _degraded_by(judged) or whole}
        if judged is None or judged.name is not Name.LOG_MISSING:
            refused = _degraded_by(judge_writes(self._log)) or self._refused_while_halted()
            found["writes"] = refused or Check("ok", "accepted")
        return found

    def _refused_while_halted(self) -> Check | None:
        """As DecisionMaker refuses: what is halted decides nothing."""
        status = TailStatusFile(self._reader.home).read()
        return Check("degraded", "refused", status.message) if status.state is TailState.HALTED else None

    def _check_durability(self) -> Check:
        try:
            judged = judge_durability(self._log)
        except EventLogError as problem:
            return Check("degraded", str(problem), mend_of(problem))
        if not judged:
            return Check("ok", Durability.PROVEN.value)
        details, mends = zip(*((each.detail, each.mend) for each in judged), strict=True)
        return Check("degraded", "; ".join(details), "; ".join(mends))

    def _check_archive(self, log: LogState) -> Check:
        """No read waits for it: nothing is trimmed that it has not got."""
        try:
            archive = find_archive_status(self._log, self._archive, log)
        except EventLogError as problem:
            return Check("degraded", str(problem), mend_of(problem))
        if archive is None:
            return Check("ok", "there is none: nothing can be trimmed")
        if archive.keeps and archive.lag_events <= LAGGING_ENTRIES:
            return Check("ok", describe_archive(archive))
        return Check("degraded", describe_archive(archive), archive.mend)


def _check_lag(log: LogState, checkpoint: Checkpoint) -> Check:
    lag = Check("ok", f"{counted(count_behind(log, checkpoint), 'event')} behind")
    return _degraded_by(judge_lag(log, checkpoint)) or lag


def _degraded_by(finding: Finding | None) -> Check | None:
    return None if finding is None else Check("degraded", finding.detail, finding.mend)
