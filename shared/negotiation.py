"""Which media type an answer gets, by the request's `Accept` (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from shared.operations import Operation
from shared.problem_kinds import NOT_ACCEPTABLE
from shared.problems import Problem

_REMEMBERED: Final = 64  # a client sends the same with each request, and parsing takes 30 us


@lru_cache(_REMEMBERED)
def preferred_media_type(accept: str, offered: tuple[str, ...]) -> str | None:
    """The one asked for first, of several that are alike the first offered; None if `accept` excludes each.

    Parameters are passed over: who asks for `application/json; charset=utf-8` gets JSON.
    """
    qualities: dict[str, float] = {}
    for asked, quality in parse_accept_header(accept, MIMEAccept):
        media_range = asked.partition(";")[0].strip().lower()
        if all(media_range.partition("/")):  # what is none excludes nothing
            qualities[media_range] = max(quality, qualities.get(media_range, 0))
    if not qualities:
        return offered[0]

    def rank(media_type: str) -> tuple[float, int]:
        ranges = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
        exactness = max((number for number, each in enumerate(ranges) if each in qualities), default=None)
        return (0, 0) if exactness is None else (qualities[ranges[exactness]], exactness)

    best = max(offered, key=rank)
    return best if rank(best)[0] > 0 else None


def require_acceptable(accept: str, operation: Operation) -> None:
    """406 if `accept` excludes all that the operation answers in; problems are answered whatever it says."""
    offered = operation.media_types
    if offered and preferred_media_type(accept, offered) is None:
        detail = f"This path answers {' or '.join(offered)}."
        raise Problem(NOT_ACCEPTABLE, detail, headers={"Vary": "Accept"})
