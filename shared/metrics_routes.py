"""The path that Prometheus scrapes."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest

from shared.metrics import WebMetrics
from shared.operations import Answer, asks, described
from shared.operators_only import refuse_others
from shared.permissions import Allowed
from shared.standing import Standing

_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
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
        refused = refuse_others(token)
        if refused is not None:
            raise refused
        return Response(generate_latest(registry), content_type=_CONTENT_TYPE)

    return routes
