"""`eventlog catalogue`: which events the log may hold, and what is in each."""

from __future__ import annotations

import os

import click

from eventlog.catalogue import ENTRY_POINTS, find_codecs, list_fields, make_catalogue
from eventlog.commands.common import Command, json_option, print_json
from eventlog.log import DEFAULT_STREAM


@click.command(cls=Command, examples=["", "--json"])
@json_option
def catalogue(as_json: bool) -> None:
    """List the events of the installed packages, with their fields; needs no log.

    --json prints an AsyncAPI 3 document of the stream, with the JSON Schema of each event. A package tells of its
    events by an entry point in the group `eventlog.codecs`, which names a function that makes its codec.
    """
    codecs = find_codecs()
    if not codecs:
        raise click.ClickException(
            f"no installed package tells of its events: give yours an entry point in the group {ENTRY_POINTS} that "
            "names a function which makes its codec"
        )
    document = make_catalogue(codecs.values(), os.environ.get("EVENT_STREAM") or DEFAULT_STREAM)
    if as_json:
        print_json(document)
        return
    for title, fields in list_fields(document):
        click.echo(title)
        for name, described in fields.items():
            click.echo(f"  {name:<24}{described}")
