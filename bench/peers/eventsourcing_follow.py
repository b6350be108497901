"""The library eventsourcing: an application in SQLite, and a projection that follows it into another file.

It reads 1,000 notifications at a time. Each event is a transaction of its own, with the library's tracking
record, which is its checkpoint; that is how the library's projections are written.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import DomainEvent, datetime_now_with_tzinfo
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection
from eventsourcing.sqlite import SQLiteDatastore, SQLiteTrackingRecorder
from eventsourcing.system import NotificationLogReader

from eventlog import Event
from shared import events as ours
from shared.events import as_text

_SECTION: Final = 1000
_PER_SAVE: Final = 1000


class AccountOpened(DomainEvent):
    id: int
    owned_by: str
    name: str
    description: str
    created_date: str


class CustomerRegistered(DomainEvent):
    id: int
    account_id: int
    name: str


class InvoiceMoved(DomainEvent):
    """Created, or deleted with a negative amount."""

    event_type: str
    id: int
    customer_id: int
    cents: int


class Source(Application):
    """Holds the events; its recorder answers them again in order."""

    log_section_size = _SECTION

    def __init__(self, path: Path) -> None:
        super().__init__({"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)})

    def take(self, events: Iterable[Event]) -> None:
        """The same facts as ours, in this library's form."""
        made = [_translated(number, event) for number, event in enumerate(events)]
        for start in range(0, len(made), _PER_SAVE):
            self.save(*made[start : start + _PER_SAVE])


class Revenue(Projection[SQLiteTrackingRecorder]):
    """Writes for each event what the loop written by hand does."""

    def __init__(self, view: SQLiteTrackingRecorder) -> None:
        super().__init__(view)
        self._account_of: dict[int, int] = {}

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        with self.view.datastore.transaction(commit=True) as cursor:
            self._write(cursor, domain_event, tracking)
            self.view._insert_tracking(cursor, tracking)  # noqa: SLF001  # as its documentation does in a view

    def _write(self, cursor: Any, event: Any, tracking: Tracking) -> None:
        if isinstance(event, InvoiceMoved):
            account, cents = self._account_of[event.customer_id], event.cents
            if cents > 0:
                cursor.execute(
                    "INSERT INTO invoices VALUES (?, ?, ?, 0)", (event.id, event.customer_id, cents)
                )
            else:
                cursor.execute("UPDATE invoices SET deleted = 1 WHERE id = ?", (event.id,))
            add = "SET total_revenue_cents = total_revenue_cents + ? WHERE id = ?"
            cursor.execute(f"UPDATE customers {add}", (cents, event.customer_id))
            cursor.execute(f"UPDATE accounts {add}", (cents, account))
            number, at = tracking.notification_id, event.timestamp.isoformat()
            cursor.execute(
                "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (number, str(number), event.event_type, account, event.customer_id, event.id, cents, at),
            )
        elif isinstance(event, CustomerRegistered):
            self._account_of[event.id] = event.account_id
            cursor.execute(
                "INSERT INTO customers VALUES (?, ?, 0, 0, ?)", (event.id, event.account_id, event.name)
            )
            cursor.execute(
                "UPDATE accounts SET live_customers = live_customers + 1 WHERE id = ?", (event.account_id,)
            )
        else:
            row = (event.id, event.owned_by, event.name, event.description, event.created_date)
            cursor.execute("INSERT INTO accounts VALUES (?, ?, 0, 0, 0, ?, ?, ?)", row)


def follow(source: Source, path: Path, schema: str) -> None:
    """Everything, into a new file with the tables and indexes of `schema`."""
    datastore = SQLiteDatastore(str(path), pool_size=1, max_overflow=0)
    view = SQLiteTrackingRecorder(datastore)
    view.create_table()
    with datastore.get_connection(commit=True) as connection, connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous = NORMAL")  # its default waits for the disk at every commit
        for statement in schema.split(";"):
            cursor.execute(statement)
    revenue = Revenue(view)
    reader = NotificationLogReader(source.notification_log, section_size=_SECTION)
    for notifications in reader.select(start=0, inclusive_of_start=False):
        for notification in notifications:
            tracking = Tracking(source.name, notification.id)
            revenue.process_event(source.mapper.to_domain_event(notification), tracking)
    datastore.close()


def _translated(number: int, event: Event) -> DomainEvent:
    about: dict[str, Any] = {
        "originator_id": uuid5(NAMESPACE_OID, str(number)),
        "originator_version": 1,
        "timestamp": datetime_now_with_tzinfo(),
    }
    match event:
        case ours.AccountCreated():
            created = as_text(event.created_date)
            return AccountOpened(
                **about,
                id=int(event.id),
                owned_by=event.owned_by,
                name=event.name,
                description=event.description,
                created_date=created,
            )
        case ours.CustomerCreated():
            return CustomerRegistered(
                **about, id=int(event.id), account_id=int(event.account_id), name=event.name
            )
        case ours.InvoiceCreated() | ours.InvoiceDeleted():
            sign = 1 if isinstance(event, ours.InvoiceCreated) else -1
            return InvoiceMoved(
                **about,
                event_type=event.type_name,
                id=int(event.id),
                customer_id=int(event.customer_id),
                cents=sign * event.purchase_price_cents,
            )
    raise TypeError(event.type_name)
