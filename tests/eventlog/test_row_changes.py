"""A batch's changes, merged, leave the rows that one by one would have left."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog import Add, Insert, Table, Update
from eventlog.pending_rows import InvalidChange, PendingRows
from eventlog.row_changes import Change, Value
from eventlog.stored_rows import StoredRows
from tests.examples import examples

TABLES = [
    Table("letters", "id", {"id": int, "words": int, "town": str}),
    Table("towns", "name", {"name": str, "letters": int}),
]
LARGEST = 2**63 - 1


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(a_database()) as connection:
        yield connection


def a_database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE letters (id INTEGER PRIMARY KEY, words INTEGER, town TEXT) STRICT")
    connection.execute("CREATE TABLE towns (name TEXT PRIMARY KEY, letters INTEGER) STRICT")
    return connection


def pending(connection: sqlite3.Connection) -> PendingRows:
    return PendingRows(StoredRows(connection, TABLES), TABLES)


def write(connection: sqlite3.Connection, *changes: Change) -> None:
    rows = pending(connection)
    rows.apply(changes)
    rows.write(connection)


def stored(connection: sqlite3.Connection) -> list[tuple[Value, ...]]:
    return [
        *connection.execute("SELECT * FROM letters ORDER BY id"),
        *connection.execute("SELECT * FROM towns ORDER BY name"),
    ]


def a_letter(number: int = 1, *, words: int | None = 0, town: str | None = "Bath") -> Insert:
    return Insert("letters", {"id": number, "words": words, "town": town})


numbers = st.integers(1, 3)
small = st.integers(-5, 5)
town_names = st.sampled_from(["Bath", "York"])
changes_of_letters = st.one_of(
    st.builds(a_letter, numbers, words=st.one_of(small, st.none()), town=st.none() | town_names),
    st.builds(lambda key, town: Update("letters", key, {"town": town}), numbers, town_names),
    st.builds(lambda key, words: Update("letters", key, {"words": words}), numbers, small),
    st.builds(
        lambda key, town, words: Update("letters", key, {"town": town, "words": words}),
        numbers,
        town_names,
        small,
    ),
    st.builds(lambda key, amount: Add("letters", key, "words", amount), numbers, small),
    st.builds(lambda name, count: Insert("towns", {"name": name, "letters": count}), town_names, small),
    st.builds(lambda name, amount: Add("towns", name, "letters", amount), town_names, small),
)


def applied_in_batches(events: Sequence[list[Change]], sizes: Sequence[int]) -> list[tuple[Value, ...]]:
    """The rows after all events; an event that does not fit changes nothing."""
    with closing(a_database()) as connection:
        write(connection, a_letter(1, words=5), a_letter(2), Insert("towns", {"name": "York", "letters": 1}))
        left = list(events)
        rows = pending(connection)
        for size in [*sizes, len(left)]:
            for event in left[:size]:
                try:
                    rows.apply(event)
                except InvalidChange:
                    continue
            rows.write(connection)
            rows.begin_next()
            left = left[size:]
        return stored(connection)


@given(
    st.lists(st.lists(changes_of_letters, max_size=4), max_size=25),
    st.lists(st.integers(1, 10), max_size=10),
)
@settings(max_examples=examples(400))
def test_any_changes_in_any_batches_leave_the_rows_of_one_by_one(
    events: list[list[Change]], sizes: list[int]
) -> None:
    """Also when events are refused half-way: none of their changes is left."""
    one_by_one = applied_in_batches(events, [1] * len(events))
    assert applied_in_batches(events, sizes) == one_by_one
    assert applied_in_batches(events, []) == one_by_one


def test_later_change_of_a_batch_sees_earlier_ones(connection: sqlite3.Connection) -> None:
    write(connection, a_letter(1, words=10))
    rows = pending(connection)
    rows.apply([Add("letters", 1, "words", 5)])
    rows.apply([a_letter(2), Add("letters", 1, "words", 1), Update("letters", 2, {"town": "York"})])
    assert rows.find("letters", 1) == {"id": 1, "words": 16, "town": "Bath"}
    assert rows.find("letters", 2) == {"id": 2, "words": 0, "town": "York"}
    assert stored(connection) == [(1, 10, "Bath")]
    rows.write(connection)
    assert stored(connection) == [(1, 16, "Bath"), (2, 0, "York")]


def test_changes_of_one_event_build_on_each_other(connection: sqlite3.Connection) -> None:
    write(connection, a_letter(1, words=1), Add("letters", 1, "words", 2), Add("letters", 1, "words", 3))
    assert stored(connection) == [(1, 6, "Bath")]


def test_thousand_additions_are_one_statement(connection: sqlite3.Connection) -> None:
    write(connection, a_letter(1))
    rows = pending(connection)
    for _ in range(1000):
        rows.apply([Add("letters", 1, "words", 1)])
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    rows.write(connection)
    assert len(statements) == 1
    assert stored(connection) == [(1, 1000, "Bath")]


@pytest.mark.parametrize("edge", [LARGEST, -(2**63)])
def test_integers_stay_integers_at_the_edge_of_64_bits(connection: sqlite3.Connection, edge: int) -> None:
    write(connection, a_letter(edge, words=edge - 1 if edge > 0 else edge + 1))
    write(connection, Add("letters", edge, "words", 1 if edge > 0 else -1))
    assert stored(connection) == [(edge, edge, "Bath")]
    assert connection.execute("SELECT typeof(words), typeof(id) FROM letters").fetchall() == [
        ("integer", "integer")
    ]


BAD_CHANGES: list[tuple[str, list[Change], str]] = [
    ("sum over 64 bits", [Add("letters", 1, "words", LARGEST)], "64 bits"),
    (
        "sum under 64 bits",
        [Add("letters", 1, "words", -LARGEST), Add("letters", 1, "words", -LARGEST)],
        "64 bits",
    ),
    (
        "two sums that fit alone",
        [Add("letters", 1, "words", LARGEST - 10), Add("letters", 1, "words", 10)],
        "64 bits",
    ),
    ("insert over 64 bits", [a_letter(2, words=LARGEST + 1)], "64 bits"),
    ("update over 64 bits", [Update("letters", 1, {"words": LARGEST + 1})], "64 bits"),
    ("insert of what is there", [a_letter(1)], "there already"),
    ("insert twice", [a_letter(2), a_letter(2)], "there already"),
    ("update of what is not there", [Update("letters", 9, {"words": 1})], "not there"),
    ("add to what is not there", [Add("letters", 9, "words", 1)], "no number"),
    ("add to text", [Add("letters", 1, "town", 1)], "no number"),
    ("add to nothing", [a_letter(2, words=None), Add("letters", 2, "words", 1)], "no number"),
    ("text for a number", [Update("letters", 1, {"words": "1"})], "takes int"),
    ("number for text", [Update("letters", 1, {"town": 1})], "takes str"),
    ("add of a fraction", [Add("letters", 1, "words", 0.5)], "not an integer"),  # type: ignore[arg-type]  # on purpose
    ("half a character in a new row", [a_letter(2, town="\ud800")], "not text"),
    ("half a character", [Update("letters", 1, {"town": "\ud800"})], "not text"),
    ("missing column", [Insert("letters", {"id": 2, "words": 1})], "every column"),
    ("column too many", [Insert("letters", {**a_letter(2).row, "x": 1})], "every column"),
    ("update of no column", [Update("letters", 1, {"x": 1})], "no column x"),
    ("new key", [Update("letters", 1, {"id": 2})], "never changes"),
    ("no key", [Insert("towns", {"name": None, "letters": 1})], "key is empty"),
]


@pytest.mark.parametrize(
    ("changes", "problem"), [pytest.param(*rest, id=name) for name, *rest in BAD_CHANGES]
)
def test_changes_that_do_not_fit_are_refused_whole(
    connection: sqlite3.Connection, changes: list[Change], problem: str
) -> None:
    """Before anything is written, so that the checkpoint can stop exactly there."""
    write(connection, a_letter(1, words=5))
    rows = pending(connection)
    with pytest.raises(InvalidChange, match=problem):
        rows.apply([a_letter(7), Add("letters", 1, "words", 1), Add("letters", 7, "words", 1), *changes])
    assert rows.find("letters", 1) == {"id": 1, "words": 5, "town": "Bath"}
    assert rows.find("letters", 7) is None
    rows.apply([Add("letters", 1, "words", 2)])
    rows.write(connection)
    assert stored(connection) == [(1, 7, "Bath")]
