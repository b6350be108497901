"""`eventlog keys`: the file of keys that sign entries, and what they signed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from eventlog.commands.common import (
    DIFFERENT,
    Command,
    CommandGroup,
    Place,
    at_the_log,
    json_option,
    keys_file_option,
    print_json,
)
from eventlog.counted import counted
from eventlog.errors import KeysRefused
from eventlog.key_file import KeyFile, new_key, write_keys
from eventlog.progress import progress
from eventlog.signed_log import SignedLog, begin_signing, examine_signatures
from eventlog.signing import Keys
from eventlog.whole_file import changing

_NO_FILE = "no file of keys is named: set EVENT_KEYS_FILE, or give --keys-file"


@click.group("keys", cls=CommandGroup, examples=["new", "list --json"])
def keys() -> None:
    """Look after the keys that sign entries (docs/security.md)."""


@keys.command("new", cls=Command, examples=["", "--keys-file event-keys.json"])
@keys_file_option
@json_option
def new(keys_file: Path | None, as_json: bool) -> None:
    """Put a new key in front: it signs from now on, and the ones before it go on to verify.

    Running services take it up by themselves. A file that is not there is made, for its owner alone.
    """
    path = _require_path(keys_file)
    key = new_key()
    with changing(path):
        before = KeyFile(path).read() if path.exists() else Keys((), {})
        write_keys(path, Keys([key, *before.keys], before.beginnings))
    if as_json:
        print_json({"file": str(path), "signs": key.id, "verify": [each.id for each in before.keys]})
        return
    click.echo(f"key {key.id} in {path} signs now; older ones that verify: {len(before.keys)}")
    if not before.keys:
        click.echo(
            "Is there a log already? With the services stopped: `eventlog keys begin`. Then start them with "
            f"EVENT_KEYS_FILE={path}"
        )


@keys.command("begin", cls=Command, examples=[""])
@json_option
@at_the_log
def begin(place: Place, as_json: bool) -> None:
    """Trust all entries that are in the log now; what comes behind them must be signed. Once for each log.

    Stop what publishes first, or what it still publishes unsigned is parked.
    """
    file = _require_file(place)
    with progress("reading") as on_progress:
        beginning = begin_signing(place.log, file, on_progress)
    if as_json:
        print_json({"sequence": beginning.sequence, "position": str(beginning.position)})
    else:
        click.echo(f"signed from the entry behind number {beginning.sequence} at {beginning.position} on")


@keys.command("list", cls=Command, examples=["", "--json"])
@json_option
@at_the_log
def list_keys(place: Place, as_json: bool) -> None:
    """Show how many entries of the log each key signed, and what a rebuild would park. Reads the whole log.

    Exit code 3 where something is not proven.
    """
    file = _require_file(place)
    with progress("reading") as on_progress:
        found = examine_signatures(place.log, file, on_progress)
    ids = [key.id for key in file.read().keys]
    if as_json:
        print_json(
            {
                "log_id": found.log_id,
                "entries": found.entries,
                "unsigned": found.unsigned,
                "keys": [{"id": key_id, "signed": found.by_key.get(key_id, 0)} for key_id in ids],
                "unproven": found.unproven,
                "first_unproven": found.first_unproven
                and {"position": str(found.first_unproven.position), "reason": found.first_unproven.reason},
                "changed": found.changed or None,
            }
        )
    else:
        _show(found, ids)
    if found.unproven or found.changed:
        sys.exit(DIFFERENT)


@keys.command("remove", cls=Command, examples=["3f9a01c2", "3f9a01c2 --park"])
@click.argument("key_id")
@click.option(
    "--park", is_flag=True, help="Even if entries of the log are signed with it: a rebuild parks them."
)
@json_option
@at_the_log
def remove(place: Place, key_id: str, park: bool, as_json: bool) -> None:
    """Take a key out of the file. What it signed is not applied any more, and a rebuild parks all of it.

    Refuses, with exit code 1, where entries of the log are signed with it, and for the only key.
    """
    file = _require_file(place)
    with changing(file.path), progress("reading") as on_progress:
        _without(key_id, file)
        signed = examine_signatures(place.log, file, on_progress).by_key.get(key_id, 0)
        if signed and not park:
            raise KeysRefused(
                f"{counted(signed, 'entry')} of the log {'is' if signed == 1 else 'are'} signed with {key_id}, and a "
                "rebuild without it would park them, so that what is served lacks them. If that is meant, because "
                f"somebody else has the key: `eventlog keys remove {key_id} --park`"
            )
        write_keys(file.path, _without(key_id, file))  # edited by hand, it may have more now
    if as_json:
        print_json({"removed": key_id, "signed": signed})
    else:
        click.echo(
            f"key {key_id} is removed; {counted(signed, 'entry')} signed with it will be parked by a rebuild"
        )


def _without(key_id: str, file: KeyFile) -> Keys:
    """What is left of them; KeysRefused where it is not there, or no other one is."""
    before = file.read()
    left = [key for key in before.keys if key.id != key_id]
    if len(left) == len(before.keys):
        raise KeysRefused(f"{file.path} has no key {key_id!r}: `eventlog keys list` shows them")
    if not left:
        raise KeysRefused(f"{key_id} is the only key: `eventlog keys new` makes another first")
    return Keys(left, before.beginnings)


def _show(found: SignedLog, ids: list[str]) -> None:
    if found.unsigned:
        click.echo(f"{found.unsigned:>12,}  from before the log was signed")
    for number, key_id in enumerate(ids):
        role = "signs" if number == 0 else "verifies"
        click.echo(f"{found.by_key.get(key_id, 0):>12,}  signed with key {key_id}, which {role}")
    if found.first_unproven:
        position, reason = found.first_unproven
        click.echo(
            f"{found.unproven:>12,}  not proven: parked by a rebuild; the first at {position}: {reason}"
        )
    if found.changed:
        click.echo(found.changed)


def _require_path(keys_file: Path | None) -> Path:
    if keys_file is None:
        raise click.ClickException(_NO_FILE)
    return keys_file


def _require_file(place: Place) -> KeyFile:
    if not isinstance(place.log.keys, KeyFile):
        raise click.ClickException(_NO_FILE)
    return place.log.keys
