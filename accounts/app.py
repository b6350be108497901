"""Joins the parts of the accounts service: `flask --app accounts`, or a worker of `accounts serve`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask

from accounts.as_of import AsOf
from accounts.command_handler import CommandHandler
from accounts.console.routes import make_console
from accounts.feed import Feed
from accounts.feed_routes import make_feed_routes
from accounts.identity import Users
from accounts.revenue import revenue
from accounts.routes import make_routes
from accounts.sign_in import make_sign_in_routes
from eventlog import EventLog, ProjectionReader
from eventlog.child_process import end_with_parent
from eventlog.deciding import DecisionMaker
from shared.ending import Ending
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

_DESCRIPTION = (
    "Accounts and what they have earned; users and their tokens, which let them into customers, too."
)


def _never_ends(within_s: float) -> bool:
    time.sleep(within_s)
    return False


def create_app(
    settings: Settings | None = None,
    log: EventLog | None = None,
    is_ended_within: Callable[[float], bool] = _never_ends,
) -> Flask:
    """The app for these settings; without them, for the environment's. Opens no connection yet.

    `is_ended_within` waits for so many seconds; True if this process was told to end, so that no answer goes on.
    """
    settings = settings or Settings.from_environment(os.environ)
    log = log or EventLog.connect(settings.redis_url, make_codec(), settings.stream, archive=settings.archive)
    tokens = Tokens(settings.require_secret())
    users = Users(settings.data_dir / "accounts")
    reader = ProjectionReader(settings.projection_directory("accounts", revenue), revenue)
    health = Health("accounts", reader, log, settings.archive, {"users": users.check})
    app = make_app("accounts", _DESCRIPTION, health, settings.cors_origins)
    handler = CommandHandler(DecisionMaker(log, reader), users, lambda: datetime.now(UTC))
    reads = Reads(reader, log)
    app.register_blueprint(make_sign_in_routes(tokens, users))
    app.register_blueprint(make_console(tokens, users, reads, settings.customers_url, settings.stream))
    app.register_blueprint(make_routes(tokens, reads, AsOf(reads, log, revenue, "accounts as-of"), handler))
    feed = Feed(reader, log, is_ended_within)
    app.register_blueprint(make_feed_routes(tokens, reads, feed))
    app.register_blueprint(make_log_routes(tokens, log))
    app.register_blueprint(make_catalogue_pages(log.stream))
    app.register_blueprint(make_projection_routes(tokens, "accounts", reader, log, settings.as_variables()))
    return app


def create_worker() -> Flask:
    """The same in a server's worker process, which must not outlive the server."""
    # SIGKILL: a worker that is just starting, or ending, would pass over a SIGTERM.
    end_with_parent(with_signal=signal.SIGKILL)
    configure_logging("accounts", add_request_id)
    return create_app(is_ended_within=Ending().comes_within)
