"""The whole pair under the users of deploy/users.acl, on each server: it works, and what is denied is said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from deploy.installation import PROGRAMS_DIR
from eventlog.embedded_redis import EmbeddedRedis, Server, list_servers
from tests.make_run import NEVER_S, Run
from tests.tester import TESTER_URL, admit_tester

pytestmark = pytest.mark.processes

_COMMANDS = (
    "eventlog status",
    "eventlog readers",
    "eventlog archive --check",
    "accounts rebuild --switch-if-equal",
    "customers rebuild --switch-if-equal",
    "eventlog trim --keep 1",
    "accounts verify",
    "eventlog init",
    "eventlog doctor",
    "accounts doctor",
    "customers doctor",
)


def _type(run: Run, line: str) -> subprocess.CompletedProcess[str]:
    program, *words = line.split()
    environment = {"DEMO": "1", **run.environment}
    return subprocess.run(
        [str(PROGRAMS_DIR / program), *words], env=environment, capture_output=True, text=True, check=False
    )


def _passwords_of(run: Run) -> list[str]:
    folder = Path(run.environment["DATA_DIR"]) / "redis" / "passwords"
    return [file.read_text() for file in folder.iterdir()]


@pytest.mark.parametrize("server", list_servers(), ids=lambda server: "redis-{}.{}".format(*server.version))
def test_everything_works_beside_users_on_data_from_before_them(
    server: Server, start_run: Callable[..., Run], environment: dict[str, str], tmp_path: Path
) -> None:
    redis_dir = Path(environment["DATA_DIR"]) / "redis"
    with EmbeddedRedis(redis_dir, server=server) as before, redis.Redis.from_url(before.url) as client:
        client.set("from before", "kept")
    admit_tester(redis_dir)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "redis-server").symlink_to(server.path)
    # Without the system's directories, where a newer server may lie, which would be taken.
    run = start_run(PATH=str(programs))
    run.wait_until_up()

    accounts, customers = (
        f"http://127.0.0.1:{run.environment[name]}" for name in ("ACCOUNTS_PORT", "CUSTOMERS_PORT")
    )
    login = {"username": "user1", "password": "password1"}
    headers = {
        "Authorization": f"Bearer {httpx.post(f'{accounts}/auth/login', json=login, timeout=NEVER_S).text}"
    }
    ada = {"name": "Ada", "account_id": "1"}
    posted = httpx.post(f"{customers}/customers", json=ada, headers=headers, timeout=NEVER_S)
    assert posted.status_code == 201
    seen = {**headers, "Min-Log-Position": posted.headers["Log-Position"], "Prefer": "wait=10"}
    assert httpx.get(f"{accounts}/accounts", headers=seen, timeout=NEVER_S).status_code == 200
    for line in _COMMANDS:
        done = _type(run, line)
        assert (done.returncode, "not let" in done.stdout + done.stderr) == (0, False), (line, done)

    with redis.Redis.from_url(TESTER_URL.format(run.environment["REDIS_PORT"])) as tester:
        assert tester.get("from before") == b"kept"
        assert tester.info()["redis_version"] == ".".join(map(str, server.version))
        connected = {each["user"] for each in tester.client_list()}
        assert connected == {"accounts", "archive", "customers", "tester"}
        denied = [each["reason"] for each in tester.acl_log()]
        assert denied == [], tester.acl_log()

        tester.acl_setuser("customers", enabled=True, commands=["-hset"])
        refused = httpx.post(f"{customers}/customers", json=ada, headers=headers, timeout=NEVER_S)
        assert refused.status_code == 503
        assert refused.json()["type"] == "/problems/not-written"
        assert "customers" not in refused.json()["detail"]
        writes = httpx.get(f"{customers}/health/ready", timeout=NEVER_S).json()["checks"]["writes"]
        assert "does not let user 'customers' run HSET" in writes["mend"]
        tester.acl_setuser("customers", enabled=True, commands=["+hset"])
        assert (
            httpx.post(f"{customers}/customers", json=ada, headers=headers, timeout=NEVER_S).status_code
            == 201
        )

    shown = [
        " ".join(process.info["cmdline"] or ())  # none of a process that has just ended
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid()
    ]
    logs = [file.read_text(errors="replace") for file in Path(run.environment["DATA_DIR"]).glob("log/*")]
    for password in _passwords_of(run):
        assert not any(password in text for text in [*shown, *logs, run.output()])


def test_missing_password_is_said_in_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    """By the services and the commands alike; the password of the URL is never shown."""
    empty = tmp_path / "empty"
    empty.touch()
    given = {**environment, "REDIS_URL": "redis://127.0.0.1:9"}
    for more, said in (
        ({"REDIS_USER": "accounts"}, "there is no password: name its file in REDIS_PASSWORD_FILE"),
        ({"REDIS_PASSWORD_FILE": str(tmp_path / "none")}, "cannot be read (No such file or directory)"),
        ({"REDIS_PASSWORD_FILE": str(empty)}, "which is empty"),
        (
            {"REDIS_URL": "redis://me:hidden@127.0.0.1:9", "REDIS_PASSWORD_FILE": str(empty)},
            "leave one of them out",
        ),
        ({"REDIS_URL": "", "REDIS_USER": "accounts"}, "REDIS_USER is set and REDIS_URL is not"),
    ):
        for program in (["accounts", "tail"], ["eventlog", "status"], [sys.executable, "-m", "deploy.run"]):
            command = [str(PROGRAMS_DIR / program[0]), *program[1:]]
            done = subprocess.run(
                command, env={**given, **more}, capture_output=True, text=True, check=False, timeout=NEVER_S
            )
            assert done.returncode == 1, (command, done)
            assert said in done.stderr, (command, done)
            assert "hidden" not in done.stderr + done.stdout
            assert len(done.stderr.strip().splitlines()) == 1
