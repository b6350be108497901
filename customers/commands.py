"""What the customers service can be asked to do, as checked values."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

from shared.permissions import Identity


class CreateCustomer(NamedTuple):
    """`id` is new in this log; `at` is when it was asked."""

    id: int
    name: str
    account_id: int
    identity: Identity
    at: datetime


class DeleteCustomer(NamedTuple):
    id: int
    identity: Identity
    at: datetime


class CreateInvoice(NamedTuple):
    """`id` is new in this log; the price is checked to be positive."""

    id: int
    customer_id: int
    purchase_date: date
    purchase_price_cents: int
    identity: Identity
    at: datetime


class DeleteInvoice(NamedTuple):
    id: int
    identity: Identity
    at: datetime


Command = CreateCustomer | DeleteCustomer | CreateInvoice | DeleteInvoice
