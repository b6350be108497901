"""The same request again is answered again, and done once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog import EventLog
from shared.permissions import Role
from tests.pair import Pair, running_pair

ADA = {"name": "Ada", "account_id": "1"}


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(fake_log, tmp_path) as pair:
        pair.make_demo()
        yield pair


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


def test_same_key_and_body_gets_the_first_answer_marked(pair: Pair) -> None:
    first = pair.customers().post("/customers", json=ADA, headers=key("a"))
    again = pair.customers().post("/customers", json=ADA, headers=key("a"))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.get_json() == first.get_json()
    assert again.headers["Log-Position"] == first.headers["Log-Position"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_key_we_made_works_as_well(pair: Pair) -> None:
    first = pair.customers().post("/customers", json=ADA)
    again = pair.customers().post("/customers", json=ADA, headers=key(first.headers["Idempotency-Key"]))
    assert again.get_json() == first.get_json()
    assert again.headers["Idempotency-Replayed"] == "true"


def test_same_key_with_another_body_is_422_and_writes_nothing(pair: Pair) -> None:
    pair.customers().post("/customers", json=ADA, headers=key("a"))
    before = pair.log.state().sequence
    other = pair.customers().post("/customers", json={**ADA, "name": "Eve"}, headers=key("a"))
    assert other.status_code == 422
    assert other.get_json(force=True)["type"] == "/problems/idempotency-key-reused"
    assert pair.log.state().sequence == before


def test_same_key_on_another_path_is_422(pair: Pair) -> None:
    customer = pair.customers().post("/customers", json=ADA, headers=key("a")).get_json()["id"]
    assert pair.customers().delete(f"/customers/{customer}", headers=key("a")).status_code == 422


def test_keys_of_two_users_have_nothing_to_do_with_each_other(pair: Pair) -> None:
    first = pair.customers("user1").post("/customers", json=ADA, headers=key("a"))
    second = pair.customers("user2").post("/customers", json=ADA, headers=key("a"))
    assert second.status_code == 201
    assert second.get_json() != first.get_json()


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not applied yet"])
def test_a_delete_whose_answer_was_lost_is_204_again(pair: Pair, applied: bool) -> None:
    customer = pair.customers().post("/customers", json=ADA).get_json()["id"]
    if not applied:
        pair.wait_until_applied()
        pair.customers_tail.stop()
    path = f"/customers/{customer}"
    assert pair.customers().delete(path, headers=key("gone")).status_code == 204
    if applied:
        pair.wait_until_applied()
    again = pair.customers().delete(path, headers=key("gone"))
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (204, "true")
    pair.customers_tail.stop()
    pair.customers_tail.start()
    assert pair.customers().delete(path, headers=key("another")).status_code == 404


def test_every_write_answers_with_its_key_refusals_too(pair: Pair) -> None:
    refused = pair.customers().delete("/customers/99", headers=key("mine"))
    assert (refused.status_code, refused.headers["Idempotency-Key"]) == (404, "mine")
    unnamed = pair.customers().post("/customers", json={**ADA, "account_id": "99"})
    assert unnamed.status_code == 404
    assert unnamed.headers["Idempotency-Key"]


def test_a_refusal_is_not_remembered(pair: Pair) -> None:
    """What was not there may be there later: the same key may then succeed."""
    member = pair.customers("bob", Role.MEMBER)
    assert member.post("/customers", json={**ADA, "account_id": "3"}, headers=key("k")).status_code == 404
    pair.users.add("bob", "password of bob", Role.MEMBER)
    assert pair.accounts("bob", Role.MEMBER).post("/accounts", json={"name": "bob's"}).get_json() == {
        "id": "3"
    }
    assert member.post("/customers", json={**ADA, "account_id": "3"}, headers=key("k")).status_code == 201
