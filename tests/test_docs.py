"""The documentation, held against the code."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import click
import pytest

from accounts.failed_logins import DEFAULT_LIMITS, Limit
from deploy.installation import Installation
from deploy.tour import tour
from eventlog import EventLog
from eventlog.continuity import Verdict
from eventlog.doctor.findings import Name
from eventlog.redis_address import VARIABLES
from shared.doctor import ServiceName
from shared.events import make_codec
from shared.request_classes import PER_MINUTE
from tests.documented_lines import LEFT_OUT, PAGES, TYPED_BY, anchors_of, commands_of, mentions_of, name_of
from tests.fake_redis import fake_pool
from tests.faults.all_faults import FAULTS
from tests.followed_page import blocks_of
from tests.make_run import ROOT
from tests.pair import running_pair
from tests.programs import PROGRAMS, options_of
from tests.reference import DOCS, make_pages

STOP = re.compile(r"^\| \d \| `(?P<file>[\w/.]+)` `(?P<function>\w+)` \|", re.MULTILINE)
CODE_LINK = re.compile(r"`(?P<file>(?:eventlog|shared|customers|accounts|deploy|tests)/[\w/.]+\.(?:py|lua))`")
LINK = re.compile(r"\]\((?P<target>[^)#:]*)(?:#(?P<anchor>[^)]*))?\)")


def stops() -> list[tuple[str, str]]:
    page = (ROOT / "docs" / "follow-an-invoice.md").read_text("utf-8")
    return [(found["file"], found["function"]) for found in STOP.finditer(page)]


def test_an_invoice_passes_the_eight_stops_in_order(tmp_path: Path) -> None:
    """Every function on the page is called, in the order the page tells."""
    expected = stops()
    called: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        place = (str(Path(frame.f_code.co_filename)).removeprefix(f"{ROOT}/"), frame.f_code.co_name)
        if event == "call" and place in expected and place not in called:
            called.append(place)

    log = EventLog(fake_pool(), make_codec())
    log.create()
    with running_pair(log, tmp_path) as pair:
        pair.make_demo()
        customer = (
            pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"}).get_json()["id"]
        )
        pair.wait_until_applied()
        pair.accounts_tail.stop()
        called.clear()
        invoice = {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": 12000}
        sys.settrace(note)
        threading.settrace(note)
        try:
            posted = pair.customers().post("/invoices", json=invoice)
            pair.accounts_tail.start()
            minimum = {"Min-Log-Position": posted.headers["Log-Position"], "Prefer": "wait=10"}
            answer = pair.accounts().get("/accounts", headers=minimum)
        finally:
            sys.settrace(None)
            threading.settrace(None)
    assert answer.get_json()[0]["total_revenue_cents"] == 12000
    assert len(expected) == 8
    assert set(called) == set(expected)
    # The write in order, then the tail's part; the query is called by the route that answers with it.
    assert called[:4] == expected[:4]
    assert called.index(expected[4]) < called.index(expected[5])
    assert called.index(expected[7]) < called.index(expected[6])


def test_the_tour_in_the_readme_is_what_make_run_prints() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = re.search(r"<!-- tour -->\n```bash\n(.*?)```", readme, re.DOTALL)
    assert shown is not None
    printed = tour(Installation.from_environment({}))
    assert shown[1].splitlines()[:-1] == printed.splitlines()[:-1]


@pytest.mark.needs("bash")
def test_the_tour_shows_an_error_instead_of_going_on_with_its_digits() -> None:
    problem = '{"type": "/problems/log-unavailable", "status": 503}'
    lines = [line for line in tour(Installation.from_environment({})).splitlines() if "INVOICE" not in line]
    refused = [f"curl() {{ echo '{problem}'; }}", *lines[:4], 'echo "customer $CUSTOMER"']
    printed = subprocess.run(
        ["bash", "-u"], input="\n".join(refused), capture_output=True, text=True, check=True
    )
    assert printed.stdout.splitlines() == [problem, "customer "]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_points_to_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    missing = [
        found["target"] for found in LINK.finditer(text) if not (page.parent / found["target"]).exists()
    ]
    missing += [found["file"] for found in CODE_LINK.finditer(text) if not (ROOT / found["file"]).exists()]
    missing += [found[0] for found in LINK.finditer(text) if not has_anchor(page, found)]
    assert not missing


def has_anchor(page: Path, link: re.Match[str]) -> bool:
    """Whether a link that names a heading names one that is there."""
    target = page.parent / link["target"] if link["target"] else page
    return link["anchor"] is None or (target.suffix == ".md" and link["anchor"] in anchors_of(target))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_page_names_is_there(page: Path) -> None:
    for mention in mentions_of(page):
        require_known(mention)


def require_known(mention: str) -> None:
    """Command, subcommand and options exist; what stands for something else (`NAME`, `…`) is taken for an argument."""
    program, *words = mention.split()
    command: click.Command = PROGRAMS[program]
    for word in (word.strip("[].,;") for word in words):
        if word in {"…", "|", ">"}:
            return
        if word.startswith("-"):
            assert word in options_of(command), mention
        elif isinstance(command, click.Group):
            assert word in command.commands, mention
            command = command.commands[word]


def test_every_line_to_be_typed_is_typed_by_a_test_or_left_out_for_a_reason() -> None:
    """A page with commands is in one list or the other; what was left out is still there."""
    with_commands = {name_of(page): commands_of(page) for page in PAGES if commands_of(page)}
    untold = {
        line
        for name, lines in with_commands.items()
        for line in lines
        if name not in TYPED_BY and line not in LEFT_OUT
    }
    assert not untold
    assert TYPED_BY.keys() <= with_commands.keys()
    assert LEFT_OUT.keys() <= {line for lines in with_commands.values() for line in lines}
    typed_as_printed = tour(Installation.from_environment({})).splitlines()
    assert set(with_commands["README.md"]) <= {*typed_as_printed, *LEFT_OUT}
    for test in set(TYPED_BY.values()):
        asks = f'pages_typed_by("{test.removeprefix("tests/")}")'
        assert asks in (ROOT / test).read_text("utf-8"), f"{test} does not hold itself against TYPED_BY"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_commands_a_file_or_what_is_shown(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in {"", "sh", "bash", "python", "text"}, block
        assert block.language != "python" or (block.file_name and name_of(page) in TYPED_BY), block


def test_every_variable_the_code_reads_is_in_the_table() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", readme, re.MULTILINE))
    settings = (ROOT / "shared" / "settings.py").read_text("utf-8")
    read = set(re.findall(r"environment(?:\.get\(|, )\"([A-Z_]+)\"", settings))
    assert read | set(VARIABLES) == documented


def test_the_guide_to_the_library_names_every_verdict() -> None:
    page = (ROOT / "docs" / "eventlog.md").read_text("utf-8")
    assert set(re.findall(r"\| verdict `(\w+)`", page)) == set(Verdict)


def test_the_limits_in_the_page_about_security_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    failed = re.findall(r"^\| one (?:user|address)[^|]+\| (\d+) \| (\d+) minutes? \|$", page, re.MULTILINE)
    assert [Limit(int(free), 60.0 * int(minutes)) for free, minutes in failed] == list(DEFAULT_LIMITS)
    asked = re.findall(r"^\| `([a-z-]+)` \| ([0-9,]+) \|", page, re.MULTILINE)
    assert {name: int(count.replace(",", "")) for name, count in asked} == dict(PER_MINUTE)


def test_every_finding_of_a_doctor_has_a_row_in_the_runbook() -> None:
    page = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    table = page.partition("<!-- findings -->")[2].partition("<!-- /findings -->")[0]
    rows = [row.split("|")[1:4] for row in table.splitlines() if row.startswith("| `")]
    named = [name for names, _, _ in rows for name in re.findall(r"`([a-z-]+)`", names)]
    assert sorted(named) == sorted([*Name, *ServiceName])
    assert all(meaning.strip() and mend.strip() for _, meaning, mend in rows)
    sections = set(re.findall(r"^## (.*)$", page, re.MULTILINE))
    pointed_to = {title for _, _, mend in rows for title in re.findall(r'"([^"]+)"', mend)}
    assert all(any(section.startswith(title) for section in sections) for title in pointed_to)


def test_the_committed_reference_is_that_of_the_code() -> None:
    pages = make_pages()
    assert {name: (DOCS / name).read_text("utf-8") for name in pages} == pages, "run `make reference`"
    assert {path.name for path in (DOCS / "reference").iterdir()} == {
        path.name for path in map(Path, pages) if path.parent.name == "reference"
    }


def test_every_decision_says_what_was_decided_and_over_what() -> None:
    for page in (ROOT / "docs" / "decisions").glob("*.md"):
        text = page.read_text("utf-8")
        assert "**Decided.**" in text, page
        assert len(text.splitlines()) <= 40, f"{page}: one short page a choice"


def test_every_fault_has_a_recorded_run_of_the_size_it_asks_for() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
    rows = re.findall(r"^\| ([a-z-]+) \| [^|]+ \| ([0-9,]+) \| [^|]+ \| ([0-9]+) wrong", page, re.MULTILINE)
    recorded = {name: int(trials.replace(",", "")) for name, trials, _ in rows}
    assert recorded.keys() == {fault.name for fault in FAULTS}
    assert all(recorded[fault.name] >= fault.trials for fault in FAULTS)
