"""The process that follows the log for one projection: its lock, its signals, and the requests left for it."""

from __future__ import annotations

import gc
import logging
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType

from eventlog.errors import NotBuilt, SwitchRefused, TailRunning
from eventlog.follower import ENDED, HALTED_PAUSE_S, WAKE_EVERY_MS, halted, report_status
from eventlog.generations import Generations, home_of
from eventlog.log import EventLog
from eventlog.projection import Projection
from eventlog.projection_file import ProjectionFile
from eventlog.subscription import OnApplied, Subscription, SwitchTo, carry_out_switches, serve_instead
from eventlog.tail_lock import TailLock
from eventlog.tail_requests import RequestKind, TailRequest
from eventlog.tail_status import TailStatusFile

_LOCK_POLL_S = 0.2
_REQUEST_POLL_S = 0.05

_logger = logging.getLogger(__name__)


def run_tail(
    log: EventLog, directory: Path, projection: Projection, on_applied: OnApplied | None = None
) -> None:
    """Follow until SIGTERM or SIGINT, finishing the batch at hand; wait first while another tail runs.

    Raises FileGone if the file was deleted: start again to build it anew.
    """
    follow_until_stopped(
        home_of(directory, projection),
        lambda stop: follow_projection(log, directory, projection, stop, on_applied=on_applied),
    )


def follow_projection(
    log: EventLog,
    directory: Path,
    projection: Projection,
    stop: threading.Event,
    wake_every_ms: int = WAKE_EVERY_MS,
    *,
    on_applied: OnApplied | None = None,
) -> None:
    """What a tail does, with the lock held, until `stop` is set. Raises FileGone.

    A file that cannot be opened halts it; it takes the switch to another when that is asked for.
    """
    home = home_of(directory, projection)
    status = TailStatusFile(home)
    while not stop.is_set():
        try:
            file = ProjectionFile(directory, projection)
        except NotBuilt as unusable:
            report_status(status, projection.name, halted(unusable))
            carry_out_switches(Generations(directory, projection), _make_switch(log, directory, projection))
            stop.wait(HALTED_PAUSE_S)
            continue
        with closing(Subscription(log, file, on_applied=on_applied)) as subscription:
            with suppress(NotBuilt, sqlite3.Error), file.damage_named():  # the next batch meets it too
                file.carry_over_acknowledgements()
            subscription.run_forever(stop, wake_every_ms=wake_every_ms)
        return
    report_status(status, projection.name, ENDED)


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
    gc.freeze()  # what was loaded so far stays: 3 % of a catching-up tail's time went into looking through it
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
    log: EventLog,
    directory: Path,
    projection: Projection,
    generation: Path,
    wait_s: float,
    *,
    kind: RequestKind = RequestKind.SWITCH,
) -> bool:
    """Have a generation served, by the tail, or by this process while no tail runs.

    False if a tail runs and did not do it within `wait_s`; then it is not done later either. Raises
    SwitchRefused where it cannot be. On any error, and on Ctrl-C, what was served still is.
    """
    generations = Generations(directory, projection)

    def switch(number: int) -> None:
        _make_switch(log, directory, projection)(generations.find(number), kind, lambda: True)

    request = TailRequest(generations.home, kind)
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
        raise SwitchRefused(
            f"another generation than {generation.name} was asked for meanwhile: "
            f"`generations switch {generation.name}` asks again"
        )
    return False


def _make_switch(log: EventLog, directory: Path, projection: Projection) -> SwitchTo:
    """How to switch while what is served is not open here."""
    generations = Generations(directory, projection)

    def switch_to(generation: Path, kind: RequestKind, is_wanted: Callable[[], bool]) -> None:
        served = None
        if generations.served_file.is_file():
            try:
                served = ProjectionFile(directory, projection)
            except NotBuilt as unusable:
                _logger.warning("%s", unusable)
        if served is not None:
            with closing(Subscription(log, served)) as subscription:
                subscription.switch_to(generation, kind, is_wanted)
            return
        # Nothing that can be served is: the log alone says how far to go.
        serve_instead(log, directory, projection, generation, served=None, is_wanted=is_wanted)

    return switch_to


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
