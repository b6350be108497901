"""What may follow what in the log, and what a reader must keep to judge the next entry.

Both services' projections are built on `follow`, so they park the same entries and agree on every
total. Pure: events and rows in, row changes or a refusal out. Deletes leave tombstones: an id is
created once, so a replayed entry cannot bring money back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any, Final, cast

from eventlog import Add, Event, Insert, Refused, Row, Rows, Update
from eventlog.deciding import Decision
from eventlog.row_changes import LARGEST_INTEGER, Change, Value
from shared.events import (
    AccountCreated,
    AccountDeleted,
    CustomerCreated,
    CustomerDeleted,
    InvoiceCreated,
    InvoiceDeleted,
)

Columns = Mapping[str, type[int] | type[str]]

# The columns the rules need; a service adds its own behind them.
ACCOUNT_COLUMNS: Final[Columns] = {
    "id": int,
    "owned_by": str,
    "live_customers": int,
    "total_revenue_cents": int,
    "deleted": int,
}
CUSTOMER_COLUMNS: Final[Columns] = {"id": int, "account_id": int, "total_revenue_cents": int, "deleted": int}
INVOICE_COLUMNS: Final[Columns] = {"id": int, "customer_id": int, "purchase_price_cents": int, "deleted": int}


def live(row: Row | None) -> Row | None:
    """The row, if it is there and not deleted."""
    return None if row is None or row["deleted"] else row


def decide_on(event: Event, rows: Rows, result: str = "") -> Decision | Refused:
    """Publish this event, with its guards and touches, if the rules allow it on these rows."""
    allowed = follow(event, rows)
    if isinstance(allowed, Refused):
        return allowed
    guards, touches = guards_and_touches(event)
    return Decision([event], guards, touches, result)


@singledispatch
def guards_and_touches(event: Event) -> tuple[list[str], list[str]]:
    """The subjects that must not have been touched since the decision, and those the event touches."""
    raise TypeError(f"no guards are written down for {event.type_name}: add them to shared/rules.py")


@guards_and_touches.register
def _(event: AccountCreated) -> tuple[list[str], list[str]]:
    return [f"account-{event.id}"], [f"account-{event.id}"]


@guards_and_touches.register
def _(event: AccountDeleted) -> tuple[list[str], list[str]]:
    return [f"account-{event.id}", f"account-{event.id}/customers"], [f"account-{event.id}"]


@guards_and_touches.register
def _(event: CustomerCreated) -> tuple[list[str], list[str]]:
    return [f"account-{event.account_id}"], [f"account-{event.account_id}/customers"]


@guards_and_touches.register
def _(event: CustomerDeleted) -> tuple[list[str], list[str]]:
    return [f"customer-{event.id}"], [f"customer-{event.id}"]


@guards_and_touches.register
def _(event: InvoiceCreated) -> tuple[list[str], list[str]]:
    return [f"customer-{event.customer_id}"], []


@guards_and_touches.register
def _(event: InvoiceDeleted) -> tuple[list[str], list[str]]:
    return [f"invoice-{event.id}", f"customer-{event.customer_id}"], [f"invoice-{event.id}"]


def follow(event: Event, rows: Rows, **own_columns: Value) -> list[Change] | Refused:
    """The row changes of an event, or why it may not stand here.

    `own_columns` are a service's additions to the row that a Created event inserts.
    """
    rule = _RULES.get(type(event))
    if rule is None:
        raise TypeError(f"no rule is written down for {event.type_name}: add it to shared/rules.py")
    return rule(event, rows, own_columns)


def _account_created(event: AccountCreated, rows: Rows, own_columns: Row) -> list[Change] | Refused:
    key = int(event.id)
    if rows.find("accounts", key) is not None:
        return Refused(f"account {event.id} was created before")
    row: Row = {
        "id": key,
        "owned_by": event.owned_by,
        "live_customers": 0,
        "total_revenue_cents": 0,
        "deleted": 0,
        **own_columns,
    }
    return [Insert("accounts", row)]


def _account_deleted(event: AccountDeleted, rows: Rows, own_columns: Row) -> list[Change] | Refused:
    key = int(event.id)
    account = live(rows.find("accounts", key))
    if account is None:
        return Refused(f"account {event.id} does not exist")
    if account["live_customers"]:
        return Refused(f"account {event.id} still has customers")
    return [Update("accounts", key, {"deleted": 1})]


def _customer_created(event: CustomerCreated, rows: Rows, own_columns: Row) -> list[Change] | Refused:
    key, account_key = int(event.id), int(event.account_id)
    if rows.find("customers", key) is not None:
        return Refused(f"customer {event.id} was created before")
    if live(rows.find("accounts", account_key)) is None:
        return Refused(f"account {event.account_id} does not exist")
    row = {"id": key, "account_id": account_key, "total_revenue_cents": 0, "deleted": 0, **own_columns}
    return [Insert("customers", row), Add("accounts", account_key, "live_customers", 1)]


def _customer_deleted(event: CustomerDeleted, rows: Rows, own_columns: Row) -> list[Change] | Refused:
    key, account_key = int(event.id), int(event.account_id)
    customer = live(rows.find("customers", key))
    if customer is None:
        return Refused(f"customer {event.id} does not exist")
    if customer["account_id"] != account_key:
        return Refused(f"customer {event.id} is not of account {event.account_id}")
    revenue = -cast(int, customer["total_revenue_cents"])
    if not _fits(rows.find("accounts", account_key), revenue):
        return Refused(f"the total of account {event.account_id} would not fit 64 bits")
    return [
        Update("customers", key, {"deleted": 1}),
        Add("accounts", account_key, "live_customers", -1),
        Add("accounts", account_key, "total_revenue_cents", revenue),
    ]


def _invoice_created(event: InvoiceCreated, rows: Rows, own_columns: Row) -> list[Change] | Refused:
    key, customer_key = int(event.id), int(event.customer_id)
    if rows.find("invoices", key) is not None:
        return Refused(f"invoice {event.id} was created before")
    moved = _move_revenue(rows, customer_key, event.purchase_price_cents)
    if isinstance(moved, Refused):
        return moved
    row = {
        "id": key,
        "customer_id": customer_key,
        "purchase_price_cents": event.purchase_price_cents,
        "deleted": 0,
        **own_columns,
    }
    return [Insert("invoices", row), *moved]


def _invoice_deleted(event: InvoiceDeleted, rows: Rows, own_columns: Row) -> list[Change] | Refused:
    key = int(event.id)
    invoice = live(rows.find("invoices", key))
    if invoice is None:
        return Refused(f"invoice {event.id} does not exist")
    if invoice["customer_id"] != int(event.customer_id):
        return Refused(f"invoice {event.id} is not of customer {event.customer_id}")
    if invoice["purchase_price_cents"] != event.purchase_price_cents:
        return Refused(f"invoice {event.id} is not over {event.purchase_price_cents} cents")
    moved = _move_revenue(rows, int(event.customer_id), -event.purchase_price_cents)
    if isinstance(moved, Refused):
        return moved
    return [Update("invoices", key, {"deleted": 1}), *moved]


_RULES: Final[Mapping[type[Event], Callable[[Any, Rows, Row], list[Change] | Refused]]] = {
    AccountCreated: _account_created,
    AccountDeleted: _account_deleted,
    CustomerCreated: _customer_created,
    CustomerDeleted: _customer_deleted,
    InvoiceCreated: _invoice_created,
    InvoiceDeleted: _invoice_deleted,
}


def _move_revenue(rows: Rows, customer_key: int, cents: int) -> list[Change] | Refused:
    customer = live(rows.find("customers", customer_key))
    if customer is None:
        return Refused(f"customer {customer_key} does not exist")
    account_key: int = customer["account_id"]  # type: ignore[assignment]  # a number, in a STRICT table
    if not _fits(customer, cents):
        return Refused(f"the total of customer {customer_key} would not fit 64 bits")
    if not _fits(rows.find("accounts", account_key), cents):
        return Refused(f"the total of account {account_key} would not fit 64 bits")
    return [
        Add("customers", customer_key, "total_revenue_cents", cents),
        Add("accounts", account_key, "total_revenue_cents", cents),
    ]


def _fits(row: Row | None, cents: int) -> bool:
    """Whether 64 bits hold the amount and the total it makes, and also either taken out again."""
    if row is None:
        return False
    total: int = row["total_revenue_cents"] + cents  # type: ignore[operator]  # likewise
    return -LARGEST_INTEGER <= cents <= LARGEST_INTEGER and -LARGEST_INTEGER <= total <= LARGEST_INTEGER
