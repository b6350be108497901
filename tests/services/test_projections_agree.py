"""Whatever stands in the log, in whatever order: both services park the same, and agree on every total."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.revenue import revenue
from customers.directory import directory
from eventlog import Event, EventLog, Projection, ProjectionReader
from eventlog.parking import Parked
from eventlog.row_changes import LARGEST_INTEGER, SMALLEST_INTEGER
from eventlog.testing import Given
from shared.events import make_codec
from tests.examples import examples
from tests.fake_redis import fake_redis
from tests.pair import Pair, running_pair
from tests.services.facts import (
    a_customer_created,
    a_customer_deleted,
    an_account_created,
    an_account_deleted,
    an_invoice_created,
    an_invoice_deleted,
)

FEW = st.integers(1, 3)
CENTS = st.sampled_from([1, 100, 0, -1, 10**12, LARGEST_INTEGER, SMALLEST_INTEGER, LARGEST_INTEGER - 100])
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(an_account_created, FEW),
    st.builds(an_account_deleted, FEW),
    st.builds(a_customer_created, FEW, FEW),
    st.builds(a_customer_deleted, FEW, FEW),
    st.builds(an_invoice_created, FEW, FEW, CENTS),
    st.builds(an_invoice_deleted, FEW, FEW, CENTS),
)
IDS = range(1, 4)


def refusals(projection: Projection, events: list[Event]) -> tuple[dict[int, str], Given]:
    """What each refused event was refused for, by its place; and the rows in the end."""
    scene = Given(projection)
    found = {}
    for number, event in enumerate(events):
        outcome = scene.when(event)
        if outcome.refused is not None:
            found[number] = outcome.refused.reason
    return found, scene


def live_rows(scene: Given, table: str) -> list[Mapping[str, Any]]:
    found = [scene.rows.find(table, key) for key in IDS]
    return [row for row in found if row is not None and not row["deleted"]]


@settings(max_examples=examples(300))
@given(events=st.lists(EVENTS, max_size=40))
def test_both_refuse_the_same_and_totals_are_the_sums_of_live_invoices(events: list[Event]) -> None:
    refused, in_accounts = refusals(revenue, events)
    also_refused, in_customers = refusals(directory, events)
    assert refused == also_refused

    customers = {row["id"]: row for row in live_rows(in_customers, "customers")}
    by_customer, by_account = Counter[Any](), Counter[Any]()
    for invoice in live_rows(in_customers, "invoices"):
        customer = customers.get(invoice["customer_id"])
        if customer is not None:  # a deleted customer's invoices went with it
            by_customer[customer["id"]] += invoice["purchase_price_cents"]
            by_account[customer["account_id"]] += invoice["purchase_price_cents"]
    for scene in (in_accounts, in_customers):
        for row in live_rows(scene, "customers"):
            assert row["total_revenue_cents"] == by_customer[row["id"]]
        for row in live_rows(scene, "accounts"):
            assert row["total_revenue_cents"] == by_account[row["id"]]
            assert row["live_customers"] == sum(
                found["account_id"] == row["id"] for found in customers.values()
            )


def test_a_replayed_log_gives_back_no_money() -> None:
    """Every entry a second time is refused, whatever it was."""
    events: list[Event] = [
        an_account_created(),
        a_customer_created(),
        an_invoice_created(1),
        an_invoice_created(2),
        an_invoice_deleted(1),
        a_customer_deleted(),
        an_account_deleted(),
    ]
    refused, _ = refusals(revenue, events * 2)
    assert list(refused) == list(range(len(events), 2 * len(events)))


def an_invoice_payload(cents: bytes) -> bytes:
    rest = b'"created_date":"0001-01-01T00:00:00Z","purchase_date":"2019-01-06"'
    return b'{"id":"1","customer_id":"1","purchase_price_cents":%b,%b}' % (cents, rest)


AWKWARD_PAYLOADS = [
    b"",
    b"{}",
    b"[" * 50_000,
    b"\xff",
    b'{"id":"1","account_id":"1","name":"\\ud800","created_date":"0001-01-01T00:00:00Z"}',
    b'{"id":"3","account_id":"1","name":"\\u0000","created_date":"9999-12-31T23:59:59.999999999Z"}',
    b'{"id":"4","account_id":"1","name":"x","created_date":"9999-12-31T23:59:59-14:00"}',
    b'{"id":"5","account_id":"1","name":"x","created_date":"0001-01-01T00:00:00+14:00"}',
    b'{"id":"6\\n","account_id":"1","name":"x","created_date":"0001-01-01T00:00:00Z"}',
    b'{"id":"7","account_id":"1","name":"x","created_date":"0001-01-01T00:00:00Z","more":1}',
    *(an_invoice_payload(cents) for cents in (b"1.0", b"1e400", b"9223372036854775808", b"true")),
]


def test_a_stream_of_another_writer_with_everything_wrong_parks_alike_in_both(tmp_path: Path) -> None:
    """Through the real tails: neither stops, and both set the same entries aside for the same reasons."""
    chance = random.Random(4)
    server = fake_redis()
    log = EventLog(server.connection_pool, make_codec())
    log.create()
    types = [name.encode() for name in sorted(make_codec().event_types)] + [b"Unheard", b"", b"\xff"]
    with running_pair(log, tmp_path) as pair:
        pair.make_demo()
        for event in random_events(chance, 300):
            add(server, "EventTypeName", event.type_name, "Payload", msgspec.json.encode(event))
            if chance.random() < 0.3:
                event_type, payload = chance.choice(types), chance.choice(AWKWARD_PAYLOADS)
                add(server, "EventTypeName", event_type, "Payload", payload)
        add(server, "neither", "field")
        pair.wait_until_applied()
        parked = list_parked(pair)
        assert parked[0] == parked[1]
        assert len(parked[0]) > 100

        require_totals_to_be_sums(pair)
        ada = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
        assert ada.status_code == 201, "an own write follows them"


def add(server: redis.Redis, *fields: str | bytes) -> None:
    server.execute_command("XADD", "event-stream", "*", *fields)  # type: ignore[no-untyped-call]


def random_events(chance: random.Random, count: int) -> list[Event]:
    makers: list[Callable[[], Event]] = [
        lambda: an_account_created(chance.randint(1, 5)),
        lambda: a_customer_created(chance.randint(1, 20), chance.randint(1, 5)),
        lambda: a_customer_deleted(chance.randint(1, 20), chance.randint(1, 5)),
        lambda: an_invoice_created(chance.randint(1, 200), chance.randint(1, 20), chance.randint(-50, 100)),
        lambda: an_invoice_created(chance.randint(1, 200), chance.randint(1, 20), chance.randint(-50, 100)),
        lambda: an_invoice_deleted(chance.randint(1, 200), chance.randint(1, 20), chance.randint(-50, 100)),
    ]
    return [chance.choice(makers)() for _ in range(count)]


def list_parked(pair: Pair) -> list[list[tuple[int, str, str, str]]]:
    """Per service: sequence, position, type and reason of each parked entry."""
    parked: list[list[Parked]] = []
    for folder, projection in ((pair.revenue_folder, revenue), (pair.directory_folder, directory)):
        with ProjectionReader(folder, projection).look() as look:
            parked.append(look.list_parked(limit=1000))
    return [
        [(found.sequence, str(found.position), found.event_type, found.reason) for found in service]
        for service in parked
    ]


def require_totals_to_be_sums(pair: Pair) -> None:
    """What accounts answers is the sum of the invoices that customers answers."""
    invoices = pair.customers().get("/invoices?limit=1000").get_json()
    by_customer = Counter[str]()
    for invoice in invoices:
        by_customer[invoice["customer_id"]] += invoice["purchase_price_cents"]
    shown = pair.accounts().get("/accounts").get_json()
    assert sum(len(account["customers"]) for account in shown) > 1
    for account in shown:
        for customer in account["customers"]:
            assert customer["total_revenue_cents"] == by_customer.pop(customer["customer_id"], 0)
        assert account["total_revenue_cents"] == sum(
            customer["total_revenue_cents"] for customer in account["customers"]
        )
    assert not by_customer, "an invoice counts nowhere"
