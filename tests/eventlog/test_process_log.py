"""What a process writes about itself: JSON, or readable on a terminal; never what an unexpected error says."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.make_run import ROOT

pytestmark = pytest.mark.processes

_PROGRAM = """
import logging, structlog
from eventlog.process_log import adding_position, configure_logging

configure_logging("tester", adding_position(lambda: "7-0"))
structlog.get_logger().info("request", status=200, position="8-0")
logging.getLogger("some.module").warning("half a pair: %s", "\\ud800")

def fall_over(password):
    raise ValueError(password)

try:
    try:
        fall_over("s3cret")
    except ValueError as first:
        raise KeyError("s3cret, too") from first
except KeyError:
    logging.getLogger("some.module").exception("unexpected error")
"""


def test_each_event_is_one_line_of_json_and_errors_are_told_by_kind_and_place() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    request, half, error = map(json.loads, ran.stderr.splitlines())
    assert (request["event"], request["status"], request["process"]) == ("request", 200, "tester")
    assert (request["position"], half["position"]) == ("8-0", "7-0")
    assert (half["level"], half["logger"]) == ("warning", "some.module")
    last, first = error["exception"].splitlines()
    assert last.startswith("KeyError: <string>:")
    assert first.startswith("ValueError: <string>:")
    assert " fall_over < " in first
    assert "s3cret" not in ran.stderr


def _shown_on_terminal(**variables: str) -> str:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        environment = {**os.environ, "NO_COLOR": "", **variables}
        subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, env=environment, stderr=theirs, check=True)
        os.close(theirs)
        return terminal.read(1 << 16).decode()


def test_colours_are_for_a_terminal_and_not_where_no_color_is_set() -> None:
    assert "\x1b[" in _shown_on_terminal()
    plain = _shown_on_terminal(NO_COLOR="1")
    assert "\x1b[" not in plain
    assert "unexpected error" in plain


def test_on_a_terminal_it_is_readable() -> None:
    shown = _shown_on_terminal()
    assert '{"' not in shown
    assert "unexpected error" in shown
    assert "fall_over" in shown
    assert "s3cret" not in shown
