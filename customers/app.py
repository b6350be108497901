"""Joins the parts of the customers service: `flask --app customers`, or a worker of `customers serve`."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Flask

from customers.cli import SERVICE
from customers.command_handler import CommandHandler
from customers.directory import directory
from customers.routes import make_routes
from eventlog import EventLog, ProjectionReader
from eventlog.child_process import end_with_parent
from eventlog.deciding import DecisionMaker
from eventlog.process_log import configure_logging
from shared.health import Health
from shared.http import make_app
from shared.log_connection import connect_log
from shared.log_position import Reads
from shared.log_routes import make_log_routes
from shared.metrics import WebMetrics
from shared.metrics_routes import make_metrics_routes
from shared.pages.catalogue import make_catalogue_pages
from shared.projection_routes import make_projection_routes
from shared.public_keys import open_keys
from shared.requests_seen import add_request, see_requests
from shared.settings import Settings
from shared.standing import Standing
from shared.tokens import Tokens
from shared.tracing import start_tracing

if TYPE_CHECKING:
    from shared.spans import Spans

_DESCRIPTION = "Customers of the accounts, and their invoices. Log in at the accounts service."


def create_app(
    settings: Settings | None = None,
    log: EventLog | None = None,
    *,
    spans: Spans | None = None,
    metrics: WebMetrics | None = None,
    logs_requests: bool = False,
) -> Flask:
    """The app for these settings; without them, for the environment's, if it may start. Opens no connection yet."""
    settings = settings or SERVICE.read_safe_settings()
    log = log or connect_log(settings, "customers")
    metrics = metrics or WebMetrics()
    reader = ProjectionReader(settings.projection_directory("customers", directory), directory)
    keys = open_keys(settings.jwks, settings.data_dir / "customers")
    others = {"keys": keys.check}
    health = Health("customers", reader, log, settings.archive, others)
    tokens = Tokens(keys)
    app = make_app(
        "customers",
        _DESCRIPTION,
        health,
        tokens,
        log=log,
        per_minute=settings.request_limits,
        metrics_token=settings.metrics_token,
        cors_origins=settings.cors_origins,
        trusted_proxies=settings.trusted_proxies,
        spans=spans,
    )
    maker = DecisionMaker(
        log, reader, around_publish=metrics.around_publish(spans.publish if spans else None)
    )
    handler = CommandHandler(maker, lambda: datetime.now(UTC))
    app.register_blueprint(make_routes(Reads(reader, log), handler))
    app.register_blueprint(make_log_routes(log, settings.look_into_log))
    app.register_blueprint(make_catalogue_pages(log.stream))
    standing = Standing(reader, log, settings.archive, others)
    app.register_blueprint(make_metrics_routes(metrics, standing, settings.metrics_token))
    app.register_blueprint(make_projection_routes("customers", reader, log, settings.as_variables()))
    see_requests(app, metrics, logs=logs_requests)
    return app


def create_worker() -> Flask:
    """The same in a server's worker process, which must not outlive the server."""
    # SIGKILL: a worker that is just starting, or ending, would pass over a SIGTERM.
    end_with_parent(with_signal=signal.SIGKILL)
    configure_logging("customers", add_request)
    settings = SERVICE.read_safe_settings()
    return create_app(
        settings,
        spans=start_tracing("customers", os.environ),
        metrics=WebMetrics(settings.metrics_directory("customers")),
        logs_requests=True,
    )
