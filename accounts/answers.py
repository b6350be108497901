"""What GET answers about accounts, as JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

from accounts import revenue
from eventlog.projection_reader import Look
from shared.paging import LARGEST_LIMIT, Page
from shared.permissions import Role


class ShownAccount(msgspec.Struct, frozen=True, omit_defaults=True):
    """An account with its first 100 customers; `more_customers` is the path of the rest, if there are more."""

    account: revenue.Account
    customers: list[revenue.CustomerRevenue]
    total_revenue_cents: int
    more_customers: str = ""


class Owned(msgspec.Struct, frozen=True):
    """Whether a user owns an account."""

    ok: bool


class LoggedIn(msgspec.Struct, frozen=True):
    """Send `Authorization: Bearer <access_token>`; each expires after so many seconds.

    The refresh token is good for one `POST /auth/refresh`, which answers the next one.
    """

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  # a scheme


class ShownUser(msgspec.Struct, frozen=True):
    """Who may log in, and as what."""

    username: str
    role: Role


def list_all_accounts(look: Look) -> list[ShownAccount]:
    """As `GET /accounts` answers an admin, all pages in one."""
    shown: list[ShownAccount] = []
    page = Page(LARGEST_LIMIT, 0)
    while found := revenue.list_account_revenue(look, None, page)[: page.limit]:
        shown += map(show_account_revenue, found)
        page = Page(LARGEST_LIMIT, found[-1].account.id)
    return shown


def show_account_revenue(found: revenue.AccountRevenue) -> ShownAccount:
    more_customers = ""
    if found.more_customers and found.customers:
        page = Page(revenue.CUSTOMERS_INSIDE, int(found.customers[-1].customer_id))
        more_customers = f"/accounts/{found.account.id}/customers?limit={page.limit}&after={page.after}"
    return ShownAccount(found.account, found.customers, found.total_revenue_cents, more_customers)
