"""A build without the tail lock that sets the checkpoint without comparing it: what the lock alone had hidden."""

import runpy
import sqlite3
from pathlib import Path

from eventlog import checkpoints
from eventlog.checkpoints import Checkpoint

runpy.run_path(str(Path(__file__).parents[1] / "lock_removed" / "sitecustomize.py"))

_compare_and_set = checkpoints.compare_and_set


def _only_set(connection: sqlite3.Connection, before: Checkpoint, after: Checkpoint) -> None:
    found = checkpoints.read_checkpoint(connection)
    _compare_and_set(connection, found or before, after)


checkpoints.compare_and_set = _only_set
