"""A tail that carries out what it was asked, then ends: `python switching_process.py URL DIRECTORY CRASH_BEFORE`.

It kills itself before the CRASH_BEFORE-th SQL statement that writes, rename, link or deletion of a file.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from eventlog import EventLog, ProjectionFile, Subscription
from eventlog.generations import home_of
from eventlog.tail_requests import RequestKind, TailRequest
from tests.eventlog.parcels import make_codec, make_post
from tests.eventlog.tail_process import CrashingConnection, count_step


def counted(step: Callable[..., Any]) -> Callable[..., Any]:
    def count_first(*arguments: Any, **more: Any) -> Any:
        count_step()
        return step(*arguments, **more)

    return count_first


class StopWhenDone(threading.Event):
    """Set as soon as nothing is asked any more."""

    def __init__(self, request: TailRequest) -> None:
        super().__init__()
        self._request = request

    def is_set(self) -> bool:
        return not self._request.is_waiting()


def main(url: str, directory: str, crash_before: str) -> None:
    crashing: Any = partial(sqlite3.connect, factory=CrashingConnection)
    sqlite3.connect = crashing
    for module, name in ((os, "replace"), (os, "symlink"), (os, "unlink")):
        setattr(module, name, counted(getattr(module, name)))
    projection = make_post()
    stop = StopWhenDone(TailRequest(home_of(Path(directory), projection), RequestKind.SWITCH))
    log = EventLog.connect(url, make_codec())
    with closing(
        Subscription(log, ProjectionFile(Path(directory), projection), batch_size=3)
    ) as subscription:
        CrashingConnection.left = int(crash_before)
        subscription.run_forever(stop)


if __name__ == "__main__":
    main(*sys.argv[1:])
