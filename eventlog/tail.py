"""The process that follows the log for one projection: its lock, its signals, and the requests left for it."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from types import FrameType

from eventlog.errors import TailRunning
from eventlog.log import EventLog
from eventlog.projection import Projection
from eventlog.projection_file import ProjectionFile, TailLock
from eventlog.subscription import Subscription
from eventlog.tail_requests import TailRequests

_LOCK_POLL_S = 0.2
_REQUEST_POLL_S = 0.05

_logger = logging.getLogger(__name__)


def run_tail(log: EventLog, directory: Path, projection: Projection) -> None:
    """Follow until SIGTERM or SIGINT, finishing the batch at hand; wait first while another tail runs.

    Raises NotBuilt if the file must be rebuilt, or was deleted: start again to build it anew.
    """
    stop = threading.Event()

    def leave(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    lock = _wait_for_lock(directory, stop)
    if lock is None:
        return
    try:
        file = ProjectionFile(directory, projection)
        try:
            Subscription(log, file).run_forever(stop)
        finally:
            file.close()
    finally:
        lock.release()


def acknowledge_parked(
    directory: Path, projection: Projection, up_to_sequence: int, at: str, wait_s: float
) -> bool:
    """Have parked entries marked as seen, by the tail, or by this process while no tail runs.

    False if a tail runs and did not do it within `wait_s`; it will as soon as it can.
    """
    requests = TailRequests(directory)
    requests.leave_acknowledge(up_to_sequence)
    deadline = time.monotonic() + wait_s
    while requests.is_waiting():
        lock = TailLock(directory)
        try:
            lock.acquire()
            file = ProjectionFile(directory, projection)
            file.acknowledge(requests.take_acknowledge() or 0, at)
            file.close()
            requests.finish_acknowledge()
        except TailRunning:
            if time.monotonic() > deadline:
                return False
            time.sleep(_REQUEST_POLL_S)
        finally:
            lock.release()
    return True


def _wait_for_lock(directory: Path, stop: threading.Event) -> TailLock | None:
    """The lock, once it is free; None if stopped before."""
    waiting = False
    while not stop.is_set():
        lock = TailLock(directory)
        try:
            lock.acquire()
            return lock
        except TailRunning as running:
            lock.release()
            if not waiting:
                _logger.warning("%s: waiting for it to end", running)
                waiting = True
            stop.wait(_LOCK_POLL_S)
    return None
