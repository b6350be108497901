"""A projection: a named, versioned set of tables, and pure handlers from event to row changes.

Handlers know no Redis, no SQLite, no clock: the same events always give the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from eventlog.events import Event, RecordedEvent
from eventlog.position import Position
from eventlog.row_changes import Changes, Rows, Table


class Refused(NamedTuple):
    """A handler's answer to an event the rules do not allow here: the entry is parked with the reason."""

    reason: str


Handler = Callable[[RecordedEvent[Any], Rows], Changes | Refused]
HandlerT = TypeVar("HandlerT", bound=Handler)


class Projection:
    """Raise `version` when tables or handlers change: a file of another version is not read.

    revenue = Projection("revenue", version=1, tables=[ACCOUNTS])

    @revenue.handles(AccountCreated)
    def account_created(recorded: RecordedEvent[AccountCreated], rows: Rows) -> Changes | Refused:
        return [Insert("accounts", {"id": int(recorded.event.id), "total_cents": 0})]
    """

    def __init__(self, name: str, version: int, tables: Sequence[Table]) -> None:
        self.name = name
        self.version = version
        self.tables = tuple(tables)
        self.left_out: frozenset[Position] = frozenset()  # counts as never written: only in a what-if
        self._handlers: dict[type[Event], Handler] = {}

    def handles(self, event_class: type[Event]) -> Callable[[HandlerT], HandlerT]:
        """Register the one handler of an event type; ValueError for a second."""

        def register(handler: HandlerT) -> HandlerT:
            if event_class in self._handlers:
                raise ValueError(f"{self.name} already handles {event_class.__name__}")
            self._handlers[event_class] = handler
            return handler

        return register

    @property
    def handled_types(self) -> frozenset[str]:
        return frozenset(event_class.__name__ for event_class in self._handlers)

    def handle(self, recorded: RecordedEvent[Event], rows: Rows) -> Changes | Refused | None:
        """What the event changes; None for a type this projection passes over."""
        handler = self._handlers.get(type(recorded.event))
        return None if handler is None else handler(recorded, rows)
