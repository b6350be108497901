"""A network between the services and Redis that fails in spells: each post happens once, and the pair recovers."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import httpx

from eventlog.embedded_redis import HOST, EmbeddedRedis
from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.fault_proxy import FaultProxy, Mode
from tests.faults.load import Answer, Load
from tests.faults.pair import Pair, running_pair
from tests.make_run import NEVER_S, wait_until

FAULTY_MODES: Sequence[Mode] = [mode for mode in Mode if mode is not Mode.PASSING]
_SPELL_S = (0.3, 2.0)
_LASTS_S = {Mode.BLACK_HOLE: (5.5, 11.5)}  # repetitions are lost too; from 10 s on, outcomes stay unknown
_SHARE_FOLLOWED_AT_ONCE = 0.5  # of spells: what the first left unsettled, the next falls upon
_ACCEPTED_BETWEEN = 50
_IN_TIME_S = 30.0


def shake_network(
    piece: Piece, modes: Sequence[Mode] = FAULTY_MODES, *, within_s: float = _IN_TIME_S
) -> Outcome:
    """A trial is one acknowledged post. The modes take turns by lot, in whole rounds, however few the posts.

    A pair that is not well again `within_s` seconds after a spell is wrong.
    """
    chance = random.Random(piece.seed)
    recovered: list[float] = []
    spells = 0
    with (
        EmbeddedRedis(piece.folder / "redis") as server,
        FaultProxy(server.port, piece.seed) as proxy,
        running_pair(piece, REDIS_URL=f"redis://{HOST}:{proxy.port}/0") as pair,
    ):
        with pair.load(threads=8, seed=piece.seed) as load:
            while _acknowledged_posts(load) < piece.trials and not _has_failed(pair, load):
                for mode in chance.sample(modes, len(modes)):
                    _spoil(proxy, mode, chance.uniform(*_LASTS_S.get(mode, _SPELL_S)), pair, load)
                    spells += 1
                    if chance.random() >= _SHARE_FOLLOWED_AT_ONCE:
                        recovered.append(_recover(proxy, pair, load, within_s))
                        pair.wait_until_accepted(load, chance.randrange(_ACCEPTED_BETWEEN * 2))
            recovered.append(_recover(proxy, pair, load, within_s))
            wait_until(
                lambda: not proxy.disturbed or _has_failed(pair, load),
                lambda: "a connection stays silent, or something late",
            )
        books = pair.books(load)
    counts = {"spells": spells, **{f"times {mode}": proxy.spoilt[mode] for mode in modes}}
    return Outcome(
        _acknowledged_posts(load),
        {**counts, "answered 503": load.statuses[503], **books.counts()},
        list(books.wrong),
        {"until all was well again": recovered},
    )


def _spoil(proxy: FaultProxy, mode: Mode, for_s: float, pair: Pair, load: Load) -> None:
    """One spell; it lasts until something was spoilt, for clients may still wait on the spell before."""
    before = proxy.spoilt[mode]
    proxy.mode = mode
    time.sleep(for_s)
    wait_until(
        lambda: proxy.spoilt[mode] > before or _has_failed(pair, load), lambda: f"nothing to spoil by {mode}"
    )


def _has_failed(pair: Pair, load: Load) -> bool:
    """Something is wrong already, and the books will say what."""
    return bool(load.violations) or pair.any_halted()


def _acknowledged_posts(load: Load) -> int:
    return sum(
        told.answer is Answer.ACCEPTED and told.event_type.endswith("Created") for told in load.told.copy()
    )


def _recover(proxy: FaultProxy, pair: Pair, load: Load, within_s: float) -> float:
    """Seconds until what is sent from now on is accepted, and both services reach the log."""
    proxy.mode = Mode.PASSING
    since = time.monotonic()
    wait_until(
        lambda: (
            _has_failed(pair, load) or (load.accepted_since(since) is not None and _both_reach_the_log(pair))
        ),
        lambda: "; ".join(httpx.get(url, timeout=NEVER_S).text for url in _health_urls(pair)),
        within_s,
    )
    return time.monotonic() - since


def _both_reach_the_log(pair: Pair) -> bool:
    checks = [httpx.get(url, timeout=NEVER_S).json()["checks"] for url in _health_urls(pair)]
    return all(found[part]["status"] == "ok" for found in checks for part in ("log", "tail"))


def _health_urls(pair: Pair) -> list[str]:
    return [f"{url}/health/ready" for url in (pair.customers_url, pair.accounts_url)]


NETWORK = Fault(
    "network",
    "a proxy before Redis: replies or requests dropped, black hole, resets, one byte at a time, 5 s latency",
    10_000,
    1000,
    shake_network,
)
