"""Archiving as a process of its own, that kills itself: `python archive_process.py URL PATH CRASH_BEFORE`."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from eventlog import EventLog
from eventlog.archive import Archive
from eventlog.archiving import Archiving
from tests.eventlog.parcels import make_codec
from tests.eventlog.tail_process import CrashingConnection


def main(url: str, path: str, crash_before: str) -> None:
    CrashingConnection.left = int(crash_before)
    crashing: Any = partial(sqlite3.connect, factory=CrashingConnection)
    sqlite3.connect = crashing
    log = EventLog.connect(url, make_codec())
    with closing(Archive(Path(path))) as archive:
        Archiving(log, archive, batch_size=3).run_to_head()


if __name__ == "__main__":
    main(*sys.argv[1:])
