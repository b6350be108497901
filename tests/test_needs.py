"""A run says which tests it could not make, and with REQUIRE_ALL=1 fails for each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

_ROOT = Path(__file__).parents[1]
_TESTS = """
import pytest

@pytest.mark.needs("no-such-program")
def test_needs_what_is_missing():
    assert True

@pytest.mark.needs("sh")
def test_needs_what_is_there():
    assert True
"""


def _run_pytest(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "test_example.py").write_text(_TESTS)
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "REQUIRE_ALL"))
    }
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.needs",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            tmp_path,
            tmp_path,
        ],
        cwd=_ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_missing_program_skips_the_test_and_the_run_ends_with_what_to_install(tmp_path: Path) -> None:
    run = _run_pytest(tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "not run: apt install no-such-program  (1 test)" in run.stdout.splitlines()
    assert "1 passed, 1 skipped" in run.stdout.splitlines()[-1]


def test_missing_program_fails_where_all_tests_are_required(tmp_path: Path) -> None:
    run = _run_pytest(tmp_path, REQUIRE_ALL="1")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "1 passed, 1 error" in run.stdout.splitlines()[-1]
    assert "not run: apt install no-such-program" in run.stdout
