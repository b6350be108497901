"""Joins the parts of the accounts service: `flask --app accounts`, or a worker of `accounts serve`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Flask

from accounts.as_of import AsOf
from accounts.cli import SERVICE
from accounts.command_handler import CommandHandler
from accounts.console.routes import make_console
from accounts.failed_logins import DEFAULT_LIMITS, FailedLogins, Limits
from accounts.feed import Feed
from accounts.feed_routes import make_feed_routes
from accounts.identity import Users
from accounts.logins import Logins
from accounts.revenue import revenue
from accounts.routes import make_routes
from accounts.sessions import Sessions
from accounts.sign_in import make_sign_in_routes
from accounts.signing_keys import SigningKeys, parse_public_halves
from accounts.token_issuer import TokenIssuer
from eventlog import EventLog, ProjectionReader
from eventlog.child_process import end_with_parent
from eventlog.deciding import DecisionMaker
from eventlog.process_log import configure_logging
from shared.ending import Ending
from shared.health import Health
from shared.http import make_app
from shared.log_connection import connect_log
from shared.log_position import Reads
from shared.log_routes import make_log_routes
from shared.metrics import WebMetrics
from shared.metrics_routes import make_metrics_routes
from shared.pages.catalogue import make_catalogue_pages
from shared.projection_routes import make_projection_routes
from shared.public_keys import PublicKeyFile
from shared.requests_seen import add_request, see_requests
from shared.settings import Settings
from shared.standing import Standing
from shared.tokens import Tokens
from shared.tracing import start_tracing

if TYPE_CHECKING:
    from shared.spans import Spans

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
    *,
    limits: Limits = DEFAULT_LIMITS,
    spans: Spans | None = None,
    metrics: WebMetrics | None = None,
    logs_requests: bool = False,
) -> Flask:
    """The app for these settings; without them, for the environment's, if it may start. Opens no connection yet.

    `is_ended_within` waits for so many seconds; True if this process was told to end, so that no answer goes on.
    `limits` are those of failed logins.
    """
    settings = settings or SERVICE.read_safe_settings()
    log = log or connect_log(settings, "accounts")
    directory = settings.data_dir / "accounts"
    keys = SigningKeys(directory)
    tokens, issuer = Tokens(PublicKeyFile(keys.path, parse_public_halves)), TokenIssuer(keys)
    users, sessions = Users(directory), Sessions(directory)
    logins = Logins(users, FailedLogins(directory, limits))
    metrics = metrics or WebMetrics()
    reader = ProjectionReader(settings.projection_directory("accounts", revenue), revenue)
    others = {"users": users.check, "keys": keys.check}
    health = Health("accounts", reader, log, settings.archive, others)
    app = make_app(
        "accounts",
        _DESCRIPTION,
        health,
        tokens,
        log=log,
        per_minute=settings.request_limits,
        is_current=users.is_current,
        metrics_token=settings.metrics_token,
        cors_origins=settings.cors_origins,
        trusted_proxies=settings.trusted_proxies,
        spans=spans,
    )
    maker = DecisionMaker(
        log, reader, around_publish=metrics.around_publish(spans.publish if spans else None)
    )
    handler = CommandHandler(maker, users, lambda: datetime.now(UTC))
    reads = Reads(reader, log)
    app.register_blueprint(
        make_sign_in_routes(issuer=issuer, keys=keys, users=users, logins=logins, sessions=sessions)
    )
    app.register_blueprint(
        make_console(
            tokens,
            logins,
            issuer,
            reads,
            customers_url=settings.customers_url,
            look_into=settings.look_into_log,
        )
    )
    app.register_blueprint(make_routes(reads, AsOf(reads, log, revenue, "accounts as-of"), handler))
    feed = Feed(reader, log, is_ended_within)
    metrics.watchers.set_function(lambda: feed.watching)
    app.register_blueprint(make_feed_routes(tokens, reads, feed))
    app.register_blueprint(make_log_routes(log, settings.look_into_log))
    app.register_blueprint(make_catalogue_pages(log.stream))
    standing = Standing(reader, log, settings.archive, others)
    app.register_blueprint(make_metrics_routes(metrics, standing, settings.metrics_token))
    app.register_blueprint(make_projection_routes("accounts", reader, log, settings.as_variables()))
    see_requests(app, metrics, logs=logs_requests)
    return app


def create_worker() -> Flask:
    """The same in a server's worker process, which must not outlive the server."""
    # SIGKILL: a worker that is just starting, or ending, would pass over a SIGTERM.
    end_with_parent(with_signal=signal.SIGKILL)
    configure_logging("accounts", add_request)
    settings = SERVICE.read_safe_settings()
    return create_app(
        settings,
        is_ended_within=Ending().comes_within,
        spans=start_tracing("accounts", os.environ),
        metrics=WebMetrics(settings.metrics_directory("accounts")),
        logs_requests=True,
    )
