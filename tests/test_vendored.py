"""What we carry of others' is what they released, and with its licence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.make_run import ROOT

LISTS = [
    path for package in ("accounts", "shared", "tests") for path in (ROOT / package).rglob("vendored.json")
]


@pytest.mark.parametrize("listed", LISTS, ids=lambda path: path.parent.name)
def test_vendored_files_are_as_released(listed: Path) -> None:
    found = json.loads(listed.read_text())
    files = {path.name: path for path in listed.parent.iterdir() if path != listed}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == found[
        "sha256"
    ]
    assert any("LICENSE" in name for name in files)
    assert {"package", "version", "registry", "licence"} <= found.keys()
