"""Disks that fill up and a Redis without memory, under load: clients are told to wait, and all resumes by itself."""

from __future__ import annotations

import ctypes
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import redis

from accounts.revenue import revenue
from customers.directory import directory
from eventlog import Projection
from eventlog.generations import home_of
from eventlog.tail_status import TailState, TailStatusFile
from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.load import Load
from tests.faults.pair import Pair, running_pair
from tests.make_run import NEVER_S, make_environment, wait_until

WITHIN_S = 5.0  # it is named, and what it held up resumes
LASTS_S = (0.5, 20.0)  # the longer Redis cannot start, the longer its supervisor pauses

_ACCEPTED_BETWEEN = 100
_STUCK_FOR_S = 0.5
_DISK_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_MEMORY_LEFT_BYTES = 64 * 1024  # at most: the load takes it
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 0x40000  # sched.h, sys/mount.h
_REDIS = {"redis-server", "valkey-server"}
_CREDENTIALS = {"username": "user1", "password": "password1"}

# Something is scarce while it is entered, and something is refused or left undone for it.
Scarcity = Callable[[Pair, Load, random.Random], AbstractContextManager[None]]


class Disks(NamedTuple):
    """Folders of the data directory, each with a small disk of its own; "." is all of it."""

    folders: Sequence[str]
    hold_redis: bool


REDIS_DISK = Disks(["redis"], hold_redis=True)
SQLITE_DISKS = Disks(["accounts", "customers"], hold_redis=False)
ONE_DISK = Disks(["."], hold_redis=True)


def starve_redis(piece: Piece, lasts_s: tuple[float, float] = LASTS_S, within_s: float = WITHIN_S) -> Outcome:
    """A trial is one time that Redis has no memory left; the tails only read, and must keep up all the same."""
    return _endure(piece, _no_memory, lasts_s, within_s, tails_keep_up=True)


def fill_disks(
    piece: Piece, disks: Disks, lasts_s: tuple[float, float] = LASTS_S, within_s: float = WITHIN_S
) -> Outcome:
    """A trial is one time that no space is left on the disks.

    They are mounted for a thread of its own and what it starts, and gone with the last of these.
    """
    with ThreadPoolExecutor(1, initializer=_leave_mount_namespace) as thread:
        return thread.submit(_fill_disks, piece, disks, lasts_s, within_s).result()


def can_mount(folder: Path) -> bool:
    """Whether this user may have mounts that nobody else sees."""
    mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    try:
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:  # not Linux
        return False


def _leave_mount_namespace() -> None:
    """From here on, what this thread mounts is seen by nobody but itself and what it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "no mounts of its own for this thread: they need root")


def _fill_disks(piece: Piece, disks: Disks, lasts_s: tuple[float, float], within_s: float) -> Outcome:
    data_dir = Path(make_environment(piece.folder)["DATA_DIR"])
    mounted = [data_dir / folder for folder in disks.folders]
    for disk in mounted:
        disk.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", disk], check=True)
    return _endure(piece, partial(_no_space, mounted, hold_redis=disks.hold_redis), lasts_s, within_s)


def _endure(
    piece: Piece,
    scarcity: Scarcity,
    lasts_s: tuple[float, float],
    within_s: float,
    *,
    tails_keep_up: bool = False,
) -> Outcome:
    chance = random.Random(piece.seed)
    wrong: list[str] = []
    accepted: list[float] = []
    caught_up: list[float] = []
    with running_pair(piece) as pair:
        processes = _processes_but_redis(pair)
        with pair.load(threads=4, seed=piece.seed, patience_s=NEVER_S) as load:
            for trial in range(1, piece.trials + 1):
                pair.wait_until_accepted(load, chance.randrange(_ACCEPTED_BETWEEN))
                if load.violations or pair.any_halted():
                    break
                with scarcity(pair, load, chance):
                    ends_at = time.monotonic() + chance.uniform(*lasts_s)
                    found = _look_around(pair, newcomer=f"guest-{piece.seed}-{trial}", within_s=within_s)
                    time.sleep(max(0.0, ends_at - time.monotonic()))
                    if tails_keep_up:
                        found += _states_other_than_following(pair)
                ended_at = time.monotonic()
                accepted.append(load.seconds_until_accepted(ended_at))
                caught_up.append(_seconds_until_caught_up(pair, ended_at))
                found += [
                    f"{took_s:.1f} s until {what}"
                    for what, took_s in (
                        ("a write was accepted", accepted[-1]),
                        ("both tails followed", caught_up[-1]),
                    )
                    if took_s > within_s
                ]
                wrong += [f"trial {trial}: {each}" for each in found]
        alive = set(pair.run.processes())
        wrong += [f"{command} ended" for process, command in processes.items() if process not in alive]
        books = pair.books(load)
    return Outcome(
        len(accepted),
        {"answers 503": load.statuses[503], **books.counts()},
        [*wrong, *books.wrong],
        {"until a write was accepted": accepted, "until both tails followed": caught_up},
    )


def _processes_but_redis(pair: Pair) -> dict[psutil.Process, str]:
    """With their command lines; Redis may exit on a full disk, for its supervisor starts it again."""
    return {
        process: " ".join(process.cmdline())
        for process in pair.run.processes()
        if process.name() not in _REDIS
    }


@contextmanager
def _no_memory(pair: Pair, load: Load, chance: random.Random) -> Iterator[None]:
    """First what is there runs out; then it stays out, whatever is freed."""
    refusals = load.statuses[503]
    with redis.Redis.from_url(pair.redis_url) as server:
        used: Any = server.info("memory")  # redis-py types it for its asynchronous twin too
        server.config_set("maxmemory", used["used_memory"] + chance.randrange(_MEMORY_LEFT_BYTES))
        _wait_until_felt(load, lambda: load.statuses[503] > refusals)
        server.config_set("maxmemory", 1)
        yield
        server.config_set("maxmemory", 0)


@contextmanager
def _no_space(
    disks: Sequence[Path], pair: Pair, load: Load, _: random.Random, *, hold_redis: bool
) -> Iterator[None]:
    refusals = load.statuses[503]
    with ExitStack() as filled:
        for disk in disks:
            filled.enter_context(_filled(disk))
        if hold_redis:
            _wait_until_felt(load, lambda: load.statuses[503] > refusals)
        else:
            _wait_until_felt(load, lambda: any(_is_stuck(pair, each) for each in pair.folders))
        yield


@contextmanager
def _filled(disk: Path) -> Iterator[None]:
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(_CHUNK_BYTES))
        yield
    finally:
        ballast.unlink()


def _wait_until_felt(load: Load, felt: Callable[[], bool]) -> None:
    wait_until(lambda: felt() or bool(load.violations), lambda: "nothing is refused")


def _is_stuck(pair: Pair, projection: Projection) -> bool:
    """It applies nothing, although there is something to apply."""
    before, end = pair.applied(projection), _length_of_log(pair)
    time.sleep(_STUCK_FOR_S)
    return before < end and pair.applied(projection) == before


def _look_around(pair: Pair, newcomer: str, within_s: float) -> list[str]:
    """What is wrong with the answers while something is scarce."""
    login = httpx.post(f"{pair.accounts_url}/auth/login", json=_CREDENTIALS, timeout=NEVER_S)
    read = httpx.get(
        f"{pair.accounts_url}/accounts", headers={"Authorization": f"Bearer {login.text}"}, timeout=NEVER_S
    )
    added = httpx.post(
        f"{pair.accounts_url}/users",
        json={"username": newcomer, "password": "a password of hers", "role": "member"},
        headers=pair.headers,
        timeout=NEVER_S,
    )
    wrong = [
        f"{answer.url.path} was answered {answer.status_code} {answer.text}"
        for answer, allowed in ((login, {200}), (read, {200}), (added, {201, 503}))
        if answer.status_code not in allowed
    ]
    if added.status_code == 503 and "Retry-After" not in added.headers:
        wrong.append("503 of /users has no Retry-After")
    for url, projection in ((pair.accounts_url, revenue), (pair.customers_url, directory)):
        wrong += _unnamed(pair, url, projection, within_s)
    return wrong


def _unnamed(pair: Pair, url: str, projection: Projection, within_s: float) -> list[str]:
    """What a service calls ok for seconds, although it refuses writes or its projection is stuck."""
    deadline = time.monotonic() + within_s
    while True:
        ready = httpx.get(f"{url}/health/ready", timeout=NEVER_S)
        if ready.status_code != 200:
            return [f"/health/ready was answered {ready.status_code} {ready.text}"]
        if ready.json()["status"] == "degraded":
            return []
        if time.monotonic() > deadline:
            return [f"/health/ready says for {within_s:.0f} s that all is well: {ready.text}"]
        if _takes_writes(pair) and not _is_stuck(pair, projection):
            return []


def _takes_writes(pair: Pair) -> bool:
    """Whether Redis has space and memory for one more key."""
    with redis.Redis.from_url(pair.redis_url) as server, suppress(redis.RedisError):
        return bool(server.set("a-key-of-the-fault", "", px=1))
    return False


def _states_other_than_following(pair: Pair) -> list[str]:
    return [
        f"the tail of {name} is {status.state}: {status.message}"
        for name, status in (
            (projection.name, TailStatusFile(home_of(folder, projection)).read())
            for projection, folder in pair.folders.items()
        )
        if status.state is not TailState.FOLLOWING
    ]


def _seconds_until_caught_up(pair: Pair, since: float) -> float:
    """Until both projections follow and have all that is in the log now."""
    end = _length_of_log(pair)
    wait_until(
        lambda: (
            pair.any_halted()
            or (
                not _states_other_than_following(pair)
                and all(pair.applied(projection) >= end for projection in pair.folders)
            )
        ),
        lambda: (
            f"{_states_other_than_following(pair)} {[pair.applied(each) for each in pair.folders]} of {end}"
        ),
    )
    return time.monotonic() - since


def _length_of_log(pair: Pair) -> int:
    with redis.Redis.from_url(pair.redis_url) as server:
        length: Any = server.xlen("event-stream")
    return int(length)


SCARCITIES: list[Fault] = [
    Fault("full-disk-of-redis", "no space left for Redis", 30, 10, partial(fill_disks, disks=REDIS_DISK)),
    Fault(
        "full-disks-of-sqlite",
        "no space left for both projections and the users",
        30,
        10,
        partial(fill_disks, disks=SQLITE_DISKS),
    ),
    Fault("full-disk", "no space left for all of it, logs too", 30, 10, partial(fill_disks, disks=ONE_DISK)),
    Fault("no-memory", "no memory left for Redis", 30, 10, starve_redis),
]
