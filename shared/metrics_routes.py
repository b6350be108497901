"""The path that Prometheus scrapes."""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry, generate_latest

from shared.http import bearer_token
from shared.metrics import WebMetrics
from shared.operations import Answer, asks, described
from shared.permissions import Allowed
from shared.problems import forbidden, unauthorized
from shared.standing import Standing

_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_LOOPBACK: Final = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")
_METRICS: Final = asks(
    Answer(
        200,
        "The text format of Prometheus.",
        str,
        "# HELP log_up Whether Redis answers, and has the log.\n# TYPE log_up gauge\nlog_up 1.0\n",
        media_type="text/plain",
    ),
    allowed=Allowed.MACHINE,
    request_class=None,
)


def make_metrics_routes(metrics: WebMetrics, standing: Standing, token: str) -> Blueprint:
    """`/metrics`, for who has `token`; where that is empty, for this machine."""
    routes = Blueprint("metrics", __name__)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    registry.register(standing)

    @routes.get("/metrics")
    @described(_METRICS)
    def show_metrics() -> Response:
        """Tell Prometheus how this service, its tail, the log and the archive fare.

        With `METRICS_TOKEN` set for who sends it as bearer token; otherwise for who asks from the machine itself, and
        through no proxy.
        """
        _require_reader(token)
        return Response(generate_latest(registry), content_type=_CONTENT_TYPE)

    return routes


def _require_reader(token: str) -> None:
    if token:
        if not compare_digest(bearer_token().encode(), token.encode()):
            raise unauthorized("This is not the METRICS_TOKEN of this service.")
    elif request.remote_addr not in _LOOPBACK or any(name in request.headers for name in _FORWARDED):
        raise forbidden(
            "Without METRICS_TOKEN only this machine may read the metrics: set it for the service."
        )
