"""POST /invoices/batch: all of up to 1,000 invoices or none, answered in order, once for each Idempotency-Key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from customers.decider import HIGHEST_TOTAL_CENTS
from customers.schemas import LARGEST_BATCH
from eventlog import START, EventLog, Metadata, Moment
from shared.permissions import Role
from shared.request_body import MOST_ERRORS
from shared.strict_json import LARGEST_BATCH_BYTES, LARGEST_BODY_BYTES
from tests.examples import examples
from tests.pair import Pair, running_pair
from tests.services.facts import a_customer_created, an_account_created, an_invoice_created

PATH = "/invoices/batch"


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    """Customers 1 and 2 of user1's account 1, customer 3 of joe's account 2."""
    with running_pair(fake_log, tmp_path) as pair:
        before = [
            an_account_created(1, owned_by="user1"),
            an_account_created(2, owned_by="joe"),
            *(a_customer_created(customer, account) for customer, account in ((1, 1), (2, 1), (3, 2))),
        ]
        fake_log.publish(before, decided_at=Moment(fake_log.create(), START))
        pair.wait_until_applied()
        yield pair


def an_invoice(customer: int = 1, cents: Any = 100, **more: Any) -> dict[str, Any]:
    return {
        "customer_id": str(customer),
        "purchase_date": "2026-01-31",
        "purchase_price_cents": cents,
        **more,
    }


def pointers(answer: TestResponse) -> list[str]:
    return [error["pointer"] for error in answer.get_json(force=True)["errors"]]


def require_nothing_written(pair: Pair, answer: TestResponse, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert pair.log.state().sequence == 5
    problem: dict[str, Any] = answer.get_json(force=True)
    return problem


def test_ids_come_in_the_order_sent_with_the_position_of_the_last(pair: Pair) -> None:
    sent = [an_invoice(number % 2 + 1, number) for number in range(1, LARGEST_BATCH + 1)]
    answer = pair.customers().post(PATH, json=sent)
    assert answer.status_code == 201
    ids = [item["id"] for item in answer.get_json()]
    assert len(set(ids)) == LARGEST_BATCH
    assert answer.headers["Log-Position"].startswith(f"{pair.log.state().end}@")
    pair.wait_until_applied()
    for number in (1, 2, 500, LARGEST_BATCH):
        shown = pair.customers().get(f"/invoices/{ids[number - 1]}").get_json()
        assert {name: shown[name] for name in sent[number - 1]} == sent[number - 1]
    total = sum(range(1, LARGEST_BATCH + 1))
    assert pair.accounts().get("/accounts/1").get_json()["total_revenue_cents"] == total


def test_next_invoice_has_an_id_of_its_own(pair: Pair) -> None:
    first = pair.customers().post(PATH, json=[an_invoice()] * 3).get_json()
    one = pair.customers().post("/invoices", json=an_invoice()).get_json()
    second = pair.customers().post(PATH, json=[an_invoice()] * 3).get_json()
    assert len({item["id"] for item in [*first, one, *second]}) == 7


def test_all_events_of_a_batch_have_one_correlation_and_each_an_id_of_its_own(pair: Pair) -> None:
    pair.customers().post(PATH, json=[an_invoice()] * 3, headers={"Idempotency-Key": "mine"})
    entries = pair.log.read_back(count=3)
    found = [msgspec.json.decode(entry.fields[-1], type=Metadata) for entry in entries]
    assert {(each.actor, each.command) for each in found} == {("user1", "mine")}
    assert len({each.correlation_id for each in found}) == 1
    assert len({each.event_id for each in found}) == 3


@pytest.mark.parametrize("tail_runs", [True, False])
def test_same_key_and_body_answers_the_same_ids_and_writes_nothing(pair: Pair, tail_runs: bool) -> None:
    key = {"Idempotency-Key": "a"}
    if not tail_runs:
        pair.customers_tail.stop()
    first = pair.customers().post(PATH, json=[an_invoice(cents=cents) for cents in (1, 2)], headers=key)
    written = pair.log.state().sequence
    again = pair.customers().post(PATH, json=[an_invoice(cents=cents) for cents in (1, 2)], headers=key)
    assert (again.status_code, again.get_json()) == (201, first.get_json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Log-Position"] == first.headers["Log-Position"]
    turned = json.dumps([dict(reversed(an_invoice(cents=cents).items())) for cents in (1, 2)])
    assert pair.customers().post(PATH, data=turned, headers=key).get_json() == first.get_json()
    other = pair.customers().post(PATH, json=[an_invoice(cents=cents) for cents in (2, 1)], headers=key)
    assert other.status_code == 422
    assert pair.log.state().sequence == written


def test_each_broken_field_is_named_with_its_place(pair: Pair) -> None:
    sent = [
        an_invoice(),
        an_invoice(cents=-1, purchase_date="2026-02-30"),
        [],
        an_invoice(more=1),
        {"customer_id": "1", "purchase_date": "2026-01-31"},
        an_invoice(cents=1.5),
    ]
    answer = pair.customers().post(PATH, json=sent)
    require_nothing_written(pair, answer, 400)
    assert sorted(pointers(answer)) == [
        "#/1/purchase_date",
        "#/1/purchase_price_cents",
        "#/2",
        "#/3/more",
        "#/4/purchase_price_cents",
        "#/5/purchase_price_cents",
    ]


def test_field_given_twice_is_named_with_its_place(pair: Pair) -> None:
    twice = json.dumps([an_invoice(), an_invoice()]).replace("}]", ', "customer_id": "2"}]')
    answer = pair.customers().post(PATH, data=twice)
    require_nothing_written(pair, answer, 400)
    assert pointers(answer) == ["#/1/customer_id"]


def test_answer_names_a_bounded_number_of_errors(pair: Pair) -> None:
    answer = pair.customers().post(PATH, json=[an_invoice(cents=0)] * LARGEST_BATCH)
    problem = require_nothing_written(pair, answer, 400)
    assert pointers(answer) == [f"#/{item}/purchase_price_cents" for item in range(MOST_ERRORS)]
    assert problem["detail"].endswith(f"and {LARGEST_BATCH - MOST_ERRORS} more")


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b"null",
        b'"7"',
        b"",
        b"[" * 1001,
        json.dumps([an_invoice()] * (LARGEST_BATCH + 1)).encode(),
    ],
    ids=["no item", "object", "null", "text", "nothing", "deep", "one too many"],
)
def test_what_is_no_array_of_1_to_1000_is_refused(pair: Pair, body: bytes) -> None:
    require_nothing_written(pair, pair.customers().post(PATH, data=body), 400)


def test_body_may_have_256_kib_here_and_64_elsewhere(pair: Pair) -> None:
    def padded(sent: Any, length: int) -> bytes:
        return json.dumps(sent).encode().ljust(length)

    too_large = pair.customers().post(PATH, data=padded([an_invoice()], LARGEST_BATCH_BYTES + 1))
    problem = require_nothing_written(pair, too_large, 413)
    assert str(LARGEST_BATCH_BYTES) in problem["detail"]
    elsewhere = pair.customers().post("/invoices", data=padded(an_invoice(), LARGEST_BODY_BYTES + 1))
    problem = require_nothing_written(pair, elsewhere, 413)
    assert str(LARGEST_BODY_BYTES) in problem["detail"]
    just_right = pair.customers().post(PATH, data=padded([an_invoice()], LARGEST_BATCH_BYTES))
    assert just_right.status_code == 201


def test_unknown_customer_refuses_all_and_is_named_with_its_place(pair: Pair) -> None:
    answer = pair.customers().post(PATH, json=[an_invoice(), an_invoice(2), an_invoice(99), an_invoice(98)])
    problem = require_nothing_written(pair, answer, 404)
    assert problem["detail"] == "There is no customer 99."
    assert pointers(answer) == ["#/2"]


def test_customer_of_another_is_answered_like_one_that_is_not_there(pair: Pair) -> None:
    member = pair.customers("user1", Role.MEMBER)
    answer = member.post(PATH, json=[an_invoice(1), an_invoice(3)])
    problem = require_nothing_written(pair, answer, 404)
    assert (problem["detail"], pointers(answer)) == ("There is no customer 3.", ["#/1"])
    assert member.post(PATH, json=[an_invoice(1), an_invoice(2)]).status_code == 201
    assert pair.customers(None).post(PATH, json=[an_invoice()]).status_code == 401


def test_total_that_could_overflow_is_refused_with_its_place(pair: Pair) -> None:
    large = an_invoice_created(1, customer=2, cents=HIGHEST_TOTAL_CENTS + 1)
    state = pair.log.state()
    pair.log.publish([large], decided_at=Moment(state.log_id or "", state.end))
    pair.wait_until_applied()
    answer = pair.customers().post(PATH, json=[an_invoice(3), an_invoice(2)])
    assert (answer.status_code, pointers(answer)) == (409, ["#/1"])
    assert pair.log.state().sequence == 6


def test_customer_that_was_just_created_has_its_invoices_at_once(pair: Pair) -> None:
    pair.customers_tail.stop()
    created = pair.customers().post("/customers", json={"name": "Eve", "account_id": "1"})
    customer = int(created.get_json()["id"])
    with ThreadPoolExecutor(1) as threads:
        batch = threads.submit(pair.customers().post, PATH, json=[an_invoice(customer)] * 10)
        pair.customers_tail.start()
        assert batch.result().status_code == 201


def test_customer_that_was_deleted_meanwhile_takes_no_invoice_of_the_batch(pair: Pair) -> None:
    """The projection has not heard of it: the batch is in conflict, is decided again, and refused."""
    pair.customers_tail.stop()
    assert pair.customers().delete("/customers/2").status_code == 204
    before = pair.log.state().sequence
    with ThreadPoolExecutor(1) as threads:
        batch = threads.submit(pair.customers().post, PATH, json=[an_invoice(1), an_invoice(2)])
        pair.customers_tail.start()
        answer = batch.result()
    assert (answer.status_code, pointers(answer)) == (404, ["#/1"])
    assert pair.log.state().sequence == before


def test_batches_of_one_customer_never_conflict(pair: Pair) -> None:
    pair.customers_tail.stop()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: pair.customers().post(PATH, json=[an_invoice()] * 50), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({item["id"] for answer in answers for item in answer.get_json()}) == 400
    pair.customers_tail.start()
    pair.wait_until_applied()
    assert pair.accounts().get("/accounts/1").get_json()["total_revenue_cents"] == 40_000
    for client in (pair.accounts(), pair.customers()):
        assert client.get("/health/ready").get_json()["checks"]["parked"]["status"] == "ok"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ITEMS = st.just(an_invoice()) | JSON_VALUES | st.fixed_dictionaries(
    {}, optional={field: st.just(value) | JSON_VALUES for field, value in an_invoice().items()}
)  # fmt: skip


@settings(
    max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # what one example writes, the next one may find
@given(st.binary(max_size=200) | st.lists(ITEMS, max_size=4).map(lambda items: json.dumps(items).encode()))
def test_no_body_gives_a_5xx_or_a_part_of_a_batch(pair: Pair, body: bytes) -> None:
    before = pair.log.state().sequence
    answer = pair.customers().post(PATH, data=body)
    written = pair.log.state().sequence - before
    assert (answer.status_code, written) in {(201, written), (400, 0), (404, 0)}
    if answer.status_code == 201:
        assert written == len(answer.get_json()) == len(json.loads(body))
