"""Tests that need an outside program say so, and a run says which of them it could not make.

    @pytest.mark.needs("docker-compose")

Without the program the test is skipped, and the run ends with the line `not run: apt install docker-compose`;
where Debian's package has another name, that; with REQUIRE_ALL=1, as in continuous integration, it fails instead.
"""

from __future__ import annotations

import os
import shutil

import pytest

_FOR_ROOT = "/usr/sbin:/sbin"  # where users look for no programs
_PACKAGES = {"promtool": "prometheus", "redis-cli": "redis-tools", "systemd-analyze": "systemd"}


def find_program(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_FOR_ROOT)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(program): skipped, and said so, where the program is not installed"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = sorted(
        _PACKAGES.get(program, program)
        for mark in item.iter_markers("needs")
        for program in mark.args
        if find_program(program) is None
    )
    if missing:
        reason = f"not run: apt install {' '.join(missing)}"
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(f"{reason} (REQUIRE_ALL=1)", pytrace=False)
        pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    ]
    not_run = [reason for reason in reasons if reason.startswith("not run: ")]
    for reason in sorted(set(not_run)):
        count = not_run.count(reason)
        terminalreporter.write_line(f"{reason}  ({count} {'test' if count == 1 else 'tests'})", yellow=True)
