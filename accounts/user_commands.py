"""`accounts users …`: who may log in. No password stands in a command line, which others can see."""

from __future__ import annotations

import secrets
import sqlite3
import sys
import warnings
from collections.abc import Callable
from getpass import GetPassWarning
from typing import Any

import click
from marshmallow import ValidationError

from accounts.identity import LastAdmin, NoSuchUser, UserExists, Users
from accounts.schemas import CreateUserBody
from eventlog.commands.common import CommandGroup, abandon_output, json_option, print_json
from shared.permissions import Role
from shared.service import Service, pass_service

_GENERATED_BYTES = 18

_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line."
)
_generate = click.option("--generate", is_flag=True, help="Make up a password, and show it this once.")


@click.group(cls=CommandGroup, examples=["add ada --role admin --generate", "list"])
def users() -> None:
    """Who may log in."""


@users.command("add", examples=["ada --role admin --generate", "bob --generate --json"])
@click.argument("username")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), default=Role.MEMBER.value, show_default=True
)
@_password_stdin
@_generate
@json_option
@pass_service
def add_user(
    service: Service, *, username: str, role: str, password_stdin: bool, generate: bool, as_json: bool
) -> None:
    """Add a user, such as the first admin: `accounts users add ada --role admin --generate`.

    The password is asked for, unless an option says where it comes from.
    """
    password = _choose_password(from_stdin=password_stdin, generate=generate)
    user = _checked(username, password, role)
    there = _open_users(service)
    if generate and there.find(username) is not None:
        raise click.ClickException(str(UserExists(username)))

    def add() -> None:
        there.add(user["username"], user["password"], user["role"])

    told = {"username": username, "role": role}
    _set_password(add, told, f"added {role} {username}", password if generate else None, as_json=as_json)


@users.command(examples=["ada --generate"])
@click.argument("username")
@_password_stdin
@_generate
@json_option
@pass_service
def passwd(service: Service, username: str, password_stdin: bool, generate: bool, as_json: bool) -> None:
    """Give a user another password, and end the user's sessions; access tokens stay good for up to 15 minutes."""
    password = _choose_password(from_stdin=password_stdin, generate=generate)
    _checked("anybody", password, Role.MEMBER.value)
    there = _open_users(service)
    if generate and there.find(username) is None:
        raise click.ClickException(str(NoSuchUser(username)))

    def change() -> None:
        there.change_password(username, password)

    line = f"{username} has another password, and no session; access tokens stay good for up to 15 minutes"
    _set_password(change, {"username": username}, line, password if generate else None, as_json=as_json)


@users.command(examples=["ada"])
@click.argument("username")
@json_option
@pass_service
def disable(service: Service, username: str, as_json: bool) -> None:
    """Let a user neither log in nor refresh any more, nor change anything in accounts.

    Access tokens go on reading, and writing in customers, for up to 15 minutes.

    The last admin who may log in is not disabled: add another one first.
    """
    _change(lambda: _open_users(service).disable(username))
    _tell({"username": username, "disabled": True}, f"disabled {username}", as_json=as_json)


@users.command(examples=["ada"])
@click.argument("username")
@json_option
@pass_service
def enable(service: Service, username: str, as_json: bool) -> None:
    """Let a user who was disabled log in again."""
    _change(lambda: _open_users(service).enable(username))
    _tell({"username": username, "disabled": False}, f"enabled {username}", as_json=as_json)


@users.command("list", examples=["", "--json"])
@json_option
@pass_service
def list_users(service: Service, as_json: bool) -> None:
    """List all users by name, with role and since when."""
    found = _open_users(service).list_users()
    if as_json:
        print_json([user._asdict() for user in found])
        return
    for user in found:
        disabled = f"  disabled {user.disabled_date}" if user.disabled_date else ""
        click.echo(f"{user.username:20}  {user.role:6}  since {user.created_date}{disabled}")


def _open_users(service: Service) -> Users:
    return Users(service.read_settings().data_dir / "accounts")


def _choose_password(*, from_stdin: bool, generate: bool) -> str:
    if from_stdin and generate:
        raise click.UsageError(
            "--generate makes up a password, and --password-stdin reads one: choose one of them"
        )
    if generate:
        return secrets.token_urlsafe(_GENERATED_BYTES)
    if from_stdin:
        return _read_password()
    try:
        with warnings.catch_warnings(action="error", category=GetPassWarning):
            password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    except GetPassWarning:
        raise click.UsageError(
            "there is no terminal to ask for a password on: give --password-stdin or --generate"
        ) from None
    return password


def _read_password() -> str:
    mend = "give the password there, in one line"
    if sys.stdin is None:
        raise click.UsageError(f"standard input is closed: {mend}")
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError as problem:
        raise click.UsageError(f"standard input is no text in {problem.encoding}: {mend}") from problem


def _checked(username: str, password: str, role: str) -> dict[str, Any]:
    """What `POST /users` would take as well."""
    try:
        user: dict[str, Any] = CreateUserBody().load(
            {"username": username, "password": password, "role": role}
        )
    except ValidationError as problem:
        wrong = (f"{field}: {' '.join(reasons)}" for field, reasons in problem.messages_dict.items())
        raise click.ClickException("; ".join(wrong)) from problem
    return user


def _set_password(
    change: Callable[[], None], told: dict[str, Any], line: str, generated: str | None, *, as_json: bool
) -> None:
    """A generated password is shown before it is set: one that nobody has seen would keep its user out."""
    if generated is None:
        _change(change)
        _tell(told, line, as_json=as_json)
        return
    _show_password(
        {**told, "password": generated}, f"password, shown this once: {generated}", as_json=as_json
    )
    try:
        _change(change)
    except (click.ClickException, OSError, sqlite3.Error) as problem:
        raise click.ClickException(f"{problem}; the password that was shown is not set") from problem
    if not as_json:
        click.echo(line)


def _change(change: Callable[[], None]) -> None:
    try:
        change()
    except (LastAdmin, NoSuchUser, UserExists) as problem:
        raise click.ClickException(str(problem)) from problem


def _show_password(told: dict[str, Any], line: str, *, as_json: bool) -> None:
    why = "standard output is closed"
    if sys.stdout is not None:
        try:
            _tell(told, line, as_json=as_json)
        except OSError as problem:  # a closed pipe, too, else taken for a reader that has seen enough
            abandon_output()
            why = str(problem.strerror)
        else:
            return
    raise click.ClickException(
        f"the password could not be shown ({why}), and nothing was changed: give standard output a place that takes it"
    )


def _tell(told: dict[str, Any], line: str, *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        click.echo(line)
