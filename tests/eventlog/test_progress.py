"""Long work says how far it is on standard error: a bar for people, lines for files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eventlog import progress as shown
from eventlog.progress import progress

ROOT = Path(__file__).parents[2]


def test_lines_say_how_much_is_done_how_fast_and_how_long_it_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "_EVERY_S", 0.0)
    with progress("building post") as on_progress:
        on_progress(1000, 20000)
        on_progress(20000, 20000)
    said = capsys.readouterr()
    assert said.out == ""
    first, last = said.err.splitlines()
    assert re.fullmatch(r"building post: 1,000 of 20,000, [\d,]+/s, \d+ s left", first)
    assert re.fullmatch(r"building post: 20,000 of 20,000, [\d,]+/s, 0 s left", last)


def test_lines_do_not_come_with_every_batch(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("building post") as on_progress:
        for done in range(500):
            on_progress(done, 500)
    assert len(capsys.readouterr().err.splitlines()) < 100


def test_pace_is_that_of_this_work_not_of_what_was_there_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "_EVERY_S", 0.0)
    with progress("catching up") as on_progress:
        on_progress(1_000_000_000, 1_000_000_010)
        on_progress(1_000_000_010, 1_000_000_010)
    found = re.findall(r"([\d,]+)/s", capsys.readouterr().err)
    assert [int(rate.replace(",", "")) <= 10_000 for rate in found] == [True, True]


@pytest.mark.processes
def test_terminal_shows_a_bar_and_clears_it_at_the_end() -> None:
    ours, theirs = os.openpty()
    working = (
        "from eventlog.progress import progress\n"
        "with progress('building post') as on_progress:\n"
        "    for done in (0, 500, 1000): on_progress(done, 1000)\n"
    )
    try:
        ended = subprocess.run(
            [sys.executable, "-c", working],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm"},
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
        )
        drawn = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert ended.stdout == b""
    assert "building post" in drawn
    assert "1000/1000" in drawn
    assert drawn.rstrip().endswith("\x1b[2K")
