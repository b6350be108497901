"""The command `accounts`."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import click
from marshmallow import ValidationError

from accounts.answers import list_all_accounts
from accounts.demo import make_demo
from accounts.identity import UserExists, Users
from accounts.revenue import revenue
from accounts.schemas import CreateUserBody
from eventlog import EventLog, ProjectionReader
from eventlog.deciding import DecisionMaker
from shared.cli import make_commands
from shared.events import make_codec
from shared.permissions import Role
from shared.service import Service
from shared.settings import Settings

main = make_commands(
    Service(
        name="accounts",
        projection=revenue,
        worker="accounts.app:create_worker",
        port=lambda settings: settings.accounts_port,
        show=list_all_accounts,
    )
)


@main.command()
def demo() -> None:
    """Make the two demo users and accounts, once. Only with DEMO=1; the tail must run."""
    settings = Settings.from_environment(os.environ)
    if not settings.demo:
        raise click.ClickException("demo users have known passwords: set DEMO=1 if you want them")
    log = EventLog.connect(settings.redis_url, make_codec(), settings.stream)
    reader = ProjectionReader(settings.projection_directory("accounts", revenue), revenue)
    made = make_demo(Users(settings.data_dir / "accounts"), DecisionMaker(log, reader), datetime.now(UTC))
    click.echo(f"made {', '.join(made)}" if made else "demo users and accounts are there already")


@main.group()
def users() -> None:
    """Who may sign in."""


@users.command("add")
@click.argument("username")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), default=Role.MEMBER.value, show_default=True
)
@click.password_option(help="Asked for if not given.")
def add_user(username: str, role: str, password: str) -> None:
    """Add a user, such as the first admin: `accounts users add ada --role admin`."""
    settings = Settings.from_environment(os.environ)
    try:
        user = CreateUserBody().load({"username": username, "password": password, "role": role})
        Users(settings.data_dir / "accounts").add(user["username"], user["password"], user["role"])
    except ValidationError as problem:
        raise click.ClickException(str(problem.messages)) from problem
    except UserExists as problem:
        raise click.ClickException(str(problem)) from problem
    click.echo(f"added {role} {username}")
