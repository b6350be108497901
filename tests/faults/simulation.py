"""One seed, one history: publishers, tails, crashes, roll backs and foreign writers, in one thread, on a fake clock.

The library is real, its scripts and SQLite included; Redis is simulated_log.py. Each step is compared with
simulated_truth.py. `python -m tests.faults.simulation SEED` tells a seed's history.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import click

from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.simulated_accidents import Accidents, ForeignWriters
from tests.faults.simulated_publishers import Publishers
from tests.faults.simulated_tails import Tails
from tests.faults.simulated_world import World

_STEPS = (10, 40)


class Simulated(NamedTuple):
    """A seed's history, one line a step, how often what happened, and what ended it: None if nothing did."""

    history: list[str]
    counts: Counter[str]
    problem: Exception | None


class _Simulation:
    """Draws steps and takes them; each checks itself."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._publishers = Publishers(world)
        self._tails = Tails(world)
        self._foreign = ForeignWriters(world)
        self._accidents = Accidents(world, self._foreign, self._tails.run_or_replace_all)
        world.clock.meanwhile = self._while_a_publisher_waits

    def run(self) -> None:
        world = self._world
        try:
            self._accidents.create()
            for _ in range(world.chance.randint(*_STEPS)):
                world.clock.now += timedelta(milliseconds=world.chance.choice([0, 0, 0, 1, 500]))
                self._draw_step()()
            self._finish()
        finally:
            self._tails.close()

    def _draw_step(self) -> Callable[[], None]:
        chance, accidents = self._world.chance, self._accidents
        if accidents.damaged and self._world.happens(0.25):
            return chance.choices([accidents.mend, accidents.accept], [3, 1])[0]
        steps = {
            self._publishers.publish_anything: 20,
            self._publishers.publish_again: 5,
            self._foreign.write: 7,
            self._tails.run_one: 20,
            self._tails.kill_one: 10,
            self._overtake: 8,
            self._tails.restart_the_machine: 2,
            self._tails.rebuild: 1,
            accidents.jump: 2,
            accidents.save: 4,
            accidents.roll_back: 3,
            self._fork: 3,
            accidents.damage: 3,
            accidents.trim: 1,
            accidents.create: 1,
        }
        return chance.choices(list(steps), list(steps.values()))[0]

    def _overtake(self) -> None:
        others = [self._publishers.publish_anything, self._foreign.write, self._accidents.damage]
        something = self._world.chance.choice([*others, lambda: None])
        self._tails.overtake_one(something)

    def _fork(self) -> None:
        """What was published and read after a snapshot is gone, and something else takes its place."""
        self._accidents.save()
        self._publishers.publish_anything()
        self._tails.run_one()
        self._accidents.restore_snapshot()
        self._publishers.publish_anything()
        self._tails.run_one()

    def _while_a_publisher_waits(self) -> None:
        if self._world.happens(0.3):
            self._foreign.write()
        elif self._world.happens(0.3):
            self._publishers.publish_meanwhile()

    def _finish(self) -> None:
        """All that can be applied is; a projection built anew is the same as one that lived through it all."""
        if self._world.happens(0.7):
            self._accidents.mend()
        self._tails.run_all_to_head()
        self._tails.rebuild()


def simulate(seed: str) -> Simulated:
    """What came of one seed."""
    problem: Exception | None = None
    with tempfile.TemporaryDirectory() as folder:
        world = World(seed, Path(folder))
        with world.in_place():
            try:
                _Simulation(world).run()
            except Exception as raised:  # noqa: BLE001  # whatever the library raises where it must not is the finding
                problem = raised
    return Simulated(world.history, world.counts, problem)


def run_simulations(piece: Piece) -> Outcome:
    """A trial is one seed: `<seed of the piece>-<number>`."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(piece.trials):
        seed = f"{piece.seed}-{number}"
        simulated = simulate(seed)
        counts["steps"] += len(simulated.history)
        counts.update(simulated.counts)
        if simulated.problem is not None:
            found = f"{type(simulated.problem).__name__}: {simulated.problem}"
            wrong.append(f"python -m tests.faults.simulation {seed}: step {len(simulated.history)}: {found}")
    return Outcome(piece.trials, dict(counts), wrong)


SIMULATION = Fault(
    "simulation",
    "seeded histories of publishers, tails, crashes, roll backs and foreign writers, on a simulated log",
    20_000,
    500,
    run_simulations,
)


@click.command()
@click.argument("seed")
def main(seed: str) -> None:
    """Tell what happens with a SEED, step by step, and raise what went wrong."""
    simulated = simulate(seed)
    click.echo("\n".join(simulated.history))
    if simulated.problem is not None:
        raise simulated.problem


if __name__ == "__main__":
    main()
