"""The projection files below a data directory, for commands that know no projection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from eventlog import checkpoints, parking
from eventlog.checkpoints import Checkpoint
from eventlog.generations import SERVED_FILE, list_homes
from eventlog.seen_events import was_verified


class FoundProjection(NamedTuple):
    """What a version of a projection serves: its home, how far it is, and how many entries it set aside.

    `unacknowledged` of them nobody has looked at. `verified` if entries were applied to it with keys.
    """

    home: Path
    checkpoint: Checkpoint
    parked: int
    unacknowledged: int
    verified: bool


def find_projections(data_directory: Path) -> Iterator[FoundProjection]:
    """Each that can be read; one that is damaged, or being built, is left out."""
    for home in list_homes(data_directory):
        path = (home / SERVED_FILE).resolve()
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
                connection.execute("BEGIN")
                checkpoint = checkpoints.read_checkpoint(connection)
                parked = int(connection.execute("SELECT count(*) FROM parked").fetchone()[0])
                unacknowledged = parking.count_unacknowledged(connection)
                verified = was_verified(connection)
        except sqlite3.Error:
            continue
        if checkpoint is not None:
            yield FoundProjection(home, checkpoint, parked, unacknowledged, verified)


def list_remembered_logs(data_directory: Path) -> dict[Path, str]:
    """The log id that each projection served below a directory has read from, by its home."""
    return {
        found.home: found.checkpoint.log_id
        for found in find_projections(data_directory)
        if found.checkpoint.log_id
    }
