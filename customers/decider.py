"""decide(command, rows) -> a decision to publish, or a refusal. Pure: no Redis, no SQLite, no Flask, no clock."""

from __future__ import annotations

from typing import Final, cast

from customers.commands import (
    Command,
    CreateCustomer,
    CreateInvoice,
    CreateInvoices,
    DeleteCustomer,
    DeleteInvoice,
    IdsInARow,
)
from eventlog import Refused, Row, Rows
from eventlog.deciding import Decision
from eventlog.row_changes import LARGEST_INTEGER, Key
from shared.events import CustomerCreated, CustomerDeleted, InvoiceCreated, InvoiceDeleted
from shared.permissions import Absent, Identity, RefusedItem
from shared.rules import decide_on, live

# Invoices do not conflict with each other, so many may be decided on the same total.
# A million of them at the highest price still fit above this line.
HIGHEST_TOTAL_CENTS: Final = LARGEST_INTEGER - 10**18


def decide(command: Command, rows: Rows) -> Decision | Absent | Refused | RefusedItem:
    """Absent where what is named is not there for this identity; Refused where the state forbids it.

    RefusedItem says either of a batch.
    """
    match command:
        case CreateCustomer():
            return _create_customer(command, rows)
        case DeleteCustomer():
            return _delete_customer(command, rows)
        case CreateInvoice():
            return _create_invoice(command, rows)
        case CreateInvoices():
            return create_invoices(command, rows)
        case DeleteInvoice():
            return _delete_invoice(command, rows)


def _create_customer(command: CreateCustomer, rows: Rows) -> Decision | Absent | Refused:
    if command.identity.account_in_sight(rows.find("accounts", command.account_id)) is None:
        return Absent(f"account {command.account_id}")
    created = CustomerCreated(
        id=str(command.id), account_id=str(command.account_id), name=command.name, created_date=command.at
    )
    return decide_on(created, rows, result=created.id)


def _delete_customer(command: DeleteCustomer, rows: Rows) -> Decision | Absent | Refused:
    customer = _customer_in_sight(command.id, command.identity, rows)
    if customer is None:
        return Absent(f"customer {command.id}")
    deleted = CustomerDeleted(
        id=str(command.id), account_id=str(customer["account_id"]), deleted_date=command.at
    )
    return decide_on(deleted, rows)


def _create_invoice(command: CreateInvoice, rows: Rows) -> Decision | Absent | Refused:
    refused = _why_no_invoice(command.customer_id, command.identity, rows)
    if refused is not None:
        return refused
    created = InvoiceCreated(
        id=str(command.id),
        customer_id=str(command.customer_id),
        purchase_price_cents=command.purchase_price_cents,
        created_date=command.at,
        purchase_date=command.purchase_date,
    )
    return decide_on(created, rows, result=created.id)


def _why_no_invoice(customer_id: int, identity: Identity, rows: Rows) -> Absent | Refused | None:
    customer = _customer_in_sight(customer_id, identity, rows)
    if customer is None:
        return Absent(f"customer {customer_id}")
    if not _has_room(customer):
        return Refused(f"the total of customer {customer_id} would grow beyond what can be counted")
    if not _has_room(rows.find("accounts", _key(customer, "account_id"))):
        return Refused(f"the total of account {customer['account_id']} would grow beyond what can be counted")
    return None


def create_invoices(command: CreateInvoices, rows: Rows) -> Decision | RefusedItem:
    """One decision for all, with each guard once.

    What the rules say of one invoice they say of every other of its customer: an account or a customer has room for
    all, or for none.
    """
    ids = IdsInARow(command.first_id, command.first_id + len(command.invoices) - 1)
    before = _BeforeBatch(rows, range(ids.first, ids.last + 1))
    guards: set[str] = set()
    allowed: set[str] = set()  # customers: many invoices are of few
    for item, invoice in enumerate(command.invoices):
        if invoice["customer_id"] not in allowed:
            decision = _create_invoice(command.only(item), before)
            if not isinstance(decision, Decision):
                return RefusedItem(item, decision)
            allowed.add(invoice["customer_id"])
            guards.update(decision.guards)
    created = InvoiceCreated.of_each(
        {**invoice, "id": str(id_), "created_date": command.at}
        for id_, invoice in enumerate(command.invoices, ids.first)
    )
    return Decision(created, sorted(guards), result=str(ids))


class _BeforeBatch:
    """Rows as they are before any invoice of a batch; as with invoices posted at once, none sees another.

    Their ids are not looked up: whoever gave them had seen that no row has them.
    """

    def __init__(self, rows: Rows, new_invoices: range) -> None:
        self._rows = rows
        self._new_invoices = new_invoices

    def find(self, table: str, key: Key) -> Row | None:
        if table == "invoices" and key in self._new_invoices:
            return None
        return self._rows.find(table, key)


def _delete_invoice(command: DeleteInvoice, rows: Rows) -> Decision | Absent | Refused:
    invoice = live(rows.find("invoices", command.id))
    if invoice is None or _customer_in_sight(_key(invoice, "customer_id"), command.identity, rows) is None:
        return Absent(f"invoice {command.id}")
    deleted = InvoiceDeleted(
        id=str(command.id),
        customer_id=str(invoice["customer_id"]),
        purchase_price_cents=_key(invoice, "purchase_price_cents"),
        deleted_date=command.at,
    )
    return decide_on(deleted, rows)


def _customer_in_sight(customer_id: int, identity: Identity, rows: Rows) -> Row | None:
    customer = live(rows.find("customers", customer_id))
    if customer is None:
        return None
    account = identity.account_in_sight(rows.find("accounts", _key(customer, "account_id")))
    return None if account is None else customer


def _has_room(row: Row | None) -> bool:
    """Whether its total leaves room for invoices. A customer's may exceed its account's: others' may be negative."""
    return row is not None and _key(row, "total_revenue_cents") <= HIGHEST_TOTAL_CENTS


def _key(row: Row, column: str) -> int:
    return cast(int, row[column])  # an INTEGER column of a STRICT table
