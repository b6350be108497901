"""What every server that holds a log must do: inherited by one test class for each kind of server."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from eventlog import START, Command, EventLog, Moment, Position, Published
from eventlog.codec import Codec, Entry
from eventlog.continuity import Verdict
from eventlog.errors import CommandReused, Conflict, LogUnavailable, WrongLog
from eventlog.log import NAMED_COMMAND_LIFETIME_MS, UNNAMED_COMMAND_LIFETIME_MS, EventLog as Log
from tests.eventlog.parcels import ParcelLost, a_parcel_sent, make_codec

FOREIGN = {"EventTypeName": "ParcelLost", "Payload": '{"id":1}'}
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"


class LogContract(ABC):
    """A log of its own for each test, and a plain client for what other programs may do to it."""

    @pytest.fixture
    @abstractmethod
    def pool(self) -> Any:
        """Connections to an empty server."""

    @pytest.fixture
    def log(self, pool: redis.ConnectionPool) -> Log:
        log = Log(pool, make_codec())
        log.create()
        return log

    @pytest.fixture
    def client(self, pool: redis.ConnectionPool) -> redis.Redis:
        return redis.Redis(connection_pool=pool)
