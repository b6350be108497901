"""Clocks that jump under load, by seconds, an hour back, or ten years ahead: no promise hangs on them."""

from __future__ import annotations

import mmap
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import redis

from eventlog.tail_status import TailState
from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.pair import Pair, running_pair
from tests.faults.signed_in import sign_in
from tests.make_run import NEVER_S
from tests.signed import claims_of

# Who is on the clock that jumps, in the words of jumping_clock.c; the others keep the true one.
REDIS: Final[Mapping[str, str]] = {"CLOCK_ONLY": "redis-server"}
SERVICES: Final[Mapping[str, str]] = {"CLOCK_EXCEPT": "redis-server"}
MACHINE: Final[Mapping[str, str]] = {}

OFFSETS_S: Final[Sequence[int]] = (-2, 2, -3600, 315_360_000)
RESUMES_WITHIN_S = 5.0

_CORRECTION_S = 2  # what a time server may change at once: nobody who is signed in should notice
_ACCEPTED_BETWEEN = 60
_PAUSE_S = 0.05
_NOT_TOLD_APART_S = 60
_LIBRARY_SOURCE = Path(__file__).parent / "jumping_clock.c"


def jump_clocks(
    piece: Piece,
    whose: Mapping[str, str],
    offsets_s: Sequence[int] = OFFSETS_S,
    patience_s: float = 60.0,
    resumes_within_s: float = RESUMES_WITHIN_S,
) -> Outcome:
    """A trial is one jump: away from the true time, or back to it. Each offset takes its turn.

    Tokens rightly expire as the clock says; who signs in anew, as the load does then, must be let in at once.
    """
    chance = random.Random(piece.seed)
    wrong: list[str] = []
    accepted: list[float] = []
    alive: list[float] = []
    turns: list[int] = []
    offset_s = 0
    with _pair_on_clock(piece, whose) as (pair, set_clock):
        with pair.load(threads=4, seed=piece.seed, patience_s=patience_s) as load:
            while len(alive) < piece.trials:
                pair.wait_until_accepted(load, chance.randrange(_ACCEPTED_BETWEEN))
                if load.violations or pair.any_halted():
                    break
                turns = turns or chance.sample(offsets_s, len(offsets_s))
                before_s, offset_s = offset_s, 0 if offset_s else turns.pop()
                token = sign_in(pair.accounts_url)
                set_clock(offset_s)
                jumped_at = time.monotonic()
                _require_that_it_shows(pair, whose, offset_s)
                found = _look_around(pair, token, is_correction=abs(offset_s - before_s) <= _CORRECTION_S)
                alive.append(_seconds_until_alive(pair, jumped_at, patience_s))
                accepted.append(load.seconds_until_accepted(jumped_at))
                found += [
                    f"{took_s:.1f} s until {what}"
                    for what, took_s in (
                        ("a write was accepted", accepted[-1]),
                        ("both tails were known to be alive", alive[-1]),
                    )
                    if took_s > resumes_within_s
                ]
                wrong += [f"trial {len(alive)}, {before_s:+} s to {offset_s:+} s: {each}" for each in found]
            set_clock(0)
        books = pair.books(load)
    return Outcome(
        len(alive),
        {"answers 503": load.statuses[503], **books.counts()},
        [*wrong, *books.wrong],
        {"until a write was accepted": accepted, "until both tails were known to be alive": alive},
    )


@contextmanager
def _pair_on_clock(piece: Piece, whose: Mapping[str, str]) -> Iterator[tuple[Pair, Callable[[int], None]]]:
    """A pair, and what sets how many seconds its clock is off."""
    library, file = piece.folder / "jumping_clock.so", piece.folder / "clock"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, _LIBRARY_SOURCE], check=True)
    file.write_bytes(bytes(8))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 8) as shared:

        def set_clock(offset_s: int) -> None:
            shared[:] = offset_s.to_bytes(8, "little", signed=True)

        variables = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(file), **whose}
        with running_pair(piece, **variables) as pair:
            yield pair, set_clock


def _require_that_it_shows(pair: Pair, whose: Mapping[str, str], offset_s: int) -> None:
    """Who is on the clock that jumps is off by this much, and nobody else is: a small offset is not told apart."""
    with redis.Redis.from_url(pair.redis_url) as server:
        on_redis: Any = server.time()  # redis-py types it for its asynchronous twin too
    for shown, is_on_it in (
        (on_redis[0], whose is not SERVICES),
        (claims_of(sign_in(pair.accounts_url))["iat"], whose is not REDIS),
    ):
        assert abs(shown - time.time() - (offset_s if is_on_it else 0)) < _NOT_TOLD_APART_S


def _look_around(pair: Pair, old_token: str, *, is_correction: bool) -> list[str]:
    """What is wrong with the answers to who signed in before the jump, and to who does so now."""
    return [
        f"{answer.url.path} answered {whose} {answer.status_code} {answer.text}"
        for token, whose, allowed in (
            (old_token, "an old token", {200} if is_correction else {200, 401}),
            (sign_in(pair.accounts_url), "a new token", {200}),
        )
        for answer in _read(pair, {"Authorization": f"Bearer {token}"})
        if answer.status_code not in allowed
    ]


def _read(pair: Pair, headers: Mapping[str, str] | None = None) -> list[httpx.Response]:
    urls = (f"{pair.customers_url}/customers?limit=1", f"{pair.accounts_url}/accounts")
    return [
        httpx.get(url, headers=headers, auth=None if headers else pair.user, timeout=NEVER_S) for url in urls
    ]


def _tails_are_alive(pair: Pair) -> bool:
    """Reads say that they are fresh: the heartbeats of the tails are times of the clock that jumped."""
    return {answer.headers["Projection-State"] for answer in _read(pair)} == {TailState.FOLLOWING.value}


def _seconds_until_alive(pair: Pair, since: float, patience_s: float) -> float:
    """How long it took; `patience_s` and more if it did not come in that time."""
    while not _tails_are_alive(pair) and time.monotonic() - since < patience_s:
        time.sleep(_PAUSE_S)
    return time.monotonic() - since


CLOCK_JUMPS: list[Fault] = [
    Fault(f"clock-of-{name}", f"the clock of {who} jumps", 30, 15, partial(jump_clocks, whose=whose))
    for name, who, whose in (
        ("redis", "Redis", REDIS),
        ("services", "both services and their tails", SERVICES),
        ("machine", "all processes", MACHINE),
    )
]
