"""What makes up an account's total: the entries of its ledger, as one sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import msgspec

from accounts.ledger import LedgerEntry, list_entries
from eventlog import Position, ProjectionReader
from eventlog.checkpoints import Checkpoint
from eventlog.counted import counted
from eventlog.errors import NotBuilt
from shared.paging import LARGEST_LIMIT, Page
from shared.permissions import Absent

_LINE = "{:<20}  {:<15}  {:>8}  {:>8}  {:>12}  {:>14}  {}\n"
_HEADING = _LINE.format("position", "event", "customer", "invoice", "amount", "balance", "occurred")


class Explanation:
    """A total in cents as of one checkpoint, and the entries behind it, to be iterated over once.

    `sum_cents` and `count` are of the entries given so far.
    """

    def __init__(
        self,
        reader: ProjectionReader,
        account_id: int,
        customer_id: int | None,
        *,
        total_revenue_cents: int,
        deleted: bool,
        as_of: Checkpoint,
    ) -> None:
        self.account_id = account_id
        self.customer_id = customer_id
        self.total_revenue_cents = total_revenue_cents
        self.deleted = deleted
        self.as_of = as_of
        self.sum_cents = 0
        self.count = 0
        self._reader = reader

    def __iter__(self) -> Iterator[LedgerEntry]:
        """Page by page, each in a look of its own: who reads slowly does not keep the WAL from being reused.

        Rows of a ledger never change, so all that were there at the checkpoint are what they were then.
        Raises NotBuilt if the file has come to be of another log meanwhile.
        """
        page = Page(LARGEST_LIMIT, 0)
        while found := self._list_page(page):
            for entry in found:
                if entry.sequence > self.as_of.sequence:
                    return
                self.sum_cents, self.count = entry.balance_cents, self.count + 1
                yield entry
            page = page._replace(after=found[-1].sequence)

    def _list_page(self, page: Page) -> list[LedgerEntry]:
        with self._reader.look() as look:
            now = look.checkpoint
            if now.log_id != self.as_of.log_id or now.sequence < self.as_of.sequence:
                raise NotBuilt("the projection was built anew while it was read: ask again")
            return list_entries(
                look, self.account_id, page, balance_cents=self.sum_cents, customer_id=self.customer_id
            )


def explain(
    reader: ProjectionReader, account_id: int, customer_id: int | None = None
) -> Explanation | Absent:
    """The total of an account, or of one customer in it. What is deleted has a total of 0; what never was is Absent."""
    with reader.look() as look:
        found = look.find("accounts", account_id)
        if found is None:
            return Absent(f"account {account_id}")
        if customer_id is not None:
            found = look.find("customers", customer_id)
            if found is None or found["account_id"] != account_id:
                return Absent(f"customer {customer_id} in account {account_id}")
        deleted = bool(found["deleted"])
        total = 0 if deleted else cast(int, found["total_revenue_cents"])  # as in a STRICT table
        return Explanation(
            reader,
            account_id,
            customer_id,
            total_revenue_cents=total,
            deleted=deleted,
            as_of=look.checkpoint,
        )


def as_text(explanation: Explanation, xrange: str, trimmed_to: Position) -> Iterator[str]:
    """Lines for a terminal; `xrange` is the command that prints an entry, up to the positions.

    What lies before `trimmed_to` is no longer in Redis.
    """
    customer = "" if explanation.customer_id is None else f", customer {explanation.customer_id}"
    deleted = " (deleted)" if explanation.deleted else ""
    total, position = explanation.total_revenue_cents, explanation.as_of.position
    yield f"account {explanation.account_id}{customer}{deleted}: {total} cents at {position}\n"
    yield _HEADING
    first = last = ""
    for entry in explanation:
        first, last = first or entry.position, entry.position
        yield _LINE.format(
            entry.position,
            entry.event_type,
            entry.customer_id,
            entry.invoice_id or "-",
            f"{entry.amount_cents:+}",
            entry.balance_cents,
            entry.occurred_at,
        )
    yield f"{counted(explanation.count, 'entry')}; their amounts sum up to {explanation.sum_cents} cents\n"
    if last and Position.parse(last) >= trimmed_to:
        yield f"one of them: {xrange} {last} {last}\n"
    if first and Position.parse(first) < trimmed_to:
        yield f"trimmed from Redis, before {trimmed_to}, so in the archive: eventlog show {first}\n"


def as_document(explanation: Explanation, trimmed_to: Position) -> Iterator[str]:
    """One document in pieces, so that a large ledger never is in memory as a whole."""
    head = {
        "account_id": str(explanation.account_id),
        "customer_id": None if explanation.customer_id is None else str(explanation.customer_id),
        "deleted": explanation.deleted,
        "total_revenue_cents": explanation.total_revenue_cents,
        "as_of": str(explanation.as_of.position),
        "trimmed_to": str(trimmed_to),
    }
    yield _encoded(head)[:-1] + ',"entries":['
    separator = ""
    for entry in explanation:
        yield separator + _encoded(entry)
        separator = ","
    yield f'],"sum_of_entries_cents":{explanation.sum_cents}}}\n'


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()
