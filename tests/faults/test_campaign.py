"""A long run of a fault: what is found is kept, whatever ends a piece or a sitting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.faults import __main__ as command
from tests.faults.campaign import Fault, Outcome, Piece, Run

SEED = 7
WHOLE = 5
PER_PIECE = 2


@pytest.fixture(autouse=True)
def _no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.campaign.describe_versions", lambda: "as tested")


class Tried:
    """A fault that notes its pieces; each goes well unless told otherwise."""

    def __init__(self, come_to: Callable[[Piece], Outcome] | None = None) -> None:
        self.pieces: list[tuple[str, int]] = []
        self._come_to = come_to or (lambda piece: Outcome(piece.trials, {"tried": piece.trials}, []))
        self.fault = Fault("a-fault", "what it does", WHOLE, PER_PIECE, self._run)

    def _run(self, piece: Piece) -> Outcome:
        self.pieces.append((piece.seed, piece.trials))
        return self._come_to(piece)


def made(tried: Tried, journals: Path, trials: int = WHOLE) -> Run:
    run = Run(tried.fault, SEED, journals)
    for _ in run.go_on(trials):
        pass
    return run


def journal(journals: Path) -> Path:
    return journals / f"a-fault-{SEED}.jsonl"


def lose_contact(_: Piece) -> Outcome:
    raise ConnectionError("nobody answers")


def test_a_run_goes_on_where_it_was_left(tmp_path: Path) -> None:
    tried = Tried()
    next(Run(tried.fault, SEED, tmp_path).go_on(WHOLE))
    assert tried.pieces == [("7-0", 2)]
    run = made(tried, tmp_path)
    assert (tried.pieces, run.trials) == ([("7-0", 2), ("7-1", 2), ("7-2", 1)], WHOLE)
    assert "5 tried" in run.summary()


def test_a_whole_run_is_not_made_again(tmp_path: Path) -> None:
    made(Tried(), tmp_path)
    tried = Tried()
    made(tried, tmp_path)
    assert tried.pieces == []


def test_a_piece_that_ends_by_an_exception_is_kept_and_the_next_one_is_made(tmp_path: Path) -> None:
    tried = Tried(lambda piece: lose_contact(piece) if piece.seed == "7-1" else Outcome(piece.trials, {}, []))
    made(tried, tmp_path)
    run = made(tried, tmp_path)
    assert tried.pieces == [("7-0", 2), ("7-1", 2), ("7-2", 1)]
    (found,) = run.wrong
    assert found.startswith("piece 1: ConnectionError: nobody answers (by way of ")
    line = lose_contact.__code__.co_firstlineno + 1
    assert found.endswith(f"tests/faults/test_campaign.py:{line})")
    assert "1 ended by an exception" in run.summary()


@pytest.mark.parametrize("asked_to_end", [KeyboardInterrupt, SystemExit])
def test_a_sitting_that_is_interrupted_leaves_its_piece_to_the_next(
    asked_to_end: type[BaseException], tmp_path: Path
) -> None:
    def interrupted(_: Piece) -> Outcome:
        raise asked_to_end

    with pytest.raises(asked_to_end):
        made(Tried(interrupted), tmp_path)
    assert Run(Tried().fault, SEED, tmp_path).trials == 0


def test_a_piece_that_came_to_no_trial_for_what_went_wrong_counts_as_asked(tmp_path: Path) -> None:
    run = made(Tried(lambda _: Outcome(0, {}, ["it did not start"])), tmp_path)
    assert (run.trials, len(run.wrong)) == (WHOLE, 3)


def test_a_piece_that_came_to_no_trial_for_no_reason_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="a-fault: piece 7-0 made no trial"):
        made(Tried(lambda _: Outcome(0, {}, [])), tmp_path)


def test_a_piece_whose_line_was_cut_off_is_made_again(tmp_path: Path) -> None:
    made(Tried(), tmp_path)
    whole = journal(tmp_path).read_bytes()
    journal(tmp_path).write_bytes(whole[:-10])
    tried = Tried()
    run = made(tried, tmp_path)
    assert (tried.pieces, run.trials) == ([("7-2", 1)], WHOLE)
    assert journal(tmp_path).read_bytes().count(b"\n") == whole.count(b"\n")


@pytest.mark.parametrize("broken", [b"", b"{}", b'{"piece": 1', b'{"piece": "\xff"}'])
def test_a_broken_line_is_named_and_nothing_is_lost(broken: bytes, tmp_path: Path) -> None:
    made(Tried(), tmp_path)
    first, _, last = journal(tmp_path).read_bytes().splitlines()
    text = b"\n".join([first, broken, last[:-10]])
    journal(tmp_path).write_bytes(text)
    with pytest.raises(click.ClickException, match=rf"a-fault-{SEED}\.jsonl:2: "):
        Run(Tried().fault, SEED, tmp_path)
    assert journal(tmp_path).read_bytes() == text


def test_where_nothing_was_wrong_the_row_says_what_that_bounds(tmp_path: Path) -> None:
    assert f"| {WHOLE} | 5 tried | 0 wrong: under 45 % | {SEED} |" in made(Tried(), tmp_path).summary()


def test_the_row_counts_everything_that_was_wrong(tmp_path: Path) -> None:
    run = made(Tried(lambda piece: Outcome(piece.trials, {}, ["lost", "doubled"])), tmp_path)
    assert f"| 6 wrong | {SEED} |" in run.summary()


def test_fewer_trials_than_were_made_print_the_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Tried()
    run = made(tried, tmp_path)
    monkeypatch.setattr(command, "FAULTS", [tried.fault])
    monkeypatch.setattr(command, "JOURNALS", tmp_path)
    result = CliRunner().invoke(command.main, ["--seed", str(SEED), "--trials", "1"])
    assert (result.exit_code, result.output) == (0, f"{run.summary()}\nas tested\n")
    assert len(tried.pieces) == 3


def test_more_trials_than_asked_for_leave_no_time_and_what_was_wrong_says_how_to_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Tried(lambda _: Outcome(2342, {}, ["lost"]))
    monkeypatch.setattr(command, "FAULTS", [tried.fault])
    monkeypatch.setattr(command, "JOURNALS", tmp_path)
    first, second = (
        CliRunner().invoke(command.main, ["--seed", str(SEED), "--trials", "2"]) for _ in range(2)
    )
    assert "2 trials asked for, 2,342 made, 0 s left" in first.output
    assert (first.exit_code, second.exit_code, len(tried.pieces)) == (1, 1, 1)
    assert (
        f"1 thing went wrong. It is kept, and said again each time: to begin anew, delete {journal(tmp_path)}\n"
        in (second.output)
    )


def test_no_trials_cannot_be_asked_for() -> None:
    assert CliRunner().invoke(command.main, ["--trials", "0"]).exit_code == 2
