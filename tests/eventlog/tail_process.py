"""A tail as a process of its own: `python tail_process.py URL DIRECTORY BUILD CRASH_BEFORE`.

It kills itself before the CRASH_BEFORE-th SQL statement that writes or ends a transaction; 0 means never.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from functools import partial
from pathlib import Path
from typing import Any

from eventlog import EventLog, Subscription
from eventlog.tail import run_tail
from tests.eventlog.broken_builds import BUILDS
from tests.eventlog.parcels import make_codec
from tests.eventlog.tally import tally


class CrashingConnection(sqlite3.Connection):
    """Counts down to SIGKILL, which leaves no time for a rollback or a flush."""

    left = 0

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        count_statement(sql)
        return super().execute(sql, *arguments)

    def executemany(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        count_statement(sql)
        return super().executemany(sql, *arguments)


def count_statement(sql: str) -> None:
    if sql.split(maxsplit=1)[0] in {"BEGIN", "INSERT", "UPDATE", "COMMIT"}:
        count_step()


def count_step() -> None:
    CrashingConnection.left -= 1
    if CrashingConnection.left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, directory: str, build: str, crash_before: str) -> None:
    log = EventLog.connect(url, make_codec())
    if crash_before == "0":
        run_tail(log, Path(directory), tally)
        return
    CrashingConnection.left = int(crash_before)
    crashing: Any = partial(sqlite3.connect, factory=CrashingConnection)
    sqlite3.connect = crashing
    Subscription(log, BUILDS[build](Path(directory), tally), batch_size=3).run_to_head()


if __name__ == "__main__":
    main(*sys.argv[1:])
