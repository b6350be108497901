"""What GET answers about accounts, as JSON."""

from __future__ import annotations

from typing import Any

from accounts import revenue
from eventlog.projection_reader import Look
from shared.paging import LARGEST_LIMIT, Page


def list_all_accounts(look: Look) -> list[dict[str, Any]]:
    """As `GET /accounts` answers an admin, all pages in one."""
    shown: list[dict[str, Any]] = []
    page = Page(LARGEST_LIMIT, 0)
    while found := revenue.list_account_revenue(look, None, page)[: page.limit]:
        shown += map(show_account_revenue, found)
        page = Page(LARGEST_LIMIT, found[-1].account.id)
    return shown


def show_account_revenue(found: revenue.AccountRevenue) -> dict[str, Any]:
    """One account; with a link to its other customers where it has more than are inside."""
    shown: dict[str, Any] = {
        "account": found.account._asdict(),
        "customers": [customer._asdict() for customer in found.customers],
        "total_revenue_cents": found.total_revenue_cents,
    }
    if found.more_customers and found.customers:
        page = Page(revenue.CUSTOMERS_INSIDE, int(found.customers[-1].customer_id))
        shown["more_customers"] = (
            f"/accounts/{found.account.id}/customers?limit={page.limit}&after={page.after}"
        )
    return shown
