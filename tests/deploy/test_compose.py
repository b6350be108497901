"""docker-compose.yml is valid, and keeps no secret. No engine runs here: what the containers do is not tested."""

from __future__ import annotations

import subprocess

import pytest

from tests.make_run import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.needs("docker-compose")]


def _compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker-compose", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_file_is_valid_and_starts_what_the_pair_needs() -> None:
    listed = _compose("config", "--services")
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
