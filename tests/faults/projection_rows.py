"""Everything a projection made of its log, to be compared with what another run made of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from accounts.ledger import LEDGER
from eventlog import EventLog, Projection, ProjectionFile, Subscription
from eventlog.generations import Generations
from tests.faults.ledger_sums import totals_unlike_their_ledger

_PARKED = "SELECT sequence, position, event_type, reason FROM parked ORDER BY sequence"

# Rows by table, in the order of their keys; what was parked too, less the times at which it was.
ProjectionRows = dict[str, list[tuple[Any, ...]]]


def read_rows(folder: Path, projection: Projection) -> ProjectionRows:
    """AssertionError where a ledger does not sum up to the totals."""
    queries = {table.name: f"SELECT * FROM {table.name} ORDER BY {table.key}" for table in projection.tables}
    queries["parked"] = _PARKED
    uri = f"{Generations(folder, projection).served_file.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.execute("BEGIN")  # rows and ledger of one moment
        if LEDGER in projection.tables:
            assert not (wrong := totals_unlike_their_ledger(connection)), wrong
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}


def rebuild_rows(log: EventLog, projection: Projection, folder: Path) -> ProjectionRows:
    """What a projection that begins now makes of the log; `folder` is for its file."""
    with closing(ProjectionFile(folder, projection)) as file:
        Subscription(log, file).run_to_head()
    return read_rows(folder, projection)
