"""The ledger of all accounts as it goes on: what each entry changed, and what its account came to by it."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple, cast

from accounts.ledger import LedgerEntry, find_balance
from eventlog import Position, Row
from eventlog.errors import NotBuilt
from eventlog.projection_reader import Look

PAGE: Final = 1000  # rows


class Change(NamedTuple):
    """A row of the ledger, of which account, and whose that is."""

    account_id: int
    owned_by: str
    entry: LedgerEntry


class Changes:
    """Read onwards, page by page; what accounts have come to is carried from one to the next."""

    def __init__(self) -> None:
        self._balances: dict[int, int] = {}
        self._carried_to: tuple[str, int] | None = None  # of which generation, up to which sequence

    def read(self, look: Look, after_sequence: int) -> tuple[list[Change], int]:
        """Up to `PAGE` changes behind a sequence, and the sequence behind which the next page begins.

        NotBuilt where something else than the tail took an account out of the file.
        """
        found = look.query(
            "SELECT account_id, amount_cents, sequence, position, event_type, CAST(customer_id AS TEXT),"
            " CAST(invoice_id AS TEXT), occurred_at FROM ledger WHERE sequence > ? ORDER BY sequence LIMIT ?",
            [after_sequence, PAGE],
        )
        rows = cast(list[tuple[int, int, int, str, str, str, str | None, str]], found)  # as in a STRICT table
        if self._carried_to != (look.generation, after_sequence):
            self._balances = {}
        is_last = len(rows) < PAGE
        seen_to = max(after_sequence, look.checkpoint.sequence) if is_last else rows[-1][2]
        moved: Counter[int] = Counter()
        for account_id, cents, *_ in rows:
            moved[account_id] += cents
        accounts = {account_id: _require_account(look, account_id) for account_id in moved}
        for account_id, account in accounts.items():
            if account_id not in self._balances:
                # Where nothing follows the page, the total says it, however long the ledger is.
                self._balances[account_id] = (
                    cast(int, account["total_revenue_cents"]) - moved[account_id]
                    if is_last
                    else find_balance(look, account_id, after_sequence)
                )
        changes = []
        for account_id, cents, sequence, position, event_type, customer_id, invoice_id, occurred_at in rows:
            self._balances[account_id] += cents
            balance = self._balances[account_id]
            entry = LedgerEntry(
                sequence, position, event_type, customer_id, invoice_id, cents, balance, occurred_at
            )
            changes.append(Change(account_id, str(accounts[account_id]["owned_by"]), entry))
        if is_last:
            self._balances = {}  # the totals say it again
        self._carried_to = look.generation, seen_to
        return changes, seen_to


def _require_account(look: Look, account_id: int) -> Row:
    account = look.find("accounts", account_id)
    if account is None:
        raise NotBuilt(
            f"the ledger names account {account_id}, which is not there: `accounts verify --repair`"
        )
    return account


def find_sequence(look: Look, position: Position) -> int:
    """The sequence of the last entry of the ledger at a position or before it; 0 if there is none."""
    found, at_least, at_most = 0, 1, look.checkpoint.sequence
    while at_least <= at_most:  # sequences and positions are in one order
        middle = (at_least + at_most) // 2
        rows = look.query(
            "SELECT sequence, position FROM ledger WHERE sequence >= ? ORDER BY sequence LIMIT 1", [middle]
        )
        if rows and Position.parse(str(rows[0][1])) <= position:
            found = cast(int, rows[0][0])
            at_least = found + 1
        else:
            at_most = middle - 1
    return found
