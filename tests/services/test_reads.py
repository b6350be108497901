"""What reads answer: order, pages, links, freshness, and waiting for what was written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eventlog import EventLog, Moment
from eventlog.position import START
from shared.events import AccountCreated, CustomerCreated, InvoiceCreated, make_codec
from shared.permissions import Role
from tests.clock import FIXED_NOW
from tests.fake_redis import fake_pool
from tests.make_run import wait_until
from tests.pair import Client, Pair, running_pair


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(fake_log, tmp_path) as pair:
        pair.users.add("user1", "password1", Role.ADMIN)
        yield pair


def publish_accounts(pair: Pair, count: int, customers_each: int = 0) -> None:
    """Accounts 1 to count, with customers numbered through."""
    log_id = pair.log.create()
    events: list[Any] = []
    for number in range(1, count + 1):
        events.append(
            AccountCreated(
                id=str(number),
                name=f"account {number}",
                description="",
                owned_by="user1",
                created_date=FIXED_NOW,
            )
        )
        for customer in range(1, customers_each + 1):
            identifier = str((number - 1) * customers_each + customer)
            events.append(
                CustomerCreated(id=identifier, account_id=str(number), name="Ada", created_date=FIXED_NOW)
            )
            events.append(
                InvoiceCreated(
                    id=identifier,
                    customer_id=identifier,
                    purchase_price_cents=5,
                    created_date=FIXED_NOW,
                    purchase_date=FIXED_NOW.date(),
                )
            )
    pair.log.publish(events, decided_at=Moment(log_id, START))
    pair.wait_until_applied()


def follow_links(client: Client, path: str | None) -> list[list[Any]]:
    """Every page from here on."""
    pages = []
    while path is not None:
        answer = client.get(path)
        assert answer.status_code == 200
        pages.append(answer.get_json())
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        path = link[1] if link else None
    return pages


def test_accounts_come_in_numeric_order_each_once(pair: Pair) -> None:
    publish_accounts(pair, 25)
    pages = follow_links(pair.accounts(), "/accounts?limit=10")
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [item["account"]["id"] for page in pages for item in page] == list(range(1, 26))


def test_an_account_shows_its_first_100_customers_and_a_link_to_the_others(pair: Pair) -> None:
    publish_accounts(pair, 2, customers_each=150)
    account = pair.accounts().get("/accounts/2").get_json()
    assert account["total_revenue_cents"] == 150 * 5
    assert [int(item["customer_id"]) for item in account["customers"]] == list(range(151, 251))
    others = follow_links(pair.accounts(), account["more_customers"])
    assert [int(item["customer_id"]) for page in others for item in page] == list(range(251, 301))
    everything = follow_links(pair.accounts(), "/accounts/2/customers?limit=40")
    assert [int(item["customer_id"]) for page in everything for item in page] == list(range(151, 301))


def test_pages_keep_their_filter(pair: Pair) -> None:
    publish_accounts(pair, 3, customers_each=5)
    pages = follow_links(pair.customers(), "/customers?account_id=2&limit=2")
    assert [item["id"] for page in pages for item in page] == ["6", "7", "8", "9", "10"]
    pages = follow_links(pair.customers(), "/invoices?customer_id=7&limit=1")
    assert [item["id"] for page in pages for item in page] == ["7"]


def test_what_is_deleted_is_gone_with_its_revenue(pair: Pair) -> None:
    publish_accounts(pair, 1, customers_each=3)
    assert pair.customers().delete("/invoices/1").status_code == 204
    assert pair.customers().delete("/customers/2").status_code == 204
    pair.wait_until_applied()
    account = pair.accounts().get("/accounts/1").get_json()
    assert [(item["customer_id"], item["total_revenue_cents"]) for item in account["customers"]] == [
        ("1", 0),
        ("3", 5),
    ]
    assert account["total_revenue_cents"] == 5
    assert [item["id"] for item in pair.customers().get("/invoices").get_json()] == ["3"]
    for gone in ("/customers/2", "/invoices/1", "/invoices/2"):
        assert pair.customers().get(gone).status_code == 404


def test_who_asks_next_finds_what_it_created_and_not_what_it_deleted(pair: Pair) -> None:
    """Without `Min-Log-Position`, at the service that it wrote to."""
    pair.make_demo()
    accounts, customers = pair.accounts(), pair.customers()
    for _ in range(25):
        account = accounts.post("/accounts", json={"name": "one", "description": "the first"}).headers[
            "Location"
        ]
        assert accounts.get(account).status_code == 200
        pair.wait_until_applied()
        body = {"name": "Ada", "account_id": account.rpartition("/")[2]}
        customer = customers.post("/customers", json=body).headers["Location"]
        assert customers.get(customer).status_code == 200
        assert customers.delete(customer).status_code == 204
        assert customers.get(customer).status_code == 404
        pair.wait_until_applied()
        assert accounts.delete(account).status_code == 204
        assert accounts.get(f"{account}/ledger").status_code == 404


def test_what_is_written_is_answered_while_it_cannot_be_shown(pair: Pair) -> None:
    publish_accounts(pair, 1)
    pair.customers_tail.stop()
    body = {"name": "Ada", "account_id": "1"}
    created = [pair.customers().post("/customers", json=body) for _ in range(20)]
    assert {each.status_code for each in created} == {201}
    assert pair.customers().get(created[0].headers["Location"]).status_code == 404


def test_a_read_waits_for_the_position_it_asks_for(pair: Pair) -> None:
    publish_accounts(pair, 1)
    pair.accounts_tail.stop()
    written = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
    wanted = {"Min-Log-Position": written.headers["Log-Position"], "Prefer": "wait=10"}
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(pair.accounts().get, "/accounts/1", headers=wanted)
        pair.accounts_tail.start()
        answer = reading.result()
    assert [item["name"] for item in answer.get_json()["customers"]] == ["Ada"]
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert answer.headers["Log-Position"] == written.headers["Log-Position"]


def test_a_read_that_cannot_wait_that_long_says_how_far_it_is(pair: Pair) -> None:
    publish_accounts(pair, 1)
    pair.accounts_tail.stop()
    before = pair.accounts().get("/accounts/1").headers["Log-Position"]
    written = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
    wanted = {"Min-Log-Position": written.headers["Log-Position"], "Prefer": "wait=0"}
    answer = pair.accounts().get("/accounts/1", headers=wanted)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Log-Position"] == before
    assert answer.get_json(force=True)["type"] == "/problems/not-yet-applied"


def test_a_position_of_another_log_or_beyond_the_head_is_412_at_once(pair: Pair) -> None:
    publish_accounts(pair, 1)
    position, short = pair.accounts().get("/accounts").headers["Log-Position"].split("@")
    beyond = f"{int(position.split('-')[0]) + 10_000}-0@{short}"
    for minimum in (f"{position}@00000000", beyond):
        answer = pair.accounts().get("/accounts", headers={"Min-Log-Position": minimum, "Prefer": "wait=10"})
        assert answer.status_code == 412


def test_an_unchanged_answer_is_304_and_a_changed_one_is_not(pair: Pair) -> None:
    publish_accounts(pair, 1)
    first = pair.accounts().get_current("/accounts")
    tag = {"If-None-Match": first.headers["ETag"]}
    assert pair.accounts("user1").get("/accounts?limit=5", headers=tag).status_code == 200
    assert pair.accounts("user2").get("/accounts", headers=tag).status_code == 200
    assert "Authorization" in first.headers["Vary"]
    same = Client(pair.accounts_app, None)
    mine = {"Authorization": f"Bearer {pair.token()}"}
    tag = {"If-None-Match": same.get_current("/accounts", headers=mine).headers["ETag"], **mine}
    assert same.get("/accounts", headers=tag).status_code == 304
    pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
    pair.wait_until_applied()
    assert same.get("/accounts", headers=tag).status_code == 200


def test_an_answer_that_is_not_the_version_asked_for_is_412(pair: Pair) -> None:
    publish_accounts(pair, 1)
    for client, path in ((pair.accounts(), "/accounts"), (pair.customers(), "/customers")):
        answer = client.get_current(path, headers={"If-Match": '"another"'})
        assert (answer.status_code, answer.content_type) == (412, "application/problem+json")
        assert client.get(path, headers={"If-Match": answer.headers["ETag"]}).status_code == 200


def test_rows_written_between_pages_make_none_come_twice_or_never(pair: Pair) -> None:
    publish_accounts(pair, 1, customers_each=30)
    path: str | None = "/customers?limit=4"
    seen: list[int] = []
    while path is not None:
        answer = pair.customers().get(path)
        seen += [int(item["id"]) for item in answer.get_json()]
        assert len(seen) < 100
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        path = link[1] if link else None
        if len(seen) < 28:
            assert pair.customers().delete(f"/customers/{len(seen) - 1}").status_code == 204
            created = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
            assert created.status_code == 201
            pair.wait_until_applied()
    assert seen == sorted(set(seen)), "each once, in order"
    assert set(range(1, 31)) <= set(seen)
    assert len(seen) == 36, "those written behind the page are seen too"


def test_a_last_page_that_is_full_has_no_next(pair: Pair) -> None:
    publish_accounts(pair, 3)
    assert "Link" in pair.accounts().get("/accounts?limit=2").headers
    assert "Link" not in pair.accounts().get("/accounts?limit=3").headers
    assert "Link" not in pair.accounts().get("/accounts?limit=2&after=1").headers


def test_no_content_has_no_type(pair: Pair) -> None:
    publish_accounts(pair, 1)
    deleted = pair.accounts().delete("/accounts/1")
    assert (deleted.status_code, deleted.headers.get("Content-Type")) == (204, None)


def test_too_many_that_wait_are_told_so_and_the_others_are_answered(pair: Pair) -> None:
    publish_accounts(pair, 1)
    pair.accounts_tail.stop()
    written = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
    wanted = {"Min-Log-Position": written.headers["Log-Position"], "Prefer": "wait=10"}
    with ThreadPoolExecutor(7) as threads:
        asked = [threads.submit(pair.accounts().get, "/accounts", headers=wanted) for _ in range(7)]
        wait_until(lambda: sum(found.done() for found in asked) >= 3, lambda: "all seven wait")
        assert pair.accounts().get("/accounts").status_code == 200, "one that does not wait"
        pair.accounts_tail.start()
        answers = [found.result() for found in asked]
    assert Counter(answer.status_code for answer in answers) == {200: 4, 503: 3}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.get_json(force=True)["type"] == "/problems/too-many-waiting"
            assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("prefer", ["", "wait", "wait=x", "wait=-1", "wait=99999", "respond-async", "=;,"])
def test_a_preference_that_says_nothing_is_passed_over(pair: Pair, prefer: str) -> None:
    publish_accounts(pair, 1)
    position = pair.accounts().get("/accounts").headers["Log-Position"]
    answer = pair.accounts().get("/accounts", headers={"Min-Log-Position": position, "Prefer": prefer})
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (200, False)


def test_before_there_is_a_log_reads_claim_no_position_and_writes_are_503(tmp_path: Path) -> None:
    log = EventLog(fake_pool(), make_codec())
    with running_pair(log, tmp_path) as pair:
        wait_until(
            lambda: pair.customers().get("/customers").headers["Projection-State"].startswith("halted"),
            lambda: pair.customers().get("/health/ready").get_data(as_text=True),
        )
        answer = pair.customers().get("/customers")
        assert (answer.status_code, answer.get_json()) == (200, [])
        assert "Log-Position" not in answer.headers
        answer = pair.customers().delete("/customers/1")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        ready = pair.customers().get("/health/ready")
        assert (ready.status_code, ready.get_json()["checks"]["log"]["detail"]) == (200, "there is no log")
        assert log.state().log_id is None, "no service makes a log"


def test_a_projection_that_is_not_there_is_503_on_reads_and_ready(fake_log: EventLog, tmp_path: Path) -> None:
    pair = Pair(fake_log, tmp_path)
    pair.users.add("user1", "password1", Role.ADMIN)
    answer = pair.accounts().get("/accounts")
    assert (answer.status_code, answer.get_json(force=True)["type"]) == (503, "/problems/not-readable")
    answer = pair.accounts().delete("/accounts/1", headers={"Idempotency-Key": "mine"})
    assert (answer.status_code, answer.get_json(force=True)["type"]) == (503, "/problems/not-written")
    assert answer.headers["Idempotency-Key"] == "mine"
    ready = pair.accounts().get("/health/ready")
    assert (ready.status_code, ready.get_json()["checks"]["projection"]["status"]) == (503, "failed")
    assert pair.accounts().get("/health/live").status_code == 200


def test_a_total_near_the_end_of_64_bits_refuses_more(pair: Pair) -> None:
    """By foreign entries up to there: they count; what would not fit is parked, in both services alike."""
    publish_accounts(pair, 1, customers_each=1)
    log_id = pair.log.create()
    end = pair.log.state().end
    huge = [
        InvoiceCreated(
            id=str(number),
            customer_id="1",
            purchase_price_cents=9 * 10**18,
            created_date=FIXED_NOW,
            purchase_date=FIXED_NOW.date(),
        )
        for number in (100, 101)
    ]
    pair.log.publish(huge, decided_at=Moment(log_id, end))
    pair.wait_until_applied()
    assert pair.accounts().get("/accounts/1").get_json()["total_revenue_cents"] == 9 * 10**18 + 5
    parked = [
        caller.get("/health/ready").get_json()["checks"]["parked"]
        for caller in (pair.accounts(), pair.customers())
    ]
    assert [check["status"] for check in parked] == ["degraded", "degraded"]
    invoice = {"customer_id": "1", "purchase_date": "2026-01-31", "purchase_price_cents": 1}
    assert pair.customers().post("/invoices", json=invoice).status_code == 409
