"""A build broken on purpose: checkpoint and rows in two transactions, with time for a kill between them."""

import time
from collections.abc import Iterable

from eventlog.checkpoints import Checkpoint
from eventlog.parking import Parked, park
from eventlog.pending_rows import PendingRows
from eventlog.projection_file import ProjectionFile
from eventlog.seen_events import SeenEvents
from eventlog.sqlite_file import transaction

_BETWEEN_S = 0.05


def _commit_separately(
    self: ProjectionFile,
    before: Checkpoint,
    after: Checkpoint,
    rows: PendingRows,
    parked: Iterable[Parked],
    seen: SeenEvents | None = None,
) -> None:
    with transaction(self._connection):
        self.move_checkpoint(before, after)
    time.sleep(_BETWEEN_S)
    with transaction(self._connection):
        rows.write(self._connection)
        park(self._connection, parked)


ProjectionFile.commit = _commit_separately  # type: ignore[method-assign]  # that is what breaks it
