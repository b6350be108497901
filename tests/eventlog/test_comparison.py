"""What a comparison of two files names is exactly what differs."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog import Insert, Position, Projection, ProjectionFile, ProjectionReader, Table
from eventlog.comparison import FIRST_SHOWN, Comparison, RowDifference, TableDifference, compare
from eventlog.parking import Parked
from tests.examples import examples

NUMBERED = Table("numbered", "id", {"note": str, "id": int, "size": int})  # its key is not its first column
NAMED = Table("named", "name", {"name": str, "size": int})
PAIRS = Projection("pairs", 1, [NUMBERED, NAMED])

sizes = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2)
numbered = st.dictionaries(
    st.integers(0, 30) | st.integers(-(2**63), 2**63 - 1), st.tuples(st.none() | st.text(max_size=2), sizes)
)
# Names that sort one way by byte, another by locale or by UTF-16 unit.
named = st.dictionaries(
    st.sampled_from(["", "Z", "a", "ä", "é", "e\u0301", "Ω", "｡", "😀", "a\x00b"]) | st.text(max_size=3),
    sizes,
)
parcels_parked = st.dictionaries(st.integers(1, 20), st.sampled_from(["no room", "wet"]), max_size=15)
Content = tuple[dict[int, tuple[str | None, int | None]], dict[str, int | None], dict[int, str]]
contents = st.tuples(numbered, named, parcels_parked)


def write(directory: Path, content: Content, parked_at: str) -> ProjectionReader:
    numbers, names, parked = content
    with closing(ProjectionFile(directory, PAIRS)) as file:
        before = file.checkpoint()
        rows = file.pending_rows()
        rows.apply(
            [
                Insert("numbered", {"id": key, "note": note, "size": size})
                for key, (note, size) in numbers.items()
            ]
        )
        rows.apply([Insert("named", {"name": key, "size": size}) for key, size in names.items()])
        aside = [
            Parked(number, Position(number, 0), "Sent", why, parked_at) for number, why in parked.items()
        ]
        file.commit(before, before._replace(sequence=1), rows, aside)
    return ProjectionReader(directory, PAIRS)


def as_rows(content: Content) -> dict[str, dict[Any, dict[str, Any]]]:
    numbers, names, parked = content
    return {
        "numbered": {key: {"note": note, "id": key, "size": size} for key, (note, size) in numbers.items()},
        "named": {key: {"name": key, "size": size} for key, size in names.items()},
        "parked": {
            key: {"sequence": key, "position": f"{key}-0", "event_type": "Sent", "reason": why}
            for key, why in parked.items()
        },
    }


def difference(was: Content, now: Content) -> Comparison:
    """The same, from dictionaries."""
    tables, rows = [], 0
    for (table, before), after in zip(as_rows(was).items(), as_rows(now).values(), strict=True):
        keys = sorted(before.keys() | after.keys())
        rows += len(keys)
        differing = [
            RowDifference(key, before.get(key), after.get(key))
            for key in keys
            if before.get(key) != after.get(key)
        ]
        added = sum(row.before is None for row in differing)
        removed = sum(row.after is None for row in differing)
        if differing:
            changed = len(differing) - added - removed
            tables.append(TableDifference(table, added, removed, changed, differing[:FIRST_SHOWN]))
    return Comparison(tables, rows)


def compared(was: Content, now: Content) -> Comparison:
    with tempfile.TemporaryDirectory() as folder:
        before = write(Path(folder) / "was", was, "then")
        after = write(Path(folder) / "now", now, "later")
        with before.look() as first, after.look() as second:
            return compare(first, second, PAIRS)


@settings(max_examples=examples(25))
@given(contents, contents)
def test_comparison_is_the_difference_of_the_rows(was: Content, now: Content) -> None:
    """Numbers and names as keys, whatever their order; parked entries but for when they were parked."""
    found = compared(was, now)
    assert found == difference(was, now)
    assert found.is_same == (as_rows(was) == as_rows(now))


@settings(max_examples=examples(5))
@given(contents)
def test_equal_rows_are_the_same(content: Content) -> None:
    found = compared(content, content)
    assert found.is_same
    assert found.rows == sum(len(table) for table in as_rows(content).values())


@pytest.mark.parametrize("count", [FIRST_SHOWN - 1, FIRST_SHOWN, FIRST_SHOWN + 1, 500])
def test_all_differences_are_counted_and_the_first_of_them_kept_whole(count: int) -> None:
    (table,) = compared(({}, {}, {}), ({number: (None, number) for number in range(count)}, {}, {})).tables
    assert (table.added, table.removed, table.changed) == (count, 0, 0)
    shown = [
        RowDifference(key, None, {"note": None, "id": key, "size": key})
        for key in range(min(count, FIRST_SHOWN))
    ]
    assert table.first == shown


def test_same_number_as_another_type_of_value_differs() -> None:
    """A text is not the number that it reads like, and nothing is neither."""
    numbers: dict[int, tuple[str | None, int | None]] = {1: ("", None)}
    (table,) = compared((numbers, {}, {}), ({1: (None, None)}, {}, {})).tables
    assert table.changed == 1
    (table,) = compared((numbers, {}, {}), ({1: ("", 0)}, {}, {})).tables
    assert table.changed == 1


def test_whether_somebody_looked_at_what_was_parked_is_no_difference(tmp_path: Path) -> None:
    content: Content = ({}, {}, {3: "wet"})
    readers = [write(tmp_path / name, content, name) for name in ("was", "now")]
    with closing(ProjectionFile(tmp_path / "now", PAIRS)) as file:
        assert file.acknowledge(3, "now") == 1
    with readers[0].look() as first, readers[1].look() as second:
        assert compare(first, second, PAIRS).is_same
