"""A build without the tail lock, slow to commit: several tails write one file, and only the checkpoint guards it."""

import random
import time
from collections.abc import Iterable

from eventlog.checkpoints import Checkpoint
from eventlog.parking import Parked
from eventlog.pending_rows import PendingRows
from eventlog.projection_file import ProjectionFile
from eventlog.seen_events import SeenEvents
from eventlog.tail_lock import TailLock

_LONGEST_PAUSE_S = 0.05

_commit = ProjectionFile.commit


def _commit_late(
    self: ProjectionFile,
    before: Checkpoint,
    after: Checkpoint,
    rows: PendingRows,
    parked: Iterable[Parked],
    seen: SeenEvents | None = None,
) -> None:
    time.sleep(random.uniform(0, _LONGEST_PAUSE_S))
    _commit(self, before, after, rows, parked, seen)


def _take_nothing(self: TailLock) -> None:
    return None


ProjectionFile.commit = _commit_late  # type: ignore[method-assign]  # that is what breaks it
TailLock.acquire = _take_nothing  # type: ignore[method-assign]  # likewise
