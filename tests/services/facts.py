"""Makers of events, with plain values where a test does not care."""

from __future__ import annotations

from shared.events import (
    AccountCreated,
    AccountDeleted,
    CustomerCreated,
    CustomerDeleted,
    InvoiceCreated,
    InvoiceDeleted,
)
from tests.clock import FIXED_NOW


def an_account_created(account: int = 1, owned_by: str = "mel") -> AccountCreated:
    name = f"account {account}"
    return AccountCreated(
        id=str(account), name=name, description="", owned_by=owned_by, created_date=FIXED_NOW
    )


def an_account_deleted(account: int = 1) -> AccountDeleted:
    return AccountDeleted(id=str(account), deleted_date=FIXED_NOW)


def a_customer_created(customer: int = 7, account: int = 1) -> CustomerCreated:
    return CustomerCreated(id=str(customer), account_id=str(account), name="Ada", created_date=FIXED_NOW)


def a_customer_deleted(customer: int = 7, account: int = 1) -> CustomerDeleted:
    return CustomerDeleted(id=str(customer), account_id=str(account), deleted_date=FIXED_NOW)


def an_invoice_created(invoice: int = 10, customer: int = 7, cents: int = 100) -> InvoiceCreated:
    return InvoiceCreated(
        id=str(invoice),
        customer_id=str(customer),
        purchase_price_cents=cents,
        created_date=FIXED_NOW,
        purchase_date=FIXED_NOW.date(),
    )


def an_invoice_deleted(invoice: int = 10, customer: int = 7, cents: int = 100) -> InvoiceDeleted:
    return InvoiceDeleted(
        id=str(invoice), customer_id=str(customer), purchase_price_cents=cents, deleted_date=FIXED_NOW
    )
