"""The log replayed into a scratch file: up to some moment, or with entries left out.

Touches neither the log nor what is served.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from eventlog.checkpoints import Checkpoint
from eventlog.errors import EventLogError
from eventlog.events import Event, RecordedEvent
from eventlog.generations import FILE_NAME, Generations
from eventlog.log import EventLog
from eventlog.position import LAST, Position
from eventlog.projection import Projection, Refused
from eventlog.projection_file import ProjectionFile
from eventlog.projection_reader import Look, ProjectionReader
from eventlog.row_changes import Changes, Rows
from eventlog.subscription import Subscription


class TooMuchToReplay(EventLogError):
    """More entries lie before the moment than the caller wanted to wait for."""

    def __init__(self, most_entries: int) -> None:
        super().__init__(f"more than {most_entries:,} entries lie before that moment")
        self.most_entries = most_entries


class Scratch:
    """A projection's file that nobody serves; use it only inside `scratch_file`."""

    def __init__(self, log: EventLog, directory: Path, projection: Projection) -> None:
        self._file = ProjectionFile(directory, projection)
        self._reader = ProjectionReader(directory, projection)
        self._subscription = Subscription(log, self._file)

    def replay(
        self,
        up_to: Position = LAST,
        *,
        on_batch: Callable[[Checkpoint], None] | None = None,
        most_entries: int | None = None,
    ) -> Checkpoint:
        """Go on to a position; answers how far it came.

        TooMuchToReplay as soon as more than `most_entries` were applied.
        """

        def look_at(now: Checkpoint) -> None:
            if most_entries is not None and now.sequence > most_entries:
                raise TooMuchToReplay(most_entries)
            if on_batch is not None:
                on_batch(now)

        self._subscription.run_to_head(up_to, look_at)
        return self._file.checkpoint()

    @contextmanager
    def look(self) -> Iterator[Look]:
        with self._reader.look() as look:
            yield look

    def close(self) -> None:
        self._file.close()


@contextmanager
def scratch_file(log: EventLog, projection: Projection, start: Look | None = None) -> Iterator[Scratch]:
    """In a temporary directory, deleted at the end; empty, or a copy of what a look sees."""
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        directory = Path(folder)
        if start is not None:
            generations = Generations(directory, projection)
            generation = generations.begin()
            start.copy_to(generation / FILE_NAME)
            generations.switch(generation)
        with closing(Scratch(log, directory, projection)) as scratch:
            yield scratch


class Without(Projection):
    """The same projection as if some entries had never been written; a what-if that changes no log."""

    def __init__(self, projection: Projection, left_out: frozenset[Position]) -> None:
        super().__init__(projection.name, projection.version, projection.tables)
        self._projection = projection
        self.left_out = left_out

    @property
    def handled_types(self) -> frozenset[str]:
        return self._projection.handled_types

    def handle(self, recorded: RecordedEvent[Event], rows: Rows) -> Changes | Refused | None:
        return self._projection.handle(recorded, rows)
