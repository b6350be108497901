"""Each metric is moved by what it is of, and its value compared with what is the case; none is left out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import psutil
import pytest
import redis
from flask import Flask
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import Client as WerkzeugClient

from accounts.revenue import revenue
from eventlog import START, EventLog, EventLogError, Moment
from eventlog.archive import Archive
from eventlog.archiving import Archiving
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.generations import Generations
from eventlog.log import Command
from eventlog.new_ids import LARGEST_ID, NewIds
from eventlog.position import Position
from eventlog.tail_lock import TailLock
from shared.admission import AT_ONCE, Admission
from shared.events import make_codec
from shared.metrics import WebMetrics
from shared.requests_seen import RequestsSeen
from tests.eventlog.lossy_proxy import Loss, LossyProxy
from tests.make_run import NEVER_S, wait_until
from tests.pair import Pair, running_pair
from tests.scraped import Series, increases, scrape, scrape_text, series_of, the_one, value_of
from tests.services.facts import an_account_created

pytestmark = pytest.mark.processes

TestT = TypeVar("TestT", bound=Callable[..., None])

ADA: Final = {"name": "Ada", "account_id": "1"}
FOREIGN: Final[dict[Any, Any]] = {"EventTypeName": "InvoiceCreated", "Payload": "{}"}  # is parked

MOVED: Final[set[str]] = set()


def moves(*names: str) -> Callable[[TestT], TestT]:
    """Marks the test that moves these; the last test here asks for what nobody moves."""
    MOVED.update(names)
    return lambda test: test


@pytest.fixture
def pair(real_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(real_log, tmp_path) as pair:
        pair.make_demo()
        pair.wait_until_applied()
        make_customer(pair)
        pair.wait_until_applied()
        yield pair


def make_customer(pair: Pair) -> Position:
    answer = pair.customers().post("/customers", json=ADA)
    assert answer.status_code == 201
    return Position.parse(answer.headers["Log-Position"].partition("@")[0])


def wait_for(pair: Pair, name: str, value: float) -> Series:
    """What accounts tells once it tells this."""

    def told() -> float | None:
        return scrape(pair, "accounts").get((name, ()))

    wait_until(
        lambda: told() == value,
        lambda: f"{name} is {told()} and not {value}",
    )
    return scrape(pair, "accounts")


class Times:
    """Between which times by the clock of Redis something was told."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def since(self, position: Position, tell: Callable[[], Series], name: str) -> Series:
        """What was told, with this metric as the seconds since the id of an entry."""
        made_s = position.milliseconds / 1000
        before_s = self._log.now().timestamp()
        told = tell()
        after_s = self._log.now().timestamp()
        assert before_s - made_s <= value_of(told, name) <= after_s - made_s
        assert value_of(told, name) > 0
        return told


# The projection


@moves("projection_checkpoint_timestamp_seconds", "log_entries", "projection_wal_bytes")
def test_an_entry_that_is_applied(pair: Pair) -> None:
    before = scrape(pair, "accounts")
    made = make_customer(pair)
    pair.wait_until_applied()
    now = scrape(pair, "accounts")
    assert value_of(now, "projection_checkpoint_timestamp_seconds") == made.milliseconds / 1000
    assert value_of(before, "projection_checkpoint_timestamp_seconds") < made.milliseconds / 1000
    assert value_of(now, "log_entries") == pair.log.state().sequence
    assert value_of(before, "log_entries") == pair.log.state().sequence - 1
    wal = Path(f"{Generations(pair.revenue_folder, revenue).served_file}-wal")
    assert value_of(now, "projection_wal_bytes") == wal.stat().st_size > 0


@moves("projection_lag_events", "projection_lag_seconds", "projection_state")
def test_a_tail_that_stops_and_what_it_has_not_applied(pair: Pair) -> None:
    before = scrape(pair, "accounts")
    assert (value_of(before, "projection_lag_events"), value_of(before, "projection_lag_seconds")) == (0, 0)
    assert the_one(before, "projection_state") == "following"
    pair.accounts_tail.stop()
    oldest = make_customer(pair)
    make_customer(pair)
    make_customer(pair)
    wait_until(lambda: pair.log.now().timestamp() > oldest.milliseconds / 1000, lambda: "no time passes")
    now = Times(pair.log).since(oldest, lambda: scrape(pair, "accounts"), "projection_lag_seconds")
    assert value_of(now, "projection_lag_events") == 3
    assert the_one(now, "projection_state") == "stopped"
    pair.accounts_tail.start()
    assert value_of(wait_for(pair, "projection_lag_events", 0), "projection_lag_seconds") == 0


@moves("projection_verdict", "log_up")
def test_a_log_that_is_another(pair: Pair, client: redis.Redis) -> None:
    before = scrape(pair, "accounts")
    assert (the_one(before, "projection_verdict"), value_of(before, "log_up")) == ("same", 1)
    client.flushall()
    wait_until(
        lambda: the_one(scrape(pair, "accounts"), "projection_state") == "halted", lambda: "it goes on"
    )
    now = scrape(pair, "accounts")
    assert (the_one(now, "projection_verdict"), value_of(now, "log_up")) == ("replaced", 0)


def test_a_log_that_was_taken_back(pair: Pair, client: redis.Redis) -> None:
    last: Any = client.xrevrange("event-stream", count=1)
    client.xdel("event-stream", last[0][0])
    wait_until(
        lambda: the_one(scrape(pair, "accounts"), "projection_verdict") == "rewound", lambda: "it goes on"
    )


@moves("projection_parked_entries")
def test_an_entry_that_is_parked_until_somebody_acknowledges_it(pair: Pair, client: redis.Redis) -> None:
    assert value_of(scrape(pair, "accounts"), "projection_parked_entries") == 0
    client.xadd("event-stream", FOREIGN)
    client.xadd("event-stream", FOREIGN)
    wait_for(pair, "projection_parked_entries", 2)
    parked = pair.accounts().get("/projection/parked").get_json()
    up_to = {"up_to_sequence": max(entry["sequence"] for entry in parked)}
    assert pair.accounts().post("/projection/parked/acknowledge", json=up_to).status_code == 200
    wait_for(pair, "projection_parked_entries", 0)


@moves("projection_readable")
def test_a_file_that_cannot_be_read(pair: Pair) -> None:
    assert value_of(scrape(pair, "accounts"), "projection_readable") == 1
    pair.accounts_tail.stop()
    Generations(pair.revenue_folder, revenue).served_file.unlink()
    assert value_of(scrape(pair, "accounts"), "projection_readable") == 0


# The log and its archive


@moves("log_accepts_writes")
def test_a_redis_that_is_full(pair: Pair, client: redis.Redis) -> None:
    assert value_of(scrape(pair, "accounts"), "log_accepts_writes") == 1
    client.config_set("maxmemory", 1)
    assert value_of(scrape(pair, "accounts"), "log_accepts_writes") == 0


@moves("log_missing_entries")
def test_entries_that_somebody_deleted(pair: Pair, client: redis.Redis) -> None:
    assert value_of(scrape(pair, "accounts"), "log_missing_entries") == 0
    entries: Any = client.xrange("event-stream", count=2)
    client.xdel("event-stream", *[position for position, _ in entries])
    wait_for(pair, "log_missing_entries", 2)


@moves("log_ids_ahead_seconds")
def test_an_id_that_is_ahead_of_the_clock(pair: Pair, client: redis.Redis) -> None:
    assert value_of(scrape(pair, "accounts"), "log_ids_ahead_seconds") == 0
    seconds = int(pair.log.now().timestamp()) + 3000
    client.xadd("event-stream", FOREIGN, id=f"{seconds}000-0")
    before_s = pair.log.now().timestamp()
    ahead_s = value_of(scrape(pair, "accounts"), "log_ids_ahead_seconds")
    after_s = pair.log.now().timestamp()
    assert seconds - after_s <= ahead_s <= seconds - before_s


@contextmanager
def archiving(pair: Pair) -> Iterator[None]:
    """The archive's own process, as a thread."""
    stop = threading.Event()

    def follow() -> None:
        with closing(Archive(pair.settings.archive)) as archive:
            Archiving(pair.log, archive).run_forever(stop, wake_every_ms=50)

    lock = TailLock(pair.settings.archive.parent)
    lock.acquire()
    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(NEVER_S)
        lock.release()
    assert not thread.is_alive()


@moves("archive_state", "archive_lag_events", "archive_lag_seconds")
def test_an_archive_that_stops_and_what_it_has_not_kept(pair: Pair) -> None:
    assert ("archive_lag_events", ()) not in scrape(pair, "accounts")
    with archiving(pair):
        kept = wait_for(pair, "archive_lag_events", 0)
        wait_until(
            lambda: the_one(scrape(pair, "accounts"), "archive_state") == "following", lambda: "it does not"
        )
    assert value_of(kept, "archive_lag_seconds") == 0
    oldest = make_customer(pair)
    make_customer(pair)
    wait_until(lambda: pair.log.now().timestamp() > oldest.milliseconds / 1000, lambda: "no time passes")
    now = Times(pair.log).since(oldest, lambda: scrape(pair, "accounts"), "archive_lag_seconds")
    assert value_of(now, "archive_lag_events") == 2
    assert the_one(now, "archive_state") == "stopped"


# Requests


@moves("http_requests", "http_request_duration_seconds", "commands_replayed")
def test_requests_by_route_and_status(pair: Pair) -> None:
    before, began_s = scrape(pair, "customers"), time.perf_counter()
    for body in (ADA, ADA, {**ADA, "name": "Eve"}):
        pair.customers().post("/customers", json=body, headers={"Idempotency-Key": "once"})
    for number in ("1", "1", "99"):
        pair.customers().get(f"/customers/{number}")
    now, took_s = scrape(pair, "customers"), time.perf_counter() - began_s
    one = "/customers/<customer_id>"
    assert increases(before, now, "http_requests_total") == {
        ("POST", "/customers", "201"): 2,
        ("POST", "/customers", "422"): 1,
        ("GET", one, "200"): 2,
        ("GET", one, "404"): 1,
        ("GET", "/metrics", "200"): 1,
    }
    counts = {("POST", "/customers"): 3, ("GET", one): 3, ("GET", "/metrics"): 1}
    assert increases(before, now, "http_request_duration_seconds_count") == counts
    seconds = increases(before, now, "http_request_duration_seconds_sum")
    assert counts.keys() == seconds.keys()
    del seconds["GET", "/metrics"]  # the scrape before
    assert 0 < sum(seconds.values()) < took_s
    assert increases(before, now, "commands_replayed_total") == {(): 1}


@moves("log_publishes", "log_publish_duration_seconds")
def test_appends_by_what_came_of_them(pair: Pair) -> None:
    before = scrape(pair, "customers")
    for body in (ADA, ADA, {**ADA, "name": "Eve"}):
        pair.customers().post("/customers", json=body, headers={"Idempotency-Key": "once"})
    pair.customers_tail.stop()
    deleted = [pair.customers().delete("/customers/1") for _ in range(2)]
    assert [answer.status_code for answer in deleted] == [204, 503]  # the second on what it does not know yet
    now = scrape(pair, "customers")
    assert increases(before, now, "log_publishes_total") == {
        ("published",): 2,
        ("replayed",): 1,
        ("command_reused",): 1,
        ("conflict",): 1,
    }
    assert increases(before, now, "log_publish_duration_seconds_count") == {(): 5}
    took_s = increases(before, now, "log_publish_duration_seconds_sum")[()]
    requests = increases(before, now, "http_request_duration_seconds_sum")
    assert 0 < took_s < requests["POST", "/customers"] + requests["DELETE", "/customers/<customer_id>"]


@moves("http_internal_errors")
def test_a_fault_of_ours(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise ArithmeticError

    monkeypatch.setattr("accounts.revenue.list_account_revenue", fail)
    before = scrape(pair, "accounts")
    assert pair.accounts().get("/accounts").status_code == 500
    assert increases(before, scrape(pair, "accounts"), "http_internal_errors_total") == {(): 1}


@moves("http_requests_overloaded")
def test_what_is_refused_in_line_is_counted_though_it_comes_to_no_route() -> None:
    metrics = WebMetrics()
    admission = Admission(Flask("never asked"))
    for _ in range(AT_ONCE):
        assert admission.reads.begin()
    client = WerkzeugClient(RequestsSeen(admission, metrics, logs=False))
    assert client.get("/accounts").status_code == 503
    told = series_of(generate_latest(metrics).decode())
    assert value_of(told, "http_requests_overloaded_total") == 1
    assert value_of(told, "http_requests_total", method="GET", route="unmatched", status="503") == 1


@moves("event_watchers")
def test_who_watches_is_counted_until_they_leave(pair: Pair) -> None:
    headers = {"Authorization": f"Bearer {pair.token()}"}
    watching = pair.accounts_app.test_client().get("/events", headers=headers)
    assert value_of(scrape(pair, "accounts"), "event_watchers") == 1
    watching.close()
    assert value_of(scrape(pair, "accounts"), "event_watchers") == 0


def test_what_can_be_told_is_told_fast_where_redis_hangs(pair: Pair, redis_server: EmbeddedRedis) -> None:
    """Prometheus waits for 10 s."""
    hanging = psutil.Process(redis_server.pid)
    hanging.suspend()
    try:
        began_s = time.monotonic()
        told = scrape(pair, "accounts")
        took_s = time.monotonic() - began_s
    finally:
        hanging.resume()
    assert took_s < 9
    assert value_of(told, "log_up") == 0
    assert value_of(told, "projection_readable") == 1


# What only a service has: the file of keys or users goes, and comes again


@moves("health_check_ok")
@pytest.mark.parametrize(("check", "name"), [("keys", "signing-keys.json"), ("users", "users.db")])
def test_what_only_accounts_has(check: str, name: str, pair: Pair) -> None:
    file = pair.folder / "accounts" / name
    assert value_of(scrape(pair, "accounts"), "health_check_ok", check=check) == 1
    away = file.rename(file.with_suffix(".away"))
    assert value_of(scrape(pair, "accounts"), "health_check_ok", check=check) == 0
    away.rename(file)
    assert value_of(scrape(pair, "accounts"), "health_check_ok", check=check) == 1


# Each outcome of an append, by the log itself


Publish = Callable[..., None]


def is_published(publish: Publish, moment: Moment, client: redis.Redis, proxy: LossyProxy) -> None:
    publish(decided_at=moment)


def is_repeated(publish: Publish, moment: Moment, client: redis.Redis, proxy: LossyProxy) -> None:
    publish(decided_at=moment, command=Command("mine", "same"))
    publish(decided_at=moment, command=Command("mine", "same"))


def is_another_of_the_same_name(
    publish: Publish, moment: Moment, client: redis.Redis, proxy: LossyProxy
) -> None:
    publish(decided_at=moment, command=Command("mine", "same"))
    publish(decided_at=moment, command=Command("mine", "another"))


def was_overtaken(publish: Publish, moment: Moment, client: redis.Redis, proxy: LossyProxy) -> None:
    publish(decided_at=moment, touches=["account-1"])
    publish(decided_at=moment, guards=["account-1"])


def has_no_ids_left(publish: Publish, moment: Moment, client: redis.Redis, proxy: LossyProxy) -> None:
    publish(decided_at=moment, new_ids=NewIds.between("accounts", LARGEST_ID, LARGEST_ID + 1))


def finds_no_redis(publish: Publish, moment: Moment, client: redis.Redis, proxy: LossyProxy) -> None:
    client.shutdown(nosave=True)
    publish(decided_at=moment)


def hears_no_answer(publish: Publish, moment: Moment, client: redis.Redis, proxy: LossyProxy) -> None:
    publish(decided_at=moment)  # else it is the look at the settings that has no answer
    proxy.lose(Loss.ANSWER_THEN_CLOSE, times=1000)
    publish(decided_at=moment, retry_unknown_for_s=0.2)


def would_not_be_on_disk(publish: Publish, moment: Moment, client: redis.Redis, proxy: LossyProxy) -> None:
    client.config_set("appendfsync", "everysec")
    publish(decided_at=moment)


def is_for_another_log(publish: Publish, moment: Moment, client: redis.Redis, proxy: LossyProxy) -> None:
    publish(decided_at=moment._replace(log_id="another"))


def is_a_fault_of_ours(publish: Publish, moment: Moment, client: redis.Redis, proxy: LossyProxy) -> None:
    publish(0, decided_at=moment)


OUTCOMES: Final[dict[Callable[[Publish, Moment, redis.Redis, LossyProxy], None], dict[str, int]]] = {
    is_published: {"published": 1},
    is_repeated: {"published": 1, "replayed": 1},
    is_another_of_the_same_name: {"published": 1, "command_reused": 1},
    was_overtaken: {"published": 1, "conflict": 1},
    has_no_ids_left: {"ids_taken": 1},
    finds_no_redis: {"unavailable": 1},
    hears_no_answer: {"published": 1, "outcome_unknown": 1},
    would_not_be_on_disk: {"weak_durability": 1},
    is_for_another_log: {"wrong_log": 1},
    is_a_fault_of_ours: {"error": 1},
}


@pytest.mark.parametrize("bring_about", OUTCOMES, ids=lambda each: each.__name__)
def test_each_outcome_of_an_append_has_its_name(
    bring_about: Callable[[Publish, Moment, redis.Redis, LossyProxy], None],
    real_log: EventLog,
    redis_server: EmbeddedRedis,
    client: redis.Redis,
) -> None:
    metrics = WebMetrics()
    around = metrics.around_publish(None)
    with (
        LossyProxy(redis_server.port) as proxy,
        closing(EventLog.connect(f"redis://127.0.0.1:{proxy.port}", make_codec())) as log,
    ):

        def publish(count: int = 1, **how: Any) -> None:
            events = [an_account_created()] * count
            with suppress(EventLogError, ValueError):  # it is counted as what it was
                around(events, None, lambda _: log.publish(events, **how))

        moment = Moment(log.create(), START)
        bring_about(publish, moment, client, proxy)
    told = series_of(generate_latest(metrics).decode())
    assert increases({}, told, "log_publishes_total") == {
        (outcome,): count for outcome, count in OUTCOMES[bring_about].items()
    }
    assert set().union(*OUTCOMES.values()) == {
        labels[0][1] for name, labels in told if name == "log_publishes_total"
    }


# All of them


def test_no_metric_is_told_that_nobody_moves(pair: Pair) -> None:
    """But for what a tail counts, which is told where it is a process: tests/deploy/test_seeing.py."""
    with archiving(pair):
        wait_for(pair, "archive_lag_events", 0)
        told = {
            family.name
            for service in ("accounts", "customers")
            for family in text_string_to_metric_families(scrape_text(pair, service))
        }
    assert told == MOVED
