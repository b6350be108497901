"""`accounts users …`: who may log in, with passwords that no command line shows."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import accounts.cli
from accounts.identity import LastAdmin
from accounts.users_file import FILE_NAME
from eventlog import EventLog
from shared.permissions import Role
from tests.pair import Pair, running_pair
from tests.services.operator import require_one_line

Users = Callable[..., Result]
LONG = "correct horse battery"


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(fake_log, tmp_path) as pair:
        yield pair


@pytest.fixture
def users(tmp_path: Path) -> Users:
    def users(*words: str, typed: str = "") -> Result:
        return CliRunner().invoke(
            accounts.cli.main, ["users", *words], env={"DATA_DIR": str(tmp_path)}, input=typed
        )

    return users


def log_in(pair: Pair, username: str, password: str) -> int:
    body = {"username": username, "password": password}
    return pair.accounts(None).post("/auth/login", json=body).status_code


def test_the_first_admin_has_a_password_that_is_shown_once(pair: Pair, users: Users, tmp_path: Path) -> None:
    added = json.loads(users("add", "ada", "--role", "admin", "--generate", "--json").stdout)
    assert len(added["password"]) >= 24
    assert log_in(pair, "ada", added["password"]) == 200
    assert added["password"] not in users("list").stdout
    assert added["password"].encode() not in (tmp_path / "accounts" / FILE_NAME).read_bytes()


def test_a_password_is_asked_for_or_read_from_standard_input(pair: Pair, users: Users) -> None:
    assert users("add", "ada", typed=f"{LONG}\n{LONG}\n").exit_code == 0
    assert users("add", "bob", "--password-stdin", typed=f"{LONG} 2\n").exit_code == 0
    assert [log_in(pair, "ada", LONG), log_in(pair, "bob", f"{LONG} 2")] == [200, 200]
    assert users("add", "eve", "--password", LONG).exit_code == 2


def test_the_last_admin_who_may_log_in_is_not_disabled(pair: Pair, users: Users) -> None:
    for words in ("add ada --role admin", "add eve --role admin", "add bob"):
        assert users(*words.split(), "--password-stdin", typed=f"{LONG}\n").exit_code == 0
    assert users("disable", "eve").exit_code == 0
    refused = users("disable", "ada")
    assert refused.exit_code == 1
    line = require_one_line(refused.stderr)
    assert "ada is the last admin who may log in" in line
    assert "`accounts users add NAME --role admin" in line
    assert log_in(pair, "ada", LONG) == 200
    assert users("disable", "bob").exit_code == 0, "a member"
    assert users("disable", "eve").exit_code == 0, "she is disabled already"
    assert users("enable", "eve").exit_code == 0
    assert users("disable", "ada").exit_code == 0
    assert [log_in(pair, "ada", LONG), log_in(pair, "eve", LONG)] == [401, 200]


def test_of_two_admins_who_are_disabled_at_once_one_stays(pair: Pair) -> None:
    for name in ("ada", "eve"):
        pair.users.add(name, LONG, Role.ADMIN)

    def disable(name: str) -> bool:
        try:
            pair.users.disable(name)
        except LastAdmin:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(disable, ("ada", "eve"))) == [False, True]


def test_another_password_ends_sessions_and_says_what_goes_on(pair: Pair, users: Users) -> None:
    pair.users.add("ada", LONG, Role.ADMIN)
    changed = users("passwd", "ada", "--password-stdin", typed=f"{LONG} 2\n")
    assert "no session; access tokens stay good for up to 15 minutes" in changed.stdout


@pytest.mark.usefixtures("production_passwords")
def test_passwords_are_kept_as_argon2id_of_64_mib(pair: Pair, users: Users, tmp_path: Path) -> None:
    users("add", "ada", "--password-stdin", typed=f"{LONG}\n")
    body = {"username": "bob", "password": LONG, "role": "member"}
    pair.users.add("root", LONG, Role.ADMIN)
    assert pair.accounts("root").post("/users", json=body).status_code == 201
    with sqlite3.connect(tmp_path / "accounts" / FILE_NAME) as file:
        hashes = [kept for (kept,) in file.execute("SELECT password_hash FROM users")]
    file.close()
    assert [kept.rsplit("$", 2)[0] for kept in hashes] == ["$argon2id$v=19$m=65536,t=3,p=4"] * 3


@pytest.mark.processes
@pytest.mark.parametrize("line", ["add bob", "passwd bob"])
def test_where_no_password_can_be_asked_for_one_line_says_what_to_give(tmp_path: Path, line: str) -> None:
    refused = subprocess.run(
        [str(Path(sys.executable).parent / "accounts"), "users", *line.split()],
        env={**os.environ, "DATA_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # without the terminal that the tests may have
        capture_output=True,
        text=True,
        check=False,
    )
    said = require_one_line(refused.stderr)
    assert (refused.returncode, "give --password-stdin or --generate" in said) == (2, True)


NOWHERE = {"a full disk": ">/dev/full", "closed": ">&-", "a reader that is gone": ""}


def run_in_a_shell(folder: Path, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`accounts users …` as typed; who would read what it prints is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    command = Path(sys.executable).parent / "accounts"
    try:
        return subprocess.run(
            ["bash", "-c", f'"{command}" users {line}'],
            env={**os.environ, "DATA_DIR": str(folder), **variables},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)


@pytest.mark.processes
@pytest.mark.parametrize("as_json", ["", "--json"])
@pytest.mark.parametrize("nowhere", NOWHERE.values(), ids=NOWHERE)
def test_a_password_that_could_not_be_shown_is_not_set(
    nowhere: str, as_json: str, pair: Pair, users: Users, tmp_path: Path
) -> None:
    pair.users.add("ada", LONG, Role.ADMIN)
    for line in ("add zed", "passwd ada"):
        refused = run_in_a_shell(tmp_path, f"{line} --generate {as_json} {nowhere}")
        said = require_one_line(refused.stderr)
        assert (refused.returncode, "could not be shown" in said, "nothing was changed" in said) == (
            1,
            True,
            True,
        )
    assert [user["username"] for user in json.loads(users("list", "--json").stdout)] == ["ada"]
    assert log_in(pair, "ada", LONG) == 200


@pytest.mark.parametrize("line", ["add zed", "passwd ada"])
def test_a_password_that_was_shown_and_could_not_be_set_is_said_to_be_none(
    line: str, pair: Pair, users: Users, tmp_path: Path
) -> None:
    pair.users.add("ada", LONG, Role.ADMIN)
    with sqlite3.connect(tmp_path / "accounts" / FILE_NAME) as file:
        for what in ("INSERT", "UPDATE"):
            file.execute(f"CREATE TRIGGER no_{what} BEFORE {what} ON users BEGIN DELETE FROM nowhere; END")
    file.close()
    refused = users(*line.split(), "--generate")
    assert refused.exit_code == 1
    said = require_one_line(refused.stderr)
    assert ("nowhere" in said, "the password that was shown is not set" in said) == (True, True)
    assert len(refused.stdout.splitlines()) == 1
    assert log_in(pair, "ada", LONG) == 200


@pytest.mark.parametrize(
    ("line", "says"), [("add ada", "exists already"), ("passwd zed", "there is no user")]
)
def test_no_password_is_shown_where_it_cannot_be_set(line: str, says: str, pair: Pair, users: Users) -> None:
    pair.users.add("ada", LONG, Role.ADMIN)
    refused = users(*line.split(), "--generate")
    assert (refused.exit_code, refused.stdout, says in require_one_line(refused.stderr)) == (1, "", True)


@pytest.mark.processes
@pytest.mark.parametrize("line", ["add bob", "passwd bob"])
@pytest.mark.parametrize(
    ("given", "says"),
    [("<&-", "standard input is closed"), (r"< <(printf '\xff and much else\n')", "is no text in utf-8")],
    ids=["closed", "no text"],
)
def test_a_password_that_cannot_be_read_is_said_in_one_line(
    given: str, says: str, line: str, tmp_path: Path
) -> None:
    refused = run_in_a_shell(tmp_path, f"{line} --password-stdin {given}", PYTHONIOENCODING="utf-8:strict")
    said = require_one_line(refused.stderr)
    assert (refused.returncode, says in said, "one line" in said) == (2, True, True), said


@pytest.mark.parametrize("password", ["eleven char", "", "x" * 1025, "ä" * 600])
def test_a_short_or_huge_password_is_refused(users: Users, password: str) -> None:
    users("add", "ada", "--generate")
    for line in (("add", "bob"), ("passwd", "ada")):
        refused = users(*line, "--password-stdin", typed=f"{password}\n")
        assert (refused.exit_code, require_one_line(refused.stderr)[:16]) == (1, "Error: password:")
    assert [user["username"] for user in json.loads(users("list", "--json").stdout)] == ["ada"]


def test_another_password_replaces_the_one_before(pair: Pair, users: Users) -> None:
    users("add", "ada", "--password-stdin", typed=f"{LONG}\n")
    given = json.loads(users("passwd", "ada", "--generate", "--json").stdout)["password"]
    assert [log_in(pair, "ada", LONG), log_in(pair, "ada", given)] == [401, 200]


def test_a_disabled_user_is_listed_and_not_let_in(pair: Pair, users: Users) -> None:
    users("add", "ada", "--password-stdin", typed=f"{LONG}\n")
    assert users("disable", "ada").stdout == "disabled ada\n"
    assert log_in(pair, "ada", LONG) == 401
    assert "disabled 20" in users("list").stdout
    assert "no users who may log in" in str(pair.accounts(None).get("/health/ready").get_json())
    assert users("enable", "ada").exit_code == 0
    assert log_in(pair, "ada", LONG) == 200
    assert "disabled" not in users("list").stdout


@pytest.mark.parametrize("line", ["disable", "enable", "passwd --generate"])
def test_who_is_not_there_is_said(users: Users, line: str) -> None:
    refused = users(*line.split(), "nobody")
    assert (refused.exit_code, "there is no user 'nobody'" in require_one_line(refused.stderr)) == (1, True)


def test_a_file_of_before_goes_on(pair: Pair, users: Users, tmp_path: Path) -> None:
    users("add", "ada", "--password-stdin", typed=f"{LONG}\n")
    with sqlite3.connect(tmp_path / "accounts" / FILE_NAME) as file:
        file.executescript("DROP TABLE sessions; DROP TABLE disabled_users")
    file.close()
    assert log_in(pair, "ada", LONG) == 200
    assert len(json.loads(users("list", "--json").stdout)) == 1
