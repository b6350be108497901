"""The commands that take what is served to a file, and back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from eventlog.backup import BackupRefused, back_up, restore
from eventlog.commands.common import Command, json_option, print_json
from eventlog.errors import NotBuilt, SwitchRefused, WrongLog
from eventlog.generations import discard
from eventlog.progress import progress
from eventlog.rebuild import catch_up
from shared.command_output import describe_moment
from shared.rebuild_commands import switch_or_exit
from shared.service import Service, pass_service

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.command(cls=Command, examples=["november.db"])
@_FILE
@json_option
@pass_service
def backup(service: Service, file: Path, as_json: bool) -> None:
    """Write rows and checkpoint, of one moment, to a new file; what is served goes on."""
    checkpoint = back_up(service.directory, service.projection, file)
    size = file.stat().st_size
    if as_json:
        print_json({"file": str(file), "bytes": size, **describe_moment(checkpoint)})
    else:
        click.echo(f"{file}: {size:,} bytes, as of number {checkpoint.sequence} at {checkpoint.position}")


@click.command("restore", cls=Command, examples=["november.db"])
@_FILE
@json_option
@pass_service
def restore_file(service: Service, file: Path, as_json: bool) -> None:
    """Serve a backup, brought up to now; the tail goes on from there. Refuses a file of another log."""
    log, directory, projection = service.connect(), service.directory, service.projection
    generation, checkpoint = restore(log, directory, projection, file)
    try:
        # Where nothing that can be read is served, whoever switches brings the backup up to now.
        with progress(f"catching up {projection.name}") as on_progress, suppress(NotBuilt):
            catch_up(log, directory, projection, generation, on_progress)
        switch_or_exit(service, generation)
    except (SwitchRefused, WrongLog) as refusal:
        discard(generation)
        raise BackupRefused(f"{file} is not served: {refusal}") from refusal
    except BaseException:
        discard(generation)
        raise
    if as_json:
        print_json({"generation": int(generation.name), **describe_moment(checkpoint)})
    else:
        click.echo(
            f"generation {generation.name} is served: the backup as of number {checkpoint.sequence} at "
            f"{checkpoint.position}, and what came after it"
        )
