"""Every line of the runbook and of the recipes for the APIs is typed, in order, beside one `make run`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from eventlog import START, EventLog
from eventlog.readers import ReaderKind
from eventlog.redis_address import RedisAddress
from shared.events import make_codec
from tests.documented_lines import LEFT_OUT, commands_of, pages_typed_by
from tests.make_run import ROOT, Run

pytestmark = [pytest.mark.processes, pytest.mark.needs("curl"), pytest.mark.needs("bash")]

PORTS = {"REDIS_PORT": "16379", "CUSTOMERS_PORT": "8080", "ACCOUNTS_PORT": "8090"}
EXAMPLE_POSITION = "1795262660328-0"


class Shell:
    """In a directory like the checkout, with `.venv` and `var` in it."""

    def __init__(self, run: Run, folder: Path) -> None:
        self._run = run
        self.folder = folder
        self.typed: set[str] = set()
        (folder / ".venv").symlink_to(ROOT / ".venv")

    def type(self, page: str, replaced: dict[str, str]) -> str:
        """All lines of a page in one bash that stops at the first error; what it printed."""
        lines = [line for line in commands_of(ROOT / page) if line not in LEFT_OUT]
        script = "\n".join(["set -euo pipefail", *lines])
        for written, here in replaced.items():
            script = script.replace(written, here)
        done = subprocess.run(
            ["bash", "-x"],
            input=script,
            cwd=self.folder,
            env=self._run.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (page, done.stderr)
        self.typed.add(page)
        return done.stdout


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


def test_every_line_works_beside_make_run(start_run: Callable[..., Run], tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    run = start_run(DATA_DIR=str(folder / "var"))
    run.wait_until_up()
    shell = Shell(run, folder)
    ports = {written: run.environment[name] for name, written in PORTS.items()}

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
    here = {EXAMPLE_POSITION: position, "/tmp/": f"{tmp_path}/", **ports}  # noqa: S108  # as the page has it
    told = shell.type("docs/runbook.md", here)
    assert "1 invoice imported" in told
    assert "the same as what is served" in told
    assert "as the log gives them" in shell.type("docs/how-it-works.md", ports)
    assert shell.typed == pages_typed_by("deploy/test_typed_pages.py")
