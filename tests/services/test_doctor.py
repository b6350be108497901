"""`accounts doctor` and `customers doctor` find what only the service knows, and nothing where all is well."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest
import redis
from click.testing import CliRunner

import accounts.cli
import customers.cli
from accounts.users_file import FILE_NAME
from eventlog import EventLog
from eventlog.doctor.findings import Name, Severity
from eventlog.embedded_redis import EmbeddedRedis
from shared.doctor import ServiceName
from shared.key_files import PRIVATE_KEYS_NAME, PUBLIC_KEYS_NAME
from shared.permissions import Role
from tests.pair import Pair, running_pair

pytestmark = pytest.mark.processes

SERVICES = {"accounts": accounts.cli.main, "customers": customers.cli.main}

Ask = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def pair(real_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(real_log, tmp_path / "data") as pair:
        pair.users.add("ada", "a password of hers", Role.ADMIN)
        pair.wait_until_applied()
        yield pair


@pytest.fixture
def ask(pair: Pair, redis_server: EmbeddedRedis) -> Ask:
    """By name, what a service's doctor finds wrong; its exit code agrees."""

    def ask(service: str = "accounts", **variables: str) -> dict[str, dict[str, Any]]:
        environment = {
            "DATA_DIR": str(pair.folder),
            "REDIS_URL": redis_server.url,
            "JWKS": str(pair.folder / "accounts" / PUBLIC_KEYS_NAME),
            "DEMO": "",
            "EVENT_STREAM": "",
            **variables,
        }
        command: click.Command = SERVICES[service]
        answer = CliRunner().invoke(command, ["doctor", "--json"], env=environment)
        found = {
            each["name"]: each
            for each in json.loads(answer.output)["findings"]
            if each["severity"] in {Severity.PROBLEM, Severity.WARNING}
        }
        problems = [each for each in found.values() if each["severity"] == Severity.PROBLEM]
        assert answer.exit_code == (3 if problems else 0), answer.output
        return found

    return ask


@pytest.mark.parametrize("service", SERVICES)
def test_a_healthy_service_has_nothing(service: str, ask: Ask) -> None:
    assert not ask(service)


def test_users_are_left_as_they_are(pair: Pair, ask: Ask) -> None:
    file = pair.folder / "accounts" / FILE_NAME
    before = file.read_bytes(), file.stat().st_mtime_ns
    assert not ask()
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert list(file.parent.glob("users.db*")) == [file]


@pytest.mark.parametrize("service", SERVICES)
def test_missing_keys_are_found(service: str, pair: Pair, ask: Ask) -> None:
    for file in (PRIVATE_KEYS_NAME, PUBLIC_KEYS_NAME):
        (pair.folder / "accounts" / file).unlink()
    found = ask(service)
    assert set(found) == {ServiceName.KEYS_UNUSABLE}
    assert {"accounts": "accounts keys rotate", "customers": "JWKS"}[service] in found[
        ServiceName.KEYS_UNUSABLE
    ]["mend"]


def test_keys_that_others_can_read_are_found(pair: Pair, ask: Ask) -> None:
    (pair.folder / "accounts" / PRIVATE_KEYS_NAME).chmod(0o640)
    found = ask()
    assert set(found) == {ServiceName.KEYS_UNUSABLE}
    assert "chmod 600" in found[ServiceName.KEYS_UNUSABLE]["mend"]


def test_damaged_keys_are_found(pair: Pair, ask: Ask) -> None:
    file = pair.folder / "accounts" / PRIVATE_KEYS_NAME
    file.write_text(file.read_text().replace('"d":"', '"d":"A', 1))
    assert set(ask()) == {ServiceName.KEYS_UNUSABLE}


def test_demo_users_are_found_outside_demo_mode_alone(pair: Pair, ask: Ask) -> None:
    pair.make_demo()
    pair.wait_until_applied()
    found = ask()
    assert set(found) == {ServiceName.DEMO_USERS}
    assert found[ServiceName.DEMO_USERS]["detail"].startswith("user1 and user2 can log in")
    pair.users.disable("user1")
    pair.users.change_password("user2", "another password")
    assert not ask()
    pair.users.enable("user1")
    assert ask()[ServiceName.DEMO_USERS]["detail"].startswith("user1 can log in")
    assert not ask(DEMO="1")
    assert not ask("customers")


def test_a_user_who_has_a_demo_users_name_and_another_password_is_none(pair: Pair, ask: Ask) -> None:
    pair.users.add("user1", "another password", Role.MEMBER)
    assert not ask()


def test_an_installation_without_an_admin_is_found(pair: Pair, ask: Ask) -> None:
    """As a file of before may be, or one that only has members."""
    pair.users.add("bob", "a password of his", Role.MEMBER)
    with closing(sqlite3.connect(pair.folder / "accounts" / FILE_NAME)) as file, file:
        file.execute("INSERT INTO disabled_users VALUES ('ada', '2026-10-01')")
    found = ask()
    assert set(found) == {ServiceName.NO_ADMIN}
    assert "accounts users enable" in found[ServiceName.NO_ADMIN]["mend"]
    pair.users.enable("ada")
    assert not ask()


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda file: file.write_bytes(b"x" * 5000)], ids=["deleted", "overwritten"]
)
def test_users_that_are_lost_are_found(damage: Callable[[Path], object], pair: Pair, ask: Ask) -> None:
    damage(pair.folder / "accounts" / FILE_NAME)
    found = ask()
    assert set(found) == {ServiceName.NOBODY_CAN_LOG_IN}
    assert "restore" in found[ServiceName.NOBODY_CAN_LOG_IN]["mend"]


def test_its_own_projection_and_tail_are_looked_at(pair: Pair, ask: Ask) -> None:
    pair.customers_tail.stop()
    assert set(ask("customers")) == {Name.TAIL_STOPPED}
    assert not ask("accounts")
    pair.customers_tail.start()


def test_a_projection_that_was_never_built_is_found(pair: Pair, ask: Ask, tmp_path: Path) -> None:
    found = ask("customers", DATA_DIR=str(tmp_path / "new"))
    assert {Name.PROJECTION_UNREADABLE, Name.TAIL_DEAD} == set(found)
    assert not (tmp_path / "new").exists()


def test_redis_away_is_a_finding(ask: Ask, redis_server: EmbeddedRedis) -> None:
    redis_server.stop()
    assert Name.REDIS_AWAY in ask()


def test_redis_that_lets_nobody_in_without_a_password_is_not_called_away(
    ask: Ask, redis_server: EmbeddedRedis
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("requirepass", "secret")
    found = ask()
    assert Name.REDIS_AWAY not in found
    assert "put the right one into REDIS_USER" in found[Name.PERMISSIONS_MISSING]["mend"]


def test_parked_entries_come_with_the_commands_of_the_service(
    pair: Pair, ask: Ask, redis_server: EmbeddedRedis
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.xadd("event-stream", {"EventTypeName": "CustomerCreated", "Payload": "{"})
    pair.wait_until_applied()
    for service in SERVICES:
        assert f"{service} parked acknowledge" in ask(service)[Name.PARKED_ENTRIES]["mend"]
