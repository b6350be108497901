"""From a command to an append: decide on one moment, refuse only on fresh state.

An acceptance is made safe by its guards, whatever the projection had not seen yet. A refusal may
only come from the projection being a little behind, so it is checked against the log's head first.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from eventlog.continuity import Verdict
from eventlog.errors import Conflict, EventLogError, IdsTaken, NotBuilt, WrongLog
from eventlog.events import Event
from eventlog.log import Command, EventLog, Moment, Published
from eventlog.mends import LOG_MEND
from eventlog.new_ids import LARGEST_ID, NewIds
from eventlog.position import Position
from eventlog.projection_reader import Look, ProjectionReader
from eventlog.row_changes import Rows
from eventlog.tail_status import TailState, TailStatusFile

FRESH_WITHIN_S: Final = 3.0  # how long a command waits for the projection before it gives up
_FIRST_READ_POLL_S = 0.02
RETRY_UNKNOWN_FOR_S: Final = 10.0  # within what HTTP clients wait; the caller may publish again

# Every known id below this is followed by higher ones; a foreign one above it cannot use all numbers up.
IDS_FOLLOWED_BELOW: Final = 10**15

RequestT = TypeVar("RequestT")
RefusalT = TypeVar("RefusalT")


class NewId(Protocol):
    """Asked for the table of what is created, once for each decision.

    Answers the first of `count` ids in a row, provisional ones: the log puts in their place ids that it never gave
    before and that no row has, wherever they stand in what is published and in its result.
    """

    def __call__(self, table: str, count: int = 1) -> int: ...


class Decision(NamedTuple):
    """Yes: these events, unless a guarded subject was touched since. `result` is what to answer."""

    events: Sequence[Event]
    guards: Sequence[str] = ()
    touches: Sequence[str] = ()
    result: str = ""


class Decided(NamedTuple, Generic[RefusalT]):
    """On what moment, what, and with which new ids."""

    moment: Moment
    decision: Decision | RefusalT
    new_ids: NewIds | None


class NotFresh(EventLogError):
    """The projection cannot be brought up to the log's head in time: nothing was decided or written."""


class Origin(NamedTuple):
    """Where a command comes from, for the metadata of its events."""

    actor: str | None = None
    correlation_id: str | None = None
    command_name: str | None = None
    traceparent: str | None = None


# Calls what it is given last, which publishes, once, with the traceparent that these events are to carry.
AroundPublish = Callable[[Sequence[Event], str | None, Callable[[str | None], Published]], Published]


class DecisionMaker:
    """Decides on a projection's rows and publishes to its log."""

    def __init__(
        self,
        log: EventLog,
        reader: ProjectionReader,
        *,
        fresh_within_s: float = FRESH_WITHIN_S,
        around_publish: AroundPublish | None = None,
    ) -> None:
        """`around_publish` is called with what was decided and the traceparent of its origin, for traces."""
        self._log = log
        self._reader = reader
        self._status = TailStatusFile(reader.home)
        self._fresh_within_s = fresh_within_s
        self._around_publish = around_publish

    def carry_out(
        self,
        make_request: Callable[[NewId], RequestT],
        decide: Callable[[RequestT, Rows], Decision | RefusalT],
        command: Command,
        origin: Origin | None = None,
        ahead: Decided[RefusalT] | None = None,
    ) -> Published | RefusalT:
        """Publish what `decide` answers, or answer its refusal; begin again where the state moved.

        `make_request` is called before each decision. `ahead` is what `decide` answered a moment ago, and taken for the
        first: it is no less safe for being older. Raises NotFresh, NotBuilt, IdsTaken, WrongLog,
        LogUnavailable and CommandReused with nothing written, and OutcomeUnknown where the append may be in
        the log.
        """
        deadline = time.monotonic() + self._fresh_within_s
        seen_head: Position | None = None
        ids_above = 0
        while True:
            self._refuse_if_halted()
            decided = ahead or self.decide(make_request, decide, ids_above)
            ahead = None
            if decided is None:
                self._wait_for_first_read(deadline)
                continue
            moment, decision, new_ids = decided
            if isinstance(decision, Decision):
                try:
                    return self._publish(decision, moment, new_ids, command, origin or Origin())
                except (Conflict, IdsTaken) as moved:
                    ids_above = self._go_on_from(moved, deadline)
                continue
            record = self._log.find_command(command, log_id=moment.log_id)
            if record is not None:
                return Published(
                    moment.log_id, record.position, record.sequence, record.result, replayed=True
                )
            if seen_head is None:
                seen_head = self._head_of(moment)
            if moment.position >= seen_head:
                return decision
            self._wait_for(seen_head, deadline)

    def decide(
        self,
        make_request: Callable[[NewId], RequestT],
        decide: Callable[[RequestT, Rows], Decision | RefusalT],
        ids_above: int = 0,
    ) -> Decided[RefusalT] | None:
        """Decide for a `carry_out`; None where the projection has read no log yet. Raises NotBuilt."""
        with self._reader.look() as look:
            moment = Moment(look.checkpoint.log_id, look.checkpoint.position)
            if not moment.log_id:
                return None
            found: list[NewIds] = []

            def new_id(table: str, count: int = 1) -> int:
                found.append(_find_new_ids(look, table, count, ids_above))
                first = found[-1].provisional()
                look.remember_absent(table, range(first, first + count))  # no row has an id that is none yet
                return first

            decision = decide(make_request(new_id), look)
            if len(found) > 1:
                raise ValueError("a decision has new ids of one table, asked for once")
            return Decided(moment, decision, found[0] if found else None)

    def wait_until_applied(self, position: Position, timeout_s: float) -> bool:
        """Whether the projection reaches a position in time; False at once unless it follows the log closely."""
        if self._status.read().state is not TailState.FOLLOWING:
            return False
        try:
            return self._reader.wait_until_applied(position, timeout_s)
        except (NotBuilt, sqlite3.Error):  # what was published stays so
            return False

    def _go_on_from(self, moved: Conflict | IdsTaken, deadline: float) -> int:
        """Above what the new ids of the next decision must be."""
        if isinstance(moved, IdsTaken) and moved.up_to >= LARGEST_ID:
            raise moved
        if time.monotonic() > deadline:
            raise NotFresh(f"what this stands on kept changing: {moved}") from moved
        if isinstance(moved, IdsTaken):
            return moved.up_to
        self._wait_for(moved.position, deadline)
        return 0

    def _publish(
        self, decision: Decision, moment: Moment, new_ids: NewIds | None, command: Command, origin: Origin
    ) -> Published:
        def publish(traceparent: str | None) -> Published:
            return self._log.publish(
                decision.events,
                decided_at=moment,
                guards=decision.guards,
                touches=decision.touches,
                command=command,
                result=decision.result,
                new_ids=new_ids,
                actor=origin.actor,
                correlation_id=origin.correlation_id,
                command_name=origin.command_name,
                traceparent=traceparent,
                retry_unknown_for_s=RETRY_UNKNOWN_FOR_S,
            )

        if self._around_publish is None:
            return publish(origin.traceparent)
        return self._around_publish(decision.events, origin.traceparent, publish)

    def _wait_for_first_read(self, deadline: float) -> None:
        """A projection just made knows of no log yet; its tail reads it within moments, or is not there."""
        while True:
            with self._reader.look() as look:
                if look.checkpoint.log_id:
                    return
            if time.monotonic() > deadline:
                raise NotFresh("the projection has not read the log yet: its tail will, once it runs")
            time.sleep(_FIRST_READ_POLL_S)

    def _refuse_if_halted(self) -> None:
        status = self._status.read()
        if status.state is TailState.HALTED:
            raise NotFresh(f"the projection is halted and decides nothing: {status.message}")

    def _head_of(self, moment: Moment) -> Position:
        state = self._log.state()
        if state.log_id != moment.log_id or not state.stream_exists:
            raise WrongLog(
                Verdict.REPLACED, f"the log is {state.log_id}, decided was on {moment.log_id}", LOG_MEND
            )
        return state.end

    def _wait_for(self, position: Position, deadline: float) -> None:
        if not self._reader.wait_until_applied(position, deadline - time.monotonic()):
            raise NotFresh(f"the projection has not applied {position} within {self._fresh_within_s:g} s")


def _find_new_ids(look: Look, table: str, count: int, at_least_above: int) -> NewIds:
    """Between two ids that are in use as of this look, or in use and the end."""
    above, below = look.find_gap(table, IDS_FOLLOWED_BELOW, at_least_above)
    return NewIds.between(table, above, below or LARGEST_ID, count)
