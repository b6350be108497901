"""The paths that tell whoever watches a service how it is."""

from __future__ import annotations

from typing import Final

import msgspec
from flask import Blueprint, Response

from shared.health import Check, Health, Status
from shared.operations import RETRY_AFTER, Answer, asks, described
from shared.operators_only import refuse_others
from shared.permissions import Allowed
from shared.problems import RETRY_AFTER_S


class Readiness(msgspec.Struct, frozen=True):
    """Each thing looked at, by name, and the worst of them."""

    status: Status
    checks: dict[str, Check]


_NOT_BUILT: Final = Check("failed", "nothing is built yet", "start the tail, and see its log")
_ELSEWHERE: Final = "how it is, the machine itself is told, and who sends METRICS_TOKEN"
_DEAD: Final = Check("degraded", "dead: nobody holds the lock", "start the tail")
_SAYS_OK: Final = asks(
    Answer(200, "It answers.", str, "OK", media_type="text/plain"),
    allowed=Allowed.ANYONE,
    request_class=None,
)
_LIVE: Final = asks(
    Answer(200, "It answers.", dict[str, str], {"status": "ok"}), allowed=Allowed.ANYONE, request_class=None
)
_READY: Final = asks(
    Answer(
        200,
        "Reads can be answered; what is degraded says how to mend it.",
        Readiness,
        msgspec.to_builtins(Readiness("degraded", {"tail": _DEAD})),
    ),
    Answer(
        503,
        "Reads cannot be answered.",
        Readiness,
        msgspec.to_builtins(Readiness("failed", {"projection": _NOT_BUILT})),
        [RETRY_AFTER],
    ),
    allowed=Allowed.ANYONE,
    request_class=None,
)


def make_health_routes(health: Health, metrics_token: str) -> Blueprint:
    """`/status` as the former services had it, `/health/live` and `/health/ready`.

    Whoever may read `/metrics` is told what is wrong, and what to do; others what is well and what is not.
    """
    routes = Blueprint("health", __name__)

    @routes.get("/status")
    @described(_SAYS_OK)
    def status() -> Response:
        """Say OK, as the former services did."""
        return Response("OK", mimetype="text/plain")

    @routes.get("/health/live")
    @described(_LIVE)
    def live() -> Response:
        """Say that this process is alive."""
        return Response(b'{"status":"ok"}', mimetype="application/json")

    @routes.get("/health/ready")
    @described(_READY)
    def ready() -> Response:
        """Say whether reads can be answered, and what is wrong.

        What is wrong, and its mend, only to the machine itself, or with `METRICS_TOKEN` set to who sends it.
        """
        checks = health.checks()
        if refuse_others(metrics_token) is not None:
            checks = {name: Check(check.status, _ELSEWHERE) for name, check in checks.items()}
        found = {check.status for check in checks.values()}
        status: Status = "failed" if "failed" in found else "degraded" if "degraded" in found else "ok"
        body = msgspec.json.encode(Readiness(status, checks))
        if status == "failed":
            return Response(body, 503, {"Retry-After": RETRY_AFTER_S}, mimetype="application/json")
        return Response(body, mimetype="application/json")

    return routes
