"""docker-compose.yml is valid, and keeps no secret. No engine runs here: what the containers do is not tested."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.make_run import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.needs("docker-compose")]


def _compose(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "JWT_SECRET"}
    return subprocess.run(
        ["docker-compose", *arguments],
        cwd=ROOT,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_file_is_valid_and_starts_what_the_pair_needs() -> None:
    listed = _compose("config", "--services", JWT_SECRET="given from outside")
    assert listed.returncode == 0, listed.stderr
    assert sorted(listed.stdout.split()) == [
        "accounts",
        "accounts-tail",
        "archive",
        "customers",
        "customers-tail",
        "init",
        "redis",
    ]


def test_missing_secret_is_named() -> None:
    refused = _compose("config")
    assert refused.returncode != 0
    assert "JWT_SECRET must be set" in refused.stderr
