"""Short forms of the recorded runs on tokens and logins: FAULT=tokens and FAULT=login-times of `make faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

from accounts.identity import Authenticated, Users
from tests.faults.campaign import Piece
from tests.faults.login_times import auc, time_logins
from tests.faults.mutated_tokens import MUTATIONS, try_mutated_tokens

_FAR_APART = 0.3  # from a half: five times what chance makes of so few


def test_no_mutated_token_is_accepted(tmp_path: Path) -> None:
    outcome = try_mutated_tokens(Piece("short", 100 * len(MUTATIONS), tmp_path))
    assert outcome.wrong == []
    assert outcome.counts == dict.fromkeys(MUTATIONS, 100)


def test_time_does_not_tell_who_is_a_user(tmp_path: Path) -> None:
    assert time_logins(Piece("short", 80, tmp_path), _FAR_APART).wrong == []


def look_at_no_password_of_nobody() -> None:
    thorough = Users.authenticate

    def hasty(self: Users, username: str, password: str) -> Authenticated | None:
        return thorough(self, username, password) if self.find(username) else None

    Users.authenticate = hasty  # type: ignore[method-assign]  # in the process of the server


def test_a_login_that_saves_the_time_for_nobody_is_told_apart(tmp_path: Path) -> None:
    (wrong,) = time_logins(Piece("short", 20, tmp_path), _FAR_APART, look_at_no_password_of_nobody).wrong
    assert wrong == "a user is told by the time of an answer: AUC 1.000"


@pytest.mark.parametrize(
    ("longer", "shorter", "area"), [([3, 4], [1, 2], 1), ([1, 2], [3, 4], 0), ([1, 1], [1, 1], 0.5)]
)
def test_auc(longer: list[float], shorter: list[float], area: float) -> None:
    assert auc(longer, shorter) == area
