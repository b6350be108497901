"""The paths about users: log in, refresh a token, add a user."""

from __future__ import annotations

from flask import Blueprint, Response, request

from accounts import operations
from accounts.answers import AccessToken, CreatedUser
from accounts.identity import TooBusy, UserExists, Users
from accounts.schemas import CreateUserBody, LoginBody
from shared.http import answer, require_token
from shared.operations import described
from shared.permissions import Identity
from shared.problem_kinds import BUSY, USER_EXISTS
from shared.problems import Problem, forbidden, unauthorized, unavailable
from shared.request_body import load_body
from shared.tokens import LIFETIME, Tokens

_LOGIN = LoginBody()
_CREATE_USER = CreateUserBody()


def make_sign_in_routes(tokens: Tokens, users: Users) -> Blueprint:
    """`/auth/login`, `/auth/refresh` and `/users`."""
    routes = Blueprint("sign_in", __name__)

    @routes.post("/auth/login")
    @described(operations.LOG_IN)
    def log_in() -> Response:
        """Log in: answers the bare token, or JSON where `Accept` asks for it."""
        body = load_body(_LOGIN)
        identity = users.authenticate(body["username"], body["password"])
        if identity is None:
            raise unauthorized("Username or password is wrong.")
        return _token_answer(tokens, identity)

    @routes.post("/auth/refresh")
    @described(operations.REFRESH)
    def refresh() -> Response:
        """Get a new token for one that is still good."""
        identity = users.find(require_token(tokens).username)
        if identity is None:
            raise unauthorized("This user is no longer there.")
        return _token_answer(tokens, identity)

    @routes.post("/users")
    @described(operations.CREATE_USER)
    def create_user() -> Response:
        """Add a user; admins only."""
        if not require_token(tokens).is_admin:
            raise forbidden("Only an admin may add users.")
        body = load_body(_CREATE_USER)
        try:
            users.add(body["username"], body["password"], body["role"])
        except UserExists:
            raise Problem(USER_EXISTS, f"There is a user {body['username']!r} already.") from None
        return answer(CreatedUser(body["username"], body["role"]), 201)

    @routes.errorhandler(TooBusy)
    def _too_busy(_: TooBusy) -> Response:
        return unavailable(BUSY).response()

    return routes


def _token_answer(tokens: Tokens, identity: Identity) -> Response:
    """The bare token, as the former service answered; JSON for who asks for it."""
    token = tokens.issue(identity)
    headers = {"Cache-Control": "no-store"}
    offered = ["text/plain", "application/json"]
    if request.accept_mimetypes.best_match(offered, default="text/plain") == "application/json":
        return answer(AccessToken(token, int(LIFETIME.total_seconds())), headers=headers)
    return Response(token, 200, headers, mimetype="text/plain")
