"""Publishers whose requests and answers get lost, who wait, try again and overtake each other.

What the log's script answers and writes is checked when it ran, and what the publisher is told once it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import redis

from eventlog import Command, Event, EventLog, Moment, Published
from eventlog.errors import CommandReused, Conflict, OutcomeUnknown, WrongLog
from tests.eventlog.parcels import AddressChanged, ParcelLost, a_parcel_sent, make_codec
from tests.faults.simulated_connection import make_pool
from tests.faults.simulated_log import StreamEntry
from tests.faults.simulated_truth import OWN_FIELDS, Call
from tests.faults.simulated_world import World

_TRIES_PERMISSIONS = b"{event-stream}:nothing"  # the key of the script that is no publish
_SUBJECTS = ["customer-0", "customer-1", "customer-2"]


@dataclass
class _Attempt:
    """A publish under way: which of its requests and answers get lost, and what the log must have answered last."""

    call: Call
    losses: list[str]
    told: str = "lost"


class Publishers:
    """All write through the one `log`."""

    def __init__(self, world: World) -> None:
        self.log = EventLog(make_pool(self._deliver), make_codec(), clock=lambda: world.clock.now)
        self._world = world
        self._attempts: list[_Attempt] = []  # one inside the other, as one waits for the other
        self._calls: list[Call] = []

    def publish_anything(self) -> None:
        """A new command; up to three of its requests or answers get lost."""
        call = self._draw_call()
        if call is not None:
            losses = self._world.chance.choices(["", "request", "answer"], [8, 1, 1], k=3)
            self._publish(call, losses, retry_unknown_for_s=self._world.chance.choice([0, 0.05, 60]))

    def publish_again(self) -> None:
        """The same command, by a client that never learned what became of it, or that forgot."""
        if self._calls:
            call = self._world.chance.choice(self._calls[-8:])
            if self._world.happens(0.1):
                call = call._replace(fingerprint="other")
            self._publish(call, [], retry_unknown_for_s=60)

    def publish_meanwhile(self) -> None:
        """Another publisher's command, while one waits to try again."""
        call = self._draw_call()
        if call is not None and len(self._attempts) == 1:
            self._publish(call, [], retry_unknown_for_s=0)

    def _publish(self, call: Call, losses: list[str], *, retry_unknown_for_s: float) -> None:
        world, may_be_unknown = self._world, any(losses)
        self._calls.append(call)
        attempt = _Attempt(call, losses)
        self._attempts.append(attempt)
        published: Published | None = None
        try:
            published = self.log.publish(
                call.events,
                decided_at=call.decided_at,
                guards=call.guards,
                touches=call.touches,
                command=Command(call.key, call.fingerprint, call.named),
                result=call.key,
                retry_unknown_for_s=retry_unknown_for_s,
            )
            outcome = "replayed" if published.replayed else "published"
        except Conflict:
            outcome = "conflict"
        except CommandReused:
            outcome = "reused"
        except WrongLog as wrong:
            outcome = wrong.verdict.value
        except OutcomeUnknown:
            outcome = "unknown"
        finally:
            self._attempts.pop()
        world.note("publish", call, outcome)
        expected = outcome == attempt.told or (outcome == "unknown" and may_be_unknown)
        world.check(expected, call, "is told", outcome, "and should be", attempt.told)
        if published is not None:
            done = world.truth.commands[call.key]
            answer = Published(call.decided_at.log_id, *done[:2], call.key, replayed=published.replayed)
            world.check(published == answer, call, "is told", published, "and should be", answer)
            world.moments.append(Moment(published.log_id, published.position))

    # What goes over the wire

    def _deliver(self, name: bytes, *arguments: bytes) -> Any:
        """A request on its way to the server and back."""
        world = self._world
        if not self._attempts or name not in {b"EVAL", b"EVALSHA"} or _TRIES_PERMISSIONS in arguments:
            return world.server.answer(name, *arguments)
        attempt = self._attempts[-1]
        loss = attempt.losses.pop() if attempt.losses else ""
        if loss == "request":
            world.counts["requests lost"] += 1
            raise redis.ConnectionError("the request was lost")
        before = world.entries()
        try:
            answer = world.server.answer(name, *arguments)
        except redis.exceptions.NoScriptError:
            attempt.losses.append(loss)
            raise
        attempt.told = world.truth.answer(attempt.call, before, world.clock.now_ms())
        self._check_written(attempt, answer, before or [])
        if loss == "answer":
            world.counts["answers lost"] += 1
            raise redis.ConnectionError("the answer was lost")
        return answer

    def _check_written(self, attempt: _Attempt, answer: list[Any], before: Sequence[StreamEntry]) -> None:
        """The script wrote all or nothing, and what it should have."""
        world, call, told = self._world, attempt.call, answer[0].decode()
        added = (world.entries() or [])[len(before) :]
        world.counts[f"publish answered {told}"] += 1
        world.check(
            told == attempt.told and len(added) == (len(call.events) if told == "published" else 0),
            *(call, "is answered", answer, "with", len(added), "entries; it should be", attempt.told),
        )
        if told != "published":
            return
        lifetime = timedelta(days=1) if call.named else timedelta(minutes=2)
        expires_at_ms = world.clock.now_ms() + lifetime // timedelta(milliseconds=1)
        world.truth.note_published(call, before, [position for position, _ in added], expires_at_ms)
        first = world.truth.sequence - len(added) + 1
        for number, (event, (position, fields)) in enumerate(zip(call.events, added, strict=True), first):
            names, (event_type, _, sequence, metadata) = fields[::2], fields[1::2]
            world.check(
                names == OWN_FIELDS and (event_type, sequence) == (event.type_name.encode(), b"%d" % number),
                *(position, "is", fields, "and should be number", number, event),
            )
            world.numbers[position, metadata] = number

    # What is published

    def _draw_call(self) -> Call | None:
        """None where there is no log to decide on."""
        chance = self._world.chance
        decided_at = self._draw_moment()
        if decided_at is None:
            return None
        return Call(
            key=f"command-{len(self._calls)}",
            fingerprint="body",
            named=self._world.happens(0.5),
            decided_at=decided_at,
            guards=tuple(chance.sample(_SUBJECTS, chance.randrange(3))),
            touches=tuple(chance.sample(_SUBJECTS, chance.randrange(3))),
            events=tuple(self._draw_event() for _ in range(chance.choices([1, 2, 3], [6, 2, 1])[0])),
        )

    def _draw_moment(self) -> Moment | None:
        """What was read a while ago, or just now."""
        if self._world.moments and self._world.happens(0.5):
            return self._world.chance.choice(self._world.moments[-8:])
        state = self.log.state()
        return Moment(state.log_id, state.end) if state.log_id else None

    def _draw_event(self) -> Event:
        chance, kind = self._world.chance, self._world.chance.random()
        if kind < 0.65:
            customer_id, weight_g = chance.randrange(3), chance.randrange(9)
            return a_parcel_sent(self._world.draw_parcel(), customer_id=customer_id, weight_g=weight_g)
        if kind < 0.9:
            return ParcelLost(id=self._world.old_parcel())
        return AddressChanged(customer_id=1, town="Town", street="Street")
