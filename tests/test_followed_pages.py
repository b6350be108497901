"""A stranger follows the tutorial, the guide and the recipes to the letter, in an empty directory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis, free_port
from shared.events import make_codec
from tests.documented_lines import LEFT_OUT, name_of, pages_typed_by
from tests.followed_page import Followed, answers_on, blocks_of, followed, is_reader
from tests.make_run import ROOT

pytestmark = pytest.mark.processes

PORTS = ("6380", "6381", "16379")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def stranger(page: Path, tmp_path: Path, port: int) -> Iterator[Followed]:
    with followed(tmp_path, dict.fromkeys(PORTS, str(port))) as stranger:
        yield stranger
    assert stranger.followed == [page]


def on(*pages: str) -> pytest.MarkDecorator:
    """Such a test follows each of these to its end."""
    return pytest.mark.parametrize("page", [ROOT / page for page in pages], ids=pages)


def test_each_page_is_followed_that_is_said_to_be() -> None:
    marks = [mark for test in globals().values() for mark in getattr(test, "pytestmark", ())]
    pages = {name_of(page) for mark in marks if mark.args[:1] == ("page",) for page in mark.args[1]}
    assert pages == pages_typed_by("test_followed_pages.py")


@on("docs/tutorial.md")
def test_tutorial_works_from_top_to_bottom(stranger: Followed, page: Path, port: int) -> None:
    ready = [answers_on(port), is_reader(port, "shelf-v1"), is_reader(port, "shelf-v2")]
    stranger.follow(page, ready=ready, skipped=LEFT_OUT)
    assert "2 passed" in stranger.printed["pytest -q test_shelf.py"]
    assert stranger.printed["python lend.py 2 Dune Joe"] == "number 4\n"
    assert [line.count('"type"') for line in stranger.printed["eventlog tail --json"].splitlines()] == [1] * 4
    assert stranger.printed["python show.py"] == "as of number 4\nEmma is here\nDune is with Ada\n"
    (told,) = [block.text for block in blocks_of(page) if block.language == "text"]
    assert without_position(stranger.printed["eventlog parked"]) == without_position(told)
    assert stranger.printed["python rebuild.py"] == "version 2 is served, as of number 4\n"
    assert stranger.printed["eventlog parked acknowledge shelf"] == "shelf-v1: 1 acknowledged\n"
    assert "reader      shelf-v2" in stranger.printed["eventlog status"]
    stranger.kill("python tail.py")
    assert stranger.run("python lend.py 3 Persuasion Joe").stdout == "number 5\n"
    shown = stranger.run("python show.py")
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (1, "as of number 4")
    assert shown.stderr.startswith("behind: the log goes on to ")
    assert "shelf: nobody holds its lock" in stranger.run("eventlog doctor").stdout


def without_position(line: str) -> str:
    return re.sub(r"\d{13}-\d+", "POSITION", line)


@on("docs/eventlog.md")
def test_guide_to_the_library_works_from_top_to_bottom(stranger: Followed, page: Path, port: int) -> None:
    stranger.follow(page, ready=[answers_on(port), is_reader(port, "support-v1")])
    assert "on stream event-stream" in stranger.printed["eventlog init"]
    assert "1 passed" in stranger.printed["pytest test_support.py"]
    worked = stranger.printed["python work.py"]
    assert "as number 1" in worked
    assert "decide again, knowing" in worked
    answered = stranger.printed["python answer.py"].splitlines()
    assert answered[1:] == ["customer 7 opened 1", "passed over: TicketClosed"]
    assert stranger.printed["python rebuild.py"] == "the same: True rows compared: 1\n"
    assert stranger.stop("python tail.py") == 0


@on("docs/how-to/add-an-event-type.md", "docs/how-to/change-a-payload.md")
def test_recipe_works(stranger: Followed, page: Path) -> None:
    stranger.follow(page)
    (tested,) = stranger.printed.values()
    assert "1 passed" in tested


@on("docs/how-to/add-a-projection.md")
def test_recipe_for_a_projection_works_beside_a_log(
    stranger: Followed, page: Path, port: int, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path / "redis", port) as server:
        log = EventLog.connect(server.url, make_codec())
        log.create()
        stranger.follow(page, ready=[is_reader(port, "daily-v1")])
        log.close()
        assert "1 passed" in stranger.printed["pytest -q test_daily.py"]
        assert stranger.printed["eventlog readers"].startswith("daily-v1")
        assert stranger.stop("python daily_tail.py") == 0
