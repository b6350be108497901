"""The paths of the console: the page, and a sign-in for browsers that run no script."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from flask import Blueprint, Response, g, render_template, request, url_for

from accounts import operations, revenue
from accounts.logins import Logins
from accounts.schemas import LoginBody
from accounts.token_issuer import TokenIssuer
from eventlog.errors import EventLogError
from shared.http import no_content
from shared.log_position import Reads, describe
from shared.operations import described
from shared.permissions import Identity
from shared.problems import bad_request, forbidden, unauthorized
from shared.requested_page import requested_page
from shared.strict_json import BrokenFields, check_object, describe_errors
from shared.tokens import LIFETIME, InvalidToken, Tokens

_COOKIE: Final = "console-token"
_LOGIN: Final = LoginBody()


def make_console(
    tokens: Tokens, logins: Logins, issuer: TokenIssuer, reads: Reads, *, customers_url: str, look_into: str
) -> Blueprint:
    """`/`, `/sign-in` and `/sign-out`; the cookie that they share lets nobody into any other path."""
    console = Blueprint(
        "console", __name__, static_folder="static", template_folder="templates", static_url_path="/console"
    )
    console.add_app_template_filter(_with_point, "cents")
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        f" connect-src 'self' {customers_url};"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )

    def page(status: int = 200, **values: Any) -> Response:
        shown = render_template(
            "console.html", customers_url=customers_url, look_into_log=look_into, **values
        )
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Vary": "Cookie"}
        return Response(shown, status, headers, mimetype="text/html")

    @console.get("/")
    @described(operations.SHOW_CONSOLE)
    def show_console() -> Response:
        """Show the console.

        Without JavaScript it is a list of the accounts, for whoever signed in with `POST /sign-in`.
        """
        wanted = requested_page()
        identity = _signed_in(tokens)
        if identity is None:
            return page()
        try:
            with reads.look_now() as look:
                found = revenue.list_account_revenue(look, identity.only_owned_by(), wanted)
        except (EventLogError, sqlite3.Error):
            return page(username=identity.username, unreadable=True)
        g.pop("log_moment")  # its ETag would be the same for another's cookie
        accounts = found[: wanted.limit]
        return page(
            username=identity.username,
            accounts=accounts,
            next_after=accounts[-1].account.id if len(found) > wanted.limit else None,
            state=describe(g.tail_status),
            log_position=g.get("log_position", ""),
        )

    @console.post("/sign-in")
    @described(operations.SIGN_IN)
    def sign_in() -> Response:
        """Sign in from a form: the answer is a cookie for the page at `/`, and for nothing else."""
        _refuse_from_elsewhere()
        try:
            body = check_object(_LOGIN, request.form.to_dict())
        except BrokenFields as problem:
            raise bad_request(describe_errors(problem.errors), problem.errors) from None
        key = issuer.find_key()
        authenticated = logins.authenticate(body["username"], body["password"], request.remote_addr or "")
        if authenticated is None:
            refused = page(401, problem="Username or password is wrong.")
            refused.headers.extend(unauthorized("").headers)
            return refused
        answer = _to_the_page()
        answer.set_cookie(
            _COOKIE,
            issuer.issue(authenticated.identity, key),
            max_age=LIFETIME,
            path="/",
            secure=request.is_secure,
            httponly=True,
            samesite="Strict",
        )
        return answer

    @console.post("/sign-out")
    @described(operations.SIGN_OUT)
    def sign_out() -> Response:
        """Sign out of the page without JavaScript: its cookie is taken back."""
        _refuse_from_elsewhere()
        answer = _to_the_page()
        answer.delete_cookie(_COOKIE, path="/", secure=request.is_secure, httponly=True, samesite="Strict")
        return answer

    return console


def _with_point(cents: int) -> str:
    """As the console shows money: 1,234.50."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100:,}.{abs(cents) % 100:02}"


def _to_the_page() -> Response:
    return no_content({"Location": url_for("console.show_console")}, 303)


def _signed_in(tokens: Tokens) -> Identity | None:
    """Who signed in with the form; None where nobody did, or too long ago."""
    try:
        return tokens.verify(request.cookies.get(_COOKIE, ""))
    except InvalidToken:
        return None


def _refuse_from_elsewhere() -> None:
    """403 for a form on another site's page: it would sign somebody in, or out, who did not ask for it.

    Browsers say where a request comes from; to plain HTTP, and if they are old, by `Origin` alone. What says nothing
    is no browser that others' pages could use, or one of before 2020.
    """
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None:
        is_ours = site in {"same-origin", "none"}
    else:
        # The host alone: what ends TLS before us makes http of the scheme.
        is_ours = origin is None or origin.partition("://")[2] == request.host
    if not is_ours:
        raise forbidden("This form was sent from another site's page: sign in on the page at /.")
