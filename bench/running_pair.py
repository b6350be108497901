"""Everything as `make run` starts it: Redis, both services, their tails and the archive."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from accounts.signing_keys import SigningKeys
from accounts.token_issuer import TokenIssuer
from shared.permissions import Identity, Role
from shared.request_classes import RequestClass
from tests.make_run import ROOT, Run, make_environment, runs_ended
from tests.tester import TESTER_URL, admit_tester

__all__ = ["HOST", "ROOT", "RunningPair", "running_pair"]

HOST: Final = "127.0.0.1"

_LIMITS: Final = dict.fromkeys(RequestClass, 10**9 - 1)  # counted, and not reached


class RunningPair(NamedTuple):
    """Where it is; `token` is an admin's, for 15 minutes."""

    run: Run
    customers_port: int
    accounts_port: int
    redis_url: str
    token: str

    def post(self, port: int, path: str, body: object) -> Any:
        """The JSON answered to one request; for what is prepared, not for what is measured."""
        request = urllib.request.Request(
            f"http://{HOST}:{port}{path}",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # to loopback
            return json.load(answer)


@contextmanager
def running_pair(folder: Path, limits: Mapping[RequestClass, int] = _LIMITS) -> Iterator[RunningPair]:
    """With the demo's two accounts; everything is ended afterwards."""
    folder.mkdir()
    environment = make_environment(folder)
    admit_tester(Path(environment["DATA_DIR"]) / "redis")
    with runs_ended(folder, environment) as start:
        run = start(REQUEST_LIMITS=" ".join(f"{each}={limit}" for each, limit in limits.items()))
        run.wait_until_up()
        keys = SigningKeys(Path(environment["DATA_DIR"]) / "accounts")
        yield RunningPair(
            run,
            int(environment["CUSTOMERS_PORT"]),
            int(environment["ACCOUNTS_PORT"]),
            TESTER_URL.format(environment["REDIS_PORT"]),
            TokenIssuer(keys).issue(Identity("user1", Role.ADMIN)),
        )
