"""Projection files and a look at the log broken on purpose: the tests that prove ours must go red on them."""

from __future__ import annotations

from collections.abc import Iterable

from eventlog import checkpoints
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import CountEntries, Divergence, NumberedEntry, Snapshot, Verdict
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


def number_by_ids(
    checkpoint: Checkpoint, snapshot: Snapshot, _: CountEntries
) -> list[NumberedEntry] | Divergence:
    """Continuity by ids alone: a log with later entries is the same log."""
    if snapshot.state.end < checkpoint.position:
        return Divergence(Verdict.REWOUND, "the log ends before the checkpoint")
    return [
        NumberedEntry(entry, checkpoint.sequence + number, foreign=entry.claimed_sequence is None)
        for number, entry in enumerate(snapshot.entries, start=1)
    ]


BUILDS: dict[str, type[ProjectionFile]] = {
    build.__name__: build for build in (ProjectionFile, SeparateCommits, NoCompareAndSet)
}
