"""Rows 5, 6 and 7: what reads, a restart and a rebuild cost while the log grows."""

from __future__ import annotations

import os
import random
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Final, NamedTuple

import msgspec

from bench.bare_server import bare_server
from bench.figure import Aim, Bench, Curve, Figure, Measured
from bench.growing_log import HOST, GrowingLog, Rebuilt
from bench.http_load import make_request, send
from bench.turns import Spread, Turns, take_turns

_ACCOUNTS: Final = 100
_CUSTOMERS_EACH: Final = 100
_MADE_FIRST: Final = _ACCOUNTS * (1 + _CUSTOMERS_EACH)
_SECONDS, _SECONDS_QUICK = 0.3, 0.2
_RESTARTS: Final = 15  # of the longest log and of the shortest; of those between a few, for the curve
_RESTARTS_BETWEEN: Final = 3

_RESTARTED_ONLY: Final = 2_000_000
# Invoices, created and deleted, and how often all of them are rebuilt: a minute for the longest.
_LENGTHS: Final = {10_000: 3, 100_000: 3, 300_000: 1, 1_000_000: 1}
_LENGTHS_QUICK: Final = {10_000: 1, 30_000: 1}

_AIM_READS: Final = Aim("at least", 0.7)
_AIM_FLAT_READS: Final = Aim("at least", 0.9, shape="flat")  # of the rate on the shortest log
_AIM_FLAT: Final = Aim("at most", 1.2, shape="flat")  # times what it is on the shortest log
_AIM_LINEAR: Final = Aim("at most", 1.2, shape="linear")  # times what an event takes on a log a tenth as long

# Path and connections: the longer an answer takes, the fewer, so that a turn ends in time.
_READS: Final = {"GET /accounts": ("/accounts", 4), "GET /accounts/{id}": ("/accounts/57", 16)}
_BARE: Final = ", bare"
_SHORTEST: Final = ", bare, on the shortest log"
_RESTARTED: Final = "restarted"
_RESTARTED_SHORTEST: Final = "restarted, the shortest log"


class _Grown(NamedTuple):
    """What was measured on logs of each length, in invoices."""

    reads: dict[int, Turns]
    rebuilt: dict[int, list[Rebuilt]]
    restarted: dict[int, Turns]


def measure(bench: Bench) -> Measured:
    """Everything on one log: each length takes in the one before."""
    lengths = _LENGTHS_QUICK if bench.quick else _LENGTHS
    longest = max(lengths) if bench.quick else _RESTARTED_ONLY
    grown = _Grown({}, {}, {})
    with ExitStack() as ending:
        growing = _begin(bench, "growing", ending)
        ports = {"": growing.port}
        ports[_BARE] = ending.enter_context(bare_server("bare_reads", str(growing.served_file)))
        for length, rebuilds in lengths.items():
            bench.tell(f"{length:,} invoices")
            growing.publish_up_to(_MADE_FIRST + length)
            if _SHORTEST not in ports:
                copy = bench.folder / "shortest.db"
                growing.copy_served(copy)
                ports[_SHORTEST] = ending.enter_context(bare_server("bare_reads", str(copy)))
            grown.reads[length] = _take_turns(bench, ports, growing.token())
            grown.rebuilt[length] = [growing.rebuild() for _ in range(rebuilds)]
            if length != longest:
                grown.restarted[length] = _restart(bench, {_RESTARTED: growing}, _RESTARTS_BETWEEN)
        if longest not in lengths:
            bench.tell(f"{longest:,} invoices, restarts only")
            growing.publish_up_to(_MADE_FIRST + longest)
        short = _begin(bench, "short", ending)
        short.publish_up_to(_MADE_FIRST + min(lengths))
        both = {_RESTARTED: growing, _RESTARTED_SHORTEST: short}
        grown.restarted[longest] = _restart(bench, both, _RESTARTS)
    figures = [figure for name in _READS for figure in _figures_of_reads(grown.reads, name, bench.turns())]
    figures += [
        _figure_of_restarts(grown.restarted, min(lengths), bench.turns(_RESTARTS)),
        *_figures_of_rebuilds(grown.rebuilt),
    ]
    return Measured(figures, _curves(grown))


def _take_turns(bench: Bench, ports: dict[str, int], token: str) -> Turns:
    """Each read by each server, by the name of the read and, where it is not ours, of the server."""
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS

    def rate(port: int, path: str, connections: int) -> Callable[[], float]:
        request = make_request("GET", path, token=token)

        def measure_one() -> float:
            found = send(port, lambda: request, connections=connections, seconds=seconds)
            assert set(found.statuses) == {200}, found.statuses
            return found.per_s

        return measure_one

    contestants = {}
    for name, (path, connections) in _READS.items():
        assert _read(ports[""], path, token) == _read(ports[_BARE], path, token), path
        for server, port in ports.items():
            contestants[name + server] = rate(port, path, connections)
    return take_turns(contestants, bench.turns(), bench.chance)


def _read(port: int, path: str, token: str) -> object:
    request = urllib.request.Request(
        f"http://{HOST}:{port}{path}", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # to loopback
        return msgspec.json.decode(answer.read())


def _begin(bench: Bench, name: str, ending: ExitStack) -> GrowingLog:
    """A log with the accounts and their customers, read by the service."""
    log = GrowingLog(
        bench.folder / name,
        random.Random(bench.seed),
        ending,
        accounts=_ACCOUNTS,
        customers=_ACCOUNTS * _CUSTOMERS_EACH,
    )
    log.start()
    log.publish_up_to(_MADE_FIRST)
    return log


def _restart(bench: Bench, logs: dict[str, GrowingLog], turns: int) -> Turns:
    """Seconds of each; what was published before is on disk by then, or writing it would slow some of them."""
    os.sync()
    return take_turns({name: log.restart for name, log in logs.items()}, bench.turns(turns), bench.chance)


def _figures_of_reads(reads: dict[int, Turns], name: str, turns: int) -> list[Figure]:
    shortest, longest = min(reads), max(reads)
    ratio = reads[longest].ratio(name, name + _BARE)
    ratios = ", ".join(f"{found.ratio(name, name + _BARE).median:.2f}" for found in reads.values())
    rates = {length: found.spread(name).median for length, found in reads.items()}
    # Each beside the same bare server on the same file, so that what else the machine does cancels out.
    flat = _beside(
        reads[longest].ratio(name, name + _SHORTEST), reads[shortest].ratio(name, name + _SHORTEST).median
    )
    return [
        Figure(
            row=5,
            measure=f"{name}, {_ACCOUNTS} accounts of {_CUSTOMERS_EACH} customers, {longest:,} invoices",
            against="Flask, sqlite3 and msgspec, the same SQL and web server",
            value=ratio,
            unit="of its rate",
            aim=_AIM_READS,
            turns=turns,
            absolute=f"{rates[longest]:,.0f}/s and {reads[longest].spread(name + _BARE).median:,.0f}/s;"
            f" from the shortest log on {ratios}",
        ),
        Figure(
            row=5,
            measure=f"{name}, {longest:,} invoices",
            against=f"itself with {shortest:,}, each beside one bare server on a copy of these",
            value=flat,
            unit="of that rate",
            aim=_AIM_FLAT_READS,
            turns=turns,
            absolute=f"{rates[longest]:,.0f}/s and {rates[shortest]:,.0f}/s",
        ),
    ]


def _figure_of_restarts(restarted: dict[int, Turns], shortest: int, turns: int) -> Figure:
    longest = max(restarted)
    found = restarted[longest]
    seconds = [found.spread(name).median for name in (_RESTARTED, _RESTARTED_SHORTEST)]
    return Figure(
        row=6,
        measure=f"web server and tail started on {longest:,} invoices, until the first fresh read",
        against=f"the same on {shortest:,}",
        value=found.ratio(_RESTARTED, _RESTARTED_SHORTEST),
        unit="times as long",
        aim=_AIM_FLAT,
        turns=turns,
        absolute=f"{seconds[0]:.2f} s and {seconds[1]:.2f} s",
    )


def _figures_of_rebuilds(rebuilt: dict[int, list[Rebuilt]]) -> list[Figure]:
    longest = max(rebuilt)
    shorter = longest // 10 if longest // 10 in rebuilt else min(rebuilt)
    event_us = {
        length: [found.seconds / found.events * 1e6 for found in rebuilt[length]]
        for length in (shorter, longest)
    }
    peaks = {length: [found.peak_mib for found in rebuilt[length]] for length in (shorter, longest)}
    figures = []
    for measured, values, aim, unit in (
        ("time for each event", event_us, _AIM_LINEAR, "us"),
        ("peak memory", peaks, _AIM_FLAT, "MiB"),
    ):
        ratio = _beside(Spread.of(values[longest]), median(values[shorter]))
        figures.append(
            Figure(
                row=7,
                measure=f"`accounts rebuild`, {longest:,} invoices: {measured}",
                against=f"the same with {shorter:,}",
                value=ratio,
                unit="times as much",
                aim=aim,
                turns=len(values[longest]),
                absolute=f"{median(values[longest]):.0f} {unit} and {median(values[shorter]):.0f} {unit}",
            )
        )
    return figures


def _beside(spread: Spread, base: float) -> Spread:
    return Spread(spread.median / base, spread.lowest / base, spread.highest / base)


def _curves(grown: _Grown) -> list[Curve]:
    by_length = "invoices in the log"

    def points(values: dict[int, list[float]]) -> Sequence[tuple[float, Spread]]:
        return [(length, Spread.of(found)) for length, found in values.items()]

    reads = [
        Curve(
            file,
            f"{name}, {_ACCOUNTS} accounts of {_CUSTOMERS_EACH} customers",
            by_length,
            "answers/s",
            {
                line: [(length, found.spread(line)) for length, found in grown.reads.items()]
                for line in (name, name + _BARE)
            },
        )
        for file, name in zip(("reads-of-all", "reads-of-one"), _READS, strict=True)
    ]
    seconds = {length: [one.seconds for one in found] for length, found in grown.rebuilt.items()}
    peaks = {length: [one.peak_mib for one in found] for length, found in grown.rebuilt.items()}
    return [
        *reads,
        Curve(
            "restarts",
            "Web server and tail started, until the first fresh read",
            by_length,
            "seconds",
            {"restart": [(length, found.spread(_RESTARTED)) for length, found in grown.restarted.items()]},
        ),
        Curve(
            "rebuild-time",
            "accounts rebuild: time",
            by_length,
            "seconds",
            {"rebuild": points(seconds)},
            logarithmic=False,
        ),
        Curve(
            "rebuild-memory",
            "accounts rebuild: peak memory",
            by_length,
            "MiB",
            {"rebuild": points(peaks)},
        ),
    ]
