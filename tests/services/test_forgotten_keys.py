"""Programs that are started without EVENT_KEYS_FILE where the log is signed: they refuse, until signing is given up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

import customers.app
from accounts.revenue import revenue
from eventlog import START, EventLog, ProjectionReader
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.key_file import new_key, write_keys
from eventlog.log import Moment
from eventlog.signing import Keys
from eventlog.tail_status import TailState, TailStatusFile
from shared.events import make_codec
from shared.settings import Settings
from tests.eventlog.running_tail import wait_until
from tests.make_run import NEVER_S
from tests.pair import Client, Pair, running_pair
from tests.services.facts import a_customer_created, an_account_created, an_invoice_created
from tests.services.operator import Operator

pytestmark = pytest.mark.processes

INVOICE: Final = '{"customer_id": "7", "purchase_date": "2026-01-31", "purchase_price_cents": 100}\n'


class Unsigned:
    """A pair that signed until it was stopped; `operator` has not set EVENT_KEYS_FILE, and `signing` is who has."""

    def __init__(self, pair: Pair, redis_url: str, keys: Path) -> None:
        self.pair = pair
        self._redis_url = redis_url
        self.operator = Operator(pair, redis_url)
        self.operator.environment["EVENT_KEYS_FILE"] = ""
        self.signing = Operator(pair, redis_url)
        self.signing.environment["EVENT_KEYS_FILE"] = str(keys)

    def forge(self) -> None:
        """What anybody can add who can write to Redis."""
        with closing(EventLog.connect(self._redis_url, make_codec())) as log:
            state = log.state()
            log.publish(
                [an_invoice_created(9, cents=9_000_000)], decided_at=Moment(state.log_id or "", state.end)
            )

    def total_cents(self) -> int:
        total = self.pair.accounts().get("/accounts/1").get_json()["total_revenue_cents"]
        assert isinstance(total, int)
        return total

    def status(self) -> TailStatusFile:
        return TailStatusFile(ProjectionReader(self.pair.revenue_folder, revenue).home)

    def applied(self) -> list[tuple[int, str, str]]:
        """Of each generation of accounts what it is, and how far."""
        found = self.operator.ask("accounts generations")
        return [(each["generation"], each["state"], each["position"]) for each in found]


@pytest.fixture
def unsigned(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Unsigned]:
    keys = tmp_path / "event-keys.json"
    write_keys(keys, Keys([new_key()], {}))
    with closing(EventLog.connect(redis_server.url, make_codec(), keys=keys)) as log:
        log_id = log.create()
        with running_pair(log, tmp_path / "data", redis_url=redis_server.url) as pair:
            events = [an_account_created(1), a_customer_created(7, 1), an_invoice_created(1, 7, 100)]
            log.publish(events, decided_at=Moment(log_id, START))
            pair.wait_until_applied()
        yield Unsigned(pair, redis_server.url, keys)


@contextmanager
def following(operator: Operator) -> Iterator[None]:
    """`accounts tail`, as a process."""
    with operator.start("accounts tail") as tail:
        try:
            yield
        finally:
            tail.terminate()
            tail.communicate(timeout=NEVER_S)


COMMANDS: Final = (
    "accounts serve --check",
    "customers serve --check",
    "accounts as-of now",
    "accounts what-if --without {first}",
    "accounts replay",
    "accounts rebuild --switch",
    "accounts verify --repair",
    "accounts restore {backup}",
    "customers import {invoices}",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_serves_publishes_or_applies_refuses_in_one_line(
    unsigned: Unsigned, tmp_path: Path, command: str
) -> None:
    backup, invoices = tmp_path / "backup.db", tmp_path / "invoices"
    unsigned.operator.run("accounts backup", backup)
    invoices.write_text(INVOICE)
    unsigned.forge()
    end, before = unsigned.pair.log.state().end, unsigned.applied()
    line = command.format(first=unsigned.pair.log.read(count=1)[0].position, backup=backup, invoices=invoices)
    told = unsigned.operator.is_refused(line)
    assert "EVENT_KEYS_FILE is not set" in told
    assert "Give signing up" in told
    assert (unsigned.pair.log.state().end, unsigned.applied()) == (end, before)


def test_a_tail_halts_and_health_and_doctor_say_why(unsigned: Unsigned) -> None:
    unsigned.forge()
    with following(unsigned.operator):
        wait_until(lambda: unsigned.status().read().state is TailState.HALTED)
        why = "EVENT_KEYS_FILE is not set"
        tail = unsigned.pair.accounts().get("/health/ready").get_json()["checks"]["tail"]
        assert (tail["status"], why in tail["mend"]) == ("degraded", True)
        findings = msgspec.json.decode(unsigned.signing.run("accounts doctor --json", exits=3).stdout)[
            "findings"
        ]
        assert why in next(each["detail"] for each in findings if each["name"] == "tail-halted")
        assert unsigned.total_cents() == 100
    with following(unsigned.signing):
        wait_until(lambda: unsigned.operator.ask("accounts parked list") != [])
    assert unsigned.total_cents() == 100


def test_a_web_server_without_keys_publishes_nothing_and_says_why(unsigned: Unsigned) -> None:
    app = customers.app.create_app(Settings.from_environment(unsigned.operator.environment))
    web = Client(app, unsigned.pair.token())
    before = unsigned.pair.log.state().end
    assert web.post("/customers", json={"name": "Ada", "account_id": "1"}).status_code == 503
    assert unsigned.pair.log.state().end == before
    writes = web.get("/health/ready").get_json()["checks"]["writes"]
    assert (writes["status"], "EVENT_KEYS_FILE is not set" in writes["mend"]) == ("degraded", True)


def test_signing_is_given_up_by_deleting_every_projection(unsigned: Unsigned) -> None:
    """As docs/security.md says it."""
    unsigned.forge()
    shutil.rmtree(unsigned.pair.revenue_folder)
    assert "directory" in unsigned.operator.is_refused("accounts serve --check"), (
        "customers still has its own"
    )
    shutil.rmtree(unsigned.pair.directory_folder)
    unsigned.operator.run("customers serve --check")
    with following(unsigned.operator):
        end = unsigned.pair.log.state().end
        reader = ProjectionReader(unsigned.pair.revenue_folder, revenue)
        wait_until(lambda: unsigned.status().read().state is TailState.FOLLOWING)
        assert reader.wait_until_applied(end, 20)
    assert unsigned.total_cents() == 9_000_100, "what was added without a signature counts from now on"
