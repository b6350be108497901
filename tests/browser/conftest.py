"""A browser, and the console of a pair for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from tests.browser.person import Console, running_browser, running_console


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def console(
    redis_server: EmbeddedRedis, real_log: EventLog, tmp_path: Path, browser: Browser
) -> Iterator[Console]:
    with running_console(real_log, redis_server.url, tmp_path / "data dir", browser) as console:
        yield console


@pytest.fixture
def page(console: Console) -> Page:
    return console.open()
