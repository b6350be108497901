"""Both services answer as a small model does, whatever is asked, repeated, stopped or killed in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eventlog import Add, Event, Refused, Row, Rows
from eventlog.row_changes import Changes, Value
from shared.events import CustomerDeleted
from shared.permissions import Identity
from shared.rules import follow, live
from tests.faults.campaign import Piece
from tests.faults.http_walks import walk, walk_on_redis

SEED = "20261121"


def test_services_answer_as_the_model(tmp_path: Path) -> None:
    outcome = walk(Piece(SEED, 200, tmp_path))
    assert outcome.wrong == []
    assert outcome.trials > 100


@pytest.mark.processes
def test_services_answer_as_the_model_while_redis_is_killed_now_and_then(tmp_path: Path) -> None:
    outcome = walk_on_redis(Piece(SEED, 200, tmp_path))
    assert outcome.wrong == []
    assert outcome.counts["kills of Redis"] > 0


def forget_revenue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deleted customer leaves its revenue with the account."""

    def follow_but_forget(event: Event, rows: Rows, **own_columns: Value) -> Changes | Refused:
        changes = follow(event, rows, **own_columns)
        if isinstance(changes, Refused) or not isinstance(event, CustomerDeleted):
            return changes
        return [
            change
            for change in changes
            if not (isinstance(change, Add) and change.column == "total_revenue_cents")
        ]

    monkeypatch.setattr("accounts.revenue.follow", follow_but_forget)


def show_everybody_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members reach into accounts of others."""

    def in_sight(_: Identity, account: Row | None) -> Row | None:
        return live(account)

    monkeypatch.setattr(Identity, "account_in_sight", in_sight)


def take_any_body_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was used for something else is answered as if it had been that."""
    monkeypatch.setattr("shared.writes._fingerprint", lambda _: "the same")


def forget_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is forgotten as soon as it is done, so that it is done again."""
    monkeypatch.setattr("eventlog.log.NAMED_COMMAND_LIFETIME_MS", 1)


def publish_unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was decided on an old state is published, whatever happened since."""
    monkeypatch.setattr("shared.rules.guards_and_touches", lambda _: ([], []))


def answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read does not wait for what it is asked to show."""
    monkeypatch.setattr("shared.log_position.requested_minimum", lambda: None)


@pytest.mark.parametrize(
    "break_build",
    [
        forget_revenue,
        show_everybody_everything,
        take_any_body_for_the_same,
        forget_commands,
        publish_unguarded,
        answer_at_once,
    ],
)
def test_the_same_walks_find_a_build_with_a_wrong_rule(
    break_build: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    break_build(monkeypatch)
    (found,) = walk(Piece(SEED, 1000, tmp_path), shrink=False).wrong
    assert "state.begin_with_some()" in found, "the steps that lead to it are told"
