"""`make audit` passes only where it was told of a flaw that everybody knows; `make sbom` names every package."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.audit import main
from tests.make_run import NEVER_S, ROOT

FLAW = {"id": "CVE-2020-1747", "fix_versions": ["5.3.1"]}


def told(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def pyyaml(*vulnerabilities: dict[str, Any]) -> dict[str, Any]:
    return {"name": "pyyaml", "version": "5.1", "vulns": list(vulnerabilities)}


def answering(*outputs: str) -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """What pip-audit prints, one run after the other."""
    left = list(outputs)
    return lambda _: subprocess.CompletedProcess([], 0, left.pop(0), "it says why")


@pytest.mark.parametrize(
    ("outputs", "status", "said"),
    [
        ([told(pyyaml())], 3, "not run: pyyaml==5.1 is not known"),
        ([""], 3, "it says why"),
        ([told()], 3, "not run"),
        ([told(pyyaml(FLAW)), told({"name": "flask", "skip_reason": "not found"})], 3, "not run: one.lock"),
        ([told(pyyaml(FLAW)), ""], 3, "not run: one.lock"),
        ([told(pyyaml(FLAW)), told(pyyaml(FLAW))], 1, "one.lock: pyyaml 5.1: CVE-2020-1747, mended in 5.3.1"),
        ([told(pyyaml(FLAW)), told(pyyaml())], 0, "no known vulnerabilities in one.lock"),
    ],
    ids=["no advisories", "no answer", "nothing", "one skipped", "no second answer", "known", "none known"],
)
def test_an_audit_passes_only_where_it_was_made(
    outputs: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(answering(*outputs), ["one.lock"]) == status
    assert said in capsys.readouterr().out


@pytest.mark.processes
def test_the_sbom_names_every_package_of_the_image(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    subprocess.run(
        ["make", "sbom", f"SBOM={file}"], cwd=ROOT, check=True, capture_output=True, timeout=NEVER_S
    )
    found = json.loads(file.read_text())
    assert found["bomFormat"] == "CycloneDX"
    locked = re.findall(
        r"^([a-z0-9.-]+)==(\S+)", (ROOT / "deploy/services.lock").read_text("utf-8"), re.MULTILINE
    )
    vendored = [("swagger-ui-dist", "5.35.0"), ("uplot", "1.6.32")]
    named = sorted((each["name"], each["version"]) for each in found["components"])
    assert named == sorted([*locked, *vendored])
    served = [each for each in found["components"] if (each["name"], each["version"]) in vendored]
    assert [each["purl"] for each in served] == ["pkg:npm/swagger-ui-dist@5.35.0", "pkg:npm/uplot@1.6.32"]
    assert {each["ref"] for each in found["dependencies"]} >= {each["bom-ref"] for each in served}
