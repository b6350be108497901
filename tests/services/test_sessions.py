"""Refresh tokens: each is good once, a second use ends the session, and so do logout, time and the user's end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from werkzeug.test import TestResponse

from accounts.failed_logins import FailedLogins
from accounts.sessions import IDLE, LONGEST, Sessions
from accounts.users_file import FILE_NAME
from eventlog import EventLog
from shared.permissions import Role
from tests.pair import Client, Pair, running_pair
from tests.signed import claims_of

MEL = {"username": "mel", "password": "password of mel"}


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(fake_log, tmp_path) as pair:
        pair.users.add("mel", "password of mel", Role.MEMBER)
        yield pair


def log_in(pair: Pair) -> dict[str, Any]:
    answer = pair.accounts(None).post("/auth/login", json=MEL, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    return dict(answer.get_json())


def refresh(pair: Pair, refresh_token: str) -> TestResponse:
    return pair.accounts(None).post("/auth/refresh", json={"refresh_token": refresh_token})


def test_a_refresh_token_is_good_once_and_brings_the_next(pair: Pair) -> None:
    first = log_in(pair)
    assert (first["expires_in"], first["refresh_expires_in"]) == (900, IDLE.total_seconds())
    second = refresh(pair, first["refresh_token"]).get_json()
    assert second["refresh_token"] != first["refresh_token"]
    for token in (first["access_token"], second["access_token"]):
        assert Client(pair.customers_app, token).get("/customers").status_code == 200
    third = refresh(pair, second["refresh_token"])
    assert (third.status_code, third.headers["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize("used", [0, 1])
def test_a_token_used_twice_ends_the_session_of_whoever_has_it(pair: Pair, used: int) -> None:
    other = log_in(pair)
    tokens = [log_in(pair)["refresh_token"]]
    for _ in range(2):
        tokens.append(refresh(pair, tokens[-1]).get_json()["refresh_token"])
    assert refresh(pair, tokens[used]).status_code == 401
    assert refresh(pair, tokens[-1]).status_code == 401, "the thief's, or the owner's"
    assert refresh(pair, other["refresh_token"]).status_code == 200, "another session of the user goes on"


def test_of_many_uses_at_once_one_is_answered_and_the_session_ends(pair: Pair) -> None:
    token = log_in(pair)["refresh_token"]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: refresh(pair, token), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    (won,) = (answer.get_json() for answer in answers if answer.status_code == 200)
    assert refresh(pair, won["refresh_token"]).status_code == 401


def test_logout_ends_the_session_and_may_be_said_again(pair: Pair) -> None:
    token = log_in(pair)["refresh_token"]
    for _ in range(2):
        answer = pair.accounts(None).post("/auth/logout", json={"refresh_token": token})
        assert answer.status_code == 204
    assert refresh(pair, token).status_code == 401


def test_an_access_token_alone_brings_no_other(pair: Pair) -> None:
    assert pair.accounts("mel").post("/auth/refresh").status_code == 400
    access_token = log_in(pair)["access_token"]
    assert refresh(pair, access_token).status_code == 400


def test_the_bare_token_begins_no_session(pair: Pair, tmp_path: Path) -> None:
    assert pair.accounts(None).post("/auth/login", json=MEL).mimetype == "text/plain"
    with sqlite3.connect(tmp_path / "accounts" / FILE_NAME) as file:
        assert file.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
    file.close()


def test_no_refresh_token_can_be_read_from_the_file(pair: Pair, tmp_path: Path) -> None:
    token = log_in(pair)["refresh_token"]
    content = b"".join(file.read_bytes() for file in (tmp_path / "accounts").glob(f"{FILE_NAME}*"))
    assert token[:22].encode() in content, "by this a session is found"
    assert token[22:].encode() not in content


def test_while_no_key_can_sign_no_refresh_token_is_used_up_and_no_session_begins(
    pair: Pair, tmp_path: Path
) -> None:
    token = log_in(pair)["refresh_token"]
    pair.keys.path.chmod(0o644)
    asked = [
        refresh(pair, token),
        pair.accounts(None).post("/auth/login", json=MEL, headers={"Accept": "application/json"}),
        pair.accounts(None).post("/auth/login", json=MEL),
        pair.accounts(None).post("/sign-in", data=MEL),
    ]
    for answer in asked:
        problem = answer.get_json(force=True)
        assert (answer.status_code, problem["type"]) == (503, "/problems/keys-unknown")
        assert (answer.headers["Retry-After"], "nothing was done" in problem["detail"]) == ("1", True)
    with closing(sqlite3.connect(tmp_path / "accounts" / FILE_NAME)) as file:
        assert file.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
    pair.keys.path.chmod(0o600)
    assert refresh(pair, token).status_code == 200


def test_a_refreshed_token_has_the_role_the_user_has_now(pair: Pair, tmp_path: Path) -> None:
    token = log_in(pair)["refresh_token"]
    with sqlite3.connect(tmp_path / "accounts" / FILE_NAME) as file:
        file.execute("UPDATE users SET role = 'admin' WHERE username = 'mel'")
    file.close()
    assert claims_of(refresh(pair, token).get_json()["access_token"])["role"] == "admin"


def test_who_is_disabled_or_has_another_password_is_logged_out(pair: Pair) -> None:
    token = log_in(pair)["refresh_token"]
    pair.users.disable("mel")
    assert refresh(pair, token).status_code == 401
    assert pair.accounts(None).post("/auth/login", json=MEL).status_code == 401
    pair.users.enable("mel")
    assert refresh(pair, token).status_code == 401
    token = log_in(pair)["refresh_token"]
    pair.users.change_password("mel", "another password")
    assert refresh(pair, token).status_code == 401
    assert pair.accounts(None).post("/auth/login", json=MEL).status_code == 401


ASKS_FOR_A_TOKEN: list[tuple[str, dict[str, Any]]] = [
    ("/auth/login", {"json": MEL, "headers": {"Accept": "application/json"}}),
    ("/auth/login", {"json": MEL}),
    ("/sign-in", {"data": MEL}),
]


@pytest.mark.parametrize(("path", "sent"), ASKS_FOR_A_TOKEN, ids=["session", "bare token", "console"])
@pytest.mark.parametrize("end", ["passwd", "disable"])
def test_a_password_that_ends_while_it_is_verified_lets_nobody_in(
    *, path: str, sent: dict[str, Any], end: str, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = PasswordHasher.verify

    def ended_meanwhile(hasher: PasswordHasher, password_hash: str, password: str) -> bool:
        is_right = verify(hasher, password_hash, password)
        if end == "passwd":
            pair.users.change_password("mel", "another password")
        else:
            pair.users.disable("mel")
        return is_right

    monkeypatch.setattr(PasswordHasher, "verify", ended_meanwhile)
    refused = pair.accounts(None).post(path, **sent)
    monkeypatch.undo()
    wrong = pair.accounts(None).post("/auth/login", json={**MEL, "password": "a wrong password"})
    assert refused.status_code == wrong.status_code == 401
    assert "Set-Cookie" not in refused.headers
    if path == "/auth/login":
        told, told_of_wrong = refused.get_json(force=True), wrong.get_json(force=True)
        assert told["detail"] == told_of_wrong["detail"]
    assert count_sessions(tmp_path) == 0


def test_no_session_begins_with_the_password_of_a_moment_before(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeeded = FailedLogins.succeeded

    def and_changes(failed: FailedLogins, attempt: Any) -> None:
        succeeded(failed, attempt)
        pair.users.change_password("mel", "another password")

    monkeypatch.setattr(FailedLogins, "succeeded", and_changes)
    refused = pair.accounts(None).post("/auth/login", json=MEL, headers={"Accept": "application/json"})
    assert refused.status_code == 401
    assert "access_token" not in refused.get_data(as_text=True)
    assert count_sessions(tmp_path) == 0


def count_sessions(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "accounts" / FILE_NAME)) as file:
        return int(file.execute("SELECT count(*) FROM sessions").fetchone()[0])


def test_sessions_end_with_time(pair: Pair, tmp_path: Path) -> None:
    now = datetime.now(UTC)

    def at(later: timedelta) -> Sessions:
        return Sessions(tmp_path / "accounts", lambda: now + later)

    second = timedelta(seconds=1)
    mel = pair.users.authenticate(**MEL)
    assert mel is not None
    idle = at(timedelta(0)).begin(mel)
    assert idle is not None
    assert at(IDLE).refresh(idle.token) is None
    used = at(timedelta(0)).begin(mel)
    for days in (10, 20, 25):
        assert used is not None
        refreshed = at(timedelta(days=days)).refresh(used.token)
        assert refreshed is not None
        used = refreshed[1]
    assert used is not None
    assert used.good_for <= LONGEST - timedelta(days=25)
    assert at(LONGEST + second).refresh(used.token) is None
