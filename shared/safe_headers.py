"""What every answer tells browsers, so that they make nothing of it but what it is; caches, too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Strict-Transport-Security is for what ends TLS before us: over plain HTTP browsers pass it over.
_ALWAYS: Final = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Server", "revenue-stream"),  # else the web server adds its own name
]
# What is no page loads nothing, and is shown in nobody's frame.
_POLICY: Final = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
_NOT_KEPT: Final = ("Cache-Control", "no-store")
_ASKED_AGAIN: Final = ("Cache-Control", "no-cache")


class SafeHeaders:
    """Around a WSGI app, and whatever refuses requests to it; what an answer says of its own stays."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *failed: Any) -> Any:
            names = {name for name, _ in headers}  # all of our own making, so written in one way
            headers = headers + _ALWAYS
            if "Content-Security-Policy" not in names:
                headers.append(_POLICY)
            if "Cache-Control" not in names:
                headers.append(_ASKED_AGAIN if "ETag" in names else _NOT_KEPT)
            return start_response(status, headers, *failed)

        return self._app(environ, start)
