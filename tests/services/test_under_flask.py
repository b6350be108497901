"""`flask --app accounts …` has the commands of Flask and those of the service, in their own manner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.make_run import ROOT
from tests.services.operator import Operator, require_one_line

pytestmark = pytest.mark.processes


def flask(line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "flask"), *line.split()],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("service", ["accounts", "customers"])
def test_commands_of_a_service_work_under_flask(operator: Operator, service: str) -> None:
    environment = operator.environment
    built = flask(f"--app {service} rebuild --json", environment)
    assert (built.returncode, json.loads(built.stdout)["same"]) == (0, True), built.stderr
    assert "/health/ready" in flask(f"--app {service} routes", environment).stdout
    shown = flask(f"--app {service} rebuild --help", environment).stdout
    assert f"flask --app {service} rebuild --switch-if-equal" in shown


def test_what_is_wrong_is_one_line_under_flask_too(operator: Operator) -> None:
    wrong = flask("--app accounts routes", {**operator.environment, "JWT_SECRET": "of the former version"})
    assert (wrong.returncode, "JWT_SECRET is set" in require_one_line(wrong.stderr)) == (1, True)
    asked = flask("--app accounts users list", {**operator.environment, "ACCOUNTS_PORT": "x"})
    assert (asked.returncode, "ACCOUNTS_PORT is 'x'" in require_one_line(asked.stderr)) == (1, True)
    environment = operator.environment
    mistyped = flask("--app accounts rebuild --swich", environment)
    assert (mistyped.returncode, "Did you mean '--switch'?" in mistyped.stderr) == (2, True)
    assert "Did you mean" in require_one_line(mistyped.stderr)


def test_what_needs_no_settings_works_with_wrong_ones(operator: Operator) -> None:
    wrong = {**operator.environment, "ACCOUNTS_PORT": "x"}
    shown = flask("--app accounts --help", wrong)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "openapi" in shown.stdout
    of_one = flask("--app accounts users list --help", wrong)
    assert (of_one.returncode, of_one.stderr) == (0, "")
    document = flask("--app accounts openapi", wrong)
    assert (document.returncode, document.stderr) == (0, "")
    assert json.loads(document.stdout) == json.loads((ROOT / "docs" / "api" / "accounts.json").read_text())
