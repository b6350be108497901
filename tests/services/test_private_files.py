"""What is about people is made for its owner alone, whatever the umask; the public keys are for all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import accounts.cli
from accounts.revenue import revenue
from accounts.signing_keys import SigningKeys
from customers.directory import directory
from eventlog import EventLog, ProjectionFile
from eventlog.archive import Archive
from eventlog.archiving import ARCHIVE_NAME, Archiving
from eventlog.backup import back_up, restore
from eventlog.embedded_redis import EmbeddedRedis
from shared.key_files import PUBLIC_KEYS_NAME
from shared.metrics import WebMetrics
from shared.public_keys import PublicKeyFile
from tests.pair import running_pair

LOGIN = {"username": "user1", "password": "password1"}


@pytest.fixture
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_no_umask")
def test_directories_and_databases_are_for_their_owner_alone(fake_log: EventLog, tmp_path: Path) -> None:
    data = tmp_path / "missing too" / "data"
    with running_pair(fake_log, data) as pair, closing(Archive(data / ARCHIVE_NAME)) as archive:
        pair.make_demo()
        pair.wait_until_applied()
        Archiving(fake_log, archive).run_to_head()
        assert pair.accounts(None).post("/auth/login", json={**LOGIN, "password": "wrong"}).status_code == 401
        assert pair.accounts(None).post("/auth/login", json=LOGIN).status_code == 200
        back_up(pair.revenue_folder, revenue, tmp_path / "copy.db")
        restore(fake_log, pair.revenue_folder, revenue, tmp_path / "copy.db")
        WebMetrics(data / "accounts" / "metrics")
        found = {path: path.stat().st_mode & 0o777 for path in data.parent.rglob("*")}
        made = [data.parent, *(path for path in found if path.is_dir())]
        assert {path for path in made if path.stat().st_mode & 0o777 != 0o700} == set()
        databases = {path: mode for path, mode in found.items() if ".db" in path.name}
        assert {path for path, mode in databases.items() if mode != 0o600} == set()
        names = {path.name for path in databases}
    beside = {f"{name}.db{more}" for name in ("projection", "archive") for more in ("", "-wal", "-shm")}
    assert names == beside | {"users.db", "failed-logins.db"}


@pytest.mark.usefixtures("_no_umask")
@pytest.mark.parametrize("line", ["keys rotate", "users add ada --role admin --generate"])
def test_whichever_command_is_the_first_makes_private_directories(line: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = CliRunner().invoke(accounts.cli.main, line.split(), env={"DATA_DIR": str(data)})
    assert made.exit_code == 0, made.output
    assert {path.stat().st_mode & 0o777 for path in (data, data / "accounts")} == {0o700}


@pytest.mark.usefixtures("_no_umask")
@pytest.mark.processes
def test_the_directory_of_the_private_redis_is_private(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "data" / "redis") as server:
        made = (server.directory, server.directory.parent)
        assert {path.stat().st_mode & 0o777 for path in made} == {0o700}


def test_public_keys_are_for_whoever_can_come_by_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    SigningKeys(data / "accounts").rotate()
    public = data / "accounts" / PUBLIC_KEYS_NAME
    assert public.stat().st_mode & 0o777 == 0o644
    assert PublicKeyFile(public).find("another") is None


def test_what_was_there_keeps_its_mode_and_sqlite_follows_it(tmp_path: Path) -> None:
    """Who shared it with a group goes on."""
    home = tmp_path / "data"
    home.mkdir()
    home.chmod(0o750)
    with closing(ProjectionFile(home / "directory", directory)) as file:
        served = file.path.resolve()
    served.chmod(0o640)
    with closing(ProjectionFile(home / "directory", directory)):
        beside = served.with_name(f"{served.name}-wal")
        modes = [path.stat().st_mode & 0o777 for path in (home, served, beside)]
    assert modes == [0o750, 0o640, 0o640]
