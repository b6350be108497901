"""A tail that cannot run is named, tried again with growing pauses, and back by itself; a damaged file is rebuilt."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from accounts.revenue import revenue
from eventlog.generations import Generations
from tests.faults.pair import Pair
from tests.make_run import NEVER_S, Run, wait_until

pytestmark = pytest.mark.processes

_FAILED_START = re.compile(
    r"^(\S+ \S+),\d+ WARN exited: accounts-tail \(exit status 1; not expected\)", re.MULTILINE
)
GROWN = timedelta(seconds=4)  # it begins with one, and each failed start takes most of another
_ADA = {"name": "Ada", "account_id": "1"}


def test_tail_that_cannot_run_is_tried_again_with_growing_pauses_and_comes_back(
    start_run: Callable[..., Run],
) -> None:
    pair = Pair(start_run)
    folder = pair.folders[revenue]
    shutil.rmtree(folder)
    folder.touch()  # no directory can be made here
    pair.kill("accounts", "tail")
    wait_until(lambda: longest_pause(pair) >= GROWN, lambda: log_of(pair, "supervisord-services"))

    ready = httpx.get(f"{pair.accounts_url}/health/ready", timeout=NEVER_S)
    assert (ready.status_code, ready.json()["status"]) == (503, "failed")
    assert ready.json()["checks"]["projection"]["mend"]
    assert (
        httpx.get(f"{pair.accounts_url}/accounts", headers=pair.headers, timeout=NEVER_S).status_code == 503
    )
    posted = httpx.post(f"{pair.customers_url}/customers", json=_ADA, headers=pair.headers, timeout=NEVER_S)
    assert posted.status_code == 201, "the other service is not concerned"
    assert str(folder) in log_of(pair, "accounts-tail")
    assert "Traceback" not in log_of(pair, "accounts-tail")

    folder.unlink()
    wait_until(
        lambda: httpx.get(f"{pair.accounts_url}/health/ready", timeout=NEVER_S).json()["status"] == "ok",
        pair.run.output,
    )
    shown = httpx.get(
        f"{pair.accounts_url}/accounts/1",
        headers={**pair.headers, "Min-Log-Position": posted.headers["Log-Position"]},
        timeout=NEVER_S,
    )
    assert [customer["name"] for customer in shown.json()["customers"]] == ["Ada"]


def test_damaged_projection_is_named_with_its_mend_which_works(start_run: Callable[..., Run]) -> None:
    pair = Pair(start_run)
    posted = httpx.post(f"{pair.customers_url}/customers", json=_ADA, headers=pair.headers, timeout=NEVER_S)
    headers = {**pair.headers, "Min-Log-Position": posted.headers["Log-Position"], "Prefer": "wait=10"}
    before = httpx.get(f"{pair.accounts_url}/accounts", headers=headers, timeout=NEVER_S).json()
    assert pair.run.interrupt() == 0

    folder = pair.folders[revenue]
    file = Generations(folder, revenue).served_file
    for damaged in file.parent.glob(f"{file.name}*"):  # a log that was left beside it may have every page
        damaged.write_bytes(b"\xff" * damaged.stat().st_size)
    waiting = start_run()
    waiting.wait_for_output(f"{file} is damaged: ")
    waiting.wait_for_output("`accounts verify --repair`")
    mend = [str(Path(sys.executable).with_name("accounts")), "verify", "--repair"]
    done = subprocess.run(mend, env=waiting.environment, check=False, timeout=NEVER_S, capture_output=True)
    assert done.returncode == 0, (done, waiting.output())
    waiting.wait_until_up()
    assert "Traceback" not in waiting.output()
    assert httpx.get(f"{pair.accounts_url}/accounts", headers=headers, timeout=NEVER_S).json() == before


def longest_pause(pair: Pair) -> timedelta:
    """Between failed starts."""
    moments = _FAILED_START.findall(log_of(pair, "supervisord-services"))
    failed = [datetime.fromisoformat(moment) for moment in moments]
    return max((later - earlier for earlier, later in pairwise(failed)), default=timedelta(0))


def log_of(pair: Pair, process: str) -> str:
    return (Path(pair.run.environment["DATA_DIR"]) / "log" / f"{process}.log").read_text()
