"""The paths that tell whoever watches a service how it is."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response

from shared.health import Health


def make_health_routes(health: Health) -> Blueprint:
    """`/status` as the former services had it, `/health/live` and `/health/ready`."""
    routes = Blueprint("health", __name__)

    @routes.get("/status")
    def status() -> Response:
        return Response("OK", mimetype="text/plain")

    @routes.get("/health/live")
    def live() -> Response:
        return Response(b'{"status":"ok"}', mimetype="application/json")

    @routes.get("/health/ready")
    def ready() -> Response:
        checks = health.checks()
        found = {check.status for check in checks.values()}
        status = "failed" if "failed" in found else "degraded" if "degraded" in found else "ok"
        body = {"status": status, "checks": {name: check._asdict() for name, check in checks.items()}}
        return Response(
            msgspec.json.encode(body), 503 if status == "failed" else 200, mimetype="application/json"
        )

    return routes
