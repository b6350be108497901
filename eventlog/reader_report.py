"""How a reader makes known how far it is, without ever being held up by it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from eventlog.checkpoints import Checkpoint
from eventlog.errors import EventLogError
from eventlog.log import EventLog
from eventlog.position import START, Position
from eventlog.readers import ReaderKind

REPORT_EVERY_S: Final = 1.0
REPORT_IDLE_EVERY_S: Final = 30.0  # also how long one that failed is left alone
_PATIENCE_S = 0.5  # so that a Redis that swallows requests does not cost the reader its heartbeat

_logger = logging.getLogger(__name__)


class ReaderReport:
    """`ReaderReport(log, "revenue-v1", ReaderKind.PROJECTION)`; close it when the reader ends."""

    def __init__(
        self, log: EventLog, name: str, kind: ReaderKind, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log.with_patience(_PATIENCE_S)
        self._name = name
        self._kind = kind
        self._clock_s = clock_s
        self._told: tuple[str, Position, Position] | None = None
        self._last: tuple[Checkpoint, Position] | None = None
        self._due_s = self._idle_due_s = clock_s()
        self._failing = False

    def tell(self, checkpoint: Checkpoint, floor: Position = START) -> None:
        """Call it as often as you like: it speaks once a second if checkpoint or floor moved, else every 30 s.

        The floor moves where the log was written back, and knows no readers. Never raises for what Redis does; the
        first failure in a row is logged.
        """
        self._last = checkpoint, floor
        now_s = self._clock_s()
        here = (checkpoint.log_id, checkpoint.position, floor)
        if now_s < (self._idle_due_s if here == self._told else self._due_s):
            return
        self._idle_due_s = now_s + REPORT_IDLE_EVERY_S
        try:
            self._log.readers.report(
                self._name,
                self._kind,
                position=checkpoint.position,
                sequence=checkpoint.sequence,
                log_id=checkpoint.log_id,
            )
        except EventLogError as problem:
            self._due_s = self._idle_due_s
            if not self._failing:
                _logger.warning("%s cannot make known how far it is: %s", self._name, problem)
            self._failing = True
            return
        self._told, self._due_s, self._failing = here, now_s + REPORT_EVERY_S, False

    def tell_the_last(self) -> None:
        """What was too soon to be told: a reader that ends is as far as it is."""
        if self._last is None:
            return
        checkpoint, floor = self._last
        if (checkpoint.log_id, checkpoint.position, floor) != self._told:
            self._due_s = self._idle_due_s = self._clock_s()
            self.tell(checkpoint, floor)

    def tell_anew(self) -> None:
        """The log was away, or another: once it is back it may not know what it was told."""
        self._told = None
        self._due_s = self._clock_s()

    def close(self) -> None:
        """Close its connections to Redis; what was told stays."""
        self._log.close()
