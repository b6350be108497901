"""Two requests at once, for each pair of the guards table: exactly one effect, and nothing that must be parked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from werkzeug.test import TestResponse

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from tests.pair import Pair, running_pair

pytestmark = pytest.mark.processes

ROUNDS = 60


@pytest.fixture
def pair(real_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(real_log, tmp_path) as pair:
        pair.make_demo()
        yield pair


class Scene(NamedTuple):
    """What a round starts with."""

    account: str
    customer: str
    invoice: str


def make_scene(pair: Pair, *, with_customer: bool = True) -> Scene:
    created = pair.accounts().post("/accounts", json={"name": "raced for"})
    assert created.status_code == 201, created.get_data(as_text=True)
    account = created.get_json()["id"]
    if not with_customer:
        return Scene(account, "", "")
    customer = post_customer(pair, account).get_json()["id"]
    return Scene(account, customer, post_invoice(pair, customer).get_json()["id"])


def post_customer(pair: Pair, account: str) -> TestResponse:
    return pair.customers().post("/customers", json={"name": "Ada", "account_id": account})


def post_invoice(pair: Pair, customer: str) -> TestResponse:
    return pair.customers().post("/invoices", json=an_invoice(customer))


def an_invoice(customer: str) -> dict[str, Any]:
    return {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": 100}


def at_once(*requests: Callable[[], TestResponse]) -> list[int]:
    """The statuses of requests that all start together."""
    barrier = threading.Barrier(len(requests))

    def start(request: Callable[[], TestResponse]) -> int:
        barrier.wait()
        return request().status_code

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(start, requests))


def require_nothing_parked(pair: Pair) -> None:
    pair.wait_until_applied()
    for client in (pair.accounts(), pair.customers()):
        assert client.get("/health/ready").get_json()["checks"]["parked"]["status"] == "ok"


def test_of_two_deletes_of_a_customer_one_wins(pair: Pair) -> None:
    for _ in range(ROUNDS):
        scene = make_scene(pair)
        path = f"/customers/{scene.customer}"
        statuses = at_once(*[partial(pair.customers().delete, path)] * 2)
        assert sorted(statuses) == [204, 404]
    require_nothing_parked(pair)


def test_of_two_deletes_of_an_invoice_one_wins(pair: Pair) -> None:
    for _ in range(ROUNDS):
        path = f"/invoices/{make_scene(pair).invoice}"
        statuses = at_once(*[partial(pair.customers().delete, path)] * 2)
        assert sorted(statuses) == [204, 404]
    require_nothing_parked(pair)


def test_an_invoice_created_while_its_customer_is_deleted_earns_nothing(pair: Pair) -> None:
    for _ in range(ROUNDS):
        scene = make_scene(pair)
        created, deleted = at_once(
            partial(post_invoice, pair, scene.customer),
            partial(pair.customers().delete, f"/customers/{scene.customer}"),
        )
        assert (created, deleted) in {(201, 204), (404, 204)}
        pair.wait_until_applied()
        assert pair.accounts().get(f"/accounts/{scene.account}").get_json()["total_revenue_cents"] == 0
    require_nothing_parked(pair)


def test_a_batch_beside_the_deletion_of_one_of_its_customers_is_there_whole_or_not_at_all(pair: Pair) -> None:
    for _ in range(ROUNDS // 2):
        scene = make_scene(pair)
        other = post_customer(pair, scene.account).get_json()["id"]
        batch = [an_invoice(other)] * 50 + [an_invoice(scene.customer)] * 50
        created, deleted = at_once(
            partial(pair.customers().post, "/invoices/batch", json=batch),
            partial(pair.customers().delete, f"/customers/{scene.customer}"),
        )
        assert (created, deleted) in {(201, 204), (404, 204)}
        pair.wait_until_applied()
        total = pair.accounts().get(f"/accounts/{scene.account}").get_json()["total_revenue_cents"]
        assert total == (5000 if created == 201 else 0)
    require_nothing_parked(pair)


def test_an_invoice_deleted_while_its_customer_is_deleted_is_taken_out_once(pair: Pair) -> None:
    for _ in range(ROUNDS):
        scene = make_scene(pair)
        invoice, customer = at_once(
            partial(pair.customers().delete, f"/invoices/{scene.invoice}"),
            partial(pair.customers().delete, f"/customers/{scene.customer}"),
        )
        assert (invoice, customer) in {(204, 204), (404, 204)}
        pair.wait_until_applied()
        assert pair.accounts().get(f"/accounts/{scene.account}").get_json()["total_revenue_cents"] == 0
    require_nothing_parked(pair)


def test_an_account_deleted_while_a_customer_is_created_keeps_to_one_of_the_two(pair: Pair) -> None:
    outcomes = set()
    for _ in range(ROUNDS):
        scene = make_scene(pair, with_customer=False)
        created, deleted = at_once(
            partial(post_customer, pair, scene.account),
            partial(pair.accounts().delete, f"/accounts/{scene.account}"),
        )
        outcomes.add((created, deleted))
    assert outcomes <= {(201, 409), (404, 204)}
    require_nothing_parked(pair)


def test_of_two_deletes_of_an_account_one_wins(pair: Pair) -> None:
    for _ in range(ROUNDS):
        path = f"/accounts/{make_scene(pair, with_customer=False).account}"
        statuses = at_once(*[partial(pair.accounts().delete, path)] * 2)
        assert sorted(statuses) == [204, 404]
    require_nothing_parked(pair)


def test_a_decision_on_a_stale_projection_is_made_again(pair: Pair) -> None:
    """Deterministic: customers has not heard that the account is gone when it decides."""
    scene = make_scene(pair, with_customer=False)
    pair.wait_until_applied()
    pair.customers_tail.stop()
    assert pair.accounts().delete(f"/accounts/{scene.account}").status_code == 204
    with ThreadPoolExecutor(1) as threads:
        creating = threads.submit(post_customer, pair, scene.account)
        pair.customers_tail.start()
        assert creating.result().status_code == 404
    require_nothing_parked(pair)


def test_an_id_that_a_foreign_entry_takes_first_is_replaced(pair: Pair, redis_server: EmbeddedRedis) -> None:
    """Deterministic: customers has not heard of the foreign customer when it counts its own."""
    scene = make_scene(pair)
    pair.wait_until_applied()
    pair.customers_tail.stop()
    taken = str(int(scene.customer) + 1)
    payload = {
        "id": taken,
        "account_id": scene.account,
        "name": "Eve",
        "created_date": "2026-01-31T00:00:00Z",
    }
    with redis.Redis.from_url(redis_server.url) as server:
        server.xadd("event-stream", {"EventTypeName": "CustomerCreated", "Payload": json.dumps(payload)})
    with ThreadPoolExecutor(1) as threads:
        creating = threads.submit(post_customer, pair, scene.account)
        pair.customers_tail.start()
        created = creating.result()
    assert created.status_code == 201
    assert int(created.get_json()["id"]) > int(taken)
    require_nothing_parked(pair)


def test_eight_requests_with_one_key_have_one_effect(pair: Pair) -> None:
    customer = make_scene(pair).customer
    body = an_invoice(customer)
    for number in range(ROUNDS):
        before = pair.log.state().sequence
        barrier = threading.Barrier(8)

        def post(_: int, key: str = f"key-{number}", barrier: threading.Barrier = barrier) -> tuple[int, str]:
            barrier.wait()
            answer = pair.customers().post("/invoices", json=body, headers={"Idempotency-Key": key})
            return answer.status_code, answer.get_json()["id"]

        with ThreadPoolExecutor(8) as threads:
            answers = set(threads.map(post, range(8)))
        assert len(answers) == 1
        assert answers.pop()[0] == 201
        assert pair.log.state().sequence == before + 1


def test_an_invoice_right_after_its_customer_is_never_404(pair: Pair) -> None:
    def post_both(_: int) -> tuple[int, int]:
        created = post_customer(pair, "1")
        return created.status_code, post_invoice(pair, created.get_json()["id"]).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(post_both, range(500))) == {(201, 201)}
    pair.wait_until_applied()
    assert pair.accounts().get("/accounts/1").get_json()["total_revenue_cents"] == 500 * 100
    require_nothing_parked(pair)
