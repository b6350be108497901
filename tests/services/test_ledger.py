"""The entries that make up a total: they sum up to it, always, and each says where it stands in the log."""

from __future__ import annotations

import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import fakeredis
import msgspec
import pytest
import redis
from click.testing import CliRunner, Result
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accounts.cli import main
from accounts.explanation import Explanation, explain
from accounts.revenue import revenue
from eventlog import Event, EventLog, Moment, ProjectionReader
from eventlog.generations import FILE_NAME
from eventlog.row_changes import LARGEST_INTEGER, SMALLEST_INTEGER
from eventlog.testing import Given
from shared.events import make_codec
from shared.permissions import Absent, Role
from tests.examples import examples
from tests.fake_redis import fake_redis
from tests.pair import Client, Pair, running_pair
from tests.services.facts import (
    a_customer_created,
    a_customer_deleted,
    an_account_created,
    an_account_deleted,
    an_invoice_created,
    an_invoice_deleted,
)

CENTS = [1, 100, 0, -1, 10**12, LARGEST_INTEGER, -LARGEST_INTEGER, SMALLEST_INTEGER, LARGEST_INTEGER - 100]
IDS = range(1, 4)
FEW = st.sampled_from(IDS)
INVOICE = st.integers(0, len(CENTS) - 1)  # also which of CENTS it is over, so that deletions fit


def begun() -> list[Event]:
    """Each account with a customer of the same number."""
    return [
        make(each) for each in IDS for make in (an_account_created, lambda key: a_customer_created(key, key))
    ]


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(an_account_deleted, FEW),
    st.builds(lambda customer: a_customer_created(customer + 3, customer), FEW),
    st.builds(lambda customer: a_customer_deleted(customer, customer), FEW),
    st.builds(lambda customer: a_customer_deleted(customer + 3, customer), FEW),
    st.builds(
        lambda key, customer: an_invoice_created(key + 1, customer, CENTS[key]), INVOICE, st.integers(1, 6)
    ),
    st.builds(lambda key, customer: an_invoice_created(key + 1, customer, CENTS[key]), INVOICE, FEW),
    st.builds(lambda key, customer: an_invoice_deleted(key + 1, customer, CENTS[key]), INVOICE, FEW),
)


@settings(max_examples=examples(300))
@given(events=st.lists(EVENTS, max_size=40))
@example(
    events=[
        an_invoice_created(1, 1, 1),
        an_invoice_created(2, 1, SMALLEST_INTEGER),
        an_invoice_deleted(2, 1, SMALLEST_INTEGER),
    ]
)
def test_amounts_sum_up_to_the_totals_after_every_event(events: list[Event]) -> None:
    scene = Given(revenue)
    by_account, by_customer = Counter[Any](), Counter[Any]()
    events = [*begun(), *events]
    for number, event in enumerate(events, start=1):
        refused = scene.when(event).refused
        entry = scene.rows.find("ledger", number)
        if entry is not None:
            assert refused is None
            by_account[entry["account_id"]] += entry["amount_cents"]  # type: ignore[operator]  # an integer column
            by_customer[entry["customer_id"]] += entry["amount_cents"]  # type: ignore[operator]  # likewise
        for table, sums in (("accounts", by_account), ("customers", by_customer)):
            for key in range(1, 7):
                row = scene.rows.find(table, key)
                total = 0 if row is None or row["deleted"] else row["total_revenue_cents"]
                assert sums[key] == total, f"{table} {key} after {events[:number]}"


@pytest.fixture
def server() -> fakeredis.FakeRedis:
    return fake_redis()


@pytest.fixture
def pair(server: fakeredis.FakeRedis, tmp_path: Path) -> Iterator[Pair]:
    log = EventLog(server.connection_pool, make_codec())
    log.create()
    with running_pair(log, tmp_path) as pair:
        yield pair


def publish(pair: Pair, *events: Event) -> None:
    state = pair.log.state()
    pair.log.publish(events, decided_at=Moment(state.log_id or "", state.end))
    pair.wait_until_applied()


def add_foreign(server: redis.Redis, event: Event) -> None:
    fields = ["Payload", msgspec.json.encode(event), "EventTypeName", event.type_name]
    server.execute_command("XADD", "event-stream", "*", *fields)  # type: ignore[no-untyped-call]


def read_ledger(client: Client, account: int, limit: int = 1000) -> list[dict[str, Any]]:
    """All pages together."""
    entries: list[dict[str, Any]] = []
    path: str | None = f"/accounts/{account}/ledger?limit={limit}"
    while path is not None:
        answer = client.get(path)
        assert answer.status_code == 200
        assert len(answer.get_json()) <= limit
        entries += answer.get_json()
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        path = link[1] if link else None
    return entries


def test_each_entry_says_what_it_added_and_what_it_came_to(pair: Pair) -> None:
    publish(pair, an_account_created(), an_account_created(2), a_customer_created(), a_customer_created(8))
    publish(pair, a_customer_created(9, account=2), an_invoice_created(99, customer=9, cents=77777))
    publish(pair, an_invoice_created(), an_invoice_created(11, customer=8, cents=30))
    publish(pair, an_invoice_created(12, cents=5), an_invoice_deleted(), a_customer_deleted())
    entries = read_ledger(pair.accounts(), 1)
    shown = [
        (
            each["event_type"],
            each["customer_id"],
            each["invoice_id"],
            each["amount_cents"],
            each["balance_cents"],
        )
        for each in entries
    ]
    assert shown == [
        ("InvoiceCreated", "7", "10", 100, 100),
        ("InvoiceCreated", "8", "11", 30, 130),
        ("InvoiceCreated", "7", "12", 5, 135),
        ("InvoiceDeleted", "7", "10", -100, 35),
        ("CustomerDeleted", "7", None, -5, 30),
    ]
    assert pair.accounts().get("/accounts/1").get_json()["total_revenue_cents"] == 30
    log = pair.log.read()
    for each in entries:
        (entry,) = [entry for entry in log if str(entry.position) == each["position"]]
        assert log.index(entry) + 1 == each["sequence"]
        metadata = msgspec.json.decode(entry.fields[7])
        assert (entry.fields[1].decode(), metadata["occurred_at"]) == (
            each["event_type"],
            each["occurred_at"],
        )


def test_any_page_of_any_history_carries_the_balance_on(pair: Pair, server: fakeredis.FakeRedis) -> None:
    """Of another writer, amounts at both ends of 64 bits among them; parked entries are in no ledger."""
    chance = random.Random(11)
    for account in IDS:
        add_foreign(server, an_account_created(account))
        for customer in range(account * 10, account * 10 + 3):
            add_foreign(server, a_customer_created(customer, account))
    for number in range(1, 400):
        customer, cents = chance.choice([*range(10, 13), *range(20, 23)]), chance.choice(CENTS)
        add_foreign(server, an_invoice_created(chance.randrange(1, number + 1), customer, cents))
        if chance.random() < 0.3:
            add_foreign(server, an_invoice_deleted(chance.randrange(1, number + 1), customer, cents))
        if chance.random() < 0.01:
            add_foreign(server, a_customer_deleted(customer, customer // 10))
            add_foreign(server, a_customer_created(customer, customer // 10))
    pair.wait_until_applied()
    with ProjectionReader(pair.revenue_folder, revenue).look() as look:
        parked = {entry.sequence for entry in look.list_parked(limit=1000)}
    assert parked
    for account in IDS:
        whole = read_ledger(pair.accounts(), account)
        amounts = [entry["amount_cents"] for entry in whole]
        assert [entry["balance_cents"] for entry in whole] == list(accumulate(amounts))
        assert not parked & {entry["sequence"] for entry in whole}
        total = pair.accounts().get(f"/accounts/{account}").get_json()["total_revenue_cents"]
        assert sum(amounts) == total
        for limit in (1, 7, len(whole) or 1):
            assert read_ledger(pair.accounts(), account, limit) == whole
    longest = max(len(read_ledger(pair.accounts(), account)) for account in IDS)
    assert longest > 50
    seen = {entry["amount_cents"] for account in IDS for entry in read_ledger(pair.accounts(), account)}
    assert {LARGEST_INTEGER, -LARGEST_INTEGER} <= seen


def test_the_last_balance_is_the_total_at_the_same_position_while_entries_arrive(pair: Pair) -> None:
    publish(pair, an_account_created(), a_customer_created(), an_invoice_created(1))

    enough = threading.Event()

    def write() -> None:
        for invoice in count(2):
            publish(pair, an_invoice_created(invoice))
            if enough.is_set():
                return

    compared = 0
    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        try:
            while compared < 20 and not writing.done():
                ledger = pair.accounts().get("/accounts/1/ledger?limit=1000")
                account = pair.accounts().get("/accounts/1")
                if ledger.headers["Log-Position"] == account.headers["Log-Position"]:
                    total = account.get_json()["total_revenue_cents"]
                    assert ledger.get_json()[-1]["balance_cents"] == total
                    compared += 1
        finally:
            enough.set()
    writing.result()


def test_a_ledger_is_answered_again_only_when_the_log_went_on(pair: Pair) -> None:
    publish(pair, an_account_created(), a_customer_created())
    client = pair.accounts()
    known = {"If-None-Match": client.get_current("/accounts/1/ledger").headers["ETag"]}
    assert client.get("/accounts/1/ledger", headers=known).status_code == 304
    publish(pair, an_invoice_created())
    assert client.get("/accounts/1/ledger", headers=known).status_code == 200


def test_an_empty_ledger_is_an_empty_list_and_a_page_behind_the_end_too(pair: Pair) -> None:
    publish(pair, an_account_created(), a_customer_created())
    assert pair.accounts().get("/accounts/1/ledger").get_json() == []
    publish(pair, an_invoice_created())
    assert pair.accounts().get("/accounts/1/ledger?after=3").get_json() == []
    assert len(pair.accounts().get("/accounts/1/ledger?after=2").get_json()) == 1


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "after=x", "after=-1", "customer=7", "limit=1&limit=2"]
)
def test_a_ledger_refuses_what_it_would_ignore(pair: Pair, query: str) -> None:
    publish(pair, an_account_created())
    assert pair.accounts().get(f"/accounts/1/ledger?{query}").status_code == 400


def test_a_ledger_of_another_or_of_nobody_is_not_there(pair: Pair) -> None:
    publish(pair, an_account_created(1, "mel"), an_account_created(2, "eve"), an_account_deleted(2))
    assert pair.accounts("mel", Role.MEMBER).get("/accounts/1/ledger").status_code == 200
    assert pair.accounts("eve", Role.MEMBER).get("/accounts/1/ledger").status_code == 404
    for absent in (2, 3):
        assert pair.accounts().get(f"/accounts/{absent}/ledger").status_code == 404


def run_explain(pair: Pair, *arguments: str, **environment: str) -> Result:
    variables = {"DATA_DIR": str(pair.folder), "REDIS_PORT": "16400", "REDIS_URL": "", **environment}
    return CliRunner().invoke(main, ["explain", *arguments], env=variables)


def explained(pair: Pair, *arguments: str) -> dict[str, Any]:
    result = run_explain(pair, *arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document: dict[str, Any] = msgspec.json.decode(result.stdout)
    return document


def test_explain_prints_each_entry_the_sum_and_how_to_look_at_one(pair: Pair) -> None:
    publish(pair, an_account_created(), a_customer_created(), an_invoice_created(), an_invoice_created(11))
    publish(pair, an_invoice_deleted())
    result = run_explain(pair, "1", REDIS_URL="redis://me:secret@localhost:7000/2")
    assert (result.exit_code, result.stderr) == (0, "")
    first, _, *lines, end, command = result.stdout.splitlines()
    positions = [str(entry.position) for entry in pair.log.read()]
    assert first == f"account 1: 100 cents at {positions[-1]}"
    assert [line.split()[:6] for line in lines] == [
        [positions[2], "InvoiceCreated", "7", "10", "+100", "100"],
        [positions[3], "InvoiceCreated", "7", "11", "+100", "200"],
        [positions[4], "InvoiceDeleted", "7", "10", "-100", "100"],
    ]
    assert end == "3 entries; their amounts sum up to 100 cents"
    assert command.endswith(
        "redis-cli -u redis://localhost:7000/2 --user reader --askpass "
        f"XRANGE event-stream {positions[4]} {positions[4]}"
    )


def test_explain_in_json_holds_what_the_ledger_answers(pair: Pair) -> None:
    publish(pair, an_account_created(), a_customer_created(), a_customer_created(8))
    publish(
        pair,
        *(an_invoice_created(each, chance, each) for each in range(1, 1100) for chance in [7 + each % 2]),
    )
    answer = pair.accounts().get("/accounts/1")
    document = explained(pair, "1")
    assert document.pop("entries") == read_ledger(pair.accounts(), 1)
    total = sum(range(1, 1100))
    assert answer.headers["Log-Position"].partition("@")[0] == document["as_of"]
    assert document == {
        "account_id": "1",
        "customer_id": None,
        "deleted": False,
        "total_revenue_cents": total,
        "as_of": document["as_of"],
        "trimmed_to": "0-0",
        "sum_of_entries_cents": total,
    }
    (customer,) = [each for each in answer.get_json()["customers"] if each["customer_id"] == "8"]
    of_one = explained(pair, "1", "--customer", "8")
    assert of_one["total_revenue_cents"] == of_one["sum_of_entries_cents"] == customer["total_revenue_cents"]
    assert {entry["customer_id"] for entry in of_one["entries"]} == {"8"}
    assert of_one["entries"][-1]["balance_cents"] == customer["total_revenue_cents"]


def test_explain_tells_what_became_of_what_is_deleted(pair: Pair) -> None:
    publish(pair, an_account_created(), a_customer_created(), an_invoice_created(), a_customer_deleted())
    document = explained(pair, "1", "--customer", "7")
    assert (document["deleted"], document["total_revenue_cents"]) == (True, 0)
    assert [entry["amount_cents"] for entry in document["entries"]] == [100, -100]
    publish(pair, an_account_deleted())
    assert run_explain(pair, "1").stdout.startswith("account 1 (deleted): 0 cents at ")
    assert explained(pair, "1")["sum_of_entries_cents"] == 0


def test_explain_refuses_what_never_was(pair: Pair) -> None:
    publish(pair, an_account_created(), an_account_created(2), a_customer_created(account=2))
    for arguments, what in [
        (["3"], "account 3"),
        (["1", "--customer", "9"], "customer 9 in account 1"),
        (["1", "--customer", "7"], "customer 7 in account 1"),
    ]:
        result = run_explain(pair, *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"Error: there is no {what}, as far as the tail has read: check the id\n"
    assert run_explain(pair, "0").exit_code == run_explain(pair, "one").exit_code == 2


def test_explain_finds_a_row_that_was_changed_by_hand(pair: Pair) -> None:
    publish(pair, an_account_created(), a_customer_created(), an_invoice_created())
    pair.accounts_tail.stop()
    (file,) = pair.revenue_folder.rglob(FILE_NAME)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE accounts SET total_revenue_cents = 101")
    result = run_explain(pair, "1")
    assert result.exit_code == 3
    assert "sum up to 100 cents, not to 101" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def an_explanation(pair: Pair, *ids: int) -> Explanation:
    found = explain(ProjectionReader(pair.revenue_folder, revenue), *ids)
    assert not isinstance(found, Absent)
    return found


def test_an_explanation_sums_up_though_entries_arrive_while_it_is_read(pair: Pair) -> None:
    publish(pair, an_account_created(), a_customer_created())
    publish(pair, *(an_invoice_created(each) for each in range(1, 1500)))
    explanation = an_explanation(pair, 1)
    entries = iter(explanation)
    next(entries)
    publish(pair, an_invoice_created(2000), an_invoice_deleted(5), a_customer_deleted())
    assert len(list(entries)) == 1498
    assert explanation.sum_cents == explanation.total_revenue_cents == 149900


def test_an_explanation_read_slowly_does_not_keep_the_wal_from_being_reused(pair: Pair) -> None:
    publish(pair, an_account_created(), a_customer_created(), an_invoice_created())
    entries = iter(an_explanation(pair, 1))
    next(entries)
    (file,) = pair.revenue_folder.rglob(FILE_NAME)
    with closing(sqlite3.connect(file)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not busy
    assert list(entries) == []


@pytest.mark.processes
def test_explain_ends_quietly_when_its_reader_does_and_with_130_on_ctrl_c(pair: Pair) -> None:
    publish(pair, an_account_created(), a_customer_created())
    publish(pair, *(an_invoice_created(each) for each in range(1, 4000)))
    for ending, expected in ((None, ""), (signal.SIGINT, "Interrupted: what is served is as it was.\n")):
        command = [sys.executable, "-c", "from accounts.cli import main; main()", "explain", "1"]
        with subprocess.Popen(
            command,
            env={"DATA_DIR": str(pair.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            if ending is None:
                process.stdout.close()
            else:
                process.send_signal(ending)
            assert process.stderr.read() == expected
        assert process.returncode == (0 if ending is None else 130)
