"""One trace from a request through the log to the rows of the other service, as a collector is sent it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from eventlog import EventLog
from eventlog.embedded_redis import free_port
from eventlog.log import Moment
from shared.events import make_codec
from tests.make_run import NEVER_S, Run, make_environment, runs_ended, wait_until
from tests.services.facts import an_invoice_created
from tests.trace_collector import Collector, Seen, running_collector

pytestmark = pytest.mark.processes

CALLER = "00f067aa0ba902b7"  # the caller's own span
SINGLE, MERGED, ALSO_MERGED, TOGETHER, UNSAMPLED, REFUSED, PARKED = (
    f"{number:x}" * 32 for number in range(1, 8)
)


def traceparent(trace_id: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{CALLER}-{flags}"}


class Caller:
    """The first demo user, over HTTP, with a customer."""

    def __init__(self, run: Run) -> None:
        self.accounts = f"http://127.0.0.1:{run.environment['ACCOUNTS_PORT']}"
        self.customers = f"http://127.0.0.1:{run.environment['CUSTOMERS_PORT']}"
        login = {"username": "user1", "password": "password1"}
        token = httpx.post(f"{self.accounts}/auth/login", json=login, timeout=NEVER_S).raise_for_status().text
        self.headers = {"Authorization": f"Bearer {token}"}
        made = self._make_customer()
        customer = made.json()["id"]
        self.invoice = {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": 100}
        self.wait_until_applied(made)

    def _make_customer(self) -> httpx.Response:
        """Once the tails have read the log; before, it is 503."""
        answers: list[httpx.Response] = []

        def is_made() -> bool:
            answers.append(self.post("/customers", {"name": "Ada", "account_id": "1"}))
            return answers[-1].status_code == 201

        wait_until(is_made, lambda: answers[-1].text)
        return answers[-1]

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> httpx.Response:
        return httpx.post(
            self.customers + path, json=body, headers={**self.headers, **(headers or {})}, timeout=NEVER_S
        )

    def wait_until_applied(self, answer: httpx.Response) -> None:
        """By accounts."""
        minimum = {"Min-Log-Position": answer.headers["Log-Position"], "Prefer": "wait=10"}
        httpx.get(
            f"{self.accounts}/accounts", headers={**self.headers, **minimum}, timeout=NEVER_S
        ).raise_for_status()


class Told(NamedTuple):
    """What the collector had got when the pair had ended."""

    spans: list[Seen]
    output: Path

    def of(self, trace_id: str, process: str | None = None) -> list[Seen]:
        return [
            span
            for span in self.spans
            if span.trace_id == trace_id and (process is None or span.process == process)
        ]

    def the_one(self, trace_id: str, process: str, name: str) -> Seen:
        (found,) = [span for span in self.of(trace_id, process) if span.name == name]
        return found


def publish_what_is_parked(run: Run) -> None:
    with closing(EventLog.connect(f"redis://127.0.0.1:{run.environment['REDIS_PORT']}", make_codec())) as log:
        state = log.state()
        log.publish(
            [an_invoice_created(999, customer=999)],
            decided_at=Moment(state.log_id or "", state.end),
            traceparent=traceparent(PARKED)["traceparent"],
        )


def ask_all(run: Run) -> None:
    caller = Caller(run)
    caller.wait_until_applied(caller.post("/invoices", caller.invoice, traceparent(SINGLE)))
    tail = run.find("accounts", "tail")
    tail.suspend()  # what comes now it applies in one batch
    try:
        for headers in (traceparent(MERGED), traceparent(UNSAMPLED, "00"), traceparent(ALSO_MERGED)):
            assert caller.post("/invoices", caller.invoice, headers).status_code == 201
        last = caller.post("/invoices/batch", [caller.invoice] * 3, traceparent(TOGETHER))
        publish_what_is_parked(run)
    finally:
        tail.resume()
    caller.wait_until_applied(last)
    for url in (caller.accounts, caller.customers):
        httpx.get(f"{url}/metrics", timeout=NEVER_S).raise_for_status()
    nobody = {**caller.invoice, "customer_id": "998"}
    assert caller.post("/invoices?trace=s3cret", nobody, traceparent(REFUSED)).status_code == 400
    assert caller.post("/invoices", nobody, traceparent(REFUSED)).status_code == 404
    caller.wait_until_applied(caller.post("/invoices", caller.invoice))  # and so what was parked is


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with running_collector(tmp_path_factory.mktemp("collector")) as collector:
        yield collector


@pytest.fixture(scope="module")
def told(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """An hour passes before a process exports, but for what it does when it ends."""
    folder = tmp_path_factory.mktemp("run")
    with runs_ended(folder, make_environment(folder)) as start:
        run = start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="3600000")
        run.wait_until_up()
        ask_all(run)
        assert collector.spans() == []
        run.interrupt()
        run.wait_until_nothing_is_left()
        return Told(collector.spans(), Path(run.environment["DATA_DIR"]))


def test_one_trace_leads_from_the_request_to_the_rows_of_both_services(told: Told) -> None:
    request = told.the_one(SINGLE, "customers", "POST /invoices")
    publish = told.the_one(SINGLE, "customers", "publish")
    ours = told.the_one(SINGLE, "customers-tail", "apply to directory")
    theirs = told.the_one(SINGLE, "accounts-tail", "apply to revenue")
    assert len(told.of(SINGLE)) == 4
    assert request.parent_id == CALLER
    assert publish.parent_id == request.id
    assert ours.parent_id == theirs.parent_id == publish.id
    assert request.attributes["http.response.status_code"] == 201
    assert publish.attributes["eventlog.position"] == theirs.attributes["eventlog.position"]


def test_what_was_merged_into_one_batch_is_linked_with_it(told: Told) -> None:
    """An entry's span stays in the trace that it came of; the batch is a trace of its own."""
    (batch,) = [
        span
        for span in told.spans
        if span.process == "accounts-tail" and span.name == "apply batch to revenue"
    ]
    merged = (MERGED, ALSO_MERGED, TOGETHER)
    published = [told.the_one(trace_id, "customers", "publish").id for trace_id in merged]
    applied = [told.the_one(trace_id, "accounts-tail", "apply to revenue") for trace_id in merged]
    parked = told.the_one(PARKED, "accounts-tail", "apply to revenue")
    assert batch.links == [*published, CALLER]
    assert batch.parent_id == ""
    assert batch.attributes["messaging.batch.message_count"] == 7
    assert [span.parent_id for span in applied] == published
    assert [span.links for span in [*applied, parked]] == [[batch.id]] * 4
    assert [span.attributes["messaging.batch.message_count"] for span in applied] == [1, 1, 3]
    assert [span.is_error for span in [*applied, parked]] == [False, False, False, True]


def test_what_is_not_sampled_or_only_watched_makes_no_span_and_a_refusal_only_that_of_its_route(
    told: Told,
) -> None:
    assert told.of(UNSAMPLED) == []
    refused = {(span.name, span.attributes["http.response.status_code"]) for span in told.of(REFUSED)}
    assert refused == {("POST /invoices", 400), ("POST /invoices", 404)}
    everything = json.dumps([span._asdict() for span in told.spans])
    unwanted = ("s3cret", "Bearer", "password", "/health/", "/metrics")
    assert not [found for found in unwanted if found in everything]


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "never-answers"])
def test_a_dead_collector_stops_nobody(*, start_run: Callable[..., Run], hangs: bool) -> None:
    """Requests are answered, and every process ends before the supervisor loses its patience."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if hangs else free_port()
        run = start_run(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_EXPORTER_OTLP_TIMEOUT="3600" if hangs else "1",
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
        run.wait_until_up()
        logs = Path(run.environment["DATA_DIR"]) / "log"
        caller = Caller(run)
        answers = [caller.post("/invoices", caller.invoice) for _ in range(20)]
        assert {answer.status_code for answer in answers} == {201}
        caller.wait_until_applied(answers[-1])
        if not hangs:
            tail = logs / "accounts-tail.log"
            wait_until(lambda: "Failed to export spans" in tail.read_text(), tail.read_text)
        assert run.interrupt() == 0
        run.wait_until_nothing_is_left()
    ended = (logs / "supervisord-services.log").read_text()
    assert "stopped: accounts-tail (exit status 0)" in ended
    assert "SIGKILL" not in ended
