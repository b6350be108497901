"""A request decided on a projection that has not heard of the one before: races, in slow motion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest
from werkzeug.test import TestResponse

from accounts.demo import make_demo
from accounts.revenue import revenue
from eventlog import START, EventLog, Moment, ProjectionReader
from eventlog.deciding import DecisionMaker
from shared.permissions import Role
from tests.clock import FIXED_NOW
from tests.pair import Pair, Tail, running_pair
from tests.services.facts import a_customer_created, an_account_created, an_invoice_created


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    """Account 1 with customer 1 and its invoice 1, and account 2 with nothing in it."""
    with running_pair(fake_log, tmp_path) as pair:
        pair.users.add("user1", "password1", Role.ADMIN)
        before = [
            an_account_created(1),
            an_account_created(2),
            a_customer_created(1),
            an_invoice_created(1, 1),
        ]
        pair.log.publish(before, decided_at=Moment(pair.log.create(), START))
        pair.wait_until_applied()
        yield pair


def create_customer(pair: Pair) -> TestResponse:
    return pair.customers().post("/customers", json={"name": "Ada", "account_id": "2"})


def create_invoice(pair: Pair) -> TestResponse:
    body = {"customer_id": "1", "purchase_date": "2026-01-31", "purchase_price_cents": 100}
    return pair.customers().post("/invoices", json=body)


def delete_customer(pair: Pair) -> TestResponse:
    return pair.customers().delete("/customers/1")


def delete_invoice(pair: Pair) -> TestResponse:
    return pair.customers().delete("/invoices/1")


def delete_account(pair: Pair) -> TestResponse:
    return pair.accounts().delete("/accounts/2")


class Succession(NamedTuple):
    """After `first`, which is accepted, the deciding projection being stale: what `second` comes to."""

    first: Callable[[Pair], TestResponse]
    second: Callable[[Pair], TestResponse]
    status: int
    total: int


SUCCESSIONS = [
    Succession(delete_customer, create_invoice, 404, 0),
    Succession(delete_customer, delete_customer, 404, 0),
    Succession(delete_customer, delete_invoice, 404, 0),
    Succession(delete_invoice, delete_invoice, 404, 0),
    Succession(delete_invoice, delete_customer, 204, 0),
    Succession(delete_invoice, create_invoice, 201, 100),
    Succession(create_invoice, create_invoice, 201, 300),
    Succession(create_invoice, delete_customer, 204, 0),
    Succession(create_invoice, delete_invoice, 204, 100),
    Succession(delete_account, create_customer, 404, 100),
    Succession(delete_account, delete_account, 404, 100),
    Succession(create_customer, delete_account, 409, 100),
]
NEVER_IN_CONFLICT = [found for found in SUCCESSIONS if found.status < 300]
WAITING = [found for found in SUCCESSIONS if found.status >= 300]


def name(succession: Succession) -> str:
    return f"{succession.first.__name__} then {succession.second.__name__}"


def tail_of(pair: Pair, request: Callable[[Pair], TestResponse]) -> Tail:
    return pair.accounts_tail if request is delete_account else pair.customers_tail


def require_outcome(pair: Pair, total: int) -> None:
    pair.wait_until_applied()
    assert pair.accounts().get("/accounts/1").get_json()["total_revenue_cents"] == total
    for client in (pair.accounts(), pair.customers()):
        assert client.get("/health/ready").get_json()["checks"]["parked"]["status"] == "ok"


@pytest.mark.parametrize("succession", WAITING, ids=name)
def test_what_the_first_forbids_is_refused_once_the_projection_has_heard_of_it(
    pair: Pair, succession: Succession
) -> None:
    tail = tail_of(pair, succession.second)
    tail.stop()
    assert succession.first(pair).status_code in {201, 204}
    before = pair.log.state().sequence
    with ThreadPoolExecutor(1) as threads:
        second = threads.submit(succession.second, pair)
        tail.start()
        assert second.result().status_code == succession.status
    assert pair.log.state().sequence == before
    require_outcome(pair, succession.total)


@pytest.mark.parametrize("succession", NEVER_IN_CONFLICT, ids=name)
def test_what_the_first_does_not_forbid_needs_no_projection(pair: Pair, succession: Succession) -> None:
    tail = tail_of(pair, succession.second)
    tail.stop()
    assert succession.first(pair).status_code in {201, 204}
    assert succession.second(pair).status_code == succession.status
    tail.start()
    require_outcome(pair, succession.total)


def test_what_cannot_be_checked_is_neither_done_nor_refused(pair: Pair) -> None:
    """The projection never hears of the first: 503, and nothing is written."""
    pair.customers_tail.stop()
    assert delete_customer(pair).status_code == 204
    before = pair.log.state().sequence
    answer = create_invoice(pair)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.get_json(force=True)["type"] == "/problems/not-written"
    assert pair.log.state().sequence == before
    pair.customers_tail.start()


def test_demo_mode_made_twice_at_once_makes_everything_once(fake_log: EventLog, tmp_path: Path) -> None:
    with running_pair(fake_log, tmp_path) as pair:
        maker = DecisionMaker(pair.log, ProjectionReader(pair.revenue_folder, revenue))
        with ThreadPoolExecutor(4) as threads:
            made = list(threads.map(lambda _: make_demo(pair.users, maker, FIXED_NOW), range(4)))
        assert sorted(chain.from_iterable(made)) == ["account 1", "account 2", "user user1", "user user2"]
        assert make_demo(pair.users, maker, FIXED_NOW) == []
        assert pair.log.state().sequence == 2


def test_demo_mode_does_not_bring_a_deleted_account_back(pair: Pair) -> None:
    assert delete_account(pair).status_code == 204
    before = pair.log.state().sequence
    pair.make_demo()
    assert pair.log.state().sequence == before
    assert pair.accounts().get("/accounts/2").status_code == 404
