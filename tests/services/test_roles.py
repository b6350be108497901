"""Who may what: a generated table of every route, for every kind of caller, on own, foreign and absent things."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any, NamedTuple

import fakeredis
import jwt
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from accounts.identity import Users
from eventlog import EventLog
from shared.events import make_codec
from shared.permissions import Identity, Role
from shared.tokens import Tokens
from tests.pair import SECRET, Client, Pair, running_pair


class Things(NamedTuple):
    """One account with what is in it, by id."""

    account: str
    customer: str
    invoice: str


class Route(NamedTuple):
    """A request on one thing, and what it answers where the thing is in sight."""

    service: str
    method: str
    path: str
    body: dict[str, Any] | None
    status: int


ROUTES = [
    Route("accounts", "GET", "/accounts/{account}", None, 200),
    Route("accounts", "GET", "/accounts/{account}/customers", None, 200),
    Route("accounts", "GET", "/accounts/{account}/ledger", None, 200),
    Route("accounts", "GET", "/accounts/{account}/is-owned-by/mel", None, 200),
    Route("accounts", "DELETE", "/accounts/{account}", None, 409),
    Route("customers", "POST", "/customers", {"name": "new", "account_id": "{account}"}, 201),
    Route("customers", "GET", "/customers/{customer}", None, 200),
    Route(
        "customers",
        "POST",
        "/invoices",
        {"customer_id": "{customer}", "purchase_date": "2026-01-31", "purchase_price_cents": 1},
        201,
    ),
    Route("customers", "GET", "/invoices/{invoice}", None, 200),
    Route("customers", "DELETE", "/invoices/{invoice}", None, 204),
    Route("customers", "DELETE", "/customers/{customer}", None, 204),
]
SIGN_IN_PATHS = {"/auth/login", "/sign-in", "/sign-out"}
OPEN_PATHS = {"/status", "/health/live", "/health/ready", "/", "/console/page.css", *SIGN_IN_PATHS}
OPEN_PATHS |= {
    "/openapi.json",
    "/docs",
    "/problems",
    "/problems/not-found",
    "/static/page.css",
    "/catalogue",
    "/asyncapi.json",
}
ABSENT = Things("999", "999", "999")
VOLATILE = {
    "X-Request-Id",
    "Date",
    "ETag",
    "Idempotency-Key",
    "Log-Position",
    "Content-Length",
}  # present alike, values differ


@pytest.fixture(scope="module")
def shared_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """For tests that make what they need, and leave the others' alone."""
    log = EventLog(fakeredis.FakeRedis().connection_pool, make_codec())
    log.create()
    with pair_with_members(log, tmp_path_factory.mktemp("pair")) as pair:
        yield pair


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with pair_with_members(fake_log, tmp_path) as pair:
        yield pair


@contextmanager
def pair_with_members(log: EventLog, folder: Path) -> Iterator[Pair]:
    with running_pair(log, folder) as pair:
        for name in ("mel", "eve"):
            pair.users.add(name, f"password of {name}", Role.MEMBER)
        yield pair


def things_of(pair: Pair, owner: str) -> Things:
    account = (
        pair.accounts(owner, Role.MEMBER).post("/accounts", json={"name": f"of {owner}"}).get_json()["id"]
    )
    client = pair.customers(owner, Role.MEMBER)
    customer = client.post("/customers", json={"name": "Ada", "account_id": account}).get_json()["id"]
    invoice = {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": 100}
    things = Things(account, customer, client.post("/invoices", json=invoice).get_json()["id"])
    pair.wait_until_applied()
    return things


def send(client: Client, route: Route, things: Things) -> TestResponse:
    ids = things._asdict()
    body = {
        name: value.format(**ids) if isinstance(value, str) else value
        for name, value in (route.body or {}).items()
    }
    return client.request(route.method, route.path.format(**ids), json=body or None)


def client(pair: Pair, service: str, username: str, role: Role) -> Client:
    return pair.accounts(username, role) if service == "accounts" else pair.customers(username, role)


def without_ids(answer: TestResponse, things: Things) -> tuple[int, str, dict[str, str]]:
    headers = {name: "" if name in VOLATILE else value for name, value in answer.headers.items()}
    ids = rf"\b({'|'.join(things)})\b"
    return answer.status_code, re.sub(ids, "#", answer.get_data(as_text=True)), headers


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("role", [Role.MEMBER, Role.ADMIN])
def test_owners_and_admins_are_let_in(shared_pair: Pair, route: Route, role: Role) -> None:
    things = things_of(shared_pair, "mel")
    caller = client(shared_pair, route.service, "mel" if role is Role.MEMBER else "root", role)
    assert send(caller, route, things).status_code == route.status


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_what_is_foreign_answers_exactly_as_what_is_absent(shared_pair: Pair, route: Route) -> None:
    foreign = things_of(shared_pair, "mel")
    before = shared_pair.log.state().sequence
    eve = client(shared_pair, route.service, "eve", Role.MEMBER)
    answer = without_ids(send(eve, route, foreign), foreign)
    assert answer == without_ids(send(eve, route, ABSENT), ABSENT)
    assert answer[0] == 404
    assert shared_pair.log.state().sequence == before


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_what_is_deleted_answers_exactly_as_what_is_absent(shared_pair: Pair, route: Route) -> None:
    gone = things_of(shared_pair, "mel")
    mel = client(shared_pair, route.service, "mel", Role.MEMBER)
    assert shared_pair.customers("mel", Role.MEMBER).delete(f"/customers/{gone.customer}").status_code == 204
    assert shared_pair.accounts("mel", Role.MEMBER).delete(f"/accounts/{gone.account}").status_code == 204
    shared_pair.wait_until_applied()
    answer = without_ids(send(mel, route, gone), gone)
    assert answer == without_ids(send(mel, route, ABSENT), ABSENT)
    assert answer[0] == 404


def test_lists_show_only_what_is_ones_own(pair: Pair) -> None:
    mine, foreign = things_of(pair, "mel"), things_of(pair, "eve")
    mel = Role.MEMBER
    assert [item["account"]["id"] for item in pair.accounts("mel", mel).get("/accounts").get_json()] == [
        int(mine.account)
    ]
    assert [item["id"] for item in pair.customers("mel", mel).get("/customers").get_json()] == [mine.customer]
    assert [item["id"] for item in pair.customers("mel", mel).get("/invoices").get_json()] == [mine.invoice]
    for path in (f"/customers?account_id={foreign.account}", f"/invoices?customer_id={foreign.customer}"):
        assert pair.customers("mel", mel).get(path).get_json() == []
        assert len(pair.customers("root", Role.ADMIN).get(path).get_json()) == 1


def test_a_member_makes_accounts_for_itself_only(pair: Pair) -> None:
    for owner in ("eve", "nobody"):
        refused = pair.accounts("mel", Role.MEMBER).post("/accounts", json={"name": "n", "owned_by": owner})
        assert refused.status_code == 403
        assert refused.get_json(force=True)["errors"][0]["pointer"] == "#/owned_by"
    made = pair.accounts("root", Role.ADMIN).post("/accounts", json={"name": "n", "owned_by": "eve"})
    assert made.status_code == 201
    pair.wait_until_applied()
    assert pair.accounts("eve", Role.MEMBER).get(f"/accounts/{made.get_json()['id']}").status_code == 200


def test_only_an_admin_adds_users(pair: Pair) -> None:
    body = {"username": "new", "password": "long enough", "role": "admin"}
    assert pair.accounts("mel", Role.MEMBER).post("/users", json=body).status_code == 403
    assert pair.accounts("root", Role.ADMIN).post("/users", json=body).status_code == 201
    assert pair.accounts("root", Role.ADMIN).post("/users", json=body).status_code == 409
    signed_in = pair.accounts(None).post("/auth/login", json={"username": "new", "password": "long enough"})
    assert signed_in.status_code == 200


def bad_tokens() -> dict[str, str]:
    now = datetime.now(UTC)
    good = Tokens(SECRET).issue(Identity("root", Role.ADMIN))
    claims = jwt.decode(good, options={"verify_signature": False})
    header, payload, signature = good.split(".")

    def signed(secret: str = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
        return jwt.encode({**claims, **changed}, secret, algorithm=algorithm)

    def without(claim: str) -> str:
        return jwt.encode({name: value for name, value in claims.items() if name != claim}, SECRET)

    return {
        "garbage": "abc",
        "three garbage parts": "a.b.c",
        "no signature": f"{header}.{payload}.",
        "cut": good[:-2],
        "changed payload": f"{header}.{payload[:-2]}AA.{signature}",
        "other key": signed("another secret of thirty-two bytes or more"),
        "other algorithm": signed(SECRET * 2, "HS512"),
        "no algorithm": jwt.encode(claims, None, algorithm="none"),
        "expired": signed(exp=now - timedelta(seconds=1)),
        "not yet issued": signed(iat=now + timedelta(hours=1)),
        "issued at no time": signed(iat=None),
        "other issuer": signed(iss="somebody"),
        "other audience": signed(aud="somewhere"),
        "unknown role": signed(role="root"),
        "no role": without("role"),
        **{f"no {claim}": without(claim) for claim in ("exp", "iat", "iss", "aud", "jti", "sub")},
        "too long": good + "A" * 5000,
    }


def test_a_token_from_before_the_clock_was_set_back_a_little_is_good(pair: Pair) -> None:
    claims = jwt.decode(pair.token("mel", Role.MEMBER), options={"verify_signature": False})
    token = jwt.encode({**claims, "iat": datetime.now(UTC) + timedelta(seconds=5)}, SECRET)
    assert Client(pair.accounts_app, token).get("/accounts").status_code == 200


@pytest.mark.parametrize("token", bad_tokens().items(), ids=lambda found: found[0])
def test_a_bad_token_is_401_on_every_route(shared_pair: Pair, token: tuple[str, str]) -> None:
    for app, method, path in closed_routes(shared_pair):
        answer = Client(app, token[1]).request(method, path)
        assert answer.status_code == 401, (method, path, answer.get_data(as_text=True))
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def closed_routes(pair: Pair) -> Iterator[tuple[Flask, str, str]]:
    """Read off the apps themselves, so that a route added later is asked too."""
    for app in (pair.accounts_app, pair.customers_app):
        for rule in app.url_map.iter_rules():
            path = re.sub(
                r"<[^>]+>",
                "1",
                rule.rule.replace("<kind>", "not-found").replace("<path:filename>", "page.css"),
            )
            for method in (rule.methods or set()) - {"OPTIONS"}:
                if path not in OPEN_PATHS:
                    yield app, method, path


def test_no_route_but_health_and_login_answers_without_a_token(pair: Pair) -> None:
    asked = [(path, Client(app, None).request(method, path)) for app, method, path in closed_routes(pair)]
    assert {path for path, _ in asked} > {"/accounts", "/customers/1", "/users", "/auth/refresh"}
    assert {answer.status_code for _, answer in asked} == {401}
    for path in OPEN_PATHS - SIGN_IN_PATHS:
        assert pair.accounts(None).get(path).status_code == 200
    assert pair.accounts(None).post("/auth/login", json={}).status_code == 400


def test_a_refreshed_token_has_the_role_the_user_has_now(pair: Pair) -> None:
    """A token is a claim about the past; the file of users knows."""
    forged_role = Client(pair.accounts_app, pair.token("mel", Role.ADMIN))
    refreshed = forged_role.post("/auth/refresh").get_data(as_text=True)
    assert Tokens(SECRET).verify(refreshed) == Identity("mel", Role.MEMBER)
    assert (
        Client(pair.accounts_app, pair.token("nobody", Role.ADMIN)).post("/auth/refresh").status_code == 401
    )


def test_users_added_at_once_are_all_there_and_a_name_is_taken_once(pair: Pair) -> None:
    """SQLite refuses at once, however long it may wait, where two have read what both want to write."""

    def add(number: int) -> int:
        body = {"username": f"user-{number // 2}", "password": "long enough"}
        return pair.accounts("root", Role.ADMIN).post("/users", json=body).status_code

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(add, range(8))) == [201] * 4 + [409] * 4


def test_a_file_of_users_is_made_once_by_many(tmp_path: Path) -> None:
    for number in range(50):
        users = Users(tmp_path / str(number))
        barrier = Barrier(8)

        def find(_: int, users: Users = users, barrier: Barrier = barrier) -> None:
            barrier.wait()
            assert users.find("mel") is None

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(find, range(8)))


def test_an_account_has_an_owner_that_exists(pair: Pair) -> None:
    before = pair.log.state().sequence
    refused = pair.accounts().post("/accounts", json={"name": "x", "owned_by": "nobody"})
    assert (refused.status_code, refused.get_json(force=True)["errors"][0]["pointer"]) == (404, "#/owned_by")
    assert pair.log.state().sequence == before
