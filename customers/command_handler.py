"""From a checked body to a published event: gives the new id and the time, and has it decided and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from customers.commands import (
    Command,
    CreateCustomer,
    CreateInvoice,
    CreateInvoices,
    DeleteCustomer,
    DeleteInvoice,
    InvoiceBody,
)
from customers.decider import decide
from eventlog import Published
from eventlog.deciding import DecisionMaker, NewId
from shared.permissions import Identity
from shared.writes import Writes


class CommandHandler:
    """Each method answers what was published, or raises the problem the client is told."""

    def __init__(self, decision_maker: DecisionMaker, clock: Callable[[], datetime]) -> None:
        self._writes = Writes(decision_maker)
        self._clock = clock

    def create_customer(self, identity: Identity, body: dict[str, Any]) -> Published:
        def command(new_id: NewId) -> Command:
            return CreateCustomer(
                new_id("customers"), body["name"], int(body["account_id"]), identity, self._clock()
            )

        return self._writes.settle(self._writes.carry_out(identity, body, command, decide))

    def delete_customer(self, identity: Identity, customer_id: int) -> Published:
        deleted = self._writes.carry_out(
            identity, {}, lambda _: DeleteCustomer(customer_id, identity, self._clock()), decide
        )
        return self._writes.settle(deleted)

    def create_invoice(self, identity: Identity, body: dict[str, Any]) -> Published:
        def command(new_id: NewId) -> Command:
            return CreateInvoice(
                new_id("invoices"),
                int(body["customer_id"]),
                body["purchase_date"],
                body["purchase_price_cents"],
                identity,
                self._clock(),
            )

        return self._writes.carry_out(identity, body, command, decide)

    def create_invoices(self, identity: Identity, bodies: Sequence[InvoiceBody]) -> Published:
        def command(new_id: NewId) -> Command:
            return CreateInvoices(new_id("invoices", len(bodies)), bodies, identity, self._clock())

        return self._writes.carry_out(identity, {"invoices": bodies}, command, decide)

    def delete_invoice(self, identity: Identity, invoice_id: int) -> Published:
        return self._writes.carry_out(
            identity, {}, lambda _: DeleteInvoice(invoice_id, identity, self._clock()), decide
        )
