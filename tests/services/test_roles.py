"""Users, their tokens and what is theirs; who may ask for which route: test_permissions.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any, NamedTuple

import jwt
import pytest
from argon2 import PasswordHasher

from accounts.identity import Users
from accounts.signing_keys import SigningKeys
from eventlog import EventLog
from shared.events import make_codec
from shared.permissions import Role
from tests.fake_redis import fake_pool
from tests.pair import Client, Pair, running_pair
from tests.routes import list_routes
from tests.signed import claims_of, signed

ROUTES = list_routes()


class Things(NamedTuple):
    """One account with what is in it, by id."""

    account: str
    customer: str
    invoice: str


@pytest.fixture(scope="module")
def shared_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """For tests that make what they need, and leave the others' alone."""
    log = EventLog(fake_pool(), make_codec())
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
        pair.users.add("root", "password of root", Role.ADMIN)
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
    body = {"username": "new", "password": "long enough for it", "role": "admin"}
    assert pair.accounts("mel", Role.MEMBER).post("/users", json=body).status_code == 403
    assert pair.accounts("root", Role.ADMIN).post("/users", json=body).status_code == 201
    assert pair.accounts("root", Role.ADMIN).post("/users", json=body).status_code == 409
    signed_in = pair.accounts(None).post(
        "/auth/login", json={"username": "new", "password": "long enough for it"}
    )
    assert signed_in.status_code == 200


def test_an_admin_who_is_disabled_while_a_password_is_hashed_adds_nobody(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.users.add("ada", "password of ada", Role.ADMIN)
    hash_password = PasswordHasher.hash

    def disabled_meanwhile(hasher: PasswordHasher, password: str) -> str:
        pair.users.disable("ada")
        return hash_password(hasher, password)

    monkeypatch.setattr(PasswordHasher, "hash", disabled_meanwhile)
    body = {"username": "successor", "password": "long enough for it", "role": "admin"}
    assert pair.accounts("ada", Role.ADMIN).post("/users", json=body).status_code == 401
    assert "successor" not in {user.username for user in pair.users.list_users()}


def bad_tokens(pair: Pair) -> dict[str, str]:
    now_s = int(datetime.now(UTC).timestamp())
    good = pair.token("root", Role.ADMIN)
    claims = claims_of(good)
    header, payload, signature = good.split(".")

    def changed(**changed: Any) -> str:
        return signed(pair.keys, {**claims, **changed})

    def without(claim: str) -> str:
        return signed(pair.keys, {name: value for name, value in claims.items() if name != claim})

    public = pair.keys.find_signing().x
    foreign = SigningKeys(pair.folder / "foreign")
    foreign.make_first()
    return {
        "garbage": "abc",
        "three garbage parts": "a.b.c",
        "no signature": f"{header}.{payload}.",
        "cut": good[:-2],
        "changed payload": f"{header}.{payload[:-2]}AA.{signature}",
        "signature written in another way": f"{good[:-1]}{chr(ord(good[-1]) + 1)}",
        "padded": f"{good}==",
        "foreign key": signed(foreign, claims),
        "foreign key under our id": signed(foreign, claims, {"kid": pair.keys.find_signing().kid}),
        "no key id": signed(pair.keys, claims, {"kid": None}),
        "the public key as a secret": jwt.encode(
            claims, public, algorithm="HS256", headers={"kid": pair.keys.find_signing().kid}
        ),
        "no algorithm": jwt.encode(claims, "", algorithm="none"),
        "expired": changed(exp=now_s - 1),
        "good for a century": changed(exp=now_s + 100 * 365 * 86400),
        "issued long ago, and good": changed(iat=now_s - 3600, nbf=now_s - 3600),
        "issued after it expires": changed(iat=now_s + 8, exp=now_s + 7),
        "not yet issued": changed(iat=now_s + 3600),
        "not yet good": changed(nbf=now_s + 3600),
        "issued at no time": changed(iat=None),
        "expires in text": changed(exp=str(now_s + 60)),
        "expires in truth": changed(exp=True),
        "other issuer": changed(iss="somebody"),
        "other audience": changed(aud="somewhere"),
        "audiences": changed(aud=["revenue-stream"]),
        "unknown role": changed(role="root"),
        "nobody": changed(sub=""),
        **{f"no {claim}": without(claim) for claim in claims},
        "too long": good + "A" * 5000,
    }


def test_a_token_from_before_the_clock_was_set_back_a_little_is_good(pair: Pair) -> None:
    soon_s = int(datetime.now(UTC).timestamp()) + 5
    claims = claims_of(pair.token("mel", Role.MEMBER))
    token = signed(pair.keys, {**claims, "iat": soon_s, "nbf": soon_s})
    assert Client(pair.accounts_app, token).get("/accounts").status_code == 200


def test_a_bad_token_is_401_on_every_route(shared_pair: Pair) -> None:
    for what, token in bad_tokens(shared_pair).items():
        for route in ROUTES:
            if route.allowed.needs_token:
                app = shared_pair.accounts_app if route.service == "accounts" else shared_pair.customers_app
                answer = Client(app, token).request(route.method, re.sub("<[^>]+>", "1", route.path))
                assert answer.status_code == 401, (what, route, answer.get_data(as_text=True))
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_users_added_at_once_are_all_there_and_a_name_is_taken_once(pair: Pair) -> None:
    """SQLite refuses at once, however long it may wait, where two have read what both want to write."""

    def add(number: int) -> int:
        body = {"username": f"user-{number // 2}", "password": "long enough for it"}
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
    refused = pair.accounts("root").post("/accounts", json={"name": "x", "owned_by": "nobody"})
    assert (refused.status_code, refused.get_json(force=True)["errors"][0]["pointer"]) == (404, "#/owned_by")
    assert pair.log.state().sequence == before
