"""Lists in pages by keyset: the next page starts behind the last id of this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

from flask import request

from shared.problems import bad_field
from shared.request_body import is_id

DEFAULT_LIMIT: Final = 100
LARGEST_LIMIT: Final = 1000


class Page(NamedTuple):
    """Up to `limit` items with ids above `after`."""

    limit: int
    after: int


def requested_page() -> Page:
    """From the query parameters `limit` and `after`; 400 for what is not a number in bounds."""
    limit = request.args.get("limit", str(DEFAULT_LIMIT))
    if not (is_id(limit) and int(limit) <= LARGEST_LIMIT):
        raise bad_field("limit", f"must be a whole number from 1 to {LARGEST_LIMIT}")
    after = request.args.get("after", "0")
    if after != "0" and not is_id(after):
        raise bad_field("after", "must be an id")
    return Page(int(limit), int(after))


def requested_filter(parameter: str) -> int | None:
    """An id given as a query parameter; None if it is not given."""
    text = request.args.get(parameter)
    if text is None:
        return None
    if not is_id(text):
        raise bad_field(parameter, "must be an id")
    return int(text)


def refuse_unknown_parameters(*known: str) -> None:
    """400 for a query parameter that would be ignored: a misspelt one, or a second of the same name."""
    for parameter, values in request.args.lists():
        if parameter not in known:
            raise bad_field(parameter[:100], "is not a parameter of this path")
        if len(values) > 1:
            raise bad_field(parameter, "is given twice")


def next_link(page: Page, ids: Sequence[str]) -> dict[str, str]:
    """The `Link` header to the next page (RFC 8288), if this one is full."""
    if len(ids) < page.limit:
        return {}
    query = {**request.args.to_dict(), "limit": page.limit, "after": ids[-1]}
    return {"Link": f'<{request.path}?{urlencode(query)}>; rel="next"'}
