"""What the projections must hold after any entries whatever, kept a second time; and in what a projection differs.

Must not know how the product decides it. Totals are summed up whenever asked for, not carried along.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.entry_rules import LARGEST, Fields, NotAllowed, read_entry, refuse
from tests.faults.ledger_sums import totals_unlike_their_ledger

_SHOWN_CHARACTERS = 400


class Fate(StrEnum):
    """What becomes of an entry in every projection."""

    APPLIED = "applied"
    PARKED = "parked"
    PASSED_OVER = "passed over"
    HALTS = "halts"


class Account(NamedTuple):
    """What is live in it: the cents of each invoice of each customer."""

    owned_by: str
    customers: dict[int, dict[int, int]]

    def total(self) -> int:
        return sum(sum(invoices.values()) for invoices in self.customers.values())


class Ledger:
    """Takes the log's entries one by one; each changes what is kept, or nothing.

    `parked` says why, by sequence; `commands` are the names of ours that were applied.
    """

    def __init__(self) -> None:
        self.entries: list[Fields] = []
        self.accounts: dict[int, Account] = {}
        self.parked: dict[int, str] = {}
        self.passed_over: set[str] = set()
        self.commands: Counter[str] = Counter()
        self.fates: Counter[Fate] = Counter()
        self._account_of: dict[int, int] = {}
        self._created: set[tuple[str, int]] = set()  # what was there once is never created again

    def take(self, fields: Fields) -> Fate:
        """What becomes of the next entry. What comes after one that halts must not be given."""
        self.entries.append(fields)
        try:
            fate = self._take(fields)
        except NotAllowed as reason:
            self.parked[len(self.entries)] = str(reason)
            fate = Fate.PARKED
        self.fates[fate] += 1
        return fate

    def _take(self, fields: Fields) -> Fate:
        found = read_entry(fields, len(self.entries))
        if found.version > 1:
            return Fate.HALTS
        if found.facts is None:
            self.passed_over.add(found.event_type)
            return Fate.PASSED_OVER
        self._follow(found.event_type, found.facts)
        if found.command is not None:
            self.commands[found.command] += 1
        return Fate.APPLIED

    def _follow(self, event_type: str, facts: dict[str, Any]) -> None:
        key: int = facts["id"]
        match event_type:
            case "AccountCreated":
                self._create("account", key)
                self.accounts[key] = Account(facts["owned_by"], {})
            case "AccountDeleted":
                if self._account(key).customers:
                    refuse(f"account {key} has customers")
                del self.accounts[key]
            case "CustomerCreated":
                account = self._account(facts["account_id"])
                self._create("customer", key)
                account.customers[key] = {}
                self._account_of[key] = facts["account_id"]
            case "CustomerDeleted":
                account = self._account_with(key)
                if self._account_of[key] != facts["account_id"]:
                    refuse(f"customer {key} is of another account")
                _require_room(account.total() - sum(account.customers[key].values()))
                del account.customers[key]
            case "InvoiceCreated":
                self._move_revenue(facts["customer_id"], facts["purchase_price_cents"])
                self._create("invoice", key)
                self._invoices_of(facts["customer_id"])[key] = facts["purchase_price_cents"]
            case "InvoiceDeleted":
                customer, cents = facts["customer_id"], facts["purchase_price_cents"]
                self._move_revenue(customer, -cents)
                if self._invoices_of(customer).get(key) != cents:
                    refuse(f"no invoice {key} of customer {customer} over {cents}")
                del self._invoices_of(customer)[key]

    def _create(self, kind: str, key: int) -> None:
        if (kind, key) in self._created:
            refuse(f"{kind} {key} was there")
        self._created.add((kind, key))

    def _account(self, key: int) -> Account:
        return self.accounts.get(key) or refuse(f"no account {key}")

    def _account_with(self, customer: int) -> Account:
        account = self.accounts.get(self._account_of.get(customer, 0))
        return (
            account if account is not None and customer in account.customers else refuse("no such customer")
        )

    def _invoices_of(self, customer: int) -> dict[int, int]:
        return self._account_with(customer).customers[customer]

    def _move_revenue(self, customer: int, cents: int) -> None:
        _require_room(cents)
        _require_room(sum(self._invoices_of(customer).values()) + cents)
        _require_room(self._account_with(customer).total() + cents)

    def differences(self, file: Path) -> list[str]:
        """Everything in which a projection's file is not as it should be, cents included."""
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as found:
            sequence, passed_over = found.execute("SELECT sequence, passed_over FROM checkpoint").fetchone()
            parked = dict(found.execute("SELECT sequence, reason FROM parked"))
            wrong = [
                *_unequal(
                    "applied are", [(sequence,)], [(sum(self.fates.values()) - self.fates[Fate.HALTS],)]
                ),
                *_unequal(
                    "passed over",
                    [(name,) for name in json.loads(passed_over)],
                    [(name,) for name in self.passed_over],
                ),
                *(self._wrongly("applied", each, self.parked[each]) for each in self.parked.keys() - parked),
                *(self._wrongly("parked", each, parked[each]) for each in parked.keys() - self.parked),
                *_unequal("account", found.execute(_ACCOUNTS), self._account_rows()),
                *_unequal("customer", found.execute(_CUSTOMERS), self._customer_rows()),
                *_unequal("invoice", found.execute(_INVOICES), self._invoice_rows()),
                *_unequal("once there", found.execute(_CREATED), self._created),
                *(totals_unlike_their_ledger(found) if found.execute(_HAS_LEDGER).fetchone() else []),
                *_unequal("integrity", found.execute("PRAGMA integrity_check"), [("ok",)]),
            ]
        return [f"{file.parent.name}: {difference}" for difference in wrong]

    def _wrongly(self, fate: str, sequence: int, reason: str) -> str:
        return f"wrongly {fate} ({reason}): {str(self.entries[sequence - 1])[:_SHOWN_CHARACTERS]}"

    def _account_rows(self) -> Iterable[tuple[object, ...]]:
        for key, account in self.accounts.items():
            yield key, account.owned_by, len(account.customers), account.total()

    def _customer_rows(self) -> Iterable[tuple[object, ...]]:
        for key, account in self.accounts.items():
            for customer, invoices in account.customers.items():
                yield customer, key, sum(invoices.values())

    def _invoice_rows(self) -> Iterable[tuple[object, ...]]:
        for account in self.accounts.values():
            for customer, invoices in account.customers.items():
                for invoice, cents in invoices.items():
                    yield invoice, customer, cents


_ACCOUNTS = "SELECT id, owned_by, live_customers, total_revenue_cents FROM accounts WHERE NOT deleted"
_CUSTOMERS = "SELECT id, account_id, total_revenue_cents FROM customers WHERE NOT deleted"
_INVOICES = """
    SELECT i.id, i.customer_id, i.purchase_price_cents FROM invoices i JOIN customers c ON c.id = i.customer_id
    WHERE NOT i.deleted AND NOT c.deleted
"""
_HAS_LEDGER = "SELECT 1 FROM sqlite_schema WHERE name = 'ledger'"
_CREATED = """
    SELECT 'account', id FROM accounts UNION ALL SELECT 'customer', id FROM customers
    UNION ALL SELECT 'invoice', id FROM invoices
"""


def _require_room(total: int) -> None:
    if not -LARGEST <= total <= LARGEST:
        refuse("a total would not fit 64 bits")


def _unequal(
    what: str, found: Iterable[tuple[object, ...]], expected: Iterable[tuple[object, ...]]
) -> list[str]:
    held, due = set(found), set(expected)
    return [
        *(f"{what} {row}, and should not be" for row in held - due),
        *(f"{what} not {row}, and should be" for row in due - held),
    ]
