"""`flask --app accounts …`: Flask's own commands for a service, and the service's beside them."""

from __future__ import annotations

from collections.abc import Callable

import click
from flask import Flask
from flask.cli import NoAppException

from shared.settings import InvalidSettings


def with_commands(create_app: Callable[[], Flask], commands: click.Group) -> Callable[[], Flask]:
    """The same factory, for the command `flask`: settings that cannot be used are an error in one line."""

    def create_app_with_commands() -> Flask:
        try:
            app = create_app()
        except InvalidSettings as problem:
            raise NoAppException(str(problem)) from problem
        for name, command in commands.commands.items():
            app.cli.add_command(_as_of_service(commands, name, command.get_short_help_str(100)))
        return app

    return create_app_with_commands


def _as_of_service(commands: click.Group, name: str, summary: str) -> click.Command:
    """Everything behind the command's name, `--help` too, goes to the service's own."""

    @click.command(
        name,
        short_help=summary,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def run(arguments: tuple[str, ...]) -> None:
        commands.main([name, *arguments], prog_name=commands.name)

    return run
