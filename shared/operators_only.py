"""Who may see how a service fares inside: with `METRICS_TOKEN` set, whoever sends it; otherwise the machine itself."""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from flask import request

from shared.bearer import sent_token
from shared.problems import Problem, forbidden, unauthorized

_LOOPBACK: Final = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")


def refuse_others(metrics_token: str) -> Problem | None:
    """401 or 403 for a request of anybody else. One that came through a proxy is not the machine's own."""
    if metrics_token:
        if compare_digest(sent_token().encode(), metrics_token.encode()):
            return None
        return unauthorized(
            "This takes the METRICS_TOKEN of this service: Authorization: Bearer <METRICS_TOKEN>."
        )
    if request.remote_addr in _LOOPBACK and not any(name in request.headers for name in _FORWARDED):
        return None
    return forbidden("Without METRICS_TOKEN only this machine may see this: set it for the service.")
