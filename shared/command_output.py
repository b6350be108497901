"""What operators' commands answer: sentences for people, one JSON document for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eventlog.checkpoints import Checkpoint
from eventlog.comparison import Comparison, RowDifference
from eventlog.counted import counted


def describe_moment(checkpoint: Checkpoint) -> dict[str, Any]:
    """How far, as JSON."""
    return {
        "log_id": checkpoint.log_id,
        "position": str(checkpoint.position),
        "sequence": checkpoint.sequence,
    }


def describe_comparison(comparison: Comparison | None) -> dict[str, Any]:
    """What differs, as JSON; `same` is null where there was nothing to compare with."""
    if comparison is None:
        return {"same": None, "rows": 0, "tables": []}
    tables = [
        {**table._asdict(), "first": [row._asdict() for row in table.first]} for table in comparison.tables
    ]
    return {"same": comparison.is_same, "rows": comparison.rows, "tables": tables}


def list_differences(comparison: Comparison | None) -> Iterator[str]:
    """What differs, a line each; the first rows of each table whole."""
    for table in comparison.tables if comparison else ():
        yield f"{table.table}: {counted(table.added, 'row')} added, {table.removed} removed, {table.changed} changed"
        for row in table.first:
            yield f"  {row.key}: {_describe_row(row)}"


def _describe_row(row: RowDifference) -> str:
    if row.before is None:
        return f"added {row.after}"
    if row.after is None:
        return f"removed {row.before}"
    after = row.after
    changed = (column for column, before in row.before.items() if before != after[column])
    return ", ".join(f"{column} {row.before[column]!r} -> {after[column]!r}" for column in changed)
