"""`eventlog keys`, and what other commands say of signatures: what they print, and how they end."""

from __future__ import annotations

import fcntl
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from eventlog import EventLog
from eventlog.cli import main
from eventlog.key_file import KeyFile, new_key, write_keys
from eventlog.signing import Key, Keys
from eventlog.whole_file import changing
from tests.eventlog.commands_with_keys import Run, running_with_keys
from tests.eventlog.log_contract import add_foreign, publish
from tests.eventlog.parcels import a_parcel_sent, make_codec
from tests.eventlog.running_tail import wait_until
from tests.eventlog.test_archive import archive_all

pytestmark = pytest.mark.processes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def run(url: str, tmp_path: Path, path: Path) -> Run:
    return running_with_keys(url, tmp_path, path)


def signing(log: EventLog, path: Path, pool: redis.ConnectionPool) -> EventLog:
    return EventLog(pool, make_codec(), keys=KeyFile(path))


def listed(run: Run, *, exits: int = 0) -> Any:
    return json.loads(run("keys list --json", exits=exits).stdout)


def test_a_log_is_begun_rotated_and_rid_of_a_key(
    run: Run, log: EventLog, client: redis.Redis, pool: redis.ConnectionPool, path: Path
) -> None:
    publish(log, a_parcel_sent(1))
    add_foreign(client)
    made = run("keys new").stdout
    assert "eventlog keys begin" in made
    assert f"EVENT_KEYS_FILE={path}" in made
    assert "number 2 at" in run("keys begin").stdout
    signed = signing(log, path, pool)
    publish(signed, a_parcel_sent(2), a_parcel_sent(3))
    first = KeyFile(path).read().keys[0].id
    second = json.loads(run("keys new --json").stdout)
    assert second["verify"] == [first]
    publish(signed, a_parcel_sent(4))
    found = listed(run)
    assert (found["entries"], found["unsigned"], found["unproven"]) == (5, 2, 0)
    assert found["keys"] == [{"id": second["signs"], "signed": 1}, {"id": first, "signed": 2}]
    assert "2  signed with key " + first in run("keys list").stdout
    refused = run(f"keys remove {first}", exits=1)
    assert "2 entries of the log are signed with" in refused.stderr
    assert len(KeyFile(path).read().keys) == 2
    run(f"keys remove {first} --park")
    found = listed(run, exits=3)
    assert (found["unproven"], found["keys"]) == (2, [{"id": second["signs"], "signed": 1}])
    assert f"signed with key {first}, which is not" in found["first_unproven"]["reason"]
    assert "only key" in run(f"keys remove {second['signs']}", exits=1).stderr
    assert "has no key 'nobody'" in run("keys remove nobody", exits=1).stderr


@pytest.mark.parametrize("command", ["new", "begin", "remove unused"])
def test_a_key_that_is_made_while_another_command_changes_the_file_is_kept(
    run: Run, log: EventLog, path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    publish(log, a_parcel_sent(1))
    used, unused, made = new_key(), Key("unused", new_key().secret), new_key()
    write_keys(path, Keys([used, unused], {}))
    waits, take = threading.Event(), fcntl.flock

    def flock(file: Any, operation: int) -> None:
        if threading.current_thread() is other:
            waits.set()
        take(file, operation)

    other = threading.Thread(target=run, args=[f"keys {command}"])
    with changing(path):
        monkeypatch.setattr(fcntl, "flock", flock)
        other.start()
        wait_until(lambda: waits.is_set() or not other.is_alive())
        assert waits.is_set()
        write_keys(path, Keys([made, *KeyFile(path).read().keys], {}))
    other.join()
    found = [key.id for key in KeyFile(path).read().keys]
    assert made.id in found
    assert ("unused" in found) == (command != "remove unused")


@pytest.mark.parametrize("command", ["begin", "list", "remove x"])
def test_a_command_without_its_file_says_which_variable_is_missing(
    run: Run, command: str, path: Path
) -> None:
    assert "EVENT_KEYS_FILE" in run(f"keys {command}", exits=1).stderr
    done = CliRunner().invoke(main, ["keys", *command.split()], env={"EVENT_KEYS_FILE": ""})
    assert done.exit_code == 1
    assert "set EVENT_KEYS_FILE" in done.stderr


@pytest.mark.parametrize("command", ["status", "tail", "parked", "doctor", "readers"])
def test_every_command_refuses_a_wrong_file_of_keys(run: Run, path: Path, command: str) -> None:
    path.write_text("{}")
    assert f"{path} (EVENT_KEYS_FILE) is no file of keys" in run(command, exits=1).stderr


def test_tail_and_show_mark_what_is_not_proven_in_redis_and_in_the_archive(
    run: Run, log: EventLog, pool: redis.ConnectionPool, path: Path, tmp_path: Path, url: str
) -> None:
    run("keys new")
    signed = signing(log, path, pool)
    publish(signed, a_parcel_sent(1))
    forged = publish(log, a_parcel_sent(2)).position
    publish(signed, a_parcel_sent(3))
    assert ["parked: it is not signed" in line for line in run("tail").stdout.splitlines()] == [
        False,
        True,
        False,
    ]
    told = [json.loads(line)["unproven"] for line in run("tail --json").stdout.splitlines()]
    assert told == ["", "it is not signed", ""]
    shown = run(f"show {forged}").stdout
    assert "parked: it is not signed" in shown
    assert json.loads(run(f"show {forged} --json").stdout)["unproven"] == "it is not signed"
    without = CliRunner().invoke(
        main, ["tail", "--json"], env={"REDIS_URL": url, "DATA_DIR": str(tmp_path), "EVENT_KEYS_FILE": ""}
    )
    assert "unproven" not in without.stdout
    archive_all(signed, tmp_path / "archive" / "archive.db")
    assert run("archive --check").exit_code == 0


def test_a_log_that_is_adopted_is_begun(run: Run, log: EventLog, path: Path) -> None:
    run("keys new")
    publish(log, a_parcel_sent(1))
    assert "signed from the entry behind number 1 at" in run("init --adopt").stdout
    publish(log, a_parcel_sent(2))
    found = listed(run, exits=3)
    assert (found["unsigned"], found["unproven"], found["changed"]) == (1, 1, None)
    assert "is signed from the entry behind number 1" in run("keys begin", exits=1).stderr
