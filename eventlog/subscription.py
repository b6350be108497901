"""From the log to one projection: run once, run to the head, run until stopped; each calls the one before."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from eventlog.checkpoints import Checkpoint, require_no_step_back
from eventlog.codec import Malformed, Newer, UnknownType
from eventlog.continuity import Divergence, NumberedEntry, Verdict, number_entries
from eventlog.errors import (
    CheckpointMoved,
    EventLogError,
    HandlerFailed,
    LogUnavailable,
    NewerSchema,
    NotBuilt,
    WrongLog,
)
from eventlog.events import Event, RecordedEvent
from eventlog.generations import Generations, home_of
from eventlog.log import EventLog, wrong_log
from eventlog.parking import Parked
from eventlog.position import LAST, Position
from eventlog.projection import Projection, Refused
from eventlog.projection_file import ProjectionFile
from eventlog.reader_report import ReaderReport
from eventlog.readers import ReaderKind
from eventlog.row_changes import PendingRows
from eventlog.tail_lock import TailLock
from eventlog.tail_requests import RequestKind, TailRequest
from eventlog.tail_status import TailState, TailStatus, TailStatusFile

BATCH_SIZE: Final = 1000  # entries; one transaction each, so also how much a crash repeats at most

_WAKE_EVERY_MS = 1000  # also how long a change of the log may go unnoticed while nothing arrives
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0

_FOLLOWING = TailStatus(TailState.FOLLOWING)
_CATCHING_UP = TailStatus(
    TailState.CATCHING_UP, message="what is read is incomplete: wait until it is applied"
)

_logger = logging.getLogger(__name__)


class Subscription:
    """Moves events from the log to a projection's file, each exactly once, in order.

    Only one process at a time should run it for a file (see TailLock); if two do, the
    compare-and-set of the checkpoint lets one of them win each batch and rolls the other back.
    """

    def __init__(
        self,
        log: EventLog,
        file: ProjectionFile,
        *,
        batch_size: int = BATCH_SIZE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._file = file
        self._batch_size = batch_size
        self._clock = clock
        self._behind = 0  # entries not applied yet, as of the last run
        self._applied_to = Checkpoint(file.projection.name, file.projection.version)  # likewise

    def close(self) -> None:
        """Close the file that it writes now."""
        self._file.close()

    def run_once(self, up_to: Position = LAST) -> int:
        """Verify the log, apply one batch, and answer how many entries the checkpoint moved over.

        Entries behind `up_to` are left for another time.

        Raises WrongLog or NewerSchema when it must halt, HandlerFailed when a handler is at fault,
        LogUnavailable, CheckpointMoved or sqlite3.Error when trying again may help. The checkpoint
        then stands before the first entry that was not applied.
        """
        before = self._file.checkpoint()
        snapshot = self._log.snapshot(before.position, self._batch_size)
        numbered = number_entries(before, snapshot, self._log.count_entries)
        if isinstance(numbered, Divergence):
            raise wrong_log(numbered, before)
        log_id = snapshot.state.log_id or ""
        numbered = [found for found in numbered if found.entry.position <= up_to]
        batch = _Batch(self._log, self._file.projection, self._file.pending_rows(), self._clock)
        problem = batch.apply_all(numbered)
        applied = numbered[: batch.applied]
        self._behind = len(numbered) - len(applied)
        if not snapshot.reached_end:
            self._behind = max(1, snapshot.state.sequence - before.sequence - len(applied))
        after = before._replace(log_id=log_id, passed_over=before.passed_over | batch.passed_over)
        if applied:
            last = applied[-1]
            after = after._replace(
                position=last.entry.position, sequence=last.sequence, digest=last.entry.digest()
            )
        if after != before:
            self._file.commit(before, after, batch.rows, batch.parked)
        self._applied_to = after
        if problem is not None:
            raise problem
        return len(applied)

    def run_to_head(
        self, up_to: Position = LAST, on_batch: Callable[[Checkpoint], None] | None = None
    ) -> int:
        """Run until nothing is left up to a position; answers how many entries were applied.

        `on_batch` is told the checkpoint after each batch; what it raises ends the run between two batches.
        """
        total = 0
        while applied := self.run_once(up_to):
            total += applied
            if on_batch is not None:
                on_batch(self._file.checkpoint())
        return total

    def switch_to(self, generation: Path) -> None:
        """Serve another generation, brought to exactly the position of this one; go on with it.

        Only by whoever holds the tail lock. On any error the serving one stays, and is written on.
        """
        serving = self._file
        generations = Generations(serving.directory, serving.projection)
        if generation == generations.serving():
            return  # a tail was killed just after it had switched
        before = serving.checkpoint()
        lock = TailLock(generation)
        try:
            lock.acquire()
            with closing(ProjectionFile(serving.directory, serving.projection, generation)) as candidate:
                Subscription(self._log, candidate, batch_size=self._batch_size).run_to_head(before.position)
                require_no_step_back(before, candidate.checkpoint())
                candidate.carry_over(serving.list_acknowledged())
            generations.switch(generation)
        finally:
            lock.release()
        self._file = ProjectionFile(serving.directory, serving.projection)
        serving.close()

    def run_forever(self, stop: threading.Event, *, wake_every_ms: int = _WAKE_EVERY_MS) -> None:
        """Follow the log until `stop` is set, finishing the batch at hand.

        What must halt it is reported in the tail status and looked at again and again, so it goes
        on by itself once it is mended. What may pass is retried with growing pauses. NotBuilt ends it.
        How far it is it makes known to the log, as `<projection>-v<version>`.
        """
        projection = self._file.projection
        name = f"{projection.name}-v{projection.version}"
        with closing(ReaderReport(self._log, name, ReaderKind.PROJECTION)) as report:
            self._follow(stop, report, wake_every_ms)

    def _follow(self, stop: threading.Event, report: ReaderReport, wake_every_ms: int) -> None:
        status = TailStatusFile(home_of(self._file.directory, self._file.projection))
        pause_s = _FIRST_PAUSE_S
        while not stop.is_set():
            try:
                with self._file.damage_named():
                    self._carry_out_requests()
                    applied = self.run_once()
                self._report(status, _CATCHING_UP if self._behind >= self._batch_size else _FOLLOWING)
                pause_s = _FIRST_PAUSE_S
                report.tell(self._applied_to)
                if applied == 0:
                    self._log.wait(self._applied_to.position, wake_every_ms)
            except CheckpointMoved as moved:
                _logger.warning("batch rolled back: %s", moved)
            except NotBuilt as unusable:
                self._report(status, TailStatus(TailState.STOPPED, message=str(unusable)))
                raise
            except (WrongLog, NewerSchema) as halt:
                self._report(status, _halted(halt))
                stop.wait(_LONGEST_PAUSE_S / 2)
            except (LogUnavailable, HandlerFailed, sqlite3.Error, OSError) as trouble:
                self._report(
                    status, TailStatus(TailState.RETRYING, message=f"{type(trouble).__name__}: {trouble}")
                )
                stop.wait(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        self._report(status, TailStatus(TailState.STOPPED, message="the tail was stopped: start it"))

    def _carry_out_requests(self) -> None:
        home = home_of(self._file.directory, self._file.projection)
        acknowledge = TailRequest(home, RequestKind.ACKNOWLEDGE)
        up_to_sequence = acknowledge.take()
        if up_to_sequence is not None:
            self._file.acknowledge(up_to_sequence, self._clock().isoformat(timespec="milliseconds"))
            acknowledge.finish()
        switch = TailRequest(home, RequestKind.SWITCH)
        number = switch.take()
        if number is not None:
            switch.finish(self._switch_or_refuse(number))

    def _switch_or_refuse(self, number: int) -> str:
        """Why not; empty if it was done."""
        try:
            self.switch_to(Generations(self._file.directory, self._file.projection).find(number))
        except (EventLogError, sqlite3.Error, OSError) as refusal:
            return str(refusal)
        return ""

    def _report(self, file: TailStatusFile, status: TailStatus) -> None:
        if file.report(status):
            level = logging.ERROR if status.state in (TailState.RETRYING, TailState.HALTED) else logging.INFO
            name = self._file.projection.name
            _logger.log(level, "%s %s %s", name, status.state, status.message or f"verdict {status.verdict}")


class _Batch:
    """What one run over numbered entries comes to: rows, parked entries, and how far it got."""

    def __init__(
        self, log: EventLog, projection: Projection, rows: PendingRows, clock: Callable[[], datetime]
    ) -> None:
        self.rows = rows
        self.parked: list[Parked] = []
        self.passed_over: frozenset[str] = frozenset()
        self.applied = 0
        self._decode = log.codec.decode
        self._projection = projection
        self._clock = clock

    def apply_all(self, numbered: Iterable[NumberedEntry]) -> EventLogError | None:
        """Apply entry by entry; at the first that must not be passed, stop and answer why."""
        for found in numbered:
            problem = self._apply(found)
            if problem is not None:
                return problem
            self.applied += 1
        return None

    def _apply(self, found: NumberedEntry) -> EventLogError | None:
        decoded = self._decode(found.entry, found.sequence, foreign=found.foreign)
        if found.adopted and isinstance(decoded, Malformed | Newer):
            # Its number was never ours to check: read as it was before the log was adopted.
            decoded = self._decode(found.entry, found.sequence, foreign=True)
        match decoded:
            case RecordedEvent() as recorded:
                return self._project(found, recorded)
            case Malformed(event_type, reason):
                self._park(found, event_type, reason)
            case UnknownType(event_type):
                self.passed_over |= {event_type}
            case Newer(event_type, version, known):
                return NewerSchema(event_type, version, known, found.entry.position)
        return None

    def _project(self, found: NumberedEntry, recorded: RecordedEvent[Event]) -> EventLogError | None:
        event_type = recorded.event.type_name
        try:
            outcome = self._projection.handle(recorded, self.rows)
            if outcome is None:
                self.passed_over |= {event_type}
            elif isinstance(outcome, Refused):
                self._park(found, event_type, outcome.reason)
            else:
                self.rows.apply(outcome)
        except sqlite3.Error:
            raise
        except Exception as cause:  # noqa: BLE001  # a handler is its author's code: whatever it raises stops here, named
            failed = HandlerFailed(found.entry.position, event_type, cause)
            failed.__cause__ = cause
            return failed
        return None

    def _park(self, found: NumberedEntry, event_type: str, reason: str) -> None:
        parked_at = self._clock().isoformat(timespec="milliseconds")
        self.parked.append(
            Parked(
                found.sequence,
                found.entry.position,
                event_type,
                reason.encode("utf-8", "replace").decode(),
                parked_at,
            )
        )


def _halted(halt: WrongLog | NewerSchema) -> TailStatus:
    verdict = halt.verdict if isinstance(halt, WrongLog) else Verdict.SAME
    return TailStatus(TailState.HALTED, verdict, str(halt))
