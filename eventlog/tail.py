"""The process that follows the log for one projection: its lock, its signals, and the requests left for it."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType

from eventlog.errors import NotBuilt, SwitchRefused, TailRunning
from eventlog.generations import Generations, home_of
from eventlog.log import EventLog
from eventlog.projection import Projection
from eventlog.projection_file import ProjectionFile, open_generation
from eventlog.subscription import Subscription
from eventlog.tail_lock import TailLock
from eventlog.tail_requests import RequestKind, TailRequest

_LOCK_POLL_S = 0.2
_REQUEST_POLL_S = 0.05

_logger = logging.getLogger(__name__)


def run_tail(log: EventLog, directory: Path, projection: Projection) -> None:
    """Follow until SIGTERM or SIGINT, finishing the batch at hand; wait first while another tail runs.

    Raises NotBuilt if the file must be rebuilt, or was deleted: start again to build it anew.
    """

    def follow(stop: threading.Event) -> None:
        with closing(Subscription(log, ProjectionFile(directory, projection))) as subscription:
            subscription.run_forever(stop)

    follow_until_stopped(home_of(directory, projection), follow)


def follow_until_stopped(home: Path, follow: Callable[[threading.Event], None]) -> None:
    """Call `follow` with the lock in `home` held, once it is free; SIGTERM and SIGINT set the event it is given."""
    stop = threading.Event()

    def leave(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    lock = _wait_for_lock(home, stop)
    if lock is None:
        return
    try:
        follow(stop)
    finally:
        lock.release()


def acknowledge_parked(
    directory: Path, projection: Projection, up_to_sequence: int, at: str, wait_s: float
) -> bool:
    """Have parked entries marked as seen, by the tail, or by this process while no tail runs.

    False if a tail runs and did not do it within `wait_s`; it will as soon as it can.
    """

    def acknowledge(number: int) -> None:
        with closing(ProjectionFile(directory, projection)) as file:
            file.acknowledge(number, at)

    home = home_of(directory, projection)
    request = TailRequest(home, RequestKind.ACKNOWLEDGE)
    request.leave(up_to_sequence)
    return _have_done(request, home, acknowledge, wait_s)


def switch_generation(
    log: EventLog, directory: Path, projection: Projection, generation: Path, wait_s: float
) -> bool:
    """Have a generation served, by the tail, or by this process while no tail runs.

    False if a tail runs and did not do it within `wait_s`; then it is not done later either. Raises
    SwitchRefused where it cannot be. On any error, and on Ctrl-C, what was served still is.
    """
    generations = Generations(directory, projection)

    def switch(number: int) -> None:
        _switch(log, directory, projection, generations.find(number))

    request = TailRequest(generations.home, RequestKind.SWITCH)
    try:
        request.leave(int(generation.name))
        done = _have_done(request, generations.home, switch, wait_s)
    finally:
        request.withdraw()
    if refusal := request.refusal():
        raise SwitchRefused(refusal)
    served = generations.serving()
    if served is not None and served.name == generation.name:
        return True
    if done:
        raise SwitchRefused(f"another generation than {generation.name} was asked for meanwhile: ask again")
    return False


def _switch(log: EventLog, directory: Path, projection: Projection, generation: Path) -> None:
    generations = Generations(directory, projection)
    served = None
    if generations.served_file.exists():
        try:
            served = ProjectionFile(directory, projection)
        except NotBuilt as unusable:
            _logger.warning("%s", unusable)
    if served is not None:
        with closing(Subscription(log, served)) as subscription:
            subscription.switch_to(generation)
        return
    # Nothing that can be served is: the log alone says how far to go.
    with open_generation(directory, projection, generation) as file:
        Subscription(log, file).run_to_head()
        generations.switch(generation)


def _have_done(request: TailRequest, home: Path, do_it: Callable[[int], None], wait_s: float) -> bool:
    """Whether what was asked was carried out, or refused, in time; `do_it` does it where no tail runs."""
    deadline = time.monotonic() + wait_s
    while request.is_waiting():
        lock = TailLock(home)
        try:
            lock.acquire()
            number = request.take()
            if number is not None:
                try:
                    do_it(number)
                finally:
                    request.finish()
        except TailRunning:
            if time.monotonic() > deadline:
                return False
            time.sleep(_REQUEST_POLL_S)
        finally:
            lock.release()
    return True


def _wait_for_lock(home: Path, stop: threading.Event) -> TailLock | None:
    """The lock, once it is free; None if stopped before."""
    waiting: TailLock | None = None  # kept open, by which a doctor sees who waits
    try:
        while not stop.is_set():
            lock = TailLock(home)
            try:
                lock.acquire()
                return lock
            except TailRunning as running:
                if waiting is None:
                    _logger.warning("%s: waiting for it to end", running)
                else:
                    waiting.release()
                waiting = lock
                stop.wait(_LOCK_POLL_S)
        return None
    finally:
        if waiting is not None:
            waiting.release()
