"""A service as its commands see it: what it is called, what it projects, and where that lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from eventlog import EventLog, Projection, ProjectionReader
from eventlog.doctor.findings import Finding
from eventlog.errors import KeysUnusable
from eventlog.generations import Generations
from eventlog.projection_reader import Look
from shared.log_connection import connect_log
from shared.settings import InvalidSettings, Settings


class Service(NamedTuple):
    """What the commands of a service differ in.

    `show` gives what its main list answered at the moment of a look, as JSON; `find_wrong_sums` what does
    not add up in one, a sentence each; `examine` finds what only this service can have wrong;
    `require_safe_start` raises InvalidSettings where it may not answer HTTP at all.
    """

    name: str
    projection: Projection
    worker: str
    port: Callable[[Settings], int]
    show: Callable[[Look], Sequence[Any]]
    find_wrong_sums: Callable[[Look], list[str]] = lambda _look: []
    examine: Callable[[Settings], list[Finding]] = lambda _settings: []
    require_safe_start: Callable[[Settings], None] = lambda _settings: None

    def read_settings(self) -> Settings:
        """From the environment; InvalidSettings if they cannot be used."""
        return Settings.from_environment(os.environ)

    def connect(self) -> EventLog:
        """The log, not yet connected to."""
        return connect_log(self.read_settings(), self.name)

    def read_safe_settings(self) -> Settings:
        """As `read_settings`, by whatever answers HTTP; InvalidSettings also where it may not.

        That is with a key or a password that others may have, or without EVENT_KEYS_FILE where the log is signed: what
        it published would be parked.
        """
        settings = self.read_settings()
        try:
            keys = connect_log(settings, self.name).keys
            if keys is not None:
                keys.read()
        except KeysUnusable as problem:
            raise InvalidSettings(str(problem)) from problem
        self.require_safe_start(settings)
        return settings

    @property
    def directory(self) -> Path:
        """Of the projection."""
        return self.read_settings().projection_directory(self.name, self.projection)

    @property
    def generations(self) -> Generations:
        return Generations(self.directory, self.projection)

    def reader(self) -> ProjectionReader:
        """Of what is served."""
        return ProjectionReader(self.directory, self.projection)


# Hands a command the service that its group was made for.
pass_service = click.make_pass_decorator(Service)
