"""The paths about users and their tokens: log in, refresh, log out, keys, add a user."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, request

from accounts import operations
from accounts.answers import LoggedIn, ShownUser
from accounts.failed_logins import TooManyFailures
from accounts.identity import NotAllowed, TooBusy, UserExists, Users
from accounts.logins import Logins
from accounts.schemas import CreateUserBody, LoginBody, RefreshBody
from accounts.sessions import RefreshToken, Sessions
from accounts.signing_keys import BadKeys, SigningKeys
from accounts.token_issuer import TokenIssuer
from shared.http import NOT_CURRENT, answer, no_content, who_asks
from shared.negotiation import preferred_media_type
from shared.operations import described
from shared.problem_kinds import BUSY, KEYS_UNKNOWN, TOO_MANY_FAILED_LOGINS, USER_EXISTS
from shared.problems import Problem, not_found, unauthorized, unavailable
from shared.public_keys import FRESH_S
from shared.request_body import load_body
from shared.tokens import LIFETIME

_LOGIN = LoginBody()
_REFRESH = RefreshBody()
_CREATE_USER = CreateUserBody()
_NO_STORE = {"Cache-Control": "no-store"}
_NO_KEYS = "The keys of access tokens cannot be used just now, and nothing was done; /health/ready says why."

_logger = logging.getLogger(__name__)


def make_sign_in_routes(
    *,
    issuer: TokenIssuer,
    keys: SigningKeys,
    users: Users,
    logins: Logins,
    sessions: Sessions,
) -> Blueprint:
    """`/auth/…`, `/users` and `/.well-known/jwks.json`."""
    routes = Blueprint("sign_in", __name__)

    @routes.post("/auth/login")
    @described(operations.LOG_IN)
    def log_in() -> Response:
        """Log in: answers the bare token, or JSON with a refresh token where `Accept` asks for it."""
        body = load_body(_LOGIN)
        key = issuer.find_key()  # without one nothing begins
        authenticated = logins.authenticate(body["username"], body["password"], request.remote_addr or "")
        if authenticated is None:
            raise unauthorized("Username or password is wrong.")
        headers = {**_NO_STORE, "Vary": "Accept"}
        asked = request.headers.get("Accept", "*/*")
        if preferred_media_type(asked, operations.LOG_IN.media_types) != "application/json":
            return Response(issuer.issue(authenticated.identity, key), 200, headers, mimetype="text/plain")
        refresh_token = sessions.begin(authenticated)
        if refresh_token is None:
            raise unauthorized("Username or password is wrong.")
        return answer(_logged_in(issuer.issue(authenticated.identity, key), refresh_token), headers=headers)

    @routes.post("/auth/refresh")
    @described(operations.REFRESH)
    def refresh() -> Response:
        """Get new tokens for a refresh token, which is used up by it.

        Used a second time, it ends its session: somebody else has it, or has the one that came of it.
        """
        sent = load_body(_REFRESH)["refresh_token"]
        key = issuer.find_key()  # without one the refresh token is not used up
        refreshed = sessions.refresh(sent)
        if refreshed is None:
            raise unauthorized("The refresh token is not good, or was used before: log in again.")
        identity, refresh_token = refreshed
        return answer(_logged_in(issuer.issue(identity, key), refresh_token), headers=_NO_STORE)

    @routes.post("/auth/logout")
    @described(operations.LOG_OUT)
    def log_out() -> Response:
        """End the session of a refresh token; there is none any more if it had ended.

        An access token of the session stays good until it expires.
        """
        sessions.end(load_body(_REFRESH)["refresh_token"])
        return no_content()

    @routes.get("/.well-known/jwks.json")
    @described(operations.LIST_KEYS)
    def list_keys() -> Response:
        """List the public keys that access tokens are checked with, as a JWK set."""
        return answer(keys.public(), headers={"Cache-Control": f"public, max-age={FRESH_S:.0f}"})

    @routes.post("/users")
    @described(operations.CREATE_USER)
    def create_user() -> Response:
        """Add a user."""
        body = load_body(_CREATE_USER)
        try:
            users.add(body["username"], body["password"], body["role"], asked_by=who_asks())
        except NotAllowed:
            raise unauthorized(NOT_CURRENT) from None
        except UserExists:
            raise Problem(USER_EXISTS, f"There is a user {body['username']!r} already.") from None
        added = ShownUser(body["username"], body["role"])
        return answer(added, 201, {"Location": f"/users/{added.username}"})

    @routes.get("/users/<username>")
    @described(operations.FIND_USER)
    def find_user(username: str) -> Response:
        """Get a user."""
        identity = who_asks()
        found = users.find(username)
        if found is None or not identity.may_see_user(username):
            raise not_found(f"There is no user {username[:100]!r}.")
        return answer(ShownUser(found.username, found.role))

    @routes.app_errorhandler(TooBusy)  # the console signs in, too
    def _too_busy(_: TooBusy) -> Response:
        return unavailable(BUSY).response()

    @routes.app_errorhandler(TooManyFailures)
    def _too_many_failures(problem: TooManyFailures) -> Response:
        headers = {"Retry-After": str(problem.retry_after_s)}
        return Problem(TOO_MANY_FAILED_LOGINS, headers=headers).response()

    @routes.app_errorhandler(BadKeys)
    def _bad_keys(problem: BadKeys) -> Response:
        _logger.error("%s", problem)
        return unavailable(KEYS_UNKNOWN, _NO_KEYS).response()

    return routes


def _logged_in(token: str, refresh_token: RefreshToken) -> LoggedIn:
    return LoggedIn(
        token,
        int(LIFETIME.total_seconds()),
        refresh_token.token,
        int(refresh_token.good_for.total_seconds()),
    )
