"""`make replay-figures`: what rebuilding and restarting cost on long logs; a recorded run, no test."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import httpx

from bench.growing_log import HOST, WITHIN_S, GrowingLog
from eventlog import Position
from tests.faults.campaign import describe_versions
from tests.make_run import wait_until

_ACCOUNTS, _CUSTOMERS = 10, 1000
_READERS, _READS_PER_S = 6, 300
_RESTARTS = 5
_SHORT, _LONG, _LONGEST = 100_000, 1_000_000, 2_000_000
_TRIM_EVERY, _KEEP = 100_000, 50_000


def _grow(folder: Path, seed: int, ending: ExitStack) -> GrowingLog:
    return GrowingLog(folder, random.Random(seed), ending, accounts=_ACCOUNTS, customers=_CUSTOMERS)


def _trim(growing: GrowingLog) -> float:
    """All but the newest entries, once the archive has them; the memory of Redis then, in MiB."""
    log, end = growing.log, growing.log.state().sequence

    def all_have_it() -> bool:
        return {reader.sequence for reader in log.readers.list_all()} == {end}

    wait_until(all_have_it, lambda: str(log.readers.list_all()), WITHIN_S)
    assert growing.start_program("eventlog", "trim", "--keep", str(_KEEP)).wait(600) == 0
    return log.server_state().used_memory_bytes / 2**20


@contextmanager
def _reading(growing: GrowingLog) -> Iterator[list[str]]:
    """Reads at a steady pace meanwhile; what each came to: `ok`, or what was wrong."""
    outcomes: list[str] = []
    stop = threading.Event()
    threads = [
        threading.Thread(target=_read_steadily, args=(growing, stop, outcomes)) for _ in range(_READERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _read_steadily(growing: GrowingLog, stop: threading.Event, outcomes: list[str]) -> None:
    read_to = Position(0, 0)
    due = time.monotonic()
    headers = {"Authorization": f"Bearer {growing.token()}"}
    with httpx.Client(base_url=f"http://{HOST}:{growing.port}", headers=headers, timeout=15) as client:
        while not stop.wait(max(0.0, due - time.monotonic())):
            due += _READERS / _READS_PER_S
            try:
                answer = client.get("/accounts/1")
            except httpx.TransportError as problem:
                outcomes.append(repr(problem))
                continue
            at = Position.parse(answer.headers.get("Log-Position", "0-0").partition("@")[0])
            outcomes.append("ok" if answer.status_code == 200 and at >= read_to else answer.text)
            read_to = at


@click.command()
@click.option("--seed", default=1, show_default=True)
def main(seed: int) -> None:
    """Publish a long log, and print what it costs to rebuild from it and to restart on it."""
    with tempfile.TemporaryDirectory(prefix="long-log-") as folder, ExitStack() as ending:
        growing = _grow(Path(folder), seed, ending)
        growing.start()
        growing.publish_up_to(_SHORT)
        short = growing.rebuild()
        growing.publish_up_to(_LONG)
        began = time.monotonic()
        with _reading(growing) as reads:
            long = growing.rebuild()
        reads_per_s = len(reads) / (time.monotonic() - began)
        growing.publish_up_to(_LONGEST)
        restarts = []
        for _ in range(_RESTARTS):
            growing.stop()
            restarts.append(growing.start())
        growing.stop()
    with tempfile.TemporaryDirectory(prefix="trimmed-log-") as folder, ExitStack() as ending:
        growing = _grow(Path(folder), seed, ending)
        growing.start()
        growing.keep_running("eventlog", "archive")
        memory_mib = []
        for events in range(_TRIM_EVERY, _LONGEST + 1, _TRIM_EVERY):
            growing.publish_up_to(events)
            memory_mib.append(_trim(growing))
        trimmed = growing.rebuild()
    failed = sum(each != "ok" for each in reads)
    lines = ["| what | figure |", "|---|---|"]
    for found in (short, long):
        meanwhile = "" if found is short else f", {reads_per_s:.0f} reads/s meanwhile, {failed} failed"
        same = "the same as" if found.told["same"] else "NOT the same as"
        lines.append(
            f"| `accounts rebuild` of {found.events:,} events | {found.seconds:.1f} s, "
            f"{found.events / found.seconds:,.0f}/s; {found.told['rows']:,} rows, {same} those served; "
            f"peak {found.peak_mib:.0f} MiB{meanwhile} |"
        )
    lines.append(
        f"| web server and tail started with a current checkpoint on {_LONGEST:,} events, until the first fresh read | "
        f"{min(restarts):.2f} to {max(restarts):.2f} s in {_RESTARTS} restarts |"
    )
    same = "the same as" if trimmed.told["same"] else "NOT the same as"
    first_mib, *later_mib = memory_mib
    lines.append(
        f"| memory of Redis while the log grows to {_LONGEST:,} events, trimmed to {_KEEP:,} every {_TRIM_EVERY:,} "
        f"| {first_mib:.0f} MiB after the first {_TRIM_EVERY:,}, then {min(later_mib):.0f} to {max(later_mib):.0f} |"
    )
    lines.append(
        f"| `accounts rebuild` of these, {_LONGEST - _KEEP:,} of them from the archive | {trimmed.seconds:.1f} s, "
        f"{trimmed.events / trimmed.seconds:,.0f}/s; {trimmed.told['rows']:,} rows, {same} those served; "
        f"peak {trimmed.peak_mib:.0f} MiB |"
    )
    click.echo("\n".join([*lines, f"seed {seed}; {describe_versions()}"]))


if __name__ == "__main__":
    main()
