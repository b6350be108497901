"""The trace that a request is part of (W3C Trace Context), which the events that come of it are part of, too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

TRACEPARENT: Final = "traceparent"
_NAMED: Final = "HTTP_TRACEPARENT"
# Version, trace id, id of the span that asks, flags, and what only a later version than 00 has. No id has only
# zeros, and ff is no version.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.ASCII,
)
_SAMPLED: Final = 0x01
_TRACE_ID: Final = slice(3, 35)


def requested_trace_id(environ: WSGIEnvironment) -> str | None:
    """Of the trace that the request is part of; None as of `requested_traceparent`."""
    traceparent = requested_traceparent(environ)
    return None if traceparent is None else trace_id_of(traceparent)


def trace_id_of(traceparent: str) -> str:
    """Of one that can be read."""
    return traceparent[_TRACE_ID]


def requested_traceparent(environ: WSGIEnvironment) -> str | None:
    """Of version 00, as the request has it or as a later version is read as one; None where it cannot be read."""
    found = _TRACEPARENT.fullmatch(environ.get(_NAMED, ""))
    if found is None:
        return None
    version, ids, flags, more = found.groups()
    if version == "00":
        return found[0] if more is None else None
    return f"00-{ids}-{int(flags, 16) & _SAMPLED:02x}"  # no other flag need mean there what it means here
