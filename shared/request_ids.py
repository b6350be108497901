"""The id of a request: the client's, or one made here; on its answer, in log lines, and with the events it led to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from eventlog.log import new_token

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

REQUEST_ID: Final = "X-Request-Id"  # no standard names it; this is what proxies and clients set
_NAMED: Final = "HTTP_X_REQUEST_ID"
_ID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)  # 128: what an event's correlation id may have


def request_id(environ: WSGIEnvironment) -> str:
    """Of the request, the same each time; made here where the client named none that is fit to be one."""
    named: str = environ.get(_NAMED, "")
    if not _ID.fullmatch(named):
        named = environ[_NAMED] = new_token()
    return named
