"""A doctor's findings for people, for programs, and as an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NoReturn

import click
import msgspec

from eventlog.commands.common import DIFFERENT, INTERRUPTED
from eventlog.doctor.findings import Finding, Severity

_ORDER: Final = list(Severity)


def report(examine: Callable[[], Iterable[Finding]], *, as_document: bool) -> NoReturn:
    """Print what was found and exit: 3 if some of it is a problem, else 0; warnings are shown."""
    try:
        findings = _in_order(examine())
    except KeyboardInterrupt:
        click.echo("stopped before it was done; nothing was changed", err=True)
        sys.exit(INTERRUPTED)
    click.echo(_as_json(findings) if as_document else _as_text(findings))
    is_ill = any(finding.severity is Severity.PROBLEM for finding in findings)
    sys.exit(DIFFERENT if is_ill else 0)


def _in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Problems first; each name that is ok everywhere once, after all others."""
    ordered = sorted(dict.fromkeys(findings), key=lambda finding: _ORDER.index(finding.severity))
    noted = {finding.name for finding in ordered if finding.severity is not Severity.OK}
    return [
        finding for finding in ordered if finding.severity is not Severity.OK or finding.name not in noted
    ]


def _is_wrong(finding: Finding) -> bool:
    return finding.severity in {Severity.PROBLEM, Severity.WARNING}


def _as_text(ordered: Sequence[Finding]) -> str:
    """One line a finding, the mend beneath those that share it; what was not looked at is one line a reason."""
    by_mend: dict[str, list[str]] = {}
    for finding in filter(_is_wrong, ordered):
        by_mend.setdefault(finding.mend, []).append(f"{finding.severity}  {finding.name}  {finding.detail}")
    lines = [line for mend, sharing in by_mend.items() for line in (*sharing, f"    {mend}")]
    unseen: dict[str, list[str]] = {}
    for finding in ordered:
        if finding.severity is Severity.NOT_LOOKED_AT:
            unseen.setdefault(finding.detail, []).append(finding.name)
    lines += [f"{Severity.NOT_LOOKED_AT}  {' '.join(names)}  {why}" for why, names in unseen.items()]
    fine = [finding.name for finding in ordered if finding.severity is Severity.OK]
    if fine:
        lines.append(f"looked for, and not found:  {' '.join(fine)}")
    return "\n".join(lines)


def _as_json(ordered: Sequence[Finding]) -> bytes:
    return msgspec.json.encode({"findings": [finding._asdict() for finding in ordered]})
