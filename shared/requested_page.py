"""Which page a request asks for, and the link to the one after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from flask import request

from shared.paging import DEFAULT_LIMIT, LARGEST_LIMIT, Page
from shared.problems import bad_parameter
from shared.strict_json import is_id

ItemT = TypeVar("ItemT")


def requested_page() -> Page:
    """From the query parameters `limit` and `after`; 400 for what is not a number in bounds."""
    limit = requested_limit()
    after = request.args.get("after", "0")
    if after != "0" and not is_id(after):
        raise bad_parameter("after", "must be an id")
    return Page(limit, int(after))


def requested_limit() -> int:
    """From the query parameter `limit`; 400 for what is not a number in bounds."""
    limit = request.args.get("limit", str(DEFAULT_LIMIT))
    if not (is_id(limit) and int(limit) <= LARGEST_LIMIT):
        raise bad_parameter("limit", f"must be a whole number from 1 to {LARGEST_LIMIT}")
    return int(limit)


def requested_filter(parameter: str) -> int | None:
    """An id given as a query parameter; None if it is not given."""
    text = request.args.get(parameter)
    if text is None:
        return None
    if not is_id(text):
        raise bad_parameter(parameter, "must be an id")
    return int(text)


def refuse_unknown_parameters(*known: str) -> None:
    """400 for a query parameter that would be ignored: a misspelt one, or a second of the same name."""
    for parameter, values in request.args.lists():
        if parameter not in known:
            raise bad_parameter(parameter[:100], "is not a parameter of this path")
        if len(values) > 1:
            raise bad_parameter(parameter, "is given twice")


def one_page(
    page: Page, found: Sequence[ItemT], id_of: Callable[[ItemT], int | str]
) -> tuple[Sequence[ItemT], dict[str, str]]:
    """The items to show, and the `Link` header to the next page (RFC 8288) if `found` looked ahead to one."""
    if len(found) <= page.limit:
        return found, {}
    shown = found[: page.limit]
    query = {**request.args.to_dict(), "limit": page.limit, "after": id_of(shown[-1])}
    return shown, {"Link": link_to("next", query)}


def link_to(relation: str, query: Mapping[str, int | str]) -> str:
    """Another page of this path, as a `Link` header has it (RFC 8288)."""
    return f'<{request.path}?{urlencode(query)}>; rel="{relation}"'
