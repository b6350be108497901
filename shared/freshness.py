"""What may be said of how fresh a projection is: what its tail says, and no more than the log bears out now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from eventlog import EventLog
from eventlog.checkpoints import Checkpoint
from eventlog.errors import EventLogError, WrongLog
from eventlog.tail_status import TailState, TailStatus, TailStatusFile

_PATIENCE_S: Final = 0.25  # a Redis that hangs costs each read this much, until the tail has noticed it too


class Freshness:
    """Of one projection. A tail with nothing to do looks at the log once a second, too seldom to speak for a read."""

    def __init__(self, home: Path, log: EventLog) -> None:
        self._status = TailStatusFile(home)
        self._log = log.with_patience(_PATIENCE_S)

    def ask(self, checkpoint: Checkpoint | None) -> Callable[[], TailStatus]:
        """Begin to find out what holds for rows as of this checkpoint, or for none at all (None), and go on.

        The rows can be read while the log answers; what comes back, called once, waits for that.
        """
        status = self._status.read()
        if checkpoint is None or status.state is not TailState.FOLLOWING:
            return lambda: status
        try:
            is_same = self._log.ask_same(checkpoint)
        except EventLogError as problem:
            stale = _stale(problem)
            return lambda: stale

        def find_status() -> TailStatus:
            try:
                if not is_same():
                    self._log.require_same(checkpoint)
            except EventLogError as problem:
                return _stale(problem)
            return status

        return find_status


def _stale(problem: EventLogError) -> TailStatus:
    if isinstance(problem, WrongLog):
        return TailStatus(TailState.HALTED, problem.verdict, str(problem))
    return TailStatus(TailState.RETRYING, message=str(problem))
