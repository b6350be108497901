"""Wrong passwords make the next try wait, longer each time, never for good; others do not wait for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import pytest
from argon2 import PasswordHasher
from werkzeug.test import TestResponse

import accounts.app
from accounts.failed_logins import FILE_NAME, FailedLogins, Limit, Limits, TooManyFailures
from eventlog import EventLog
from shared.permissions import Role
from shared.settings import Settings
from tests.make_run import NEVER_S
from tests.pair import Client, Pair, running_pair

LIMITS = Limits(pair=Limit(3, 900), address=Limit(6, 900), user=Limit(6, 60))


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(fake_log, tmp_path) as pair:
        settings = Settings.from_environment({"DATA_DIR": str(tmp_path), "TRUSTED_PROXIES": "1"})
        pair.accounts_app = accounts.app.create_app(settings, fake_log, limits=LIMITS)
        for name in ("mel", "eve"):
            pair.users.add(name, f"password of {name}", Role.MEMBER)
        yield pair


def log_in(
    pair: Pair, username: str = "mel", password: str = "wrong", address: str = "192.0.2.1"
) -> TestResponse:
    headers = {"X-Forwarded-For": address}
    body = {"username": username, "password": password}
    return Client(pair.accounts_app, None).post("/auth/login", json=body, headers=headers)


def fail(pair: Pair, times: int, **who: str) -> list[int]:
    return [log_in(pair, **who).status_code for _ in range(times)]


def test_after_some_failures_even_the_right_password_waits(pair: Pair) -> None:
    assert fail(pair, 4) == [401] * 4
    refused = log_in(pair, password="password of mel")
    assert (refused.status_code, refused.get_json(force=True)["type"]) == (
        429,
        "/problems/too-many-failed-logins",
    )
    assert refused.headers["Retry-After"] == "1"
    form = {"username": "mel", "password": "password of mel"}
    headers = {"X-Forwarded-For": "192.0.2.1"}
    assert Client(pair.accounts_app, None).post("/sign-in", data=form, headers=headers).status_code == 429


def test_a_user_that_is_not_there_is_counted_alike(pair: Pair) -> None:
    assert fail(pair, 5, username="nobody") == fail(pair, 5, username="mel", address="192.0.2.2")


def test_others_do_not_wait(pair: Pair) -> None:
    fail(pair, 5)
    assert log_in(pair, password="password of mel", address="192.0.2.2").status_code == 200
    assert log_in(pair, "eve", "password of eve").status_code == 200


def test_an_address_that_tries_many_users_waits(pair: Pair) -> None:
    for number in range(7):
        assert log_in(pair, f"user{number}").status_code == 401
    assert log_in(pair, "eve", "password of eve").status_code == 429


def test_addresses_of_one_ipv6_network_are_one(pair: Pair) -> None:
    for number in range(7):
        assert log_in(pair, f"user{number}", address=f"2001:db8::{number}").status_code == 401
    assert log_in(pair, "user", address="2001:db8::ffff:1").status_code == 429
    assert log_in(pair, "user", address="2001:db8:0:1::1").status_code == 401


def test_many_addresses_that_try_one_user_wait_but_the_user_does_not_where_it_was_before(pair: Pair) -> None:
    assert log_in(pair, password="password of mel", address="198.51.100.1").status_code == 200
    for number in range(7):
        assert log_in(pair, address=f"192.0.2.{number}").status_code == 401
    assert log_in(pair, address="192.0.2.99").status_code == 429
    assert log_in(pair, password="password of mel", address="198.51.100.1").status_code == 200


def test_a_success_starts_afresh(pair: Pair) -> None:
    assert fail(pair, 3) == [401] * 3
    assert log_in(pair, password="password of mel").status_code == 200
    assert fail(pair, 3) == [401] * 3


@pytest.mark.usefixtures("production_passwords")  # which take so long that all twelve are there at once
def test_many_at_once_are_no_way_around(pair: Pair) -> None:
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: log_in(pair).status_code, range(12)))
    assert answers.count(401) <= 4, "those that cost nothing, and one"


@pytest.fixture
def clock(tmp_path: Path) -> Callable[[float], FailedLogins]:
    """Failed logins as of so many seconds."""

    def at(now_s: float) -> FailedLogins:
        return FailedLogins(tmp_path, LIMITS, lambda: now_s)

    return at


def waits_s(failed: FailedLogins, username: str = "mel", address: str = "192.0.2.1") -> int:
    """How long the next try has to wait; it is counted as failed if it has not."""
    try:
        failed.begin(username, address)
    except TooManyFailures as problem:
        return problem.retry_after_s
    return 0


def test_waits_double_up_to_a_bound_and_are_forgotten(clock: Callable[[float], FailedLogins]) -> None:
    now_s, waits = 1e9, [waits_s(clock(1e9)) for _ in range(4)]
    for _ in range(13):
        waits.append(waits_s(clock(now_s)))
        now_s += waits[-1]
        assert waits_s(clock(now_s)) == 0
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    now_s += 900 + 901
    assert [waits_s(clock(now_s)) for _ in range(5)] == [0, 0, 0, 0, 1], "as if nothing had been"


def test_a_clock_that_is_set_back_makes_nobody_wait_for_longer(
    clock: Callable[[float], FailedLogins],
) -> None:
    for _ in range(6):
        waits_s(clock(1e9))
    assert waits_s(clock(1e9)) > 0
    assert waits_s(clock(1e9 - 86400)) == 0


def test_what_costs_nothing_costs_nothing_when_the_clock_is_set_back_a_little(
    clock: Callable[[float], FailedLogins],
) -> None:
    """A login whose password is just being looked at, too."""
    assert waits_s(clock(1e9)) == 0
    assert waits_s(clock(1e9 - 600)) == 0


def test_what_was_typed_as_a_name_is_not_kept(pair: Pair, tmp_path: Path) -> None:
    log_in(pair, username="my secret password")
    content = b"".join(file.read_bytes() for file in (tmp_path / "accounts").glob(f"{FILE_NAME}*"))
    assert b"my secret" not in content


def test_two_passwords_are_hashed_at_once_and_who_cannot_wait_is_told_so(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each takes a core and 64 MiB: a flood of sign-ins must leave room for all else."""
    hashing, going_on = Semaphore(0), Event()
    verify = PasswordHasher.verify

    def verify_when_told(hasher: PasswordHasher, kept: str, password: str) -> bool:
        hashing.release()
        assert going_on.wait(NEVER_S)
        return verify(hasher, kept, password)

    monkeypatch.setattr(PasswordHasher, "verify", verify_when_told)
    monkeypatch.setattr("accounts.identity._HASHING_WAIT_S", 0.1)
    with ThreadPoolExecutor(2) as threads:
        at_once = [threads.submit(log_in, pair, name, f"password of {name}") for name in ("mel", "eve")]
        try:
            assert all(hashing.acquire(timeout=NEVER_S) for _ in at_once)
            refused = [
                log_in(pair, "eve", "password of eve", "192.0.2.2"),
                Client(pair.accounts_app, None).post("/sign-in", data={"username": "mel", "password": "x"}),
            ]
            assert not hashing.acquire(blocking=False), "a third one is hashed"
        finally:
            going_on.set()
    for answer in refused:
        assert (answer.status_code, answer.get_json(force=True)["type"]) == (503, "/problems/busy")
        assert answer.headers["Retry-After"] == "1"
    assert [each.result().status_code for each in at_once] == [200, 200]
    assert all(count == 0 for (count,) in rows(tmp_path)), "what was not looked at is no failure"


def test_a_file_that_cannot_be_written_locks_nobody_out_and_lets_nobody_guess(
    pair: Pair, tmp_path: Path
) -> None:
    (tmp_path / "accounts" / FILE_NAME).write_bytes(b"x" * 5000)
    assert log_in(pair, password="password of mel").status_code == 200
    assert fail(pair, 5) == [401] * 4 + [429]


def test_without_proxies_of_ours_a_forwarded_address_is_a_claim(pair: Pair, tmp_path: Path) -> None:
    settings = Settings.from_environment({"DATA_DIR": str(tmp_path)})
    pair.accounts_app = accounts.app.create_app(settings, pair.log, limits=LIMITS)
    answers = [log_in(pair, address=f"192.0.2.{number}").status_code for number in range(5)]
    assert answers == [401] * 4 + [429]


def rows(folder: Path) -> list[Any]:
    with sqlite3.connect(folder / "accounts" / FILE_NAME) as file:
        found = file.execute("SELECT count FROM failures").fetchall()
    file.close()
    return found


def test_logins_that_succeed_leave_nothing_counted(pair: Pair, tmp_path: Path) -> None:
    for _ in range(10):
        assert log_in(pair, password="password of mel").status_code == 200
    assert all(count == 0 for (count,) in rows(tmp_path))
