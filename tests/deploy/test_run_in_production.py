"""The page on production is followed, without root: a machine from nothing on, until all of it is lost, and back."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from configparser import RawConfigParser
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import redis

from eventlog import EventLog
from eventlog.embedded_redis import find_server, free_port
from eventlog.errors import LogUnavailable
from eventlog.reseed import COUNTER_MARGIN
from shared.events import make_codec
from tests.documented_lines import (
    IN_PRODUCTION,
    LEFT_OUT,
    NEEDS_ROOT,
    commands_in,
    commands_of,
    pages_typed_by,
    section_of,
)
from tests.followed_page import blocks_in, blocks_of
from tests.make_run import ROOT, wait_until

PAGE: Final = ROOT / "docs/how-to/run-in-production.md"
SECURE_REDIS: Final = ROOT / "docs/how-to/secure-redis.md"
RUNBOOK: Final = ROOT / "docs/runbook.md"
HOME: Final = "/srv/revenue-stream"
UNITS: Final = ROOT / "deploy" / "systemd"
COMMON: Final = "revenue-.service.d/common.conf"


def file_of(unit: str) -> tuple[Path, str]:
    """That of a unit as systemctl is told its name, and what stands for %i in it."""
    prefix, at, instance = unit.partition("@")
    return UNITS / f"{prefix}{at}.service", instance


def units() -> list[str]:
    """Those that the page starts, in its order."""
    (line,) = [line for line in commands_of(PAGE) if "enable --now" in line]
    return line.split()[4:]


class Machine:
    """What `sudo` would do is done without; the home of user `revenue` is a folder."""

    def __init__(self, folder: Path) -> None:
        self.home, self.etc, self.redis_dir = (folder / name for name in ("home", "etc", "redis"))
        self.redis_port, self.customers_port, self.accounts_port = (free_port() for _ in range(3))
        self._log = folder / "log"
        self._first_line = ""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for directory in (self.home, self.etc, self.redis_dir):
            directory.mkdir()
        for name in (".venv", "deploy"):
            (self.home / name).symlink_to(ROOT / name)

    def translate(self, text: str) -> str:
        """What a page or a file says, as it is here."""
        here = {
            HOME: str(self.home),
            "/etc/redis": str(self.etc),
            "127.0.0.1:6379": f"127.0.0.1:{self.redis_port}",
            "127.0.0.1:8080": f"127.0.0.1:{self.customers_port}",
            "127.0.0.1:8090": f"127.0.0.1:{self.accounts_port}",
        }
        for written, there in here.items():
            text = text.replace(written, there)
        return text

    def type(self, lines: Sequence[str]) -> str:
        """In a new shell of user `revenue`, behind the line that each shell begins with; what was printed."""
        self._first_line = next((line for line in lines if line.startswith("set -a")), self._first_line)
        done = subprocess.run(
            ["bash"],
            input=self.translate("\n".join(["set -euo pipefail", self._first_line, *lines])),
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (lines, done.stdout, done.stderr)
        return done.stdout

    def write_settings(self, text: str) -> None:
        ports = f"CUSTOMERS_PORT={self.customers_port}\nACCOUNTS_PORT={self.accounts_port}\n"
        (self.home / "secrets" / "environment").write_text(self.translate(text) + ports)

    def install_users(self) -> None:
        shutil.copyfile(self.home / "secrets" / "users.acl", self.etc / "users.acl")

    def start_redis(self) -> None:
        of_the_system = f"bind 127.0.0.1\nport {self.redis_port}\ndir {self.redis_dir}\n"
        ours = self.translate((ROOT / "deploy" / "redis.conf").read_text("utf-8"))
        (self.etc / "redis.conf").write_text(of_the_system + ours)
        self._start("redis-server", [str(find_server().path), str(self.etc / "redis.conf")], {})
        wait_until(
            lambda: self.lets_in("reader", self.redis_password("reader")), lambda: "redis-server is not up"
        )

    def redis_password(self, user: str) -> str:
        return (self.home / "secrets" / "passwords" / user).read_text()

    def redis_url(self, user: str, password: str) -> str:
        return f"redis://{user}:{password}@127.0.0.1:{self.redis_port}"

    def lets_in(self, user: str, password: str) -> bool:
        with closing(EventLog.connect(self.redis_url(user, password), make_codec())) as log:
            try:
                log.state()
            except LogUnavailable:
                return False
        return True

    def start_units(self) -> None:
        """Also those that ended, as systemd does by their `Restart=always`."""
        for name in units():
            if name in self._processes and self._processes[name].poll() is None:
                continue
            file, instance = file_of(name)
            unit = RawConfigParser(strict=False)
            unit.optionxform = str  # type: ignore[method-assign,assignment]  # names as they are written
            for part in (UNITS / COMMON, file):
                unit.read_string(self.translate(part.read_text("utf-8").replace("%i", instance)))
            service = unit["Service"]
            assert service["Restart"] == "always"
            words = [
                *Path(service["EnvironmentFile"]).read_text().splitlines(),
                *service["Environment"].split(),
            ]
            self._start(name, shlex.split(service["ExecStart"]), dict(word.split("=", 1) for word in words))

    def stop(self) -> None:
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
        self._processes.clear()

    def lose_everything(self) -> None:
        """But for what was taken to another machine: the copy, settings and passwords."""
        self.stop()
        for directory in (self.home / "var", self.redis_dir):
            shutil.rmtree(directory)
        self.redis_dir.mkdir()

    def _start(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        with self._log.open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                cwd=self.home,
                env={"PATH": "/usr/bin:/bin", **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


class Ada:
    """Who was made the first admin."""

    def __init__(self, machine: Machine, password: str) -> None:
        self._customers = f"http://127.0.0.1:{machine.customers_port}"
        self._accounts = f"http://127.0.0.1:{machine.accounts_port}"
        self._login = {"username": "ada", "password": password}
        self._headers: dict[str, str] = {}

    def log_in(self) -> None:
        token = httpx.post(f"{self._accounts}/auth/login", json=self._login, timeout=20).raise_for_status()
        self._headers = {"Authorization": f"Bearer {token.text}"}

    def add_account(self) -> None:
        self._post(f"{self._accounts}/accounts", {"name": "one"})

    def add_customer(self) -> str:
        answer = self._post(f"{self._customers}/customers", {"name": "Eve", "account_id": "1"})
        return str(answer.json()["id"])

    def add_invoice(self, customer: str) -> tuple[int, int]:
        """Its number, and what the account has earned with it, in whole invoices."""
        body: dict[str, str | int] = {
            "customer_id": customer,
            "purchase_date": "2026-01-31",
            "purchase_price_cents": 100,
        }
        added = self._post(f"{self._customers}/invoices", body)
        seen = {**self._headers, "Min-Log-Position": added.headers["Log-Position"], "Prefer": "wait=10"}
        read = answered(lambda: httpx.get(f"{self._accounts}/accounts/1", headers=seen, timeout=20))
        return int(added.json()["id"]), read.json()["total_revenue_cents"] // 100

    def _post(self, url: str, body: dict[str, str | int]) -> httpx.Response:
        """Once, however often it has to be sent."""
        headers = {**self._headers, "Idempotency-Key": str(uuid4())}
        return answered(lambda: httpx.post(url, json=body, headers=headers, timeout=20))


def answered(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The first answer that does not ask to come again."""
    answers: list[httpx.Response] = []

    def is_done() -> bool:
        answers.append(ask())
        return answers[-1].status_code != 503

    wait_until(is_done, lambda: answers[-1].text)
    return answers[-1].raise_for_status()


def wait_until_both_are(machine: Machine, *states: str) -> None:
    told: list[Any] = []

    def are() -> bool:
        told.clear()
        machine.start_units()
        for port in (machine.customers_port, machine.accounts_port):
            try:
                told.append(httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=20).json())
            except httpx.TransportError as problem:
                told.append({"status": str(problem)})
        return all(each["status"] in states for each in told)

    wait_until(are, lambda: str(told))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        yield machine
    finally:
        machine.stop()


def follow_the_page(machine: Machine) -> str:
    """What it printed. Of what needs root there is done what has anything to do here."""
    (settings,) = [block.text for block in blocks_of(PAGE) if block.language == "text"]
    printed, typed = "", list[str]()
    for line in commands_of(PAGE):
        if LEFT_OUT.get(line, IN_PRODUCTION) == IN_PRODUCTION:
            typed.append(line)
        elif LEFT_OUT[line] == NEEDS_ROOT:
            printed += machine.type(typed)
            typed.clear()
            match line.split()[1:]:
                case ["install", *_]:
                    machine.install_users()
                case ["systemctl", "restart", "redis-server"]:
                    machine.start_redis()
                    machine.write_settings(settings)
                case ["systemctl", "enable", *_]:
                    wait_until_both_are(machine, "ok")
    return printed + machine.type(typed)


def change_a_password(machine: Machine, work: Callable[[], object]) -> int:
    """That of customers, as the page says; answers how much work was done meanwhile."""
    lines: list[str] = []
    for line in commands_in(section_of(SECURE_REDIS, "Another password")):
        if line.endswith("ACL LOAD"):
            lines.append(f"cp secrets/users.acl {machine.etc}")
        lines.append(line.replace("accounts", "customers"))
    old, done, worked = machine.redis_password("customers"), threading.Event(), itertools.count()

    def go_on() -> None:
        while not done.is_set():
            work()
            next(worked)

    with ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(go_on)
        try:
            half = next(number for number, line in enumerate(lines, 1) if line.endswith("ACL LOAD"))
            told, new = machine.type([*lines[:half], 'echo "$NEW"']).split()
            assert (told, machine.lets_in("customers", old), machine.lets_in("customers", new)) == (
                "OK",
                True,
                True,
            )
            assert machine.type([f"NEW={new}", *lines[half:]]).split() == ["OK"]
        finally:
            done.set()
        going_on.result()
    assert machine.redis_password("customers") == new
    assert (machine.lets_in("customers", old), machine.lets_in("customers", new)) == (False, True)
    return next(worked)


def park_an_entry(machine: Machine) -> None:
    url = machine.redis_url("operator", machine.redis_password("operator"))
    with redis.Redis.from_url(url, driver_info=None) as client:
        client.xadd("event-stream", {"some": "thing"})
    wait_until_both_are(machine, "degraded")
    machine.type([".venv/bin/accounts parked acknowledge", ".venv/bin/customers parked acknowledge"])
    wait_until_both_are(machine, "ok")


@pytest.mark.processes
@pytest.mark.needs("bash")
@pytest.mark.needs("curl")
@pytest.mark.needs("redis-cli")
@pytest.mark.needs("sqlite3")
def test_machine_is_set_up_gets_another_password_and_comes_back_when_everything_is_lost(
    machine: Machine,
) -> None:
    printed = follow_the_page(machine)
    assert pages_typed_by("deploy/test_run_in_production.py") == {str(PAGE.relative_to(ROOT))}
    ada = Ada(machine, re.findall(r"password, shown this once: (.*)", printed)[0])
    ada.log_in()
    ada.add_account()
    customer = ada.add_customer()
    meanwhile = change_a_password(machine, lambda: ada.add_invoice(customer))
    park_an_entry(machine)
    last, revenue = ada.add_invoice(customer)
    assert revenue == meanwhile + 1

    copy, put_back, catch_up = (
        commands_in(f"```\n{block.text}```\n")
        for block in blocks_in(section_of(RUNBOOK, "Everything is lost"))
    )
    machine.type(copy)
    ada.add_invoice(customer)
    machine.lose_everything()
    machine.start_redis()
    here = f"COPY=$(echo {machine.home}/copy-*)"
    machine.type([here, *put_back])
    wait_until_both_are(machine, "ok", "degraded")
    machine.type([here, *catch_up])
    wait_until_both_are(machine, "ok")
    ada.log_in()
    number, revenue = ada.add_invoice(customer)
    assert (revenue, number > last + COUNTER_MARGIN) == (meanwhile + 2, True)


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", units())
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    for file in (file_of(name)[0], UNITS / COMMON):
        copied = tmp_path / file.relative_to(UNITS)
        copied.parent.mkdir(exist_ok=True)
        copied.write_text(file.read_text("utf-8").replace(HOME, str(tmp_path)))
    told = subprocess.run(
        ["systemd-analyze", "verify", f"./{name}.service"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
