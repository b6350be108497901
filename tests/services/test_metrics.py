"""`/metrics`: what Prometheus is told, and which alerts fire in which state of the real pair."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import customers.app
from accounts.revenue import revenue
from deploy.installation import Installation
from eventlog import EventLog
from eventlog.generations import Generations
from shared.key_files import PUBLIC_KEYS_NAME
from shared.settings import InvalidSettings, Settings
from tests.alerts import ALERTS, require_firing
from tests.documented_lines import anchors_of
from tests.make_run import ROOT, wait_until
from tests.pair import Pair, running_pair
from tests.scraped import Series, scrape

pytestmark = pytest.mark.processes

ADA = {"name": "Ada", "account_id": "1"}
SERVICES = ("accounts", "customers")
TOKEN = "a token for whoever scrapes"  # blanks are refused: replaced where it is used


@pytest.fixture
def pair(real_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(real_log, tmp_path) as pair:
        pair.make_demo()
        assert pair.customers().post("/customers", json=ADA).status_code == 201
        pair.wait_until_applied()
        yield pair


def scrape_all(pair: Pair) -> dict[str, Series]:
    return {service: scrape(pair, service) for service in SERVICES}


def test_what_clients_send_makes_no_series_and_is_not_told(pair: Pair) -> None:
    caller = pair.customers()
    caller.get("/nowhere")
    caller.request("BREW", "/nowhere")
    before = scrape(pair, "customers")
    for number in range(30):
        caller.get(f"/nowhere/{number}")
        caller.request(f"BREW{number}", "/nowhere")
        caller.get(f"/customers/{10**6 + number}")
    caller.post("/customers", json={"name": "Zebedee", "account_id": "1"})
    now = scrape(pair, "customers")
    added = {(name, labels) for name, labels in now.keys() - before.keys() if name == "http_requests_total"}
    assert {dict(labels)["route"] for _, labels in added} == {
        "/customers/<customer_id>",
        "/metrics",
    }
    told = pair.customers(None).get("/metrics").get_data(as_text=True)
    assert not [secret for secret in ("Zebedee", "user1", "12000", str(pair.folder)) if secret in told]


@pytest.mark.needs("promtool")
def test_the_conventions_of_prometheus_hold(pair: Pair) -> None:
    for caller in (pair.accounts(None), pair.customers(None)):
        told = caller.get("/metrics").get_data(as_text=True)
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=told, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"])
def test_who_asks_through_a_proxy_is_told_nothing(header: str, pair: Pair) -> None:
    refused = pair.accounts(None).get("/metrics", headers={header: "192.0.2.1"})
    assert refused.status_code == 403
    assert "METRICS_TOKEN" in refused.get_json()["detail"]


def test_who_asks_from_another_machine_is_told_nothing(pair: Pair) -> None:
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    assert pair.accounts(None).get("/metrics", environ_base=elsewhere).status_code == 403


def test_with_a_token_only_its_bearer_is_told(fake_log: EventLog, tmp_path: Path) -> None:
    token = TOKEN.replace(" ", "-")
    pair = Pair(fake_log, tmp_path, variables={"METRICS_TOKEN": token})
    caller = pair.accounts(None)
    sent = [None, "wrong", f"{token}x", pair.token(), "ä"]
    for each in sent:
        headers = {} if each is None else {"Authorization": f"Bearer {each}"}
        assert caller.get("/metrics", headers=headers).status_code == 401
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "192.0.2.1"}
    assert caller.get("/metrics", headers=headers).status_code == 200


def test_the_token_may_lie_in_a_file(fake_log: EventLog, tmp_path: Path) -> None:
    token, file = TOKEN.replace(" ", "-"), tmp_path / "token"
    file.write_text(f"{token}\n")
    pair = Pair(fake_log, tmp_path, variables={"METRICS_TOKEN_FILE": str(file)})
    for caller in (pair.accounts(None), pair.customers(None)):
        assert caller.get("/metrics").status_code == 401
        assert caller.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "which cannot be read (No such file or directory): name a file with the token"),
        (b"\xff" * 20, "which cannot be read (it is no text): name a file with the token"),
        (b"\n", "must be 16 to 256 characters"),
        (b"two words of a token", "must be 16 to 256 characters"),
    ],
    ids=["none", "no text", "empty", "a blank"],
)
def test_a_file_without_a_token_is_refused_and_not_shown(
    content: bytes | None, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidSettings) as refused:
        Settings.from_environment({"METRICS_TOKEN_FILE": str(file)})
    assert says in str(refused.value)
    assert str(file) in str(refused.value)
    assert "words" not in str(refused.value)


def test_make_run_gives_its_programs_the_file_from_wherever_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("x" * 16)
    monkeypatch.chdir(tmp_path)
    given = Installation.from_environment({"METRICS_TOKEN_FILE": "token"}).environment()
    assert given["METRICS_TOKEN_FILE"] == str(file)


def test_of_token_and_file_one_may_be_set(tmp_path: Path) -> None:
    both = {"METRICS_TOKEN": "x" * 16, "METRICS_TOKEN_FILE": str(tmp_path)}
    with pytest.raises(InvalidSettings, match="both set: leave one of them out"):
        Settings.from_environment(both)


# Alerts: the state, and exactly what fires.


def stop_redis(pair: Pair, client: redis.Redis) -> None:
    client.shutdown(nosave=True)


def stop_the_tail(pair: Pair, client: redis.Redis) -> None:
    pair.accounts_tail.stop()


def park_an_entry(pair: Pair, client: redis.Redis) -> None:
    client.xadd("event-stream", {"EventTypeName": "InvoiceCreated", "Payload": "{}"})


def replace_the_log(pair: Pair, client: redis.Redis) -> None:
    client.flushall()


def delete_an_applied_entry(pair: Pair, client: redis.Redis) -> None:
    first: Any = client.xrange("event-stream", count=1)
    client.xdel("event-stream", first[0][0])


def run_ahead_of_the_clock(pair: Pair, client: redis.Redis) -> None:
    seconds, _ = client.time()
    client.xadd(
        "event-stream", {"EventTypeName": "InvoiceCreated", "Payload": "{}"}, id=f"{seconds + 300}000-0"
    )


def lose_the_archive(pair: Pair, client: redis.Redis) -> None:
    client.hset("{event-stream}:readers", "archive", "archive 1-1 1 1000000000000")


def fill_the_memory(pair: Pair, client: redis.Redis) -> None:
    client.config_set("maxmemory", 1)


def lose_the_file(pair: Pair, client: redis.Redis) -> None:
    pair.accounts_tail.stop()
    os.truncate(Generations(pair.revenue_folder, revenue).served_file, 100)


def lose_the_keys_of_tokens(pair: Pair, client: redis.Redis) -> None:
    """And customers is started anew: it went on with those that it had."""
    (pair.folder / "accounts" / PUBLIC_KEYS_NAME).unlink()
    pair.customers_app = customers.app.create_app(pair.settings, pair.log)


def lose_the_address_of_the_keys(pair: Pair, client: redis.Redis) -> None:
    """An hour ago; customers goes on with those of then."""
    kept = pair.folder / "customers" / PUBLIC_KEYS_NAME
    kept.write_bytes((pair.folder / "accounts" / PUBLIC_KEYS_NAME).read_bytes())
    hour_ago_s = time.time() - 3600
    os.utime(kept, (hour_ago_s, hour_ago_s))
    settings = pair.settings._replace(jwks="http://127.0.0.1:1/jwks.json")
    pair.customers_app = customers.app.create_app(settings, pair.log)


def lose_the_keys_that_sign(pair: Pair, client: redis.Redis) -> None:
    pair.keys.path.unlink()


def damage_the_users(pair: Pair, client: redis.Redis) -> None:
    (pair.folder / "accounts" / "users.db").write_bytes(b"no database" * 1000)


def lose_the_users(pair: Pair, client: redis.Redis) -> None:
    for file in (pair.folder / "accounts").glob("users.db*"):
        file.unlink()


STATES: dict[Callable[[Pair, redis.Redis], None], set[str]] = {
    stop_redis: {"LogUnreachable", "TailDown"},
    stop_the_tail: {"TailDown"},
    park_an_entry: {"EntriesParked"},
    replace_the_log: {"LogUnreachable", "ProjectionHalted"},
    delete_an_applied_entry: {"LogEntriesMissing"},
    run_ahead_of_the_clock: {"IdsAheadOfClock", "EntriesParked"},
    lose_the_archive: {"ArchiveDown"},
    fill_the_memory: {"WritesRefused"},
    lose_the_file: {"ProjectionUnreadable", "TailDown"},
    lose_the_keys_of_tokens: {"KeysUnusable"},
    lose_the_address_of_the_keys: {"KeysUnusable"},
    lose_the_keys_that_sign: {"KeysUnusable"},
    damage_the_users: {"NobodyCanLogIn"},
    lose_the_users: {"NobodyCanLogIn"},
}


def log_in(pair: Pair, username: str = "user1", password: str = "password1") -> int:
    body = {"username": username, "password": password}
    return pair.accounts(None).post("/auth/login", json=body).status_code


def list_customers(pair: Pair) -> int:
    return pair.customers().get("/customers").status_code


REFUSALS: list[tuple[Callable[[Pair, redis.Redis], None], Callable[[Pair], int], int, set[str]]] = [
    (lose_the_keys_of_tokens, list_customers, 503, {"KeysUnusable", "RequestsRefused"}),
    (lose_the_keys_that_sign, log_in, 503, {"KeysUnusable", "RequestsRefused"}),
    (damage_the_users, log_in, 503, {"NobodyCanLogIn", "RequestsRefused"}),
    (lose_the_users, log_in, 401, {"NobodyCanLogIn", "LoginsRefused"}),
]


@pytest.mark.needs("promtool")
def test_nothing_fires_while_all_is_well(pair: Pair, tmp_path: Path) -> None:
    before = scrape_all(pair)
    pair.customers().get("/customers/99")
    require_firing([], tmp_path, scrape_all(pair), before)


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("bring_about", STATES, ids=lambda each: each.__name__)
def test_each_state_of_the_pair_fires_its_alerts_and_no_others(
    bring_about: Callable[[Pair, redis.Redis], None], pair: Pair, client: redis.Redis, tmp_path: Path
) -> None:
    bring_about(pair, client)

    def told() -> str:
        try:
            scraped = scrape_all(pair)
            require_firing(STATES[bring_about], tmp_path, scraped, scraped)
        except AssertionError as not_yet:
            return str(not_yet)
        return ""

    wait_until(lambda: not told(), told)


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    ("bring_about", "ask", "status", "alerts"), REFUSALS, ids=[each[0].__name__ for each in REFUSALS]
)
def test_where_clients_are_refused_it_fires_though_health_checks_and_scrapes_are_answered(
    *,
    bring_about: Callable[[Pair, redis.Redis], None],
    ask: Callable[[Pair], int],
    status: int,
    alerts: set[str],
    pair: Pair,
    client: redis.Redis,
    tmp_path: Path,
) -> None:
    bring_about(pair, client)
    before = scrape_all(pair)
    assert ask(pair) == status
    for caller in (pair.accounts(None), pair.customers(None)):
        for path in ["/health/ready", "/health/live", "/status", "/metrics"] * 5:
            assert caller.get(path).status_code == 200
    require_firing(alerts, tmp_path, scrape_all(pair), before)


@pytest.mark.needs("promtool")
def test_a_few_refusals_among_answers_call_nobody(pair: Pair, tmp_path: Path) -> None:
    before = scrape_all(pair)
    signing = pair.keys.path.read_bytes()
    pair.keys.path.unlink()
    assert log_in(pair) == 503
    pair.keys.path.write_bytes(signing)
    pair.keys.path.chmod(0o600)
    assert log_in(pair, password="wrong") == 401
    for _ in range(12):
        assert log_in(pair) == 200
    require_firing([], tmp_path, scrape_all(pair), before)


@pytest.mark.needs("promtool")
def test_half_of_the_logins_refused_calls_nobody(pair: Pair, tmp_path: Path) -> None:
    before = scrape_all(pair)
    assert [log_in(pair, password=password) for password in ("wrong", "password1")] == [401, 200]
    require_firing([], tmp_path, scrape_all(pair), before)


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    ("alert", "name", "labels", "value"),
    [
        ("ProjectionLags", "projection_lag_events", {}, 10_001),
        ("ProjectionLags", "projection_lag_seconds", {}, 61),
        ("ArchiveLags", "archive_lag_events", {}, 10_001),
        ("ArchiveLags", "archive_lag_seconds", {}, 301),
        ("WalGrown", "projection_wal_bytes", {}, 65e6),
        ("InternalErrors", "http_internal_errors_total", {}, 1),
        ("OutcomesUnknown", "log_publishes_total", {"outcome": "outcome_unknown"}, 1),
        ("Overloaded", "http_requests_overloaded_total", {}, 1),
        ("PublishesSlow", "log_publish_duration_seconds_bucket", {"le": "+Inf"}, 100),
    ],
)
def test_each_value_that_takes_a_load_or_a_fault_fires_its_alert(
    *,
    alert: str,
    name: str,
    labels: dict[str, str],
    value: float,
    pair: Pair,
    client: redis.Redis,
    tmp_path: Path,
) -> None:
    """The series are those of the real pair, with an archive elsewhere; one value is another."""
    state = pair.log.state()
    client.hset(
        "{event-stream}:readers",
        "archive",
        f"archive {state.end} {state.sequence} {time.time_ns() // 10**6}",
    )
    before = scrape_all(pair)
    now = scrape_all(pair)
    key = name, tuple(sorted(labels.items()))
    assert key in now["customers"]
    now["customers"][key] = before["customers"][key] + value
    require_firing([alert], tmp_path, now, before)


@pytest.mark.needs("promtool")
def test_a_service_that_does_not_answer_fires(pair: Pair, tmp_path: Path) -> None:
    scraped = {**scrape_all(pair), "customers": {}}
    require_firing(["ServiceDown"], tmp_path, scraped, scraped)


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    "check", [["rules", "alerts.yml"], ["config", "prometheus.yml"]], ids=["rules", "config"]
)
def test_promtool_finds_nothing_wrong(check: list[str]) -> None:
    what, file = check
    subprocess.run(
        ["promtool", "check", what, str(ROOT / "deploy" / file)], check=True, stdout=subprocess.DEVNULL
    )


def test_every_alert_says_what_it_is_and_has_its_heading_in_the_runbook() -> None:
    text = ALERTS.read_text()
    alerts = re.findall(r"- alert: (\w+)", text)
    tried = {alert for alerts in STATES.values() for alert in alerts}
    for alert, rule in zip(alerts, text.split("- alert: ")[1:], strict=True):
        assert re.search(r"\n +summary: .+\n +description: .+\n +runbook: ", rule), alert
        assert f"runbook: docs/runbook.md#{alert.lower()}\n" in rule, alert
    assert tried <= set(alerts)
    assert {alert.lower() for alert in alerts} <= anchors_of(ROOT / "docs" / "runbook.md")
