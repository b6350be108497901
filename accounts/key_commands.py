"""`accounts keys …`: what signs access tokens, and when that is another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from eventlog.commands.common import CommandGroup, json_option, print_json
from shared.service import Service, pass_service

if TYPE_CHECKING:
    from accounts.signing_keys import SigningKeys


@click.group(cls=CommandGroup, examples=["list", "rotate"])
def keys() -> None:
    """What signs access tokens."""


@keys.command("list", examples=["", "--json"])
@json_option
@pass_service
def list_keys(service: Service, as_json: bool) -> None:
    """List the keys by id, the oldest first: which one signs, which only verify what they signed."""
    with _opened_keys(service) as found:
        listed = found.list_keys()
        signing = found.find_signing(listed)
    now = datetime.now(UTC)
    shown = [
        (
            key.kid,
            "signs" if key == signing else "signs-later" if key.signs_from > now else "verifies",
            key.signs_from.isoformat(timespec="seconds"),
        )
        for key in listed
    ]
    if as_json:
        print_json([{"id": key_id, "state": state, "signs_from": since} for key_id, state, since in shown])
        return
    for key_id, state, since in shown:
        click.echo(f"{key_id}  {state:11}  {since}")


@keys.command(examples=["", "--json"])
@json_option
@pass_service
def rotate(service: Service, as_json: bool) -> None:
    """Add a key that signs in five minutes, the first one at once. Nobody is logged out: the others go on verifying.

    Fifteen minutes after the new key began to sign, nothing needs the one before it: `accounts keys remove` it.
    """
    with _opened_keys(service) as found:
        added = found.rotate()
    since = added.signs_from.isoformat(timespec="seconds")
    if as_json:
        print_json({"id": added.kid, "signs_from": since})
        return
    click.echo(f"added {added.kid}, which signs from {since} on")


# One id in 64 begins with a dash.
@keys.command(
    examples=["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"],
    context_settings={"ignore_unknown_options": True},
)
@click.argument("key_id")
@json_option
@pass_service
def remove(service: Service, key_id: str, as_json: bool) -> None:
    """Refuse what a key has signed, from now on; who has a refresh token is not logged out.

    Without the key that signs, the newest one does at once. Where somebody has seen the file: `rotate`, then `remove`
    every key that was in it. customers hears of it within a minute.
    """
    with _opened_keys(service) as found:
        found.remove(key_id)
    if as_json:
        print_json({"removed": key_id})
        return
    click.echo(f"removed {key_id}")


@contextmanager
def _opened_keys(service: Service) -> Iterator[SigningKeys]:
    from accounts.signing_keys import BadKeys, SigningKeys  # noqa: PLC0415  # cryptography takes long to import

    try:
        yield SigningKeys(service.read_settings().data_dir / "accounts")
    except BadKeys as problem:
        raise click.ClickException(str(problem)) from problem
