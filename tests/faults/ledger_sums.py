"""Whether the ledger of a revenue file sums up to its totals; added up here, not in SQLite."""

from __future__ import annotations

import sqlite3
from collections import Counter

_AMOUNTS = "SELECT account_id, customer_id, amount_cents FROM ledger"
_TOTALS = """
    SELECT 'account', id, total_revenue_cents FROM accounts
    UNION ALL SELECT 'customer', id, iif(deleted, 0, total_revenue_cents) FROM customers
"""


def totals_unlike_their_ledger(revenue: sqlite3.Connection) -> list[str]:
    """Each account and customer whose entries come to something else; a deleted customer's to anything but 0."""
    sums = Counter[tuple[str, int]]()
    for account, customer, cents in revenue.execute(_AMOUNTS):
        sums["account", account] += cents
        sums["customer", customer] += cents
    totals = {(kind, key): total for kind, key, total in revenue.execute(_TOTALS)}
    return [
        f"{kind} {key} has {totals.get((kind, key))}, and its ledger {sums[kind, key]}"
        for kind, key in sorted(totals.keys() | sums.keys())
        if totals.get((kind, key)) != sums[kind, key]
    ]
