"""What a newcomer does with `make run`: start, follow the tour, stop, start again; and what can be in the way."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis

from deploy.installation import Installation
from deploy.ports import PortsTakenError, require_free
from deploy.tour import for_other_terminals
from eventlog.embedded_redis import EmbeddedRedis, free_port
from shared.key_files import PRIVATE_KEYS_NAME
from tests.documented_lines import pages_typed_by
from tests.make_run import NEVER_S, ROOT, Run, runs_ended, wait_until

pytestmark = pytest.mark.processes

StartRun = Callable[..., Run]


def _tour_of(run: Run) -> list[str]:
    lines = run.output().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("TOKEN="))
    return lines[first : lines.index("", first)]


def _paste(shell: str, lines: list[str]) -> str:
    """What the shell prints when the lines are pasted into it."""
    pasted = subprocess.run(
        [shell, "-u"],
        input="\n".join(lines),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=NEVER_S,
        check=False,
    )
    assert (pasted.returncode, pasted.stderr) == (0, "")
    return pasted.stdout


class _Member:
    """The first demo user, over HTTP."""

    def __init__(self, run: Run) -> None:
        self._accounts = f"http://127.0.0.1:{run.environment['ACCOUNTS_PORT']}"
        self._customers = f"http://127.0.0.1:{run.environment['CUSTOMERS_PORT']}"
        login = {"username": "user1", "password": "password1"}
        token = (
            httpx.post(f"{self._accounts}/auth/login", json=login, timeout=NEVER_S).raise_for_status().text
        )
        self._headers = {"Authorization": f"Bearer {token}"}

    def add_invoice_of(self, cents: int) -> None:
        customer = self._post("customers", {"name": "Ada", "account_id": "1"}).json()["id"]
        invoice = {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": cents}
        self._headers["Min-Log-Position"] = self._post("invoices", invoice).headers["Log-Position"]

    def total_revenue_cents(self) -> list[int]:
        accounts = (
            httpx.get(f"{self._accounts}/accounts", headers=self._headers, timeout=NEVER_S)
            .raise_for_status()
            .json()
        )
        return [found["total_revenue_cents"] for found in accounts]

    def _post(self, what: str, body: dict[str, object]) -> httpx.Response:
        answer = httpx.post(f"{self._customers}/{what}", json=body, headers=self._headers, timeout=NEVER_S)
        return answer.raise_for_status()


@pytest.mark.needs("curl")
@pytest.mark.needs("bash")
def test_both_services_are_ready_and_the_tour_works_line_by_line(start_run: StartRun) -> None:
    run = start_run()
    run.wait_until_up()
    for port in ("CUSTOMERS_PORT", "ACCOUNTS_PORT"):
        ready = httpx.get(f"http://127.0.0.1:{run.environment[port]}/health/ready", timeout=NEVER_S)
        assert (ready.status_code, ready.json()["status"]) == (200, "ok")

    printed = _paste("bash", _tour_of(run))

    assert "HTTP/1.1 201" in printed
    accounts = json.loads(printed[printed.index("\n[") :])
    assert [(found["account"]["id"], found["total_revenue_cents"]) for found in accounts] == [
        (1, 12000),
        (2, 0),
    ]

    readme = (ROOT / "README.md").read_text("utf-8")
    sentence = readme[readme.index("The log itself: ") :]
    tail, show, read, status = re.findall(r"`(\.venv/bin/[^`]+)`", sentence)[:4]
    position = re.findall(r"(?i)^log-position: (\S+)", printed, re.MULTILINE)[-1]
    (export,) = [line for line in run.output().splitlines() if line.startswith("export ")]
    for line, shown in (
        (show, "InvoiceCreated"),
        (tail, "AccountCreated"),
        (status, "reader      revenue-v"),
    ):
        assert f"\n{line}\n" in run.output()
        assert shown in _paste("bash", [export, f"POSITION={position}", line])
    assert f"\n{read.replace('16379', run.environment['REDIS_PORT'])}\n" in run.output()

    (watch,) = re.findall(r"`(curl -N [^`]+)`", readme)
    assert _first_event_of(run, watch.replace("8090", run.environment["ACCOUNTS_PORT"])) == "projection"
    assert pages_typed_by("deploy/test_run.py") == {"README.md"}


def _first_event_of(run: Run, watch: str) -> str:
    """The name of the first event that a line which goes on for ever shows."""
    script = "\n".join([*_tour_of(run)[:2], f"exec {watch}"])
    with subprocess.Popen(
        ["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as shown:
        assert shown.stdout is not None
        try:
            return next(line.removeprefix("event: ").strip() for line in shown.stdout if "event: " in line)
        finally:
            shown.terminate()


def test_the_printed_redis_cli_line_shows_the_log(start_run: StartRun) -> None:
    run = start_run()
    run.wait_until_up()
    (line,) = [line for line in run.output().splitlines() if "XREAD" in line]
    shown = _paste("sh", [line])
    assert shown.splitlines().count("AccountCreated") == 2


def test_other_terminals_are_told_what_differs_and_never_a_password() -> None:
    def told(**variables: str) -> str:
        return for_other_terminals(Installation.from_environment(variables))

    assert told() == ""
    assert told(REDIS_PORT="7001", CUSTOMERS_PORT="8080") == "export REDIS_PORT=7001"
    assert told(REDIS_URL="redis://10.0.0.1:6379") == "export REDIS_URL=redis://10.0.0.1:6379"
    assert told(REDIS_URL="redis://app:secret@10.0.0.1", ACCOUNTS_PORT="7002") == "export ACCOUNTS_PORT=7002"


def test_ctrl_c_stops_everything_and_the_next_run_goes_on(start_run: StartRun) -> None:
    first = start_run()
    first.wait_until_up()
    _Member(first).add_invoice_of(12000)
    assert first.interrupt() == 0
    assert first.output().index("Stopping services") < first.output().index("Stopping redis")
    first.wait_until_nothing_is_left()

    second = start_run()
    second.wait_until_up()
    assert _Member(second).total_revenue_cents() == [12000, 0]
    assert second.interrupt() == 0


@pytest.mark.parametrize("end", ["Ctrl-C", "kill -9"])
@pytest.mark.parametrize("stage", ["Redis ...", "customers ..."])
def test_a_run_ended_while_it_starts_leaves_nothing(
    start_run: StartRun, environment: dict[str, str], stage: str, end: str
) -> None:
    """A supervisor told to end while it forks signals a child that is not there yet, and would wait for it in vain."""
    run = start_run()
    run.wait_for_output(stage)
    run.processes()
    if end == "Ctrl-C":
        assert run.interrupt() == 0
    else:
        run.process.kill()
        run.process.wait()
    run.wait_until_nothing_is_left()
    for log in (Path(environment["DATA_DIR"]) / "log").glob("supervisord-*.log"):
        assert "killing" not in log.read_text()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"REDIS_URL": "garbage"}, "REDIS_URL cannot be read"),
        ({"REDIS_URL": "http://127.0.0.1:9"}, "REDIS_URL cannot be read"),
        ({"REDIS_URL": "redis://127.0.0.1:abc"}, "REDIS_URL cannot be read"),
        ({"REDIS_URL": "redis://127.0.0.1:9/zero"}, "REDIS_URL cannot be read"),
        (
            {"REDIS_URL": "redis://127.0.0.1:9?username=ada&password=secret"},
            "REDIS_URL has something behind a ? or #, and takes no options",
        ),
        ({"DATA_DIR": "/dev/null/x"}, "DATA_DIR is /dev/null/x, and /dev/null/x cannot be made"),
        ({"HOST": "192.0.2.1"}, "HOST is '192.0.2.1', which cannot be bound"),
        ({"HOST": "::1"}, "HOST is '::1', which cannot be bound"),
        ({"CUSTOMERS_PORT": "99999"}, "CUSTOMERS_PORT is '99999'"),
        ({"DEMO": "x"}, "DEMO is 'x'"),
        ({"CUSTOMERS_URL": "localhost:8080"}, "CUSTOMERS_URL is 'localhost:8080'"),
    ],
    ids=lambda found: "=".join(*found.items()) if isinstance(found, dict) else "",
)
def test_a_variable_that_cannot_be_used_is_named(
    start_run: StartRun, variables: dict[str, str], said: str
) -> None:
    run = start_run(**variables)
    assert run.process.wait(NEVER_S) == 1
    assert f"Cannot run: {said}" in run.output()
    assert not {"Traceback", "secret"} & set(re.findall(r"\w+", run.output()))


@pytest.mark.parametrize(
    "words",
    [("deploy.run",), ("supervisord-services.conf",), ("supervisord-redis.conf",)],
    ids=["top", "services", "redis"],
)
def test_kill_9_of_a_process_at_the_top_leaves_nothing_and_the_next_run_works(
    start_run: StartRun, words: tuple[str, ...]
) -> None:
    first = start_run()
    first.wait_until_up()
    first.find(*words).kill()
    first.wait_until_nothing_is_left()

    second = start_run()
    second.wait_until_up()
    assert second.interrupt() == 0


@pytest.fixture
def run_with_slow_client(start_run: StartRun) -> Iterator[Run]:
    """A client that never finishes its request holds a worker that would stop in its own time."""
    run = start_run()
    run.wait_until_up()
    port = int(run.environment["ACCOUNTS_PORT"])
    with socket.create_connection(("127.0.0.1", port), timeout=NEVER_S) as connection:
        headers = b"Host: here\r\nContent-Length: 100\r\nExpect: 100-continue\r\n"
        connection.sendall(b"POST /auth/login HTTP/1.1\r\n" + headers + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 "), "a worker waits for the body"
        yield run


def test_kill_9_leaves_nothing_where_a_client_is_slow(run_with_slow_client: Run) -> None:
    run_with_slow_client.process.kill()
    run_with_slow_client.wait_until_nothing_is_left()


def test_ctrl_c_stops_everything_where_a_client_is_slow(run_with_slow_client: Run) -> None:
    assert run_with_slow_client.interrupt() == 0
    run_with_slow_client.wait_until_nothing_is_left()


def test_next_run_started_at_once_after_kill_9_waits_for_the_remains(start_run: StartRun) -> None:
    first = start_run()
    first.wait_until_up()
    first.process.kill()

    second = start_run()
    second.wait_until_up()
    assert second.interrupt() == 0


def test_kill_9_of_make_leaves_nothing(start_run: StartRun, tmp_path: Path) -> None:
    makefile = tmp_path / "Makefile"
    lines = (ROOT / "Makefile").read_text().splitlines()
    recipe = lines[lines.index("run: $(PACKAGE)") + 1].replace("$(BIN)/python", f'"{sys.executable}"')
    makefile.write_text(f"run:\n{recipe}\n")

    run = start_run(["make", "--file", str(makefile), "run"])
    run.wait_until_up()
    run.process.kill()
    run.wait_until_nothing_is_left()


@pytest.mark.parametrize("variable", ["CUSTOMERS_PORT", "ACCOUNTS_PORT", "REDIS_PORT"])
def test_taken_port_is_named_with_the_variable_that_changes_it(
    start_run: StartRun, environment: dict[str, str], variable: str
) -> None:
    with socket.socket() as other:
        # shared as the web servers share it, which must not hide that it is taken
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", int(environment[variable])))
        other.listen()
        run = start_run()
        assert run.process.wait(NEVER_S) == 1
    assert f"port {environment[variable]} is taken by another program ({variable})\n" in run.output()
    (suggested,) = re.findall(
        rf"^Choose other ports, as in: make run {variable}=([0-9]+)$", run.output(), re.MULTILINE
    )
    assert int(suggested) > int(environment[variable])
    assert f"after: export {variable}={suggested}\n" in run.output()


def test_two_runs_started_at_once_on_the_same_ports_never_both_say_ready(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Each has data and a Redis of its own, so that only the web servers' ports are in the way."""
    elsewhere = {"DATA_DIR": str(tmp_path / "elsewhere"), "REDIS_PORT": str(free_port())}
    with (
        runs_ended(tmp_path, environment) as start_here,
        runs_ended(tmp_path / "other", {**environment, **elsewhere}) as start_there,
    ):
        (tmp_path / "other").mkdir()
        runs = [start_here(), start_there()]
        wait_until(
            lambda: all(run.has_ended() or "Ctrl-C stops everything" in run.output() for run in runs),
            lambda: "\n".join(run.output() for run in runs),
        )
        refused = [run for run in runs if run.has_ended()]
        assert refused, "both said that they are up"
        for run in refused:
            assert re.search(r"port [0-9]+ is taken by another program", run.output()), run.output()
            assert "Ctrl-C stops everything" not in run.output()
        for run in runs:
            if run not in refused:
                _Member(run).add_invoice_of(12000)
                assert _Member(run).total_revenue_cents() == [12000, 0]


def test_private_redis_that_was_started_alone_is_named_instead_of_its_port(
    start_run: StartRun, environment: dict[str, str]
) -> None:
    directory = Path(environment["DATA_DIR"]) / "redis"
    with EmbeddedRedis(directory, int(environment["REDIS_PORT"])) as alone:
        run = start_run()
        assert run.process.wait(NEVER_S) == 1
        assert (
            f"another Redis (pid {alone.pid}) is using {directory}: stop it with: kill {alone.pid}"
            in run.output()
        )
    assert "REDIS_PORT" not in run.output()


def test_redis_that_does_not_start_on_a_damaged_file_is_mended_from_the_archive(
    start_run: StartRun, environment: dict[str, str]
) -> None:
    directory = Path(environment["DATA_DIR"]) / "redis"
    with EmbeddedRedis(directory) as server, redis.Redis.from_url(server.url) as client:
        client.set("first", "x" * 10)
        client.set("second", "y" * 10)
    aof = max(directory.rglob("appendonly*.aof"), key=lambda path: path.stat().st_mtime_ns)
    aof.write_bytes(aof.read_bytes().replace(b"$10\r\nxx", b"$90\r\nxx"))
    run = start_run()
    assert run.process.wait(NEVER_S) == 1
    *_, advice = run.output().splitlines()
    assert "`eventlog reseed` (docs/runbook.md, Redis does not start)" in advice
    run.wait_until_nothing_is_left()


def test_ports_that_are_suggested_are_free_and_each_another() -> None:
    first = free_port()
    with socket.socket() as taken, socket.socket() as beside_it:
        taken.bind(("127.0.0.1", first))
        beside_it.bind(("127.0.0.1", first + 1))
        ports = {"CUSTOMERS_PORT": first, "ACCOUNTS_PORT": first + 1, "REDIS_PORT": first + 2}
        with pytest.raises(PortsTakenError, match="Choose other ports") as refused:
            require_free(ports, "127.0.0.1", patience_s=0)
        suggested = dict(re.findall(r"([A-Z_]+)=([0-9]+)", str(refused.value)))
        assert suggested.keys() == {"CUSTOMERS_PORT", "ACCOUNTS_PORT"}
        chosen = {**ports, **{variable: int(port) for variable, port in suggested.items()}}
        require_free(chosen, "127.0.0.1", patience_s=0)


def test_second_run_on_one_data_directory_is_told_who_has_it(start_run: StartRun) -> None:
    first = start_run()
    first.wait_for_output("Redis ... ready")
    second = start_run()
    assert second.process.wait(NEVER_S) == 1
    assert f"already running (pid {first.process.pid})" in second.output()
    first.wait_until_up()


def test_without_keys_nothing_starts_outside_demo_mode(start_run: StartRun) -> None:
    run = start_run(DEMO="0")
    assert run.process.wait(NEVER_S) == 1
    assert "there is no key to sign tokens with" in run.output()
    assert "make one with `accounts keys rotate`" in run.output()


def test_demo_users_are_refused_outside_demo_mode(start_run: StartRun) -> None:
    first = start_run()
    first.wait_until_up()
    first.interrupt()
    first.wait_until_nothing_is_left()
    second = start_run(DEMO="0")
    assert second.process.wait(NEVER_S) == 1
    assert "user1 and user2 can log in with a password that everybody can read" in second.output()
    assert "`accounts users disable`" in second.output()


def test_demo_keys_are_made_once_and_for_their_owner_only(
    start_run: StartRun, environment: dict[str, str]
) -> None:
    keys_file = Path(environment["DATA_DIR"]) / "accounts" / PRIVATE_KEYS_NAME
    keys = []
    for _ in range(2):
        run = start_run()
        run.wait_for_output("Redis ... ready")
        keys.append(keys_file.read_text())
        run.interrupt()
        run.wait_until_nothing_is_left()
    assert keys[0] == keys[1]
    assert keys_file.stat().st_mode & 0o777 == 0o600


def test_services_answer_from_what_they_have_where_the_log_is_another(
    start_run: StartRun, environment: dict[str, str]
) -> None:
    first = start_run()
    first.wait_until_up()
    _Member(first).add_invoice_of(12000)
    first.interrupt()
    first.wait_until_nothing_is_left()
    shutil.rmtree(Path(environment["DATA_DIR"]) / "redis")

    second = start_run()
    second.wait_until_up()
    assert "*** The log could not be made" in second.output()
    assert "*** The demo users and accounts could not be made" in second.output()
    assert "TOKEN=" not in second.output(), "no tour of what is not there"
    assert _Member(second).total_revenue_cents() == [12000, 0]


def test_program_that_does_not_stay_up_is_named_with_the_end_of_its_log(
    start_run: StartRun, environment: dict[str, str]
) -> None:
    data_dir = Path(environment["DATA_DIR"])
    data_dir.mkdir()
    (data_dir / "customers").write_text("a file where a directory belongs")
    run = start_run()
    assert run.process.wait(NEVER_S) == 1
    assert "customers-tail does not stay up; the end of" in run.output()
    run.wait_until_nothing_is_left()
