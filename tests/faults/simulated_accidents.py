"""What befalls a log from outside: foreign writers, clocks that jump, damage, roll backs, and operators who mend it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from eventlog import EventLog
from eventlog.errors import WrongLog
from tests.eventlog.parcels import make_codec
from tests.faults.simulated_connection import make_pool
from tests.faults.simulated_log import State
from tests.faults.simulated_truth import OWN_FIELDS, Truth
from tests.faults.simulated_world import META, STREAM, World

_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_JUMPS = [timedelta(hours=-1), timedelta(minutes=3), timedelta(days=2), timedelta(days=3653)]
_ODD_ENTRIES = [
    [b"EventTypeName", b"Weather", b"Payload", b"{}"],
    [b"EventTypeName", b"ParcelSent", b"Payload", b'{"id":1'],
    [b"EventTypeName", b"ParcelSent", b"Payload", b'{"id":99,"customer_id":1,"weight_g":-3}'],
    [b"EventTypeName", b"ParcelLost", b"Payload", b"[]"],
    [b"EventTypeName", b"AddressChanged", b"Payload", b'{"customer_id":1,"address":"a, b"}'],
    [b"field", b"value"],
]


class ForeignWriters:
    """Programs that know nothing of the library, or too much."""

    def __init__(self, world: World) -> None:
        self._world = world

    def write(self) -> None:
        chance = self._world.chance
        for _ in range(chance.choices([1, 2, 4], [4, 2, 1])[0]):
            fields = chance.choice([self._plain, self._odd, self._forged])()
            self._world.server.answer(b"XADD", STREAM, b"*", *fields)
            self._world.counts["foreign entries"] += 1
            self._world.note("foreign entry:", b" ".join(fields).decode())

    def _plain(self) -> list[bytes]:
        payload = b'{"id":%d,"customer_id":1,"weight_g":3}' % self._world.draw_parcel()
        fields = [b"EventTypeName", b"ParcelSent", b"Payload", payload]
        return fields if self._world.happens(0.5) else [*fields[2:], *fields[:2]]

    def _odd(self) -> list[bytes]:
        return self._world.chance.choice(_ODD_ENTRIES)

    def _forged(self) -> list[bytes]:
        """In our own form: an entry replayed, renumbered, or made up with the next number."""
        chance, entries = self._world.chance, self._world.entries() or []
        own = [fields for _, fields in entries if fields[::2] == OWN_FIELDS]
        if not own:
            return self._plain()
        fields = list(chance.choice(own))
        number = chance.choice([None, len(entries) + 1, chance.randrange(2 * len(entries) + 2)])
        if number is not None:
            fields[5] = b"%d" % number
        if self._world.happens(0.3):
            fields[7] = b"{}"
        return fields


class _Saved(NamedTuple):
    now: datetime
    server: State
    truth: Truth


class Accidents:
    """What was there before the first of several damages is kept, and may be put back."""

    def __init__(
        self, world: World, foreign: ForeignWriters, run_or_replace_all: Callable[[float], None]
    ) -> None:
        self._world = world
        self._log = EventLog(make_pool(world.server.answer), make_codec())
        self._foreign = foreign
        self._run_or_replace_all = run_or_replace_all
        self._saved: list[_Saved] = []
        self._undamaged: _Saved | None = None

    @property
    def damaged(self) -> bool:
        return self._undamaged is not None

    def jump(self) -> None:
        """The clock of the server and of everybody else."""
        jump = self._world.chance.choice(_JUMPS)
        if self._world.clock.now + jump < _LATEST:
            self._world.clock.now += jump
        self._world.note("clock jumped by", jump)

    def create(self, *, adopt: bool = False) -> None:
        """`eventlog init`, at any time: it makes a log where there is none, and answers its id where it is whole."""
        world, entries = self._world, self._world.entries()
        truth = world.truth
        if adopt or not (truth.log_id or entries):
            expected = "created"
        elif truth.log_id is not None and truth.is_whole(entries):
            expected = "exists"
        else:
            expected = "refused"
        try:
            log_id = self._log.create(adopt=adopt)
            outcome = "exists" if log_id == truth.log_id else "created"
        except WrongLog:
            log_id, outcome = "", "refused"
        world.note("init:", outcome)
        world.check(outcome == expected, "init", outcome, "and should be", expected)
        world.check((world.entries() or []) == (entries or []), "init changed what was in the stream")
        if outcome == "created":
            world.truth = Truth.created(log_id, entries or [])

    def trim(self) -> None:
        """On purpose, and recorded, as an operator does with a log that is whole."""
        world, truth, entries = self._world, self._world.truth, self._world.entries() or []
        own = [position for position, _ in entries if position <= truth.last_own]
        if len(own) < 2 or not truth.is_whole(entries):
            return
        count = world.chance.randrange(1, len(own))
        truth.trimmed_to = own[count]
        truth.trimmed += count
        world.server.answer(b"XTRIM", STREAM, b"MINID", str(own[count]).encode())
        world.server.answer(b"HSET", META, b"trimmed_to", str(truth.trimmed_to).encode())
        world.server.answer(b"HINCRBY", META, b"trimmed", b"%d" % count)
        if truth.log_id is not None:
            truth.subjects = {each: at for each, at in truth.subjects.items() if at >= truth.trimmed_to}
            self._log.subjects.prune(truth.log_id, truth.trimmed_to)
        world.note("trimmed to", truth.trimmed_to)

    # Damage

    def save(self) -> None:
        """What a backup does, or a replica that falls behind."""
        self._saved.append(self._state())
        self._world.note("saved")

    def roll_back(self) -> None:
        """To anything that was saved."""
        if self._saved:
            self._restore(self._world.chance.choice(self._saved))

    def restore_snapshot(self) -> None:
        """To what was saved last, of the whole machine: its clock goes back too, and the same ids come again."""
        if self._saved:
            self._world.clock.now = self._saved[-1].now
            self._restore(self._saved[-1])

    def _restore(self, saved: _Saved) -> None:
        self._remember()
        self._put_back(saved)
        self._world.counts["roll backs"] += 1
        self._world.note("rolled back to number", saved.truth.sequence, "at", self._world.clock.now)

    def damage(self) -> None:
        if self._world.entries() is None:
            return
        self._remember()
        damages = [self._flush, self._delete, self._rename, self._cut_the_start_off, self._delete_entries]
        (damage,) = self._world.chance.choices(damages, [1, 1, 1, 3, 6])
        self._world.counts["damages"] += 1
        self._world.note("damage:", damage.__name__)
        damage()

    def _flush(self) -> None:
        self._world.server.answer(b"FLUSHALL")
        self._world.truth = Truth()
        if self._world.happens(0.5):
            self.create()

    def _delete(self) -> None:
        self._world.server.answer(b"DEL", STREAM)
        if self._world.happens(0.5):
            self._foreign.write()

    def _rename(self) -> None:
        self._world.server.answer(b"RENAME", STREAM, b"elsewhere")

    def _delete_entries(self) -> None:
        chance, entries = self._world.chance, self._world.entries() or []
        for position, _ in chance.sample(entries, min(len(entries), chance.randint(1, 2))):
            self._world.server.answer(b"XDEL", STREAM, str(position).encode())

    def _cut_the_start_off(self) -> None:
        kept = self._world.chance.choice([0, 1, 3, 10])
        self._world.server.answer(b"XTRIM", STREAM, b"MAXLEN", b"%d" % kept)

    # Mending

    def mend(self) -> None:
        """The newer state is put back; whoever applied nothing of the older one goes on at once."""
        if self._undamaged is not None:
            self._put_back(self._undamaged)
            self._undamaged = None
            self._world.note("put back to number", self._world.truth.sequence)
            self._run_or_replace_all(0.5)

    def accept(self) -> None:
        """As the message says: what is there is adopted, and the directories of the projections deleted."""
        self.create(adopt=True)
        self._undamaged = None
        self._run_or_replace_all(0.8)

    def _remember(self) -> None:
        if self._undamaged is None:
            self._undamaged = self._state()

    def _state(self) -> _Saved:
        return _Saved(self._world.clock.now, self._world.server.state(), self._world.truth.copy())

    def _put_back(self, saved: _Saved) -> None:
        self._world.server.put_back(saved.server)
        self._world.truth = saved.truth.copy()
