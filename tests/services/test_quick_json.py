"""What is read quickly is exactly what is read slowly: no body is taken that the words of 400 would refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from customers.schemas import CreateInvoiceBody
from shared.quick_json import QuickReader
from shared.strict_json import BrokenFields, InvalidJson, check_object, parse_json
from tests.examples import examples

SCHEMA = CreateInvoiceBody()
READER = QuickReader(SCHEMA)
RIGHT: dict[str, Any] = {"customer_id": "7", "purchase_date": "2026-01-31", "purchase_price_cents": 100}

ODD: list[Any] = [
    "7", "007", "1" * 18, "1" * 19, "7\n", "\u0667", "", "2026-02-28", "2026-02-29", "0000-01-01",
    "2026-01-31T00:00:00Z", "2026-1-1", 1, 0, -1, 10**12, 10**12 + 1, 2**70, 1.0, 1e3, True, None,
]  # fmt: skip
TEXTS = [
    json.dumps(RIGHT),
    '{"customer_id":"\\u0037","purchase_date":"2026-01-31","purchase_price_cents":1}',
    '{"customer_id":"7","purchase_date":"2026-01-31","purchase_price_cents":1,"customer_id":"8"}',
    '{"customer_id":"7","purchase_date":"2026-01-31","purchase_price_cents":1,"a":1}',
    '{"customer\\u005fid":"7","purchase_date":"2026-01-31","purchase_price_cents":1}',
    '{"customer_id":"7","purchase_date":"2026-01-31","purchase_price_cents":01}',
    "{}",
    *(json.dumps({**RIGHT, key: odd}) for key in RIGHT for odd in ODD),
]

values = st.one_of(
    st.sampled_from(ODD),
    st.text(max_size=5),
    st.integers(),
    st.dates().map(str),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)
keys = st.one_of(st.sampled_from(list(RIGHT)), st.sampled_from(["customer_id:", "a", ""]))
pairs = st.lists(st.tuples(keys, values), max_size=5).map(lambda changed: [*RIGHT.items(), *changed])
texts = st.builds(
    lambda found, first, separator, ascii_only: (
        "{"
        + separator.join(
            f"{json.dumps(key, ensure_ascii=ascii_only)}{first}:{json.dumps(value, ensure_ascii=ascii_only)}"
            for key, value in found
        )
        + "}"
    ),
    st.one_of(pairs, st.lists(st.tuples(keys, values), max_size=4), st.permutations(list(RIGHT.items()))),
    st.sampled_from(["", " ", "\n\t"]),
    st.sampled_from([",", ", ", " ,\r\n", ",,"]),
    st.booleans(),
)


def read_slowly(raw: bytes) -> dict[str, Any] | None:
    """None for what is no such object, or has a whole number as 1.0 or 1e2, which is never read quickly."""
    floats: list[str] = []
    try:
        found = check_object(SCHEMA, parse_json(raw))
    except (InvalidJson, BrokenFields):
        return None
    json.loads(raw, parse_float=floats.append)
    return None if floats else found


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("text", TEXTS)
def test_each_odd_object_is_read_quickly_where_it_is_read_slowly_and_as_the_same(text: str) -> None:
    assert READER.read(as_bytes(text)) == read_slowly(as_bytes(text))


@settings(max_examples=examples(300))
@given(texts)
def test_an_object_is_read_quickly_where_it_is_read_slowly_and_as_the_same(text: str) -> None:
    assert READER.read(as_bytes(text)) == read_slowly(as_bytes(text))


@settings(max_examples=examples(100))
@given(st.lists(st.just(TEXTS[0]) | st.sampled_from(TEXTS) | texts, max_size=4))
@example([TEXTS[3], "{}"])
def test_an_array_is_read_quickly_where_each_of_its_objects_is(items: list[str]) -> None:
    raw = as_bytes(f"[{','.join(items)}]")
    slowly = [read_slowly(as_bytes(item)) for item in items]
    assert READER.read_all(raw) == (None if None in slowly else slowly)


@pytest.mark.parametrize("raw", [b"", b"[", b"{", b"\xff", b"null", b"[[" * 5000, b'{"a":' * 5000, b"[{}]"])
def test_what_is_no_object_or_array_of_them_is_not_read(raw: bytes) -> None:
    assert READER.read(raw) is None
    assert READER.read_all(raw) is None


line_texts = st.one_of(texts, st.just(json.dumps(RIGHT)), st.sampled_from(["", " ", "{}", "}", "{"]))
right_line = json.dumps(RIGHT)


@settings(max_examples=examples(200))
@given(st.lists(line_texts, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n", " \n"]), st.booleans())
@example([right_line * 2, ""], "\n", True)
@example([right_line + right_line[:1], right_line[1:]], "\n", True)
@example([right_line[:-1], "}", right_line * 2], "\n", False)
@example([right_line, "", right_line * 2], "\n", False)
def test_lines_are_read_quickly_only_as_what_each_of_them_is(items: list[str], end: str, ended: bool) -> None:
    content = end.join(items) + (end if ended else "")
    lines = content.encode("utf-8", "surrogatepass").splitlines(keepends=True)
    slowly = [read_slowly(line) for line in lines]
    assert READER.read_lines(b"".join(lines), len(lines)) in (None, slowly)


def test_right_lines_are_read_quickly() -> None:
    raw = f"{right_line}\n{right_line}\r\n{right_line}".encode()
    assert READER.read_lines(raw, 3) == [read_slowly(right_line.encode())] * 3
