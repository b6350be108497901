"""The command `accounts`."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import click
from marshmallow import ValidationError

from accounts.answers import list_all_accounts
from accounts.demo import make_demo
from accounts.doctor import examine_users
from accounts.explanation import as_document, as_text, explain
from accounts.identity import UserExists, Users
from accounts.ledger import find_wrong_sums
from accounts.revenue import revenue
from accounts.schemas import CreateUserBody
from eventlog import START, EventLog, EventLogError, Position, ProjectionReader
from eventlog.commands.common import DIFFERENT, json_option, print_json
from eventlog.deciding import DecisionMaker
from shared.cli import make_commands
from shared.events import make_codec
from shared.permissions import Absent, Role
from shared.service import Service
from shared.settings import Settings

_ID: Final = click.IntRange(1, 10**18 - 1)

main = make_commands(
    Service(
        name="accounts",
        projection=revenue,
        worker="accounts.app:create_worker",
        port=lambda settings: settings.accounts_port,
        examine=lambda settings: examine_users(Users(settings.data_dir / "accounts"), demo=settings.demo),
        show=list_all_accounts,
        find_wrong_sums=find_wrong_sums,
    )
)


@main.command(examples=[""])
@json_option
def demo(as_json: bool) -> None:
    """Make the two demo users and accounts, once. Only with DEMO=1; the tail must run."""
    settings = Settings.from_environment(os.environ)
    if not settings.demo:
        raise click.ClickException("demo users have known passwords: set DEMO=1 if you want them")
    log = EventLog.connect(settings.redis_url, make_codec(), settings.stream, archive=settings.archive)
    reader = ProjectionReader(settings.projection_directory("accounts", revenue), revenue)
    made = make_demo(Users(settings.data_dir / "accounts"), DecisionMaker(log, reader), datetime.now(UTC))
    if as_json:
        print_json({"made": made})
        return
    click.echo(f"made {', '.join(made)}" if made else "demo users and accounts are there already")


@main.command("explain", examples=["1", "1 --customer 7 --json"])
@click.argument("account_id", type=_ID)
@click.option("--customer", "customer_id", type=_ID, help="Only what this customer has to do with.")
@json_option
def explain_total(account_id: int, customer_id: int | None, as_json: bool) -> None:
    """Print the entries that make up an account's total: `accounts explain 1`.

    Exit code 3 if they do not sum up to it, so that the file was changed by something else than its tail.
    """
    settings = Settings.from_environment(os.environ)
    reader = ProjectionReader(settings.projection_directory("accounts", revenue), revenue)
    found = explain(reader, account_id, customer_id)
    if isinstance(found, Absent):
        raise click.ClickException(f"there is no {found.what}, as far as the tail has read: check the id")
    redis_cli = ["redis-cli", "-u", _without_password(settings.redis_url), "XRANGE", settings.stream]
    trimmed_to = _trimmed_to(settings)
    redis_line = shlex.join(redis_cli)
    for piece in as_document(found, trimmed_to) if as_json else as_text(found, redis_line, trimmed_to):
        click.echo(piece, nl=False)
    if found.sum_cents != found.total_revenue_cents:
        click.echo(
            f"the entries sum up to {found.sum_cents} cents, not to {found.total_revenue_cents}: something else than "
            f"the tail changed a row below {reader.directory}. Run `accounts verify --repair`.",
            err=True,
        )
        sys.exit(DIFFERENT)


def _trimmed_to(settings: Settings) -> Position:
    """Before which nothing is in Redis; START while Redis does not say, as the ledger is explained without it."""
    with closing(EventLog.connect(settings.redis_url, make_codec(), settings.stream)) as log:
        try:
            return log.state().trimmed_to
        except EventLogError:
            return START


def _without_password(redis_url: str) -> str:
    parts = urlsplit(redis_url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@main.group(examples=["add ada --role admin"])
def users() -> None:
    """Who may sign in."""


@users.command("add", examples=["ada --role admin"])
@click.argument("username")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), default=Role.MEMBER.value, show_default=True
)
@click.option("--password", help="Asked for if not given.")
@json_option
def add_user(username: str, role: str, password: str | None, as_json: bool) -> None:
    """Add a user, such as the first admin: `accounts users add ada --role admin`."""
    if password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    settings = Settings.from_environment(os.environ)
    try:
        user = CreateUserBody().load({"username": username, "password": password, "role": role})
        Users(settings.data_dir / "accounts").add(user["username"], user["password"], user["role"])
    except ValidationError as problem:
        wrong = (f"{field}: {' '.join(reasons)}" for field, reasons in problem.messages_dict.items())
        raise click.ClickException("; ".join(wrong)) from problem
    except UserExists as problem:
        raise click.ClickException(str(problem)) from problem
    if as_json:
        print_json({"username": username, "role": role})
        return
    click.echo(f"added {role} {username}")
