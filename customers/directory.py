"""The projection `directory`: who is customer of which account, and their invoices; and its queries."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from eventlog import Projection, RecordedEvent, Refused, Rows, Table
from eventlog.projection_reader import Look
from eventlog.row_changes import Changes
from shared.events import (
    AccountCreated,
    AccountDeleted,
    CustomerCreated,
    CustomerDeleted,
    InvoiceCreated,
    InvoiceDeleted,
    as_text,
)
from shared.paging import LARGEST_LIMIT, Page
from shared.rules import ACCOUNT_COLUMNS, CUSTOMER_COLUMNS, INVOICE_COLUMNS, follow
from shared.shown import ShownDate, ShownId, ShownInstant

directory: Final = Projection(
    "directory",
    version=2,
    tables=[
        Table("accounts", "id", ACCOUNT_COLUMNS),
        Table(
            "customers",
            "id",
            {**CUSTOMER_COLUMNS, "name": str, "created_date": str},
            [(("account_id", "id"), "deleted = 0")],
        ),
        Table(
            "invoices",
            "id",
            {**INVOICE_COLUMNS, "purchase_date": str, "created_date": str},
            [(("customer_id", "id"), "deleted = 0")],
        ),
    ],
)


@directory.handles(CustomerCreated)
def customer_created(recorded: RecordedEvent[CustomerCreated], rows: Rows) -> Changes | Refused:
    event = recorded.event
    return follow(event, rows, name=event.name, created_date=as_text(event.created_date))


@directory.handles(InvoiceCreated)
def invoice_created(recorded: RecordedEvent[InvoiceCreated], rows: Rows) -> Changes | Refused:
    event = recorded.event
    purchase_date = event.purchase_date.isoformat()
    return follow(event, rows, purchase_date=purchase_date, created_date=as_text(event.created_date))


@directory.handles(AccountCreated)
@directory.handles(AccountDeleted)
@directory.handles(CustomerDeleted)
@directory.handles(InvoiceDeleted)
def follow_the_rules(recorded: RecordedEvent[Any], rows: Rows) -> Changes | Refused:
    """What adds no column of this service's own."""
    return follow(recorded.event, rows)


class Customer(msgspec.Struct, frozen=True, gc=False):
    """A customer of an account."""

    id: ShownId
    account_id: ShownId
    name: str
    created_date: ShownInstant


class Invoice(msgspec.Struct, frozen=True, gc=False):
    """An invoice of a customer; the price in whole cents."""

    id: ShownId
    customer_id: ShownId
    purchase_price_cents: int
    purchase_date: ShownDate
    created_date: ShownInstant


_CUSTOMERS = """
    SELECT CAST(c.id AS TEXT), CAST(c.account_id AS TEXT), c.name, c.created_date
    FROM customers c JOIN accounts a ON a.id = c.account_id
    WHERE c.deleted = 0 AND a.deleted = 0
"""
_INVOICES = """
    SELECT CAST(i.id AS TEXT), CAST(i.customer_id AS TEXT), i.purchase_price_cents, i.purchase_date, i.created_date
    FROM invoices i JOIN customers c ON c.id = i.customer_id JOIN accounts a ON a.id = c.account_id
    WHERE i.deleted = 0 AND c.deleted = 0 AND a.deleted = 0
"""


def list_customers(
    look: Look, owned_by: str | None, page: Page, account_id: int | None = None
) -> list[Customer]:
    """Live customers in order of id, of one owner's accounts or (None) of all; one more than the page shows."""
    found = look.query(
        _CUSTOMERS
        + " AND c.id > ?1 AND (?2 IS NULL OR a.owned_by = ?2)"
        + (" AND c.account_id = ?4" if account_id is not None else "")
        + " ORDER BY c.id LIMIT ?3",
        [page.after, owned_by, page.look_ahead, *([] if account_id is None else [account_id])],
    )
    return [Customer(*row) for row in found]  # type: ignore[arg-type]  # STRICT columns have these types


def list_all_customers(look: Look) -> list[Customer]:
    """As `GET /customers` answers an admin, all pages in one."""
    found: list[Customer] = []
    page = Page(LARGEST_LIMIT, 0)
    while more := list_customers(look, None, page)[: page.limit]:
        found += more
        page = Page(LARGEST_LIMIT, int(more[-1].id))
    return found


def find_customer(look: Look, owned_by: str | None, customer_id: int) -> Customer | None:
    """None if it is not there, deleted, or another owner's."""
    found = look.query(
        _CUSTOMERS + " AND c.id = ?1 AND (?2 IS NULL OR a.owned_by = ?2)", [customer_id, owned_by]
    )
    return Customer(*found[0]) if found else None  # type: ignore[arg-type]  # STRICT columns have these types


def list_invoices(
    look: Look, owned_by: str | None, page: Page, customer_id: int | None = None
) -> list[Invoice]:
    """Live invoices of live customers in order of id, of one owner's accounts or (None) of all; one more than shown."""
    found = look.query(
        _INVOICES
        + " AND i.id > ?1 AND (?2 IS NULL OR a.owned_by = ?2)"
        + (" AND i.customer_id = ?4" if customer_id is not None else "")
        + " ORDER BY i.id LIMIT ?3",
        [page.after, owned_by, page.look_ahead, *([] if customer_id is None else [customer_id])],
    )
    return [Invoice(*row) for row in found]  # type: ignore[arg-type]  # STRICT columns have these types


def find_invoice(look: Look, owned_by: str | None, invoice_id: int) -> Invoice | None:
    """None if it or its customer is not there, deleted, or another owner's."""
    found = look.query(
        _INVOICES + " AND i.id = ?1 AND (?2 IS NULL OR a.owned_by = ?2)", [invoice_id, owned_by]
    )
    return Invoice(*found[0]) if found else None  # type: ignore[arg-type]  # STRICT columns have these types
