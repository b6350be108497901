"""Beside a running `make run`, the doctors need no variable but where it is, and find no problem."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eventlog.doctor.advisories import list_holes
from eventlog.doctor.findings import Name
from eventlog.embedded_redis import find_server
from tests.make_run import Run

pytestmark = pytest.mark.processes


def test_what_make_run_starts_is_healthy(start_run: Callable[..., Run]) -> None:
    """Demo mode is known from the running tail: in no shell is it set."""
    run = start_run()
    run.wait_until_up()
    environment = {name: value for name, value in run.environment.items() if name != "DEMO"}
    holes = {Name.REDIS_OUTDATED} if list_holes("redis", find_server().version) else set()
    demo = {Name.STRANGERS_MAY_WRITE}
    unread = {Name.ARCHIVE_UNUSABLE}  # each of its entries
    for command, expected in (("eventlog", holes | demo | unread), ("accounts", set()), ("customers", set())):
        asked = subprocess.run(
            [Path(sys.executable).parent / command, "doctor", "--json"],
            env=environment,
            capture_output=True,
            check=False,
        )
        findings = json.loads(asked.stdout)["findings"]
        assert {each["name"] for each in findings if each["severity"] != "ok"} == expected, asked.stdout
        assert asked.returncode == 0, "a hole that is known is a warning"
