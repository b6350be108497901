"""Fixtures for every test: a log on fakeredis, and a real server for what fakeredis cannot show."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import settings
from werkzeug.routing import Rule

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec
from tests.examples import examples
from tests.fake_redis import fake_pool

pytest_plugins = ["tests.needs"]

settings.register_profile("here", max_examples=examples(100), deadline=None, database=None)
settings.load_profile("here")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `-n auto`: twice as many as cores and two, for most tests wait for processes; without those two more."""
    affinity = getattr(os, "sched_getaffinity", None)  # only Linux has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return 2 + (cores if config.option.markexpr == "not processes" else 2 * cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in an order by lot, always the same: those that wait for processes run beside others, not at the end."""
    items.sort(key=lambda item: hashlib.sha256(item.path.name.encode()).digest())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: looking through it for garbage took a third of the time, and more later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def cheap_passwords() -> Iterator[None]:
    """Apps and commands in this process hash with argon2id at its cheapest; as processes they hash as in production."""
    with pytest.MonkeyPatch.context() as patched:
        cheapest = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
        patched.setattr("accounts.identity.PasswordHasher", cheapest)
        yield


@pytest.fixture(autouse=True, scope="session")
def builders_of_urls_made_once() -> Iterator[None]:
    """Werkzeug compiles two functions for each route of each app: half of what it takes to make the apps of a test."""
    compile_builder = Rule._compile_builder  # noqa: SLF001  # it has no public name
    made: dict[tuple[str, str, bool], Callable[..., tuple[str, str]]] = {}

    def compile_once(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        what = (rule.rule, str(rule.defaults), append_unknown)
        if what not in made:
            made[what] = compile_builder(rule, append_unknown)
        return made[what]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Rule, "_compile_builder", compile_once)
        yield


@pytest.fixture
def production_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made in this process now hashes as in production."""
    monkeypatch.setattr("accounts.identity.PasswordHasher", PasswordHasher)


@pytest.fixture
def fake_log() -> EventLog:
    """A new, empty log in memory."""
    log = EventLog(fake_pool(), make_codec())
    log.create()
    return log


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server of this test's own, with the settings of `make run`."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def real_log(redis_server: EmbeddedRedis) -> Iterator[EventLog]:
    """A new, empty log on a real server."""
    log = EventLog.connect(redis_server.url, make_codec())
    log.create()
    yield log
    log.close()
