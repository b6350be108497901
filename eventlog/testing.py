"""given / when / then for projections and deciders: values in, values out, no Redis and no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Generic, TypeVar

from eventlog.events import Event, Metadata, RecordedEvent
from eventlog.pending_rows import PendingRows
from eventlog.position import Position
from eventlog.projection import Projection, Refused
from eventlog.row_changes import Key, Row

DecisionT = TypeVar("DecisionT")

_FIRST_MS = 1_700_000_000_000


class _NoRows:
    def find(self, table: str, key: Key) -> Row | None:
        return None

    def largest_key(self, table: str) -> int | None:
        return None


class Given:
    """A projection's rows after some events.

    given(revenue, an_account_created()).when(a_customer_created()).then_row("customers", 7, name="Ada")
    """

    def __init__(self, projection: Projection) -> None:
        self.rows = PendingRows(_NoRows(), projection.tables)
        self._projection = projection
        self._sequence = 0

    def when(self, event: Event) -> Outcome:
        """Project one more event, as the tail would."""
        self._sequence += 1
        recorded = record(event, self._sequence)
        changes = self._projection.handle(recorded, self.rows)
        if changes is not None and not isinstance(changes, Refused):
            self.rows.apply(changes)
        return Outcome(self, changes if isinstance(changes, Refused) else None)

    def decide(self, decide: Callable[[PendingRows], DecisionT]) -> Decided[DecisionT]:
        """What a decider makes of these rows, as in `given(...).decide(partial(decide, command))`."""
        return Decided(decide(self.rows))


class Outcome:
    """What one event did."""

    def __init__(self, given: Given, refused: Refused | None) -> None:
        self._given = given
        self.refused = refused

    def when(self, event: Event) -> Outcome:
        return self._given.when(event)

    def then_row(self, table: str, key: Key, **expected: str | int | None) -> Outcome:
        """The row is there and has these values among its columns."""
        row = self._given.rows.find(table, key)
        assert row is not None, f"no row {key!r} in {table}"
        found = {column: row[column] for column in expected}
        assert found == expected, f"{table} {key!r}: expected {expected}, found {found}"
        return self

    def then_no_row(self, table: str, key: Key) -> Outcome:
        row = self._given.rows.find(table, key)
        assert row is None, f"{table} {key!r} should not be there: {row}"
        return self

    def then_refused(self, containing: str) -> Outcome:
        """The event was refused, for a reason with this text in it."""
        assert self.refused is not None, "the event was applied; it should have been refused"
        assert containing in self.refused.reason, f"refused for another reason: {self.refused.reason}"
        return self

    def then_applied(self) -> Outcome:
        assert self.refused is None, f"refused: {self.refused}"
        return self


class Decided(Generic[DecisionT]):
    """What a decider answered."""

    def __init__(self, decision: DecisionT) -> None:
        self.decision = decision

    def then(self, expected: DecisionT) -> None:
        assert self.decision == expected, f"expected {expected}, decided {self.decision}"


def given(projection: Projection, *events: Event) -> Given:
    """The rows after these events; AssertionError if the projection refuses one of them."""
    start = Given(projection)
    for event in events:
        start.when(event).then_applied()
    return start


def record(event: Event, sequence: int = 1) -> RecordedEvent[Event]:
    """The event as if it stood in a log, one millisecond after the one before."""
    position = Position(_FIRST_MS + sequence, 0)
    metadata = Metadata(
        event_id=str(position),
        occurred_at=datetime.fromtimestamp(position.milliseconds / 1000, UTC),
        correlation_id=str(position),
    )
    return RecordedEvent(event, str(position), sequence, metadata)


def record_all(events: Iterable[Event]) -> list[RecordedEvent[Event]]:
    """The events as consecutive entries of one log."""
    return [record(event, number) for number, event in enumerate(events, start=1)]
