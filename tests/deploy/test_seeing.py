"""What the running pair writes about itself: counts of all its processes, lines that belong together, no secrets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest
import redis

from eventlog.embedded_redis import EmbeddedRedis
from tests.make_run import NEVER_S, Run, make_environment, runs_ended, wait_until
from tests.scraped import Series, series_of

pytestmark = pytest.mark.processes

TRACEPARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MADE_ID: Final = re.compile(r'"[\w-]{16}"', re.ASCII)  # by lot, so that it may have any letters
OF_TAILS: Final = (
    "projection_batch_duration_seconds",
    "projection_batch_entries",
    "projection_entries_parked",
)
INVOICE: Final = {"purchase_date": "2026-01-31", "purchase_price_cents": 12345}


class Caller:
    """The first demo user; each request is a connection of its own, so that it may come to any worker."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.accounts = f"http://127.0.0.1:{run.environment['ACCOUNTS_PORT']}"
        self.customers = f"http://127.0.0.1:{run.environment['CUSTOMERS_PORT']}"
        login = {"username": "user1", "password": "password1"}
        self.token = (
            httpx.post(f"{self.accounts}/auth/login", json=login, timeout=NEVER_S).raise_for_status().text
        )

    def ask(self, url: str, body: object = None, **headers: str) -> httpx.Response:
        method = "GET" if body is None else "POST"
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        return httpx.request(method, url, json=body, headers=headers, timeout=NEVER_S)

    def scrape(self, url: str) -> Series:
        return series_of(httpx.get(f"{url}/metrics", timeout=NEVER_S).raise_for_status().text)

    def make_customer(self) -> str:
        """Once the tails have read the log; before, it is 503."""
        made: list[httpx.Response] = []

        def is_made() -> bool:
            made.append(self.ask(f"{self.customers}/customers", {"name": "Ada Lovelace", "account_id": "1"}))
            return made[-1].status_code == 201

        wait_until(is_made, lambda: made[-1].text)
        return str(made[-1].json()["id"])

    def lines(self, process: str) -> list[dict[str, Any]]:
        """All that one process has written; each is JSON."""
        log = Path(self.run.environment["DATA_DIR"]) / "log" / f"{process}.log"
        return [json.loads(line) for line in log.read_text().splitlines()]


def wait_for(find: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    wait_until(lambda: bool(find()), lambda: "no such line")
    return find()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("run")
    with runs_ended(folder, make_environment(folder)) as start:
        run = start()
        run.wait_until_up()
        yield run


@pytest.fixture(scope="module")
def caller(run: Run) -> Caller:
    return Caller(run)


def total(series: Series, name: str, **labels: str) -> float:
    return series.get((name, tuple(sorted(labels.items()))), 0.0)


def files_of(caller: Caller) -> list[Path]:
    return sorted((Path(caller.run.environment["DATA_DIR"]) / "customers" / "metrics" / "web").glob("*.json"))


def test_every_worker_tells_the_same_sums_and_a_killed_one_takes_none_with_it(caller: Caller) -> None:
    labels = {"method": "GET", "route": "/status", "status": "200"}

    def counted() -> float:
        return total(caller.scrape(caller.customers), "http_requests_total", **labels)

    before = counted()
    for _ in range(60):
        assert httpx.get(f"{caller.customers}/status", timeout=NEVER_S).status_code == 200
    wait_until(lambda: counted() == before + 60, lambda: f"{counted()} instead of {before + 60}")
    seen = [counted() for _ in range(20)]  # told by any worker
    assert set(seen) == {before + 60}
    files = len(files_of(caller))
    names = {path.stem for path in files_of(caller)}
    victim = next(found for found in caller.run.find_all("customers", "serve") if str(found.pid) in names)
    victim.kill()

    def is_replaced() -> bool:
        assert counted() == before + 60
        names = {path.stem for path in files_of(caller)}
        return str(victim.pid) not in names and len(names) == files

    wait_until(is_replaced, lambda: f"{files_of(caller)}")
    assert counted() == before + 60


def test_a_tail_is_told_of_by_its_service_across_its_restarts(caller: Caller) -> None:
    customer = caller.make_customer()
    name = "projection_batch_entries_sum"

    def applied() -> float:
        return total(caller.scrape(caller.accounts), name)

    def post() -> None:
        answer = caller.ask(f"{caller.customers}/invoices", {"customer_id": customer, **INVOICE})
        assert answer.status_code == 201

    before = applied()
    post()
    wait_until(lambda: applied() > before, lambda: f"{applied()}, was {before}")
    wait_until(
        lambda: total(caller.scrape(caller.accounts), "log_entries") == applied(), lambda: f"{applied()}"
    )
    before = applied()
    caller.run.find("accounts", "tail").kill()
    post()
    wait_until(lambda: applied() == before + 1, lambda: f"{applied()}, was {before}")


def test_what_a_tail_counts_is_what_its_lines_say(caller: Caller) -> None:
    """Of each batch its time and its entries, and how many of them were parked."""

    def told() -> Series:
        found = caller.scrape(caller.accounts)
        return {key: found[key] for key in found if key[0].startswith(OF_TAILS)}

    def said(event: str) -> list[dict[str, Any]]:
        return [line for line in caller.lines("accounts-tail") if line["event"] == event]

    def is_all_applied() -> bool:
        found = caller.scrape(caller.accounts)
        follows = total(found, "projection_state", state="following") == 1
        return follows and total(found, "projection_lag_events") == 0

    def tails() -> list[psutil.Process]:
        return caller.run.find_all("accounts", "tail")

    caller.make_customer()
    wait_until(is_all_applied, lambda: str(caller.scrape(caller.accounts)))
    (ended,) = tails()
    ended.terminate()  # it writes what it has counted, and another goes on from there
    wait_until(lambda: ended not in (found := tails()) and bool(found), lambda: f"no other than {ended}")
    wait_until(is_all_applied, lambda: str(caller.scrape(caller.accounts)))
    before, lines_before = told(), {event: len(said(event)) for event in ("applied", "parked")}
    with redis.Redis(port=int(caller.run.environment["REDIS_PORT"])) as client:
        for _ in range(3):
            client.xadd("event-stream", {"EventTypeName": "InvoiceCreated", "Payload": "{}"})
    caller.make_customer()
    wait_until(is_all_applied, lambda: str(caller.scrape(caller.accounts)))
    applied, parked = (said(event)[count:] for event, count in lines_before.items())
    entries = sum(line["entries"] for line in applied)
    assert entries >= 4
    assert sum(line["entries"] for line in parked) == 3

    def more(name: str) -> float:
        return total(told(), name) - total(before, name)

    wait_until(
        lambda: (
            more("projection_batch_entries_sum") == entries
            and more("projection_batch_entries_count") == len(applied)
            and more("projection_entries_parked_total") == 3
        ),
        lambda: f"{told()} were {before}, and {applied} came",
    )
    assert more("projection_batch_duration_seconds_count") == len(applied)
    seconds = sum(line["seconds"] for line in applied)
    assert (
        0 < seconds == pytest.approx(more("projection_batch_duration_seconds_sum"), abs=1e-6 * len(applied))
    )
    assert {name.rpartition("_")[0] for name, _ in told()} == set(OF_TAILS)


def test_a_paused_tail_is_dead_in_the_metrics(caller: Caller) -> None:
    tail = caller.run.find("accounts", "tail")
    tail.suspend()
    try:
        wait_until(
            lambda: total(caller.scrape(caller.accounts), "projection_state", state="dead") == 1,
            lambda: str(caller.scrape(caller.accounts)),
        )
        assert total(caller.scrape(caller.customers), "projection_state", state="dead") == 0
    finally:
        tail.resume()
    wait_until(
        lambda: total(caller.scrape(caller.accounts), "projection_state", state="following") == 1,
        lambda: str(caller.scrape(caller.accounts)),
    )


def test_lines_lead_from_a_request_to_the_rows_of_both_services(caller: Caller) -> None:
    customer = caller.make_customer()
    headers = {"X-Request-Id": "find-me", "traceparent": TRACEPARENT}
    answer = caller.ask(f"{caller.customers}/invoices?", {"customer_id": customer, **INVOICE}, **headers)
    position = answer.headers["Log-Position"].partition("@")[0]
    (request,) = wait_for(
        lambda: [line for line in caller.lines("customers-web") if line.get("request_id") == "find-me"]
    )
    assert request["event"] == "request"
    assert {name: request[name] for name in ("method", "route", "status", "position", "correlation_id")} == {
        "method": "POST",
        "route": "/invoices",
        "status": 201,
        "position": position,
        "correlation_id": "find-me",
    }
    assert request["seconds"] > 0
    assert request["trace_id"] == TRACEPARENT[3:35]
    for tail in ("customers-tail", "accounts-tail"):
        (applied,) = wait_for(
            lambda tail=tail: [  # type: ignore[misc]  # mypy cannot infer it
                line for line in caller.lines(tail) if "find-me" in line.get("correlation_ids", [])
            ]
        )
        assert (applied["position"], applied["trace_ids"]) == (position, [TRACEPARENT[3:35]])


def test_a_repeated_write_is_not_called_the_entrys_origin(caller: Caller) -> None:
    body = {"customer_id": caller.make_customer(), **INVOICE}
    for name in ("first", "second"):
        headers = {"Idempotency-Key": "once", "X-Request-Id": name}
        assert caller.ask(f"{caller.customers}/invoices", body, **headers).status_code == 201
    (second,) = wait_for(
        lambda: [line for line in caller.lines("customers-web") if line.get("request_id") == "second"]
    )
    assert second["replayed"] is True
    assert second["correlation_id"] == "second"  # the entry has that of the first
    (first,) = [line for line in caller.lines("customers-web") if line.get("request_id") == "first"]
    assert (first["replayed"], first["correlation_id"]) == (False, "first")
    assert first["position"] == second["position"]


def test_a_batch_too_big_to_name_each_entry_says_from_where_to_where(caller: Caller) -> None:
    """An entry is found by its position, which the line of its request has, too."""
    customer = caller.make_customer()
    invoices = [{"customer_id": customer, **INVOICE} for _ in range(50)]
    answer = caller.ask(f"{caller.customers}/invoices/batch", invoices, **{"X-Request-Id": "many"})
    assert answer.status_code == 201
    last = answer.headers["Log-Position"].partition("@")[0]
    (applied,) = wait_for(
        lambda: [line for line in caller.lines("accounts-tail") if line.get("position") == last]
    )
    with redis.Redis(port=int(caller.run.environment["REDIS_PORT"])) as client:
        entries: Any = client.xrevrange("event-stream", last, "-", count=applied["entries"])
    assert applied["entries"] >= 50
    assert "correlation_ids" not in applied
    assert applied["first_position"] == entries[-1][0].decode()


def test_every_line_of_ours_names_its_process_and_is_json(caller: Caller) -> None:
    caller.make_customer()
    for process in ("customers-web", "accounts-web", "customers-tail", "accounts-tail", "archive"):
        lines = caller.lines(process)
        assert lines, process
        assert {line["process"] for line in lines} == {process.removesuffix("-web")}
        assert all(line["event"] and line["timestamp"] and line["level"] for line in lines)
        if process not in {"customers-web", "accounts-web"}:
            assert all("position" in line for line in lines)
        batches = [line for line in lines if line["event"] == "applied"]
        assert all(line["entries"] and line["first_position"] and line["position"] for line in batches)
        requests = [line for line in lines if line["event"] == "request"]
        assert all(line["correlation_id"] == line["request_id"] for line in requests)


# Secrets

PASSWORD_OF_REDIS: Final = "s3cret-of-redis"
METRICS_TOKEN: Final = "s3cret-of-prometheus"
SENT: Final = "s3cret-that-was-sent"


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> Iterator[str]:
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("requirepass", PASSWORD_OF_REDIS)
        url = redis_server.url.replace("redis://", f"redis://:{PASSWORD_OF_REDIS}@")
        yield url
    with redis.Redis.from_url(url) as client, closing(client):
        client.config_set("requirepass", "")  # so that the server's own end can ask it to stop


def send_secrets_everywhere(caller: Caller) -> None:
    for url in (caller.accounts, caller.customers):
        asks = [
            {"Authorization": f"Bearer {SENT}"},
            {"Authorization": f"Basic {SENT}"},
            {"Cookie": f"session={SENT}"},
            {"Idempotency-Key": SENT + "ä"},
            {"If-None-Match": SENT, "Accept": SENT, "Prefer": SENT, "Min-Log-Position": SENT},
            {
                "X-Forwarded-For": SENT,
                "Last-Event-ID": SENT,
                "traceparent": SENT,
                "X-Request-Id": f"{SENT} {SENT}",
            },
        ]
        paths = ["/", f"/{SENT}", f"/accounts/{SENT}", f"/customers/{SENT}", f"/users/{SENT}", "/metrics"]
        for headers in asks:
            for path in [*paths, f"/accounts?as_of={SENT}", f"/customers?token={SENT}"]:
                sent = {"Authorization": f"Bearer {caller.token}"} | headers
                raw = [(name.encode(), value.encode()) for name, value in sent.items()]
                assert httpx.get(url + path, headers=raw, timeout=NEVER_S).status_code < 500
        assert httpx.request(SENT, f"{url}/accounts", timeout=NEVER_S).status_code in {404, 405}
        bodies = [
            json.dumps({"username": "user1", "password": SENT}),
            json.dumps({"username": SENT, "password": SENT, "role": "member"}),
            f'{{"password": "{SENT}"',
            f'"{SENT}"',
            f"username=user1&password={SENT}",
            json.dumps({"name": SENT, "account_id": "1", SENT: SENT}),
            f'{{"name": "{SENT}\\ud800", "account_id": "1"}}',
            "[" * 5000 + SENT,
        ]
        for body in bodies:
            for path in (
                "/auth/login",
                "/auth/refresh",
                "/users",
                "/customers",
                "/invoices/batch",
                "/sign-in",
            ):
                headers = {
                    "Authorization": f"Bearer {caller.token}",
                    "Idempotency-Key": f"{SENT}{hash(body)}",
                }
                answer = httpx.post(url + path, content=body, headers=headers, timeout=NEVER_S)
                assert answer.status_code < 500, (path, body)


def test_no_secret_is_in_any_line_of_any_process(
    redis_url: str, redis_server: EmbeddedRedis, start_run: Callable[..., Run], tmp_path: Path
) -> None:
    """Sent in every place of a request, and set in every variable, also while Redis refuses and at a wrong start."""
    run = start_run(REDIS_URL=redis_url, METRICS_TOKEN=METRICS_TOKEN, DEMO="1")
    run.wait_until_up()
    caller = Caller(run)
    caller.make_customer()
    send_secrets_everywhere(caller)
    headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    assert httpx.get(f"{caller.accounts}/metrics", headers=headers, timeout=NEVER_S).status_code == 200
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="normal", skipme=True)
        refused = caller.ask(f"{caller.customers}/customers", {"name": SENT, "account_id": "1"})
        assert refused.status_code == 503
        wait_until(
            lambda: any("retrying" in line["event"] for line in caller.lines("accounts-tail")),
            lambda: str(caller.lines("accounts-tail")),
        )
        client.config_set("requirepass", PASSWORD_OF_REDIS)
    wrong = {
        "REDIS_URL": "redis://:s3cret-of-redis@[half",
        "METRICS_TOKEN": "s3cret blank ed",
    }
    output = [run.output()]
    for name, value in wrong.items():
        started = subprocess.run(
            [str(Path(sys.executable).with_name("accounts")), "serve"],
            env={**run.environment, "REDIS_URL": redis_url, name: value},
            capture_output=True,
            text=True,
            check=False,
        )
        assert started.returncode == 1
        assert f"{name} " in started.stderr
        assert len(started.stderr.splitlines()) == 1
        output.append(started.stdout + started.stderr)
    assert run.interrupt() == 0
    logs = sorted((Path(run.environment["DATA_DIR"]) / "log").glob("*.log*"))
    written = {path.name: path.read_text() for path in logs}
    names = {
        secret for secret in ("password1", "user1", "Lovelace") for text in written.values() if secret in text
    }
    assert not names  # the tour that `make run` prints has them
    written |= {f"output {number}": text for number, text in enumerate(output)}
    secrets = ("s3cret", caller.token, "PRIVATE KEY")
    found = {
        (place, secret): next(line for line in text.splitlines() if secret in line)
        for place, text in written.items()
        for secret in secrets
        if secret in text
    }
    assert not found
    but_for_ids = [MADE_ID.sub('""', line) for text in written.values() for line in text.splitlines()]
    assert [line for line in but_for_ids if "eyJ" in line] == [], "how each token begins, of whatever key"
    assert sum(text.count('"event":"request"') for text in written.values()) > 100
