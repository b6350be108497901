"""What the customers service can be asked to do, as checked values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple, TypedDict

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


class InvoiceBody(TypedDict):
    """Of one invoice in a batch, checked: the price is positive."""

    customer_id: str
    purchase_date: date
    purchase_price_cents: int


class CreateInvoices(NamedTuple):
    """At least one, all or none; their ids are new in this log, in a row."""

    first_id: int
    invoices: Sequence[InvoiceBody]
    identity: Identity
    at: datetime

    def only(self, item: int) -> CreateInvoice:
        """What asks for one of them, counted from 0."""
        body = self.invoices[item]
        return CreateInvoice(
            self.first_id + item,
            int(body["customer_id"]),
            body["purchase_date"],
            body["purchase_price_cents"],
            self.identity,
            self.at,
        )


class IdsInARow(NamedTuple):
    """From `first` to `last`, both of them; as text `41-1040`."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> IdsInARow:
        first, _, last = text.partition("-")
        return cls(int(first), int(last))

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


class DeleteInvoice(NamedTuple):
    id: int
    identity: Identity
    at: datetime


Command = CreateCustomer | DeleteCustomer | CreateInvoice | CreateInvoices | DeleteInvoice
