"""The trace that a request is part of (W3C Trace Context), which the events that come of it are part of, too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

TRACEPARENT: Final = "traceparent"
_NAMED: Final = "HTTP_TRACEPARENT"
# Version 0: trace id, id of the span that asks, flags. No id has only zeros.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


_TRACE_ID: Final = slice(3, 35)


def requested_trace_id(environ: WSGIEnvironment) -> str | None:
    """Of the trace that the request is part of; None as of `requested_traceparent`."""
    traceparent = requested_traceparent(environ)
    return None if traceparent is None else trace_id_of(traceparent)


def trace_id_of(traceparent: str) -> str:
    """Of one that can be read."""
    return traceparent[_TRACE_ID]


def requested_traceparent(environ: WSGIEnvironment) -> str | None:
    """As the request has it; None where it has none that can be read."""
    named: str | None = environ.get(_NAMED)
    return named if named is not None and _TRACEPARENT.fullmatch(named) else None
