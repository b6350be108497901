"""`accounts users …`: who may log in. No password stands in a command line, which others can see."""

from __future__ import annotations

import secrets
import sys
import warnings
from collections.abc import Callable
from getpass import GetPassWarning
from typing import Any

import click
from marshmallow import ValidationError

from accounts.identity import LastAdmin, NoSuchUser, UserExists, Users
from accounts.schemas import CreateUserBody
from eventlog.commands.common import CommandGroup, json_option, print_json
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
    try:
        _open_users(service).add(user["username"], user["password"], user["role"])
    except UserExists as problem:
        raise click.ClickException(str(problem)) from problem
    told = {"username": username, "role": role}
    _tell(told, f"added {role} {username}", password if generate else None, as_json=as_json)


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
    _of_a_user(lambda: _open_users(service).change_password(username, password))
    told = f"{username} has another password, and no session; access tokens stay good for up to 15 minutes"
    _tell({"username": username}, told, password if generate else None, as_json=as_json)


@users.command(examples=["ada"])
@click.argument("username")
@json_option
@pass_service
def disable(service: Service, username: str, as_json: bool) -> None:
    """Let a user neither log in nor refresh any more, nor change anything in accounts.

    Access tokens go on reading, and writing in customers, for up to 15 minutes.

    The last admin who may log in is not disabled: add another one first.
    """
    _of_a_user(lambda: _open_users(service).disable(username))
    _tell({"username": username, "disabled": True}, f"disabled {username}", None, as_json=as_json)


@users.command(examples=["ada"])
@click.argument("username")
@json_option
@pass_service
def enable(service: Service, username: str, as_json: bool) -> None:
    """Let a user who was disabled log in again."""
    _of_a_user(lambda: _open_users(service).enable(username))
    _tell({"username": username, "disabled": False}, f"enabled {username}", None, as_json=as_json)


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
        return sys.stdin.readline().rstrip("\r\n")
    try:
        with warnings.catch_warnings(action="error", category=GetPassWarning):
            password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    except GetPassWarning:
        raise click.UsageError(
            "there is no terminal to ask for a password on: give --password-stdin or --generate"
        ) from None
    return password


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


def _of_a_user(change: Callable[[], None]) -> None:
    try:
        change()
    except (LastAdmin, NoSuchUser) as problem:
        raise click.ClickException(str(problem)) from problem


def _tell(told: dict[str, Any], line: str, password: str | None, *, as_json: bool) -> None:
    """`password` is shown here, and nowhere again."""
    if as_json:
        print_json(told if password is None else {**told, "password": password})
        return
    click.echo(line)
    if password is not None:
        click.echo(f"password, shown this once: {password}")
