"""`make sbom`: adds to what the services are installed from what they carry along of others' and serve.

That is what a `vendored.json` lists: cyclonedx-py knows of locks only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.make_run import ROOT

SERVED: Final = ("accounts", "customers", "eventlog", "shared")  # the packages of the image


def list_vendored() -> list[dict[str, Any]]:
    """One for each package, by name, with the files that are here of it."""
    lists = [path for package in SERVED for path in (ROOT / package).rglob("vendored.json")]
    return sorted((_component(json.loads(path.read_text())) for path in lists), key=lambda each: each["name"])


def _component(vendored: dict[str, Any]) -> dict[str, Any]:
    name, version = vendored["package"], vendored["version"]
    purl = f"pkg:{vendored['registry']}/{name.replace('@', '%40')}@{version}"
    return {
        "bom-ref": purl,
        "components": [
            {"hashes": [{"alg": "SHA-256", "content": digest}], "name": file, "type": "file"}
            for file, digest in sorted(vendored["sha256"].items())
        ],
        "licenses": [{"license": {"id": vendored["licence"]}}],
        "name": name,
        "purl": purl,
        "type": "library",
        "version": version,
    }


def main(file: Path) -> None:
    """Add them to a file of cyclonedx-py."""
    bom = json.loads(file.read_text())
    vendored = list_vendored()
    bom["components"] += vendored
    bom["dependencies"] += [{"ref": each["bom-ref"]} for each in vendored]
    file.write_text(json.dumps(bom, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
