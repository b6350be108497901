"""Every line of the runbook and of the recipes for the APIs is typed, in order, beside one `make run`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from eventlog import START, EventLog
from eventlog.readers import ReaderKind
from eventlog.redis_address import RedisAddress
from shared.events import make_codec
from tests.documented_lines import LEFT_OUT, commands_in, commands_of, pages_typed_by, section_of
from tests.make_run import ROOT, Run, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.needs("curl"), pytest.mark.needs("bash")]

PORTS = {"REDIS_PORT": "16379", "CUSTOMERS_PORT": "8080", "ACCOUNTS_PORT": "8090"}
EXAMPLE_POSITION = "1795262660328-0"
EXAMPLE_PID = "9454"
RUNBOOK = ROOT / "docs" / "runbook.md"


class Shell:
    """In a directory like the checkout, with `.venv` and `var` in it."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run = run
        self.folder = folder
        self.typed: set[str] = set()
        (folder / ".venv").symlink_to(ROOT / ".venv")

    def type(self, page: str, replaced: dict[str, str]) -> str:
        """All lines of a page in one bash that stops at the first error; what it printed."""
        lines = [line for line in commands_of(ROOT / page) if line not in LEFT_OUT]
        printed = self.type_lines(lines, replaced)
        self.typed.add(page)
        return printed

    def type_lines(self, lines: Sequence[str], replaced: dict[str, str]) -> str:
        script = "\n".join(["set -euo pipefail", *lines])
        for written, here in replaced.items():
            script = script.replace(written, here)
        done = subprocess.run(
            ["bash", "-x"],
            input=script,
            cwd=self.folder,
            env=self.run.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def shell(start_run: Callable[..., Run], tmp_path: Path) -> Shell:
    """Beside a run whose data lie in `var`."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    run = start_run(DATA_DIR=str(folder / "var"))
    run.wait_until_up()
    return Shell(run, folder)


def make_ready_for_runbook(shell: Shell, redis_port: str, customer_id: str) -> str:
    """A file of invoices, and a reader that is gone; answers the position of the last entry."""
    invoice = {"customer_id": customer_id, "purchase_date": "2026-01-31", "purchase_price_cents": 12000}
    (shell.folder / "november.ndjson").write_text(f"{json.dumps(invoice)}\n")
    address = RedisAddress.of_private_server(shell.folder / "var", int(redis_port), "operator")
    with closing(EventLog.connect(address, make_codec())) as log:
        state = log.state()
        log.readers.report(
            "revenue-v1", ReaderKind.PROJECTION, position=START, sequence=0, log_id=state.log_id or ""
        )
        return str(state.end)


def test_every_line_works_beside_make_run(shell: Shell, tmp_path: Path) -> None:
    ports = {written: shell.run.environment[name] for name, written in PORTS.items()}

    shell.type("docs/api/README.md", ports)
    called = shell.type("docs/how-to/call-the-api-safely.md", ports)
    assert "one customer: {" in called
    assert json.loads(called.splitlines()[-1])["total_revenue_cents"] == 12000
    traced = shell.type("docs/how-to/trace-a-request.md", ports)
    assert traced.startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    followed = shell.type("docs/how-to/follow-from-another-language.md", ports)
    assert "InvoiceCreated" in followed

    assert "AccountCreated" in shell.type("docs/how-to/secure-redis.md", ports)
    position = make_ready_for_runbook(shell, ports["16379"], customer_id="1")
    archive = str(shell.run.find("eventlog", "archive").pid)
    here = {EXAMPLE_POSITION: position, EXAMPLE_PID: archive, "/tmp/": f"{tmp_path}/", **ports}  # noqa: S108  # as the page has it
    told = shell.type("docs/runbook.md", here)
    assert "1 invoice imported" in told
    assert "the same as what is served" in told
    assert "as the log gives them" in shell.type("docs/how-it-works.md", ports)
    assert shell.typed == pages_typed_by("deploy/test_typed_pages.py")


def test_what_hangs_is_woken_or_ended_by_what_the_runbook_says(shell: Shell) -> None:
    run, folder = shell.run, shell.folder
    here = {"16379": run.environment["REDIS_PORT"]}
    ask, wake = commands_in(section_of(RUNBOOK, "LogUnreachable"))

    def hang() -> psutil.Process:
        redis = psutil.Process(int((folder / "var" / "redis" / "redis.lock").read_text()))
        assert "redis-server" in redis.name()
        redis.suspend()
        assert shell.type_lines([ask], here) == "exit code 124\n"
        return redis

    hang()
    told = shell.type_lines([".venv/bin/eventlog doctor || true"], here)
    assert "it hangs or is paused" in told
    assert "kill -CONT" in told
    assert "start Redis" not in told
    assert "PONG" in shell.type_lines([wake, ask], here)
    hung = hang()
    kill = wake.replace("-CONT", "-9")
    assert f"`{kill}`" in section_of(RUNBOOK, "LogUnreachable")
    shell.type_lines([kill], here)
    hung.wait()
    wait_until(lambda: "PONG" in shell.type_lines([ask], here), run.output)

    ask, wake = commands_in(section_of(RUNBOOK, "ArchiveDown"))
    archive = run.find("eventlog", "archive")
    archive.suspend()
    named = f"process {archive.pid} holds its lock and gives no heartbeat"
    wait_until(lambda: named in shell.type_lines([ask], here), lambda: shell.type_lines([ask], here))
    assert f"kill -CONT {archive.pid}" in shell.type_lines([ask], here)
    assert named in shell.type_lines([".venv/bin/eventlog archive --once 2>&1 || test $? = 2"], here)
    shell.type_lines([wake], {EXAMPLE_PID: str(archive.pid)})
    wait_until(
        lambda: "archive     following" in shell.type_lines([ask], here),
        lambda: shell.type_lines([ask], here),
    )


def test_signing_begins_on_a_log_whose_services_are_stopped_and_whose_redis_is_not(
    shell: Shell, start_run: Callable[..., Run]
) -> None:
    first, folder = shell.run, shell.folder
    here = {"16379": first.environment["REDIS_PORT"]}
    first.interrupt()
    first.wait_until_nothing_is_left()

    (alone,) = commands_in(section_of(RUNBOOK, "Stop the services, and not Redis"))
    new, begin = (line for line in commands_of(ROOT / "docs" / "security.md") if "eventlog keys" in line)
    until_ctrl_c = f"{alone} > redis.out 2>&1 & ALONE=$!"
    ask, _ = commands_in(section_of(RUNBOOK, "LogUnreachable"))
    ready = f"until {ask} | grep PONG; do sleep 0.1; done"
    told = shell.type_lines([until_ctrl_c, ready, new, begin, "kill $ALONE", "wait $ALONE || true"], here)
    assert "PONG" in told

    second = start_run(DATA_DIR=str(folder / "var"), EVENT_KEYS_FILE=str(folder / "event-keys.json"))
    second.wait_until_up()
    assert "***" not in second.output()
