"""The redis-cli lines that we print show the log, however Redis lets people in; none has a password in it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from deploy.installation import Installation
from deploy.redis_users import write_users
from deploy.tour import read_the_stream
from eventlog import START, Codec, EventLog
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.log import Moment
from eventlog.redis_address import RedisAddress, password_file_of
from shared.events import make_codec
from shared.settings import Settings
from tests.eventlog.test_redis_tls import secured
from tests.services.facts import an_account_created

pytestmark = [pytest.mark.processes, pytest.mark.needs("redis-cli")]


def write_log(redis_dir: Path, address: RedisAddress) -> None:
    def as_user(user: str) -> RedisAddress:
        return address._replace(user=user, password_file=password_file_of(redis_dir, user))

    with closing(EventLog.connect(as_user("operator"), Codec([]))) as log:
        moment = Moment(log.create(), START)
    with closing(EventLog.connect(as_user("accounts"), make_codec())) as log:
        log.publish([an_account_created(1)], decided_at=moment)


def lines_of(variables: Mapping[str, str]) -> Iterator[str]:
    """Of `accounts explain` and `/log/entries`, and of `make run`."""
    yield f"{Settings.from_environment(variables).look_into_log} - +"
    yield read_the_stream(Installation.from_environment(variables))


def typed(line: str, password: str) -> str:
    done = subprocess.run(
        ["sh", "-c", line], input=f"{password}\n", capture_output=True, text=True, check=True
    )
    return done.stdout


def test_over_tls_with_a_ca_and_users_of_ones_own(tmp_path: Path) -> None:
    redis_dir = tmp_path / "redis"
    write_users(redis_dir, "event-stream", anyone_reads=False)
    with secured(tmp_path, lambda ca: ca.issue_cert("localhost")) as redis:
        write_log(redis_dir, redis.address())
        variables = {
            "REDIS_URL": redis.address().url,
            "REDIS_USER": "accounts",
            "REDIS_PASSWORD_FILE": str(password_file_of(redis_dir, "accounts")),
            "REDIS_CA_FILE": str(redis.ca_file),
        }
        passwords = {file.name: file.read_text() for file in (redis_dir / "passwords").iterdir()}
        for line in lines_of(variables):
            assert "AccountCreated" in typed(line, passwords["reader"])
            assert not [user for user, password in passwords.items() if password in line]


def test_with_one_password_for_all(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, overrides={"requirepass": "secret"}) as server:
        url = server.url.replace("//", "//:secret@")
        with closing(EventLog.connect(url, make_codec())) as log:
            log.publish([an_account_created(1)], decided_at=Moment(log.create(), START))
        for line in lines_of({"REDIS_URL": url}):
            assert "AccountCreated" in typed(line, "secret")
            assert "secret" not in line


@pytest.mark.parametrize("demo", ["0", "1"])
def test_of_the_private_server_nobody_is_asked_for_a_password(tmp_path: Path, demo: str) -> None:
    redis_dir = tmp_path / "redis"
    write_users(redis_dir, "event-stream", anyone_reads=True, anyone_writes=demo == "1")
    with EmbeddedRedis(redis_dir) as server:
        write_log(redis_dir, RedisAddress(server.url))
        for line in lines_of({"DATA_DIR": str(tmp_path), "REDIS_PORT": str(server.port), "DEMO": demo}):
            assert "AccountCreated" in typed(line, "")
