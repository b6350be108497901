"""The command `accounts`."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import Final

import click

from accounts.answers import list_all_accounts
from accounts.demo import make_demo
from accounts.doctor import examine_users
from accounts.explanation import as_document, as_text, explain
from accounts.identity import Users
from accounts.key_commands import keys
from accounts.ledger import find_wrong_sums
from accounts.revenue import revenue
from accounts.user_commands import users
from eventlog import START, EventLog, EventLogError, Position, ProjectionReader
from eventlog.commands.common import DIFFERENT, json_option, print_json
from eventlog.deciding import DecisionMaker
from eventlog.doctor.findings import Finding, Severity
from shared.cli import make_commands
from shared.doctor import ServiceName, judge_keys
from shared.events import make_codec
from shared.log_connection import connect_log
from shared.permissions import Absent
from shared.service import Service
from shared.settings import InvalidSettings, Settings

_ID: Final = click.IntRange(1, 10**18 - 1)


def _examine(settings: Settings) -> list[Finding]:
    from accounts.signing_keys import SigningKeys  # noqa: PLC0415  # cryptography takes long to import

    directory = settings.data_dir / "accounts"
    return examine_users(Users(directory), demo=settings.demo) + judge_keys(SigningKeys(directory).check())


def _require_safe_start(settings: Settings) -> None:
    """InvalidSettings unless nobody else can sign tokens, or knows a password. In demo mode a key is made here.

    The public halves are put where customers reads them: who restored the keys may not have those.
    """
    from accounts.signing_keys import BadKeys, SigningKeys  # noqa: PLC0415  # cryptography takes long to import

    keys = SigningKeys(settings.data_dir / "accounts")
    if settings.demo:
        keys.make_first()
    for found in _examine(settings):
        if found.name != ServiceName.NOBODY_CAN_LOG_IN and found.severity is Severity.PROBLEM:
            raise InvalidSettings(f"{found.detail}: {found.mend}")
    try:
        keys.publish()
    except BadKeys as problem:
        raise InvalidSettings(str(problem)) from problem


SERVICE: Final = Service(
    name="accounts",
    projection=revenue,
    worker="accounts.app:create_worker",
    port=lambda settings: settings.accounts_port,
    examine=_examine,
    require_safe_start=_require_safe_start,
    show=list_all_accounts,
    find_wrong_sums=find_wrong_sums,
)
main = make_commands(SERVICE)


@main.command(examples=[""])
@json_option
def demo(as_json: bool) -> None:
    """Make the two demo users and accounts, once. Only with DEMO=1; the tail must run."""
    settings = Settings.from_environment(os.environ)
    if not settings.demo:
        raise click.ClickException("demo users have known passwords: set DEMO=1 if you want them")
    log = connect_log(settings, "accounts")
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
    trimmed_to, look_into = _trimmed_to(settings), settings.look_into_log
    for piece in as_document(found, trimmed_to) if as_json else as_text(found, look_into, trimmed_to):
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
    with closing(EventLog.connect(settings.redis("accounts"), make_codec(), settings.stream)) as log:
        try:
            return log.state().trimmed_to
        except EventLogError:
            return START


main.add_command(keys)
main.add_command(users)
