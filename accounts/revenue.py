"""The projection `revenue`: what every account and customer has earned; and its queries."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from accounts.ledger import LEDGER, entered
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
from shared.paging import Page
from shared.rules import ACCOUNT_COLUMNS, CUSTOMER_COLUMNS, INVOICE_COLUMNS, follow
from shared.shown import ShownId, ShownInstant

CUSTOMERS_INSIDE: Final = 100  # how many an account shows itself; the rest is a link away

revenue: Final = Projection(
    "revenue",
    version=2,
    tables=[
        Table(
            "accounts",
            "id",
            {**ACCOUNT_COLUMNS, "name": str, "description": str, "created_date": str},
            [(("owned_by", "id"), "deleted = 0")],
        ),
        Table("customers", "id", {**CUSTOMER_COLUMNS, "name": str}, [(("account_id", "id"), "deleted = 0")]),
        Table("invoices", "id", INVOICE_COLUMNS),
        LEDGER,
    ],
)


@revenue.handles(AccountCreated)
def account_created(recorded: RecordedEvent[AccountCreated], rows: Rows) -> Changes | Refused:
    event = recorded.event
    created_date = as_text(event.created_date)
    return follow(event, rows, name=event.name, description=event.description, created_date=created_date)


@revenue.handles(CustomerCreated)
def customer_created(recorded: RecordedEvent[CustomerCreated], rows: Rows) -> Changes | Refused:
    return follow(recorded.event, rows, name=recorded.event.name)


@revenue.handles(CustomerDeleted)
def customer_deleted(recorded: RecordedEvent[CustomerDeleted], rows: Rows) -> Changes | Refused:
    event = recorded.event
    return entered(recorded, follow(event, rows), customer_id=int(event.id), invoice_id=None)


@revenue.handles(InvoiceCreated)
def invoice_created(recorded: RecordedEvent[InvoiceCreated], rows: Rows) -> Changes | Refused:
    event = recorded.event
    return entered(
        recorded, follow(event, rows), customer_id=int(event.customer_id), invoice_id=int(event.id)
    )


@revenue.handles(InvoiceDeleted)
def invoice_deleted(recorded: RecordedEvent[InvoiceDeleted], rows: Rows) -> Changes | Refused:
    event = recorded.event
    return entered(
        recorded, follow(event, rows), customer_id=int(event.customer_id), invoice_id=int(event.id)
    )


@revenue.handles(AccountDeleted)
def account_deleted(recorded: RecordedEvent[AccountDeleted], rows: Rows) -> Changes | Refused:
    return follow(recorded.event, rows)


class Account(msgspec.Struct, frozen=True, gc=False):
    """An account; its id is a number, as the former service had it."""

    id: int
    name: str
    description: str
    owned_by: str
    created_date: ShownInstant


class CustomerRevenue(msgspec.Struct, frozen=True, gc=False):
    """A customer, with what its invoices come to."""

    customer_id: ShownId
    name: str
    total_revenue_cents: int


class AccountRevenue(NamedTuple):
    """An account with its first customers; `more_customers` if there are others."""

    account: Account
    customers: list[CustomerRevenue]
    total_revenue_cents: int
    more_customers: bool


_ACCOUNTS = """
    SELECT id, name, description, owned_by, created_date, total_revenue_cents, live_customers
    FROM accounts WHERE deleted = 0
"""


def list_account_revenue(look: Look, owned_by: str | None, page: Page) -> list[AccountRevenue]:
    """Live accounts in order of id, of one owner or (None) of all; one more than the page shows."""
    owner, parameters = ("", []) if owned_by is None else (" AND owned_by = ?", [owned_by])
    found = look.query(
        f"{_ACCOUNTS} AND id > ?{owner} ORDER BY id LIMIT ?", [page.after, *parameters, page.look_ahead]
    )
    return [_with_customers(look, *row) for row in found]


def find_account_revenue(look: Look, owned_by: str | None, account_id: int) -> AccountRevenue | None:
    """None if it is not there, deleted, or another owner's."""
    found = look.query(f"{_ACCOUNTS} AND id = ?1 AND (?2 IS NULL OR owned_by = ?2)", [account_id, owned_by])
    return _with_customers(look, *found[0]) if found else None


def list_customer_revenue(look: Look, account_id: int, page: Page) -> list[CustomerRevenue]:
    """Live customers of an account in order of id; one more than the page shows."""
    found = look.query(
        "SELECT CAST(id AS TEXT), name, total_revenue_cents FROM customers"
        " WHERE account_id = ? AND deleted = 0 AND id > ? ORDER BY id LIMIT ?",
        [account_id, page.after, page.look_ahead],
    )
    return [CustomerRevenue(*row) for row in found]  # type: ignore[arg-type]  # STRICT columns have these types


def _with_customers(look: Look, *row: Any) -> AccountRevenue:
    *account, total_revenue_cents, live_customers = row
    customers = list_customer_revenue(look, account[0], Page(CUSTOMERS_INSIDE, 0))[:CUSTOMERS_INSIDE]
    return AccountRevenue(Account(*account), customers, total_revenue_cents, live_customers > len(customers))
