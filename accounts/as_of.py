"""`?as_of=`: reads as of a moment gone by, replayed from the log for this one answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from flask import g, request

from eventlog import EventLog, Projection
from eventlog.moments import InvalidMoment, last_before, parse_moment
from eventlog.projection_reader import Look
from eventlog.replay import TooMuchToReplay, scratch_file
from shared.log_position import Reads, format_log_position
from shared.problem_kinds import TOO_MANY_WAITING
from shared.problems import bad_parameter, unavailable

MOST_ENTRIES: Final = 10_000  # replayed in about half a second; the command has no bound
_MOST_AT_ONCE = 2  # per process: replaying keeps a core busy


class AsOf:
    """Of one projection."""

    def __init__(self, reads: Reads, log: EventLog, projection: Projection, command: str) -> None:
        """`command` does the same without a bound on work."""
        self._reads = reads
        self._log = log
        self._projection = projection
        self._command = command
        self._replaying = threading.BoundedSemaphore(_MOST_AT_ONCE)

    @contextmanager
    def look(self) -> Iterator[Look]:
        """The rows as of the request's `as_of`: what is served, where that is of this moment or the moment is to come.

        400 if it names no moment, or if more lies before it than is replayed here.
        """
        asked = request.args["as_of"]
        try:
            moment = last_before(parse_moment(asked), self._log)
        except InvalidMoment as problem:
            plus = ". A + in a query is a blank: write it as %2B" if " " in asked else ""
            raise bad_parameter("as_of", f"{problem}{plus}") from None
        end = self._log.state().end
        with self._reads.look() as look:
            served = look.checkpoint.position
            if served == moment or (served < moment and end < moment):
                yield look
                return
        del g.tail_status  # the log itself is read now: its tail has no say in that
        if not self._replaying.acquire(blocking=False):
            raise unavailable(TOO_MANY_WAITING, "Too many moments are being replayed already.")
        try:
            with scratch_file(self._log, self._projection) as scratch:
                scratch.replay(moment, most_entries=MOST_ENTRIES)
                with scratch.look() as look:
                    checkpoint = look.checkpoint
                    g.log_position = format_log_position(checkpoint.position, checkpoint.log_id)
                    g.log_moment = f"{checkpoint.log_id}:{checkpoint.position}:{checkpoint.version}:replayed"
                    yield look
        except TooMuchToReplay as problem:
            raise bad_parameter(
                "as_of", f"{problem}, too many to answer here: run `{self._command} {asked[:100]}`"
            ) from None
        finally:
            self._replaying.release()
