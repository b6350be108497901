"""Following the log until told to stop: what a projection's subscription and the archive have in common."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Final

from eventlog.checkpoints import Checkpoint
from eventlog.continuity import Divergence, NumberedEntry, Snapshot, Verdict, number_entries
from eventlog.errors import (
    ArchiveUnusable,
    CheckpointMoved,
    FileGone,
    HandlerFailed,
    KeysUnusable,
    LogUnavailable,
    NewerSchema,
    NotBuilt,
    WrongLog,
)
from eventlog.log import EventLog
from eventlog.mends import wrong_log
from eventlog.position import LAST, START, Position
from eventlog.reader_report import ReaderReport
from eventlog.readers import ReaderKind
from eventlog.redis_client import Asked
from eventlog.tail_status import TailState, TailStatus, TailStatusFile

BATCH_SIZE: Final = 1000  # entries; one transaction each, so also how much a crash repeats at most

WAKE_EVERY_MS: Final = 1000  # also how long a change of the log may go unnoticed while nothing arrives
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_BUSY_FROM_PER_S: Final = 1000  # entries
_GATHER_WHEN_BUSY_S: Final = 0.015
HALTED_PAUSE_S: Final = 1.0

ENDED: Final = TailStatus(TailState.STOPPED, message="the tail was stopped: start it")
_FOLLOWING = TailStatus(TailState.FOLLOWING)
_CATCHING_UP = TailStatus(
    TailState.CATCHING_UP, message="what is read is incomplete: wait until it is applied"
)

_logger = logging.getLogger(__name__)


class Follower(ABC):
    """Goes along the log and says how it fares: what a projection's subscription and the archive have in common."""

    # Entries that come so soon after others are taken together: each look and each commit cost as much as many entries.
    gather_s: ClassVar = 0.004

    def __init__(
        self, log: EventLog, home: Path, name: str, kind: ReaderKind, known_as: str, *, batch_size: int
    ) -> None:
        """Its status lies in `home`; to the log it is `known_as`, to people its `name`."""
        self._log = log
        self._home = home
        self._name = name
        self._kind = kind
        self._known_as = known_as
        self._batch_size = batch_size
        self._behind = 0  # entries not applied yet, as of the last run
        self._floor = START  # of the log, as of the last look
        self._reads_ahead = self._was_read_ahead = False
        self._ahead: tuple[Position, Asked[Snapshot]] | None = None  # the batch behind a position, asked for

    @abstractmethod
    def run_once(self, up_to: Position = LAST) -> int:
        """Verify the log, apply one batch, and answer how many entries the checkpoint moved over.

        Entries behind `up_to` are left for another time.
        """

    @abstractmethod
    def checkpoint(self) -> Checkpoint:
        """How far it is."""

    @abstractmethod
    def damage_named(self) -> AbstractContextManager[None]:
        """Inside it, a file that SQLite finds damaged is an error that ends the run, with the mend."""

    @abstractmethod
    def carry_out_requests(self) -> None:
        """Do what commands asked of the process that runs this."""

    def _read_batch(self, before: Checkpoint, up_to: Position) -> tuple[Snapshot, list[NumberedEntry]]:
        """What the log is now, and the next entries, each with its number; WrongLog where it must halt."""
        snapshot = self._read_snapshot(before.position, up_to)
        self._floor = snapshot.state.floor
        numbered = number_entries(before, snapshot, self._log.count_entries)
        if isinstance(numbered, Divergence):
            raise wrong_log(numbered, before, self._kind)
        if up_to < LAST:  # else no entry's position need be read for it
            numbered = [found for found in numbered if found.entry.position <= up_to]
        return snapshot, numbered

    def _read_snapshot(self, after: Position, up_to: Position) -> Snapshot:
        """As the log is now; or as it was when the batch before was read, if this one was asked for then."""
        ahead, self._ahead = self._ahead, None
        self._was_read_ahead = ahead is not None and ahead[0] == after
        if ahead is not None and ahead[0] == after:
            snapshot = ahead[1].take()
        else:
            _drop(ahead)
            snapshot = self._log.snapshot(after, self._batch_size)
        if self._reads_ahead and snapshot.entries and not snapshot.reached_end:
            end = snapshot.entries[-1].position
            if end < up_to:
                with suppress(LogUnavailable):  # the next batch meets it again
                    self._ahead = end, self._log.begin_snapshot(end, self._batch_size)
        return snapshot

    @contextmanager
    def _reading_ahead(self) -> Iterator[None]:
        """Inside it, Redis works on the next batch while this one is applied."""
        self._reads_ahead = True
        try:
            yield
        finally:
            self._reads_ahead = False
            ahead, self._ahead = self._ahead, None
            _drop(ahead)

    def _note_behind(self, snapshot: Snapshot, before: Checkpoint, applied: int, left: int) -> None:
        """How many entries are not applied yet: `left` of those that were read, or all that the log has counted."""
        self._behind = left
        if self._was_read_ahead:  # no look at the log as it is now
            self._behind = max(left, self._batch_size)
        if not snapshot.reached_end:
            self._behind = max(1, snapshot.state.sequence - before.sequence - applied)

    def run_to_head(
        self, up_to: Position = LAST, on_batch: Callable[[Checkpoint], None] | None = None
    ) -> int:
        """Run until nothing is left up to a position; answers how many entries were applied.

        `on_batch` is told the checkpoint after each batch; what it raises ends the run between two batches.
        """
        total = 0
        with self._reading_ahead():
            while applied := self.run_once(up_to):
                total += applied
                if on_batch is not None:
                    on_batch(self.checkpoint())
        return total

    def run_forever(self, stop: threading.Event, *, wake_every_ms: int = WAKE_EVERY_MS) -> None:
        """Follow the log until `stop` is set, finishing the batch at hand.

        What must halt it, a damaged file too, is reported in the tail status and looked at again and again,
        so it goes on by itself once it is mended. What may pass is retried with growing pauses. FileGone and
        ArchiveUnusable end it. How far it is it makes known to the log.
        """
        with closing(ReaderReport(self._log, self._known_as, self._kind)) as known, self._reading_ahead():
            self._follow(stop, known, wake_every_ms)
            known.tell_the_last()

    def _follow(self, stop: threading.Event, known: ReaderReport, wake_every_ms: int) -> None:
        status = TailStatusFile(self._home)
        pause_s = _FIRST_PAUSE_S
        applied_at_s = time.monotonic()
        while not stop.is_set():
            try:
                with self.damage_named():
                    self.carry_out_requests()
                    applied = self.run_once()
                self._report(status, _CATCHING_UP if self._behind >= self._batch_size else _FOLLOWING)
                pause_s = _FIRST_PAUSE_S
                here = self.checkpoint()
                known.tell(here, self._floor)
                if applied == 0:
                    self._log.wait(here.position, wake_every_ms)
                elif self._behind == 0:
                    before_s, applied_at_s = applied_at_s, time.monotonic()
                    stop.wait(gather_for_s(applied, applied_at_s - before_s, self.gather_s))
            except CheckpointMoved as moved:
                _logger.warning("batch rolled back: %s", moved)
            except (FileGone, ArchiveUnusable) as unusable:
                self._report(status, TailStatus(TailState.STOPPED, message=str(unusable)))
                raise
            except (WrongLog, NewerSchema, NotBuilt, KeysUnusable) as halt:
                self._report(status, halted(halt))
                known.tell_anew()
                stop.wait(HALTED_PAUSE_S)
            except (LogUnavailable, HandlerFailed, sqlite3.Error, OSError) as trouble:
                known.tell_anew()
                self._report(
                    status, TailStatus(TailState.RETRYING, message=f"{type(trouble).__name__}: {trouble}")
                )
                stop.wait(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        self._report(status, ENDED)

    def _report(self, file: TailStatusFile, status: TailStatus) -> None:
        report_status(file, self._name, status)


def gather_for_s(applied: int, in_s: float, at_least_s: float) -> float:
    """How long a follower that has just applied these entries leaves what comes next to gather.

    At least so long; longer where over 1,000 a second come, and whoever writes would wait for the looks and commits
    of all readers.
    """
    return max(at_least_s, _GATHER_WHEN_BUSY_S) if applied > in_s * _BUSY_FROM_PER_S else at_least_s


def _drop(ahead: tuple[Position, Asked[Snapshot]] | None) -> None:
    if ahead is not None:
        with suppress(LogUnavailable):
            ahead[1].drop()


def moved_over(before: Checkpoint, entries: Sequence[NumberedEntry]) -> Checkpoint:
    """The checkpoint at the last of the entries that follow it; where there are none, the same."""
    if not entries:
        return before
    last = entries[-1]
    return before._replace(position=last.entry.position, sequence=last.sequence, digest=last.entry.digest())


def report_status(file: TailStatusFile, name: str, status: TailStatus) -> None:
    """Into the status file, and into the process's log where it changed."""
    if file.report(status):
        if status == ENDED:
            _logger.info("%s stopped", name)  # what is to be done about it concerns those who read the file
            return
        level = logging.ERROR if status.state in (TailState.RETRYING, TailState.HALTED) else logging.INFO
        _logger.log(level, "%s %s %s", name, status.state, status.message or f"verdict {status.verdict}")


def halted(halt: WrongLog | NewerSchema | NotBuilt | KeysUnusable) -> TailStatus:
    """The status of a tail that applies nothing until this is mended."""
    verdict = halt.verdict if isinstance(halt, WrongLog) else Verdict.SAME
    return TailStatus(TailState.HALTED, verdict, str(halt))
