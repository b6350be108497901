"""What the processes write about themselves: one line an event, readable on a terminal, JSON elsewhere."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec
import structlog
from structlog.typing import EventDict, Processor

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_FRAMES: Final = 20  # the innermost; a request has some 15


def configure_logging(process: str, *steps: Processor) -> None:
    """Send everything logged in this process to stderr, under the process's name; `steps` add to each line.

    Lines of `structlog.get_logger()` cost half of those of `logging`: for what is written often.
    """
    shared_steps: list[Processor] = [
        _of_process(process),
        *steps,
        _name_errors,
    ]
    on_terminal = sys.stderr.isatty()
    in_colour = not os.environ.get("NO_COLOR")  # https://no-color.org
    last: Processor = structlog.dev.ConsoleRenderer(colors=in_colour) if on_terminal else _to_json
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared_steps],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    structlog.configure(
        processors=[*shared_steps, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def adding_position(find_position: Callable[[], str | None]) -> Processor:
    """A step of `configure_logging`: a line that names no position says how far its process is."""

    def add(_: object, __: str, event: EventDict) -> EventDict:
        if "position" not in event:
            position = find_position()
            if position is not None:
                event["position"] = position
        return event

    return add


def _of_process(process: str) -> Processor:
    def add(_: object, method: str, event: EventDict) -> EventDict:
        event["level"] = "error" if method == "exception" else method
        event["timestamp"] = datetime.now(UTC).isoformat()
        event["process"] = process
        return event

    return add


def _name_errors(_: object, __: str, event: EventDict) -> EventDict:
    """An error that came with a line: what kind, and where.

    Not its message: what nobody expected may quote a password, a token or a customer.
    """
    if "exc_info" not in event:
        return event
    exc_info = _exc_info(event.pop("exc_info"))
    if exc_info is not None:
        error: BaseException | None = exc_info[1]
        chain: list[str] = []
        while error is not None and len(chain) < _FRAMES:
            chain.append(f"{type(error).__name__}: {' < '.join(_frames_of(error))}")
            error = error.__cause__ or error.__context__
        event["exception"] = "\n".join(chain)  # as text: what renders for a terminal wants that
    return event


def _exc_info(given: Any) -> _ExcInfo | None:
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if given is True:
        given = sys.exc_info()
    return given if isinstance(given, tuple) and given[1] is not None else None


def _frames_of(error: BaseException) -> list[str]:
    """The innermost first."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames)]


def _to_json(_: object, __: str, event: EventDict) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except UnicodeEncodeError:  # half a surrogate pair, of what came from outside
        return json.dumps(event, default=repr)
