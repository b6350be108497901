"""Row 14: what it costs a read that it is counted."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Final

from bench.figure import Aim, Bench, Figure, Measured
from bench.http_load import make_request, send
from bench.running_pair import RunningPair, running_pair
from bench.turns import take_turns
from shared.request_classes import RequestClass

_SECONDS, _SECONDS_QUICK = 2.0, 0.5
_AIM: Final = Aim("at most", 1.4)
_CONTESTANTS: Final = {"counted": 10**9 - 1, "not counted": 0}  # limits of a minute


def measure(bench: Bench) -> Measured:
    """GET /accounts/1 on one connection, one after the other, of two pairs that do nothing else."""
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS
    with ExitStack() as ending:
        pairs = {
            name: ending.enter_context(running_pair(bench.folder / name, dict.fromkeys(RequestClass, limit)))
            for name, limit in _CONTESTANTS.items()
        }
        turns = take_turns(
            {name: partial(_ask, pair, seconds) for name, pair in pairs.items()},
            bench.turns(),
            bench.chance,
        )
    return Measured(
        [
            Figure(
                row=14,
                measure="GET /accounts/{id} one after the other, counted for its limit",
                against="the same without limits",
                value=turns.ratio("counted", "not counted"),
                unit="times as long",
                aim=_AIM,
                turns=bench.turns(),
                absolute=" and ".join(f"{turns.spread(name).median:.2f} ms" for name in _CONTESTANTS),
            )
        ]
    )


def _ask(pair: RunningPair, seconds: float) -> float:
    """What half of the answers take at most, in ms."""
    request = make_request("GET", "/accounts/1", token=pair.token)
    answered = send(pair.accounts_port, lambda: request, connections=1, seconds=seconds)
    assert set(answered.statuses) == {200}, answered.statuses
    return answered.percentile_ms(50)
