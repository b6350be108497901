"""The paths about users: log in, refresh a token, add a user."""

from __future__ import annotations

from flask import Blueprint, Response, request

from accounts import operations
from accounts.answers import AccessToken, ShownUser
from accounts.identity import TooBusy, UserExists, Users
from accounts.schemas import CreateUserBody, LoginBody
from shared.http import answer, require_admin, require_token
from shared.negotiation import preferred_media_type
from shared.operations import described
from shared.permissions import Identity
from shared.problem_kinds import BUSY, USER_EXISTS
from shared.problems import Problem, not_found, unauthorized, unavailable
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
        require_admin(tokens, "add users")
        body = load_body(_CREATE_USER)
        try:
            users.add(body["username"], body["password"], body["role"])
        except UserExists:
            raise Problem(USER_EXISTS, f"There is a user {body['username']!r} already.") from None
        added = ShownUser(body["username"], body["role"])
        return answer(added, 201, {"Location": f"/users/{added.username}"})

    @routes.get("/users/<username>")
    @described(operations.FIND_USER)
    def find_user(username: str) -> Response:
        """Get a user; of others only for admins."""
        identity = require_token(tokens)
        found = users.find(username)
        if found is None or not identity.may_see_user(username):
            raise not_found(f"There is no user {username[:100]!r}.")
        return answer(ShownUser(found.username, found.role))

    @routes.app_errorhandler(TooBusy)  # the console signs in, too
    def _too_busy(_: TooBusy) -> Response:
        return unavailable(BUSY).response()

    return routes


def _token_answer(tokens: Tokens, identity: Identity) -> Response:
    """The bare token, as the former service answered; JSON for who asks for it."""
    token = tokens.issue(identity)
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    asked = request.headers.get("Accept", "*/*")
    if preferred_media_type(asked, operations.REFRESH.media_types) == "application/json":
        return answer(AccessToken(token, int(LIFETIME.total_seconds())), headers=headers)
    return Response(token, 200, headers, mimetype="text/plain")
