"""What may be said of how fresh a projection is: what its tail says, and no more than the log bears out now."""

from __future__ import annotations

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

    def of(self, checkpoint: Checkpoint | None) -> TailStatus:
        """Of rows that were read as of this checkpoint; None where none could be read."""
        status = self._status.read()
        if checkpoint is None or status.state is not TailState.FOLLOWING:
            return status
        try:
            self._log.require_same(checkpoint)
        except WrongLog as wrong:
            return TailStatus(TailState.HALTED, wrong.verdict, str(wrong))
        except EventLogError as problem:
            return TailStatus(TailState.RETRYING, message=str(problem))
        return status
