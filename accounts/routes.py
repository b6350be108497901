"""The accounts service's paths."""

from __future__ import annotations

from flask import Blueprint, Response, request

from accounts import ledger, operations, revenue
from accounts.answers import Owned, show_account_revenue
from accounts.as_of import AsOf
from accounts.command_handler import CommandHandler
from accounts.schemas import CreateAccountBody
from eventlog import Row
from eventlog.projection_reader import Look
from shared.http import answer, no_content, path_id, who_asks
from shared.log_position import Reads
from shared.operations import Created, described
from shared.permissions import Identity
from shared.problems import not_found
from shared.request_body import load_body
from shared.requested_page import one_page, requested_page

_CREATE_ACCOUNT = CreateAccountBody()


def make_routes(reads: Reads, as_of: AsOf, handler: CommandHandler) -> Blueprint:
    """Everything about accounts; each path needs a token."""
    routes = Blueprint("accounts", __name__)

    @routes.post("/accounts")
    @described(operations.CREATE_ACCOUNT)
    def create_account() -> Response:
        """Create an account, owned by whoever asks; an admin may name another user."""
        identity = who_asks()
        published = handler.create_account(identity, load_body(_CREATE_ACCOUNT))
        return answer(Created(published.result), 201, {"Location": f"/accounts/{published.result}"})

    @routes.get("/accounts")
    @described(operations.LIST_ACCOUNTS)
    def list_accounts() -> Response:
        """List accounts with their revenue, in the order of their ids.

        Of a member those it owns, of an admin all. `as_of` replays up to 10,000 entries of the log.
        """
        identity = who_asks()
        page = requested_page()
        with as_of.look() if "as_of" in request.args else reads.look() as look:
            found = revenue.list_account_revenue(look, identity.only_owned_by(), page)
        shown, link = one_page(page, found, lambda item: item.account.id)
        return answer([show_account_revenue(item) for item in shown], headers=link)

    @routes.get("/accounts/<account_id>")
    @described(operations.FIND_ACCOUNT)
    def find_account(account_id: str) -> Response:
        """Get an account with its revenue."""
        identity = who_asks()
        key = path_id(account_id, "account id")
        with reads.look() as look:
            found = revenue.find_account_revenue(look, identity.only_owned_by(), key)
        if found is None:
            raise not_found(f"There is no account {key}.")
        return answer(show_account_revenue(found))

    @routes.delete("/accounts/<account_id>")
    @described(operations.DELETE_ACCOUNT)
    def delete_account(account_id: str) -> Response:
        """Delete an account that has no customers."""
        identity = who_asks()
        handler.delete_account(identity, path_id(account_id, "account id"))
        return no_content()

    @routes.get("/accounts/<account_id>/customers")
    @described(operations.LIST_CUSTOMERS)
    def list_customers(account_id: str) -> Response:
        """List an account's customers with their revenue."""
        identity = who_asks()
        key = path_id(account_id, "account id")
        page = requested_page()
        with reads.look() as look:
            _require_in_sight(identity, look, key)
            found = revenue.list_customer_revenue(look, key, page)
        shown, link = one_page(page, found, lambda item: item.customer_id)
        return answer(shown, headers=link)

    @routes.get("/accounts/<account_id>/ledger")
    @described(operations.LIST_LEDGER)
    def list_ledger(account_id: str) -> Response:
        """List each entry of the log that moved an account's total.

        In the order of the log; `after` is the sequence of an entry.
        """
        identity = who_asks()
        key = path_id(account_id, "account id")
        page = requested_page()
        with reads.look() as look:
            _require_in_sight(identity, look, key)
            balance_cents = ledger.find_balance(look, key, page.after)
            found = ledger.list_entries(look, key, page, balance_cents=balance_cents)
        shown, link = one_page(page, found, lambda entry: entry.sequence)
        return answer(shown, headers=link)

    @routes.get("/accounts/<account_id>/is-owned-by/<username>")
    @described(operations.IS_OWNED_BY)
    def is_owned_by(account_id: str, username: str) -> Response:
        """Say whether a user owns an account."""
        identity = who_asks()
        key = path_id(account_id, "account id")
        with reads.look() as look:
            account = _require_in_sight(identity, look, key)
        return answer(Owned(account["owned_by"] == username))

    return routes


def _require_in_sight(identity: Identity, look: Look, account_id: int) -> Row:
    """The account; 404 if it is not there, deleted, or another's."""
    account = identity.account_in_sight(look.find("accounts", account_id))
    if account is None:
        raise not_found(f"There is no account {account_id}.")
    return account
