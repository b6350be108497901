"""`customers import FILE`: every line of a file is in the log once, however often the command was ended."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

import eventlog.deciding
from customers.invoice_file import MOST_BROKEN_LINES, InvoiceFile, Part
from customers.schemas import LARGEST_BATCH
from eventlog import EventLog, Metadata, Moment
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec
from tests.eventlog.lossy_proxy import Loss, LossyProxy
from tests.make_run import NEVER_S, ROOT, wait_until
from tests.pair import Pair
from tests.services import importing_process
from tests.services.facts import a_customer_created
from tests.services.operator import Operator

pytestmark = pytest.mark.processes

KILLS = 4


def a_line(cents: Any = 100, customer: int = 7) -> str:
    invoice = {"customer_id": str(customer), "purchase_date": "2026-01-31", "purchase_price_cents": cents}
    return json.dumps(invoice)


def lines(first: int, last: int) -> str:
    """Invoices over so many cents each, so that each line can be told in the log."""
    return "".join(f"{a_line(cents)}\n" for cents in range(first, last + 1))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "to import").mkdir()
    return tmp_path / "to import" / "november invoices.ndjson"


def record_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.imported")


def imported(pair: Pair) -> list[int]:
    """The cents of each imported invoice, in the order of the log."""
    found = []
    for entry in pair.log.read(count=100_000):
        metadata = msgspec.json.decode(entry.fields[-1], type=Metadata)
        if (metadata.command or "").startswith("import-"):
            found.append(msgspec.json.decode(entry.fields[3])["purchase_price_cents"])
    return found


def require_whole(pair: Pair, last: int) -> None:
    """Lines 1 to `last` once each, and counted once in both services."""
    assert imported(pair) == list(range(1, last + 1))
    pair.wait_until_applied()
    total = sum(range(1, last + 1)) + 100 + 200 + 300
    assert pair.accounts().get("/accounts/1").get_json()["total_revenue_cents"] == total


def test_each_line_becomes_an_invoice_in_the_order_of_the_file(
    served: Pair, operator: Operator, file: Path
) -> None:
    file.write_text(lines(1, 2500))
    told = operator.ask("customers import", file)
    assert told == {
        "file": str(file),
        "lines": 2500,
        "lines_before": 0,
        "published": 2500,
        "replayed": 0,
        "log_id": served.log.state().log_id,
        "position": str(served.log.state().end),
    }
    require_whole(served, 2500)
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, record_of(file).name]


def test_events_tell_who_imported_them_and_in_which_batch(
    served: Pair, operator: Operator, file: Path
) -> None:
    file.write_text(lines(1, LARGEST_BATCH + 1))
    operator.run("customers import", file)
    entries = served.log.read_back(count=LARGEST_BATCH + 1)
    found = [msgspec.json.decode(entry.fields[-1], type=Metadata) for entry in entries]
    assert {(each.actor or "").partition(" ")[0] for each in found} == {"operator"}
    assert sorted(Counter(each.correlation_id for each in found).values()) == [1, LARGEST_BATCH]
    assert sorted(Counter(each.command for each in found).values()) == [1, LARGEST_BATCH]


def test_run_again_it_imports_nothing_and_says_so(served: Pair, operator: Operator, file: Path) -> None:
    file.write_text(lines(1, 3))
    operator.run("customers import", file)
    before = record_of(file).read_bytes()
    assert "all of its 3 lines were imported before" in operator.run("customers import", file).stdout
    again = operator.ask("customers import", file)
    assert (again["lines_before"], again["published"]) == (3, 0)
    assert record_of(file).read_bytes() == before
    require_whole(served, 3)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""], ids=["ended", "ended with CRLF", "not ended"])
def test_what_was_added_to_the_file_is_imported(
    served: Pair, operator: Operator, file: Path, end: str
) -> None:
    file.write_text(lines(1, 2) + a_line(3) + end, newline="")
    operator.run("customers import", file)
    with file.open("a") as more:
        more.write(("" if end else "\n") + lines(4, 5))
    told = operator.ask("customers import", file)
    assert (told["lines"], told["lines_before"], told["published"]) == (5, 3, 2)
    require_whole(served, 5)


@pytest.mark.parametrize(
    ("content", "last"),
    [
        ("\ufeff" + lines(1, 2), 2),
        (lines(1, 2).replace("\n", "\r\n"), 2),
        (lines(1, 2).rstrip("\n"), 2),
        ("\n  \n" + a_line(1) + "\n\t\r\n\n" + a_line(2) + "\n\n", 2),
        ("", 0),
        ("\ufeff\n\n", 0),
        ("\n" * 3000 + a_line(1), 1),
    ],
    ids=["BOM", "CRLF", "last line not ended", "blank lines", "empty", "nothing but blank", "blank batches"],
)
def test_how_lines_end_does_not_matter(
    served: Pair, operator: Operator, file: Path, content: str, last: int
) -> None:
    file.write_text(content, newline="")
    assert operator.ask("customers import", file)["published"] == last
    assert operator.ask("customers import", file)["published"] == 0
    require_whole(served, last)


BROKEN = {
    a_line(0): "line 2: purchase_price_cents: must be a whole number from 1 to 1000000000000",
    a_line(1.5): "line 2: purchase_price_cents: must be a whole number from 1 to 1000000000000",
    a_line()[:-1]: "line 2 is not JSON: Expecting ',' delimiter at column 80",
    a_line() + a_line(): "line 2 is not JSON: Extra data at column 81",
    '{"a": 1, "a": 2}': "line 2: a: is given twice",
    "[]": "line 2: must be a JSON object",
    "\x00": "line 2 is not JSON: Expecting value at column 1",
    '"\udcff"': "line 2 is not UTF-8",
    f'"{"x" * 70_000}"': "line 2 is longer than 65,536 bytes",
    f"{a_line()}{' ' * 70_000}no": "line 2 is longer than 65,536 bytes",
    "[" * 30: "line 2 nests deeper than 20 levels",
}


@pytest.mark.parametrize(("broken", "told"), BROKEN.items(), ids=range(len(BROKEN)))
def test_broken_line_is_named_with_field_and_rule_and_nothing_is_published(
    served: Pair, operator: Operator, file: Path, broken: str, told: str
) -> None:
    before = served.log.state()
    content = f"{a_line(1)}\n{broken}\n{a_line(3)}\n"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    result = operator.run("customers import", file, exits=1)
    assert result.stdout == ""
    named, summary = result.stderr.splitlines()
    assert (named, "1 line cannot be imported, so none is" in summary) == (told, True)
    assert served.log.state() == before
    file.write_text(lines(1, 3))
    operator.run("customers import", file)
    require_whole(served, 3)


def test_first_broken_lines_are_named_and_the_others_counted(operator: Operator, file: Path) -> None:
    file.write_text(lines(1, 2000) + f"{a_line(0)}\n" * 1500)
    *named, summary = operator.run("customers import", file, exits=1).stderr.splitlines()
    assert [line.partition(":")[0] for line in named] == [
        f"line {number:,}" for number in range(2001, 2001 + MOST_BROKEN_LINES)
    ]
    assert f"1,500 lines cannot be imported, the first {MOST_BROKEN_LINES} of them above" in summary


def test_customer_that_is_not_there_stops_it_at_that_line_and_once_made_it_goes_on(
    served: Pair, operator: Operator, file: Path
) -> None:
    file.write_text(lines(1, 1499) + a_line(1500, customer=8) + "\n" + lines(1501, 3000))
    told = operator.is_refused("customers import", file)
    assert "line 1,500: there is no customer 8." in told
    assert "imported up to line 1,499: the same command goes on from there" in told
    assert imported(served) == list(range(1, 1500))
    state = served.log.state()
    served.log.publish([a_customer_created(8)], decided_at=Moment(state.log_id or "", state.end))
    told = operator.ask("customers import", file)
    assert (told["lines_before"], told["published"]) == (1499, 1501)
    require_whole(served, 3000)


def test_first_line_that_may_not_be_leaves_nothing_begun(
    served: Pair, operator: Operator, file: Path
) -> None:
    file.write_text(a_line(1, customer=8) + "\n" + lines(2, 3))
    told = operator.is_refused("customers import", file)
    assert told.endswith(
        f"line 1: there is no customer 8. {file} is not imported: the same command goes on from there"
    )
    assert json.loads(record_of(file).read_text())["begun"] is None
    assert imported(served) == []


def test_customer_that_is_deleted_meanwhile_takes_no_line_behind_the_deletion(
    served: Pair, operator: Operator, file: Path
) -> None:
    """The projection still shows it: the guard of the batch tells, and what stands before its line is published."""
    state = served.log.state()
    served.log.publish([a_customer_created(8)], decided_at=Moment(state.log_id or "", state.end))
    served.wait_until_applied()
    file.write_text(lines(1, 9) + a_line(10, customer=8) + "\n" + lines(11, 20))
    served.customers_tail.stop()
    assert served.customers().delete("/customers/8").status_code == 204
    with operator.start("customers import", file) as process:
        wait_until(lambda: record_of(file).exists(), lambda: "nothing was begun")
        served.customers_tail.start()
        _, told = process.communicate(timeout=NEVER_S)
    assert process.returncode == 1
    assert "line 10: there is no customer 8." in told
    require_whole(served, 9)


def test_customer_that_the_projection_has_not_seen_yet_stops_nothing(
    served: Pair, operator: Operator, file: Path
) -> None:
    """The tail begins when the first decision, a refusal, was made: the record is written behind it."""
    served.customers_tail.stop()
    state = served.log.state()
    served.log.publish([a_customer_created(8)], decided_at=Moment(state.log_id or "", state.end))
    file.write_text(lines(1, 9) + a_line(10, customer=8) + "\n" + lines(11, 20))
    with operator.start("customers import", file) as process:
        wait_until(lambda: record_of(file).exists(), lambda: "nothing was begun")
        served.customers_tail.start()
        _, told = process.communicate(timeout=NEVER_S)
    assert process.returncode == 0, told
    require_whole(served, 20)


def test_line_that_is_mended_after_a_stop_is_imported_as_it_is_now(
    served: Pair, operator: Operator, file: Path
) -> None:
    file.write_text(lines(1, 4) + a_line(5, customer=99) + "\n" + lines(6, 8))
    operator.is_refused("customers import", file)
    file.write_text(lines(1, 8))
    operator.run("customers import", file)
    require_whole(served, 8)


def test_finished_part_that_was_changed_is_refused(served: Pair, operator: Operator, file: Path) -> None:
    file.write_text(lines(1, 3))
    operator.run("customers import", file)
    for changed in (lines(2, 4), lines(1, 2), lines(1, 3).rstrip("\n") + a_line(4), ""):
        file.write_text(changed)
        assert "imported of it before, up to line 3, is not as it was: put it back" in operator.is_refused(
            "customers import", file
        )
    file.write_text(lines(1, 4))
    operator.run("customers import", file)
    require_whole(served, 4)


def test_record_of_another_log_is_refused(
    served: Pair, operator: Operator, file: Path, tmp_path: Path
) -> None:
    file.write_text(lines(1, 3))
    operator.run("customers import", file)
    ours = operator.environment["REDIS_URL"]
    with EmbeddedRedis(tmp_path / "other redis") as other:
        log = EventLog.connect(other.url, make_codec())
        log.create()
        operator.environment["REDIS_URL"] = other.url
        told = operator.is_refused("customers import", file)
        assert f"of an import into log {served.log.state().log_id}, and this is log {log.create()}" in told
        assert log.state().sequence == 0
        log.close()
    operator.environment["REDIS_URL"] = ours
    operator.run("customers import", file)
    require_whole(served, 3)


def test_log_that_lost_what_was_imported_is_refused(
    served: Pair, operator: Operator, file: Path, redis_server: EmbeddedRedis
) -> None:
    file.write_text(lines(1, 3))
    operator.run("customers import", file)
    last = str(served.log.state().end)
    with redis.Redis.from_url(redis_server.url) as client:
        client.xdel("event-stream", last)
    assert f"the log has no entry {last}" in operator.is_refused("customers import", file)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"log_id": 1}'])
def test_record_that_cannot_be_read_is_refused(
    served: Pair, operator: Operator, file: Path, content: bytes
) -> None:
    file.write_text(lines(1, 3))
    record_of(file).write_bytes(content)
    assert f"{record_of(file)}, which says how far" in operator.is_refused("customers import", file)
    assert imported(served) == []


def test_lost_record_doubles_nothing_within_a_day(served: Pair, operator: Operator, file: Path) -> None:
    file.write_text(lines(1, 1500))
    operator.run("customers import", file)
    record_of(file).unlink()
    told = operator.ask("customers import", file)
    assert (told["published"], told["replayed"]) == (0, 1500)
    require_whole(served, 1500)


def test_equal_lines_are_as_many_invoices(served: Pair, operator: Operator, file: Path) -> None:
    file.write_text(f"{a_line(5)}\n" * 3 * LARGEST_BATCH)
    operator.run("customers import", file)
    assert imported(served) == [5] * 3 * LARGEST_BATCH


def test_memory_does_not_grow_with_the_file(file: Path) -> None:
    def peak_bytes(count: int) -> int:
        file.write_text(lines(1, count))
        tracemalloc.start()
        with closing(InvoiceFile(file)) as opened:
            assert opened.check(Part(), lambda _done, _total: None).whole.lines == count
            assert sum(len(batch.invoices) for batch in opened.batches_behind(Part())) == count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(40 * LARGEST_BATCH) < 1.5 * peak_bytes(4 * LARGEST_BATCH)


def test_directory_and_file_that_is_not_there_are_wrong_usage(operator: Operator, tmp_path: Path) -> None:
    operator.run("customers import", tmp_path, exits=2)
    operator.run("customers import", tmp_path / "nothing", exits=2)


def test_link_to_a_file_is_that_file(served: Pair, operator: Operator, file: Path, tmp_path: Path) -> None:
    file.write_text(lines(1, 3))
    link = tmp_path / "link"
    link.symlink_to(file)
    operator.run("customers import", link)
    assert operator.ask("customers import", file)["lines_before"] == 3
    require_whole(served, 3)


def test_second_import_of_a_file_is_refused_while_the_first_runs(
    served: Pair, operator: Operator, file: Path
) -> None:
    file.write_text(lines(1, 3))
    with closing(InvoiceFile(file)):
        assert f"another import of {file} is running" in operator.is_refused("customers import", file)
    operator.run("customers import", file)
    require_whole(served, 3)


def test_a_file_that_replaces_one_that_is_imported_waits_for_that(
    served: Pair, operator: Operator, file: Path
) -> None:
    file.write_text(lines(1, 30))
    with closing(InvoiceFile(file)):
        other = file.with_name("other")
        other.write_text(lines(1, 40))
        other.replace(file)
        assert f"another import of {file} is running" in operator.is_refused("customers import", file)
    operator.run("customers import", file)
    require_whole(served, 40)
    assert {found.name for found in file.parent.iterdir()} == {file.name, record_of(file).name}


def test_two_imports_at_once_import_each_line_once(served: Pair, operator: Operator, file: Path) -> None:
    file.write_text(lines(1, 5000))
    both = [operator.start("customers import", file) for _ in range(2)]
    endings = [(process.communicate(timeout=NEVER_S)[1], process.returncode) for process in both]
    assert 0 in [code for _, code in endings], endings
    assert all(code == 0 or "another import" in told for told, code in endings), endings
    require_whole(served, 5000)


def start_and_wait(operator: Operator, file: Path, begun: Callable[[], bool]) -> subprocess.Popen[str]:
    process = operator.start("customers import", file)
    wait_until(lambda: begun() or process.poll() is not None, lambda: "nothing was imported")
    return process


def test_killed_in_the_middle_it_goes_on_there(served: Pair, operator: Operator, file: Path) -> None:
    last = 0
    for round_ in range(KILLS):
        file.write_text(lines(1, last := last + 15_000))
        goal = served.log.state().sequence + 1 + round_ * LARGEST_BATCH
        process = start_and_wait(operator, file, lambda goal=goal: served.log.state().sequence >= goal)  # type: ignore[misc]  # mypy takes no default for this
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert record_of(file).exists()
        operator.run("customers import", file)
        assert imported(served) == list(range(1, last + 1)), f"round {round_}"
    require_whole(served, last)


def test_killed_before_any_step_it_loses_and_doubles_no_line(
    served: Pair, operator: Operator, file: Path
) -> None:
    """Each run is killed one step later than the one before, and the next command mends it."""
    last, crashes = 0, 0
    while True:
        file.write_text(lines(1, last := last + LARGEST_BATCH + 1))
        ended = subprocess.run(
            [sys.executable, "-m", importing_process.__name__, str(crashes + 1), file],
            env={**os.environ, **operator.environment},
            cwd=ROOT,
            check=False,
            timeout=NEVER_S,
            capture_output=True,
        )
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        crashes += 1
        operator.run("customers import", file)
        assert imported(served) == list(range(1, last + 1)), f"killed before step {crashes}"
    assert crashes >= 12
    require_whole(served, last)


def leave_last_batch_begun(served: Pair, operator: Operator, file: Path, server: EmbeddedRedis) -> None:
    """1,500 lines are in the log, the record tells of the first 1,000, and Redis has forgotten the command."""
    file.write_text(lines(1, 1500))
    operator.run("customers import", file)
    entries = [entry for entry in served.log.read(count=100_000) if b"import-" in entry.fields[-1]]
    record = json.loads(record_of(file).read_text())
    key = msgspec.json.decode(entries[-1].fields[-1], type=Metadata).command
    record["begun"] = {"key": key, "end": part(file.read_bytes())}
    record["done"] = part(lines(1, LARGEST_BATCH).encode())
    record["position"] = str(entries[LARGEST_BATCH - 1].position)
    record_of(file).write_text(json.dumps(record))
    with redis.Redis.from_url(server.url) as client:
        client.delete(*client.keys("*:command:*"))


def test_batch_that_was_begun_more_than_a_day_ago_is_found_by_its_entries(
    served: Pair, operator: Operator, file: Path, redis_server: EmbeddedRedis
) -> None:
    leave_last_batch_begun(served, operator, file, redis_server)
    told = operator.ask("customers import", file)
    assert (told["lines_before"], told["published"], told["replayed"]) == (1500, 0, 0)
    require_whole(served, 1500)


def test_batch_whose_entries_were_trimmed_is_found_in_the_archive_or_nothing_is_imported(
    served: Pair, operator: Operator, file: Path, redis_server: EmbeddedRedis
) -> None:
    leave_last_batch_begun(served, operator, file, redis_server)
    served.wait_until_applied()
    operator.look_after_log("archive", "--once")
    wait_until(
        lambda: "; 2 left" in operator.look_after_log("trim", "--keep", "2").stdout, lambda: "not trimmed"
    )
    archive, aside = served.folder / "archive", served.folder / "aside"
    archive.rename(aside)
    before = served.log.state()
    assert "whether the last batch was imported cannot be told" in operator.is_refused(
        "customers import", file
    )
    assert served.log.state() == before
    aside.rename(archive)
    told = operator.ask("customers import", file)
    assert (told["lines_before"], told["published"], told["replayed"]) == (1500, 0, 0)


def part(content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"lines": content.count(b"\n"), "bytes": len(content), "digest": digest}


def test_interrupted_it_says_how_far_it_is_in_one_line_and_goes_on(
    served: Pair, operator: Operator, file: Path
) -> None:
    file.write_text(lines(1, 30_000))
    seen = served.log.state().sequence
    process = start_and_wait(operator, file, lambda: served.log.state().sequence > seen)
    process.send_signal(signal.SIGINT)
    printed, told = process.communicate(timeout=NEVER_S)
    assert (process.returncode, printed) == (130, "")
    *_, line = told.splitlines()
    assert line.startswith(
        (f"Interrupted: {file} is imported up to line ", f"Interrupted: {file} is not imported, or up to")
    )
    assert line.endswith("the same command goes on from there.")
    assert "Traceback" not in told
    operator.run("customers import", file)
    require_whole(served, 30_000)


def test_lost_answers_double_nothing(
    served: Pair, operator: Operator, file: Path, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcome of a batch stays unknown; the next run finds out."""
    monkeypatch.setattr(eventlog.deciding, "RETRY_UNKNOWN_FOR_S", 0.2)
    file.write_text(lines(1, 2500))
    served.wait_until_applied()
    with LossyProxy(redis_server.port) as proxy:
        ours = operator.environment["REDIS_URL"]
        operator.environment["REDIS_URL"] = f"redis://127.0.0.1:{proxy.port}"
        proxy.lose(Loss.ANSWER_THEN_CLOSE, times=1000)
        told = operator.run("customers import", file, exits=1).stderr
        operator.environment["REDIS_URL"] = ours
    assert "the same command goes on from there" in told
    operator.run("customers import", file)
    require_whole(served, 2500)


def test_file_that_cannot_have_a_record_is_not_imported(served: Pair, operator: Operator, file: Path) -> None:
    if os.getuid() == 0:
        record_of(file).with_name(f".{record_of(file).name}.unfinished").mkdir()
    else:
        file.parent.chmod(0o500)
    file.write_text(lines(1, 3))
    operator.is_refused("customers import", file)
    assert imported(served) == []
