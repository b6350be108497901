"""From a checked body to a published event: gives the new id and the time, and has it decided and written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from customers.commands import Command, CreateCustomer, CreateInvoice, DeleteCustomer, DeleteInvoice
from customers.decider import decide
from eventlog import Published
from eventlog.deciding import DecisionMaker
from shared.events import IDS_FOLLOWED_BELOW
from shared.permissions import Identity
from shared.writes import Writes


class CommandHandler:
    """Each method answers what was published, or raises the problem the client is told."""

    def __init__(self, decision_maker: DecisionMaker, clock: Callable[[], datetime]) -> None:
        self._decision_maker = decision_maker
        self._writes = Writes(decision_maker)
        self._clock = clock

    def create_customer(self, identity: Identity, body: dict[str, Any]) -> Published:
        def command() -> Command:
            return CreateCustomer(
                self._new_id("customers"), body["name"], int(body["account_id"]), identity, self._clock()
            )

        return self._writes.carry_out(identity, body, command, decide)

    def delete_customer(self, identity: Identity, customer_id: int) -> Published:
        return self._writes.carry_out(
            identity, {}, lambda: DeleteCustomer(customer_id, identity, self._clock()), decide
        )

    def create_invoice(self, identity: Identity, body: dict[str, Any]) -> Published:
        def command() -> Command:
            return CreateInvoice(
                self._new_id("invoices"),
                int(body["customer_id"]),
                body["purchase_date"],
                body["purchase_price_cents"],
                identity,
                self._clock(),
            )

        return self._writes.carry_out(identity, body, command, decide)

    def delete_invoice(self, identity: Identity, invoice_id: int) -> Published:
        return self._writes.carry_out(
            identity, {}, lambda: DeleteInvoice(invoice_id, identity, self._clock()), decide
        )

    def _new_id(self, table: str) -> int:
        return self._decision_maker.new_id(table, followed_below=IDS_FOLLOWED_BELOW)
