"""The SQLite file of one generation, as its one writer has it: rows, checkpoint and what it parked, in one place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from eventlog import checkpoints, parking
from eventlog.acknowledged import find_acknowledged
from eventlog.checkpoints import Checkpoint
from eventlog.errors import FileGone, NotBuilt, SwitchRefused, TailRunning
from eventlog.generations import FILE_NAME, Generations
from eventlog.parking import Parked
from eventlog.pending_rows import PendingRows
from eventlog.private_files import make_private_database
from eventlog.projection import Projection
from eventlog.seen_events import SeenEvents, read_seen, was_verified
from eventlog.sqlite_file import file_identity, one_moment, prepare_for_writing, transaction
from eventlog.stored_rows import StoredRows
from eventlog.tables import create_tables
from eventlog.tail_lock import TailLock


class ProjectionFile:
    """The writer's side of the generation that is served, or of another that `Generations` began.

    Opening makes the first generation, the file and its tables where they are missing. Raises NotBuilt
    for a file that must be rebuilt: of another projection or version, damaged, or one that passed over
    events this code handles. `sqlite3.Error` means that nothing was changed.
    """

    def __init__(self, directory: Path, projection: Projection, generation: Path | None = None) -> None:
        self.directory = directory
        self.projection = projection
        self._committed: PendingRows | None = None
        self._committed_beside = 0
        self._seen: SeenEvents | None = None
        self._seen_beside = 0
        generations = Generations(directory, projection)
        if generation is None and (generations.serving() is None or not generations.served_file.exists()):
            # Anew beside what is left of a deleted one: its write-ahead log is of no use to another file.
            generations.switch(generations.begin())
            generations.forget_previous()
        self.path = generations.served_file if generation is None else generation / FILE_NAME
        path = (
            self.path.resolve()
        )  # what SQLite keeps beside it must stay beside it when the link is switched
        try:
            # Autocommit: every transaction is begun and ended here, in so many words.
            make_private_database(path)
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._opened_as = file_identity(path)
            with self.damage_named(), _closed_unless_done(self._connection):
                self._set_up()
        except sqlite3.OperationalError as problem:
            mend = "Free space on its disk, let this user write there, end what holds it. Or: "
            raise NotBuilt(
                f"{self.path} cannot be set up: {problem}. {mend}{rebuild_mend(self.path)}"
            ) from problem

    def close(self) -> None:
        self._connection.close()

    def damage_named(self) -> AbstractContextManager[None]:
        """Inside it, what SQLite finds damaged is NotBuilt, which says how to rebuild it."""
        return damage_named(self.path)

    def checkpoint(self) -> Checkpoint:
        """How far the file is now. FileGone if it was deleted since: open it anew to start over. Raises NotBuilt."""
        if file_identity(self.path) != self._opened_as:
            raise FileGone(f"{self.path} was deleted or replaced: start the tail again to rebuild it")
        return require_usable(checkpoints.read_checkpoint(self._connection), self.projection, self.path)

    def pending_rows(self) -> PendingRows:
        """An empty batch over the rows as they are."""
        # A batch that was not committed is not used again, nor is one from before somebody else wrote here.
        rows, self._committed = self._committed, None
        written_by_others = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if rows is None or written_by_others != self._committed_beside:
            stored = StoredRows(self._connection, self.projection.tables)
            rows = PendingRows(stored, self.projection.tables)
            self._committed_beside = written_by_others
        return rows

    def seen_events(self, before: Checkpoint, unsigned_to: int, first_link: bytes) -> SeenEvents:
        """What it has met of signed events, as of its checkpoint; a batch adds to it. Raises NotBuilt."""
        seen, self._seen = self._seen, None
        written_by_others = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if (
            seen is None
            or written_by_others != self._seen_beside
            or seen.verified.sequence != before.sequence
        ):
            with transaction(self._connection):
                seen = read_seen(self._connection, before, unsigned_to, first_link)
            self._seen_beside = written_by_others
        return seen

    def was_verified(self) -> bool:
        """Whether it has met signed events: it was written by somebody with keys."""
        return self._seen is not None or was_verified(self._connection)

    def looked_up(self) -> AbstractContextManager[None]:
        """Inside it, rows are looked up at one moment; nothing may be written."""
        return one_moment(self._connection)

    def commit(
        self,
        before: Checkpoint,
        after: Checkpoint,
        rows: PendingRows,
        parked: Iterable[Parked],
        seen: SeenEvents | None = None,
    ) -> None:
        """Write rows, parked entries, what was met of signed events and checkpoint together, or none of them.

        Raises CheckpointMoved, with nothing written, if the checkpoint is not at `before`.
        """
        with transaction(self._connection):
            self.move_checkpoint(before, after)
            rows.write(self._connection)
            parking.park(self._connection, parked)
            if seen is not None:
                seen.write(self._connection)
        rows.begin_next()
        self._committed, self._seen = rows, seen

    def move_checkpoint(self, before: Checkpoint, after: Checkpoint) -> None:
        """The compare-and-set, inside the transaction that writes the rows."""
        checkpoints.compare_and_set(self._connection, before, after)

    def acknowledge(self, up_to_sequence: int, at: str) -> int:
        """Mark parked entries as seen; answers how many."""
        with transaction(self._connection):
            return parking.acknowledge(self._connection, up_to_sequence, at)

    def carry_over_acknowledgements(self) -> None:
        """Mark what is parked here as acknowledged when it was in another generation."""
        found = find_acknowledged(self.directory)
        with transaction(self._connection):
            parking.carry_over(self._connection, found)

    def _set_up(self) -> None:
        # A power cut may take the last commits, rows and checkpoint alike; the log gives them again.
        prepare_for_writing(self._connection, synchronous="NORMAL")
        with transaction(self._connection):
            if not self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                create_tables(self._connection, self.projection.tables)
                checkpoints.insert_checkpoint(
                    self._connection, Checkpoint(self.projection.name, self.projection.version)
                )
        self.checkpoint()


@contextmanager
def open_generation(directory: Path, projection: Projection, generation: Path) -> Iterator[ProjectionFile]:
    """A generation that is not served, which nobody else writes or discards meanwhile; SwitchRefused if one does."""
    lock = TailLock(generation)
    try:
        try:
            lock.acquire()
        except TailRunning as running:
            raise SwitchRefused(
                f"generation {generation.name} is being built: wait until it is done"
            ) from running
        with closing(ProjectionFile(directory, projection, generation)) as file:
            yield file
    finally:
        lock.release()


@contextmanager
def _closed_unless_done(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Inside it, what SQLite finds damaged in the file is NotBuilt, which says how to rebuild it."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as problem:
        if checkpoints.is_damage(problem):
            raise NotBuilt(f"{path} is damaged: {problem}. {rebuild_mend(path)}") from problem
        raise


def rebuild_mend(path: Path) -> str:
    """What an operator does about a file that cannot be used."""
    followed = (
        path.parent.is_symlink()
    )  # the generation that is served: with its home, all of it is made anew
    home = path.parent.parent if followed else path.parent
    return (
        "`SERVICE verify --repair` builds it anew from the log; where there is no such command, stop its tail, "
        f"delete {home}, start the tail again."
    )


def require_usable(checkpoint: Checkpoint | None, projection: Projection, path: Path) -> Checkpoint:
    """The checkpoint, if its rows are what this code would have made of the same entries; else NotBuilt."""
    problem = why_unusable(checkpoint, projection)
    if checkpoint is None or problem:
        raise NotBuilt(f"{path} {problem}. {rebuild_mend(path)}")
    return checkpoint


def why_unusable(checkpoint: Checkpoint | None, projection: Projection) -> str:
    """What the file of a checkpoint is instead of this code's; empty if it is that."""
    if checkpoint is None:
        return "has no checkpoint"
    if (checkpoint.projection, checkpoint.version) != (projection.name, projection.version):
        return (
            f"holds {checkpoint.projection} version {checkpoint.version}; "
            f"this code is {projection.name} version {projection.version}"
        )
    missed = checkpoint.passed_over & projection.handled_types
    return f"passed over {', '.join(sorted(missed))}, which this code handles" if missed else ""
