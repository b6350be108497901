"""Joins the parts of the customers service: `flask --app customers`, or a worker of `customers serve`."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime

from flask import Flask

from customers.command_handler import CommandHandler
from customers.directory import directory
from customers.routes import make_routes
from eventlog import EventLog, ProjectionReader
from eventlog.child_process import end_with_parent
from eventlog.deciding import DecisionMaker
from shared.events import make_codec
from shared.health import Health
from shared.http import make_app
from shared.log_position import Reads
from shared.log_routes import make_log_routes
from shared.pages.catalogue import make_catalogue_pages
from shared.projection_routes import make_projection_routes
from shared.request_ids import add_request_id
from shared.settings import Settings
from shared.telemetry import configure_logging
from shared.tokens import Tokens

_DESCRIPTION = "Customers of the accounts, and their invoices. Log in at the accounts service."


def create_app(settings: Settings | None = None, log: EventLog | None = None) -> Flask:
    """The app for these settings; without them, for the environment's. Opens no connection yet."""
    settings = settings or Settings.from_environment(os.environ)
    log = log or EventLog.connect(settings.redis_url, make_codec(), settings.stream, archive=settings.archive)
    reader = ProjectionReader(settings.projection_directory("customers", directory), directory)
    health = Health("customers", reader, log, settings.archive)
    app = make_app("customers", _DESCRIPTION, health, settings.cors_origins)
    handler = CommandHandler(DecisionMaker(log, reader), lambda: datetime.now(UTC))
    tokens = Tokens(settings.require_secret())
    app.register_blueprint(make_routes(tokens, Reads(reader, log), handler))
    app.register_blueprint(make_log_routes(tokens, log))
    app.register_blueprint(make_catalogue_pages(log.stream))
    app.register_blueprint(make_projection_routes(tokens, "customers", reader, log, settings.as_variables()))
    return app


def create_worker() -> Flask:
    """The same in a server's worker process, which must not outlive the server."""
    # SIGKILL: a worker that is just starting, or ending, would pass over a SIGTERM.
    end_with_parent(with_signal=signal.SIGKILL)
    configure_logging("customers", add_request_id)
    return create_app()
