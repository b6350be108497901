"""A service under `flask --app accounts …`: its app, and its own commands beside those of Flask."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click
from flask import Flask
from flask.cli import FlaskGroup

from shared.settings import InvalidSettings


def with_commands(create_app: Callable[[], Flask], main: click.Group) -> Flask:
    """The app, with the commands of `main`; ClickException where it cannot be made of the environment.

    Where Flask only looks which commands there are, they are there all the same: what needs settings says itself what
    is wrong with them.
    """
    try:
        app = create_app()
    except InvalidSettings as wrong:
        if not _is_looking_for_commands():
            raise click.ClickException(str(wrong)) from wrong
        app = Flask(__name__)
    for name, command in main.commands.items():
        app.cli.add_command(
            click.Command(
                name,
                params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
                context_settings={"ignore_unknown_options": True},
                add_help_option=False,
                help=command.help,
                callback=partial(_pass_on, main, name),
            )
        )
    return app


def _is_looking_for_commands() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and isinstance(context.command, FlaskGroup)


def _pass_on(main: click.Group, name: str, words: tuple[str, ...]) -> None:
    """As it was typed, so that options, help and errors are those of `accounts` itself."""
    main.main([name, *words], prog_name=f"flask --app {main.name}")
