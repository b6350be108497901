"""Projection files broken on purpose: the tests that prove ours must go red on them."""

from __future__ import annotations

from collections.abc import Iterable

from eventlog import checkpoints
from eventlog.checkpoints import Checkpoint
from eventlog.parking import Parked, park
from eventlog.pending_rows import PendingRows
from eventlog.projection_file import ProjectionFile
from eventlog.seen_events import SeenEvents
from eventlog.sqlite_file import transaction


class SeparateCommits(ProjectionFile):
    """Rows and checkpoint in two transactions."""

    def commit(
        self,
        before: Checkpoint,
        after: Checkpoint,
        rows: PendingRows,
        parked: Iterable[Parked],
        seen: SeenEvents | None = None,
    ) -> None:
        with transaction(self._connection):
            rows.write(self._connection)
            park(self._connection, parked)
        with transaction(self._connection):
            self.move_checkpoint(before, after)


class NoCompareAndSet(ProjectionFile):
    """The checkpoint is set wherever it was."""

    def move_checkpoint(self, before: Checkpoint, after: Checkpoint) -> None:
        found = checkpoints.read_checkpoint(self._connection)
        super().move_checkpoint(found or before, after)


BUILDS: dict[str, type[ProjectionFile]] = {
    build.__name__: build for build in (ProjectionFile, SeparateCommits, NoCompareAndSet)
}
