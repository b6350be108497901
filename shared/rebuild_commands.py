"""The commands that build a new generation beside the one served: rebuild and verify."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from eventlog.archive_reader import ArchiveReader
from eventlog.commands.common import DIFFERENT, INTERRUPTED, NOT_YET, Command, json_option, print_json
from eventlog.counted import counted
from eventlog.errors import NotBuilt
from eventlog.generations import discard
from eventlog.log_comparison import find_lost
from eventlog.progress import progress
from eventlog.rebuild import Built, build_generation
from eventlog.tail import switch_generation
from eventlog.tail_requests import RequestKind
from shared.command_output import describe_comparison, describe_moment, list_differences
from shared.service import Service, pass_service

_SWITCH_WAIT_S = 30.0


@click.command(cls=Command, examples=["", "--switch-if-equal"])
@click.option("--switch", is_flag=True, help="Serve the new generation, whatever differs.")
@click.option("--switch-if-equal", is_flag=True, help="Serve it if no row differs.")
@json_option
@pass_service
def rebuild(service: Service, switch: bool, switch_if_equal: bool, as_json: bool) -> None:
    """Build a new generation from the log, beside what is served, and compare both at one position.

    Exit code 3: they differ, and what was served still is. Where nothing was served before, it is served.
    """
    started = time.monotonic()
    nothing_served = service.generations.serving() is None
    built = _build(service)
    same = built.comparison is not None and built.comparison.is_same
    switched = switch or nothing_served or (switch_if_equal and same)
    if switched:
        switch_or_exit(service, built.generation, _kind(built))
    if as_json:
        print_json(
            {
                "generation": int(built.generation.name),
                "version": service.projection.version,
                **describe_moment(built.checkpoint),
                **describe_comparison(built.comparison),
                "fault": "" if nothing_served else built.fault,
                "switched": switched,
                "seconds": round(time.monotonic() - started, 3),
            }
        )
    else:
        _say(service, built, nothing_served=nothing_served, switched=switched)
    if not switched and not same:
        sys.exit(DIFFERENT)


@click.command(cls=Command, examples=["", "--repair"])
@click.option("--repair", is_flag=True, help="Where something is wrong, serve what the log gives.")
@json_option
@pass_service
def verify(service: Service, repair: bool, as_json: bool) -> None:
    """Compute everything again, from the log up to what is served now, and name each row that differs.

    Exit code 3: something is wrong, and was not repaired. Where the archive has an entry that Redis has otherwise, or
    not at all, it is the log that is wrong: that is said, and --repair refuses (exit code 1).
    """
    wrong = _find_wrong(service)
    built = _build(service)
    if built.fault and not any(sentence in built.fault for sentence in wrong):
        wrong.append(built.fault)
    right = built.comparison is not None and built.comparison.is_same and not wrong
    repaired = repair and not right
    try:
        if not right and (lost := _find_lost(service)):
            wrong.append(lost)
            if repair:
                raise click.ClickException(
                    f"Nothing was repaired, for what was acknowledged would be gone: {lost}"
                )
        if repaired:
            switch_or_exit(service, built.generation, _kind(built))
            service.generations.forget_previous()  # or a rollback would serve what was wrong
    finally:
        discard(built.generation)
    if as_json:
        answer = {**describe_moment(built.checkpoint), **describe_comparison(built.comparison)}
        print_json({**answer, "wrong": wrong, "repaired": repaired})
    else:
        for sentence in [*wrong, *list_differences(built.comparison)]:
            click.echo(sentence)
        rows = counted(built.comparison.rows, "row") if built.comparison else "no row could be compared"
        judged = "as the log gives them" if right else "repaired" if repaired else "not what the log gives"
        click.echo(f"{service.projection.name} as of {built.checkpoint.position}: {rows}, {judged}")
    if not right and not repaired:
        sys.exit(DIFFERENT)


def switch_or_exit(service: Service, generation: Path, kind: RequestKind = RequestKind.SWITCH) -> None:
    """Have a generation served; exit code 2 where the tail does not do it in time."""
    log, directory, projection = service.connect(), service.directory, service.projection
    try:
        done = switch_generation(log, directory, projection, generation, _SWITCH_WAIT_S, kind=kind)
    except KeyboardInterrupt:
        if service.generations.serving() != generation:
            raise
        click.echo(
            f"Interrupted: generation {generation.name} is served already, switched to just before.", err=True
        )
        sys.exit(INTERRUPTED)
    if not done:
        click.echo(
            f"The tail did not switch within {_SWITCH_WAIT_S:.0f} s, and what was served still is: see its log file, "
            f"then `{service.name} generations switch {generation.name}`.",
            err=True,
        )
        sys.exit(NOT_YET)


def _build(service: Service) -> Built:
    with progress(f"building {service.projection.name}") as on_progress:
        return build_generation(
            service.connect(),
            service.directory,
            service.projection,
            on_progress,
            service.read_settings().data_dir,
        )


def _find_wrong(service: Service) -> list[str]:
    """What is wrong with the file that is served, a sentence each; its rows are compared elsewhere."""
    wrong: list[str] = []
    try:
        with service.reader().look() as look:
            wrong += look.find_faults()
            if not look.find_wrong_tables():  # else no question can be asked
                wrong += [*look.list_impossible_acknowledgements(), *service.find_wrong_sums(look)]
            return wrong
    except NotBuilt as unusable:
        return [*wrong, str(unusable)]


def _find_lost(service: Service) -> str:
    """What the archive has and the log has not, and what mends it; empty where there is no such entry."""
    archive = ArchiveReader(service.read_settings().archive)
    with progress("comparing Redis with the archive") as on_progress:
        found = find_lost(service.connect(), archive, on_progress)
    if found is None:
        return ""
    return (
        f"{found}, {archive.path}. If `eventlog archive --check` finds nothing wrong with that, write back what it "
        "has: `eventlog reseed --replace`; then verify again. Else put a copy of it back (docs/runbook.md, Archive)"
    )


def _kind(built: Built) -> RequestKind:
    return RequestKind.REPAIR if built.fault else RequestKind.SWITCH


def _say(service: Service, built: Built, *, nothing_served: bool, switched: bool) -> None:
    what = f"generation {built.generation.name} of {service.projection.name} version {service.projection.version}"
    click.echo(f"{what}, as of number {built.checkpoint.sequence} at {built.checkpoint.position}")
    if built.comparison is None:
        nothing = "nothing is served of this version yet: nothing to compare with"
        click.echo(nothing if nothing_served else f"it was compared with nothing: {built.fault}")
    elif built.comparison.is_same:
        click.echo(f"{counted(built.comparison.rows, 'row')}, the same as what is served")
    for sentence in list_differences(built.comparison):
        click.echo(sentence)
    if switched:
        click.echo("it is served now")
    else:
        click.echo(f"not served: `{service.name} generations switch {built.generation.name}` serves it")
