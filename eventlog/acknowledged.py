"""What somebody has acknowledged, as any file of a projection still tells it: it is not in the log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from eventlog.generations import list_files
from eventlog.parking import Parked, list_acknowledged


def find_acknowledged(directory: Path) -> list[Parked]:
    """In all generations of all versions, also in those that cannot be served any more; the newest last."""
    found: list[Parked] = []
    for path in list_files(directory):
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                found += list_acknowledged(connection)
        except (sqlite3.Error, ValueError, TypeError):
            continue  # its table is lost, or holds nonsense
    return found
