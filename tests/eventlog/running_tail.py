"""A tail in a thread of the test, and waiting for what it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from eventlog import EventLog, Projection, ProjectionFile, Subscription
from eventlog.errors import FileGone
from eventlog.generations import home_of
from eventlog.tail_lock import TailLock
from tests.eventlog.parcels import make_post
from tests.make_run import NEVER_S


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NEVER_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Running:
    """`run_forever` in a thread that holds the lock; FileGone may end it."""

    def __init__(
        self, log: EventLog, directory: Path, projection: Projection, batch_size: int = 1000
    ) -> None:
        self.stop = threading.Event()
        self.ended_by: BaseException | None = None
        self._built = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(log, directory, projection, batch_size))
        self._thread.start()
        assert self._built.wait(NEVER_S)

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self, log: EventLog, directory: Path, projection: Projection, batch_size: int) -> None:
        lock = TailLock(home_of(directory, projection))
        lock.acquire()
        subscription = Subscription(log, ProjectionFile(directory, projection), batch_size=batch_size)
        self._built.set()
        try:
            subscription.run_forever(self.stop, wake_every_ms=20)
        except FileGone as problem:
            self.ended_by = problem
        finally:
            subscription.close()
            lock.release()


@contextmanager
def running(
    log: EventLog, directory: Path, projection: Projection | None = None, batch_size: int = 1000
) -> Iterator[Running]:
    run = Running(log, directory, projection or make_post(), batch_size)
    try:
        yield run
    finally:
        run.stop.set()
        run.join()
