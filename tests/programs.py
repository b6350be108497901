"""The three programs, and every command of theirs by what is typed for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

import accounts.cli
import customers.cli
import eventlog.cli
from eventlog.commands.common import Command

PROGRAMS: Final[dict[str, click.Group]] = {
    "accounts": accounts.cli.main,
    "customers": customers.cli.main,
    "eventlog": eventlog.cli.main,
}


def _walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _walk(f"{path} {name}", below)


COMMANDS: Final = {path: found for program, main in PROGRAMS.items() for path, found in _walk(program, main)}


def options_of(command: click.Command) -> set[str]:
    """Every way in which one is written, `--help` too."""
    return {"--help"} | {name for parameter in command.params for name in parameter.opts}


def examples_of(path: str) -> list[str]:
    """The lines in the help of a command."""
    command = COMMANDS[path]
    return [f"{path} {each}".strip() for each in command.examples] if isinstance(command, Command) else []
