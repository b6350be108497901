"""Another writer adds hostile entries under load: what the rules allow is applied, the rest set aside, nothing ends."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import httpx
import redis

from eventlog.generations import Generations
from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.enemy import LAST_POSITION, OURS, Enemy, Forged
from tests.faults.entry_rules import Fields
from tests.faults.ledger import Ledger
from tests.faults.load import Answer, Load
from tests.faults.pair import Pair, running_pair
from tests.make_run import NEVER_S, wait_until

_THREADS = 3
_POLL_S = 0.02
_IN_TIME_S = 10.0
_LONGEST_BURSTS = [10, 100, 1500]
_REPLAYED_FROM = 1000  # of the last entries
_CHUNK = 1000


class Stream:
    """The log as any client of Redis sees it, with what the rules make of it so far."""

    def __init__(self, redis_url: str) -> None:
        self.ledger = Ledger()
        self._client = redis.Redis.from_url(redis_url)
        # As it is: a field may come twice.
        self._client.set_response_callback("XRANGE", lambda answer, **_: answer)
        self._read_to = b"-"

    def add(self, entries: list[Forged]) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for entry in entries:
                pipeline.execute_command("XADD", "event-stream", entry.position, *entry.fields)  # type: ignore[no-untyped-call]
            pipeline.execute()

    def length(self) -> int:
        return int(self._client.xlen("event-stream"))

    def judge(self) -> Ledger:
        """The ledger, with what is new taken into it."""
        while chunk := self._behind(self._read_to):
            for _, fields in chunk:
                self.ledger.take(fields)
            self._read_to = chunk[-1][0]
        return self.ledger

    def _behind(self, position: bytes) -> list[tuple[bytes, Fields]]:
        """Redis has no exclusive start behind the last position there is, so the one at it is asked for too."""
        found: list[tuple[bytes, Fields]] = self._client.execute_command(  # type: ignore[no-untyped-call]
            "XRANGE", "event-stream", position, "+", "COUNT", _CHUNK
        )
        return [(at, fields) for at, fields in found if at != position]


def a_newer_version(pair: Pair, stream: Stream, enemy: Enemy) -> list[str]:
    """Both projections halt before it and name the mend; reads go on, decisions do not."""
    newer = enemy.newer_version(stream.length() + 1)
    stream.add([Forged(newer), *(Forged(enemy.event()) for _ in range(20))])
    _comes_true(
        lambda: all(pair.halted(each) or pair.applied(each) >= stream.length() for each in pair.folders)
    )
    wrong = [
        f"{projection.name} is {why} by {newer}"
        for projection in pair.folders
        if "upgrade this service first" not in (why := pair.halted(projection) or "not halted")
    ]
    return wrong + _reads_that_do_not_go_on(pair, "halted") + _write_that_is_done(pair)


def the_last_position(pair: Pair, stream: Stream, enemy: Enemy) -> list[str]:
    """It is applied; nothing can be added after it: writes say so, reads go on."""
    stream.add([Forged(enemy.event(), LAST_POSITION)])
    stream.judge()
    wrong = _lagging(pair, stream.length()) + _projections_that_differ(pair, stream.ledger)
    return wrong + _reads_that_do_not_go_on(pair, "following") + _write_that_is_done(pair)


Ending = Callable[[Pair, Stream, Enemy], list[str]]
"""An entry after which nothing can be written, and what is wrong then."""
ENDINGS: list[Ending] = [a_newer_version, the_last_position]


def attack(piece: Piece, ending: Ending | None = None, *, within_s: float = _IN_TIME_S) -> Outcome:
    """A trial is one hostile entry, the last of them an ending, by lot if none is named.

    A projection that has not applied a burst `within_s` seconds is wrong.
    """
    chance = random.Random(piece.seed)
    ending = ending or chance.choice(ENDINGS)
    kinds: Counter[str] = Counter()
    wrong: list[str] = []
    lags: list[float] = []
    with running_pair(piece) as pair:
        stream, enemy = Stream(pair.redis_url), Enemy(random.Random(f"{piece.seed}-enemy"))
        processes = pair.run.processes()
        with pair.load(threads=_THREADS, seed=piece.seed, patience_s=within_s + 2) as load:
            wait_until(lambda: _customers_created(load) == _THREADS, lambda: str(load.statuses))
            while (left := piece.trials - 1 - kinds.total()) and not wrong and not load.violations:
                pair.wait_until_accepted(load, chance.randrange(20))
                kinds.update(_burst(stream, enemy, min(left, _burst_size(chance))))
                began = time.monotonic()
                wrong += _lagging(pair, stream.length(), within_s)
                lags.append(time.monotonic() - began)
        stream.judge()
        wrong += load.violations
        wrong += _lagging(pair, stream.length(), within_s) or _projections_that_differ(pair, stream.ledger)
        wrong += _unlike_told(load, stream.ledger)
        wrong = wrong or ending(pair, stream, enemy)
        kinds[ending.__name__.replace("_", " ")] += 1
        wrong += [f"{process} ended" for process in set(processes) - set(pair.run.processes())]
    fates = {f"entries {fate}": count for fate, count in stream.ledger.fates.items()}
    counts = {**kinds, **fates, "of ours acknowledged": load.accepted}
    return Outcome(kinds.total(), counts, wrong, {"until no lag was left": lags})


def _customers_created(load: Load) -> int:
    return sum(told.event_type == "CustomerCreated" for told in load.told.copy())


def _burst_size(chance: random.Random) -> int:
    return chance.randrange(1, chance.choice(_LONGEST_BURSTS))


def _burst(stream: Stream, enemy: Enemy, size: int) -> list[str]:
    """Add so many entries; answers what kind each was."""
    enemy.recorded = stream.judge().entries[-_REPLAYED_FROM:]
    following = stream.length() + 1
    made = [enemy.make(following + number) for number in range(size)]
    stream.add([entry for _, entry in made])
    return [kind for kind, _ in made]


def _lagging(pair: Pair, sequence: int, within_s: float = NEVER_S) -> list[str]:
    """Wait until both have applied so many entries; those that do not in time, or have halted."""

    def behind() -> list[str]:
        return [
            f"{projection.name} is at {applied} of {sequence}, halted: {pair.halted(projection)}"
            for projection in pair.folders
            if (applied := pair.applied(projection)) < sequence
        ]

    _comes_true(lambda: not behind() or pair.any_halted(), within_s)
    return behind()


def _comes_true(condition: Callable[[], bool], within_s: float = NEVER_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _projections_that_differ(pair: Pair, ledger: Ledger) -> list[str]:
    return [
        difference
        for projection, folder in pair.folders.items()
        for difference in ledger.differences(Generations(folder, projection).served_file.resolve())
    ]


def _unlike_told(load: Load, ledger: Ledger) -> list[str]:
    """What clients were told, against what was applied; a replay of it is set aside."""
    wrong = []
    due: Counter[int] = Counter()
    for told in load.told:
        times = ledger.commands[told.key]
        if times > 1 or (told.answer is Answer.ACCEPTED) > times or (told.answer is Answer.REFUSED and times):
            wrong.append(f"{told} was applied {times} times")
        if told.customer_id:
            due[int(told.customer_id)] += told.cents * times
    ours = ledger.accounts[OURS].customers
    held = {customer: sum(ours.get(customer, {}).values()) for customer in due}
    return wrong + [
        f"customer {customer} has {held[customer]}, and its clients were told of {cents}"
        for customer, cents in due.items()
        if held[customer] != cents
    ]


def _reads_that_do_not_go_on(pair: Pair, state: str) -> list[str]:
    """A read asks Redis whether the log is the same, and says `retrying` where that takes long."""

    def wrong() -> list[str]:
        answers = [
            httpx.get(url, headers=pair.headers, timeout=NEVER_S)
            for url in (f"{pair.accounts_url}/accounts/{OURS}", f"{pair.customers_url}/invoices")
        ]
        ready = [
            httpx.get(f"{url}/health/ready", timeout=NEVER_S)
            for url in (pair.accounts_url, pair.customers_url)
        ]
        return [
            f"{answer.url} was answered {answer.status_code} {answer.headers} instead of {state}"
            for answer in answers
            if answer.status_code != 200 or answer.headers["Projection-State"] != state
        ] + [f"{answer.url} is {answer.text}" for answer in ready if answer.status_code != 200]

    _comes_true(lambda: not wrong())
    return wrong()


def _write_that_is_done(pair: Pair) -> list[str]:
    body = {"name": "Ada", "account_id": str(OURS)}
    answer = httpx.post(f"{pair.customers_url}/customers", json=body, headers=pair.headers, timeout=NEVER_S)
    if answer.status_code == 503 and "Retry-After" in answer.headers and "not-written" in answer.text:
        return []
    return [f"a write that cannot be done was answered {answer.status_code} {answer.text}"]


HOSTILE_ENTRIES = Fault(
    "hostile-entries",
    "another writer adds random, forged, replayed, huge and otherwise hostile entries under load",
    20_000,
    2_000,
    attack,
)
