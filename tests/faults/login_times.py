"""Whether the time that a login takes tells who is a user: wrong passwords over HTTP, for a user and for nobodies."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from werkzeug.serving import WSGIRequestHandler, make_server

import accounts.app
from accounts.failed_logins import Limit, Limits
from accounts.identity import Users
from accounts.signing_keys import SigningKeys
from eventlog import EventLog
from eventlog.embedded_redis import free_port, is_free
from shared.events import make_codec
from shared.permissions import Role
from shared.settings import Settings
from tests.fake_redis import fake_pool
from tests.faults.campaign import Fault, Outcome, Piece
from tests.make_run import wait_until

_UNAUTHORIZED: Final = 401
_NO_LIMIT: Final = Limits(*[Limit(free=10**9, longest_wait_s=0)] * 3)
_WARM_UP: Final = 5
_TOLD_APART: Final = 0.05


def _leave_as_it_is() -> None:
    """What the process is told before it serves, unless a test breaks something there."""


def time_logins(
    piece: Piece, within: float = _TOLD_APART, prepare: Callable[[], None] = _leave_as_it_is
) -> Outcome:
    """A trial is one wrong password: half of them for a user, half for names that nobody has, in a random order.

    `within` is how far the AUC may be from a half: chance that a user's answer took longer than a nobody's.
    """
    chance = random.Random(piece.seed)
    names = ["user-0000000"] * (piece.trials // 2)
    names += [f"user-{number:07}" for number in range(1, piece.trials - len(names) + 1)]
    chance.shuffle(names)
    took: dict[bool, list[float]] = {True: [], False: []}
    with _serving(piece.folder, prepare) as port:
        for name in ["user-0000000", "user-nobody0"] * _WARM_UP:
            _seconds_of_login(port, name)
        for name in names:
            took[name == "user-0000000"].append(_seconds_of_login(port, name))
    area = auc(took[True], took[False])
    wrong = [] if abs(area - 0.5) <= within else [f"a user is told by the time of an answer: AUC {area:.3f}"]
    return Outcome(
        piece.trials,
        {"thousandths of AUC": round(1000 * area)},
        wrong,
        {"user": took[True], "nobody": took[False]},
    )


def auc(longer: Sequence[float], shorter: Sequence[float]) -> float:
    """How likely one of `longer` is more than one of `shorter`; a half where nothing tells them apart."""
    ordered = sorted(shorter)
    above = sum(bisect_left(ordered, each) + bisect_right(ordered, each) for each in longer)
    return above / 2 / len(longer) / len(shorter)


def _seconds_of_login(port: int, username: str) -> float:
    body = json.dumps({"username": username, "password": "not the password"})
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/auth/login", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    took_s = time.perf_counter() - began
    assert answer.status == _UNAUTHORIZED, answer.status
    return took_s


@contextmanager
def _serving(folder: Path, prepare: Callable[[], None]) -> Iterator[int]:
    """Accounts in a process of its own, hashing as in production, without limits on failed logins."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(
        target=partial(_serve, folder, port, prepare), daemon=True
    )
    process.start()
    try:
        wait_until(lambda: not is_free(port) or not process.is_alive(), lambda: "accounts does not answer")
        yield port
    finally:
        process.terminate()
        process.join(20)


class _Silent(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Nothing."""


def _serve(folder: Path, port: int, prepare: Callable[[], None]) -> None:
    prepare()
    SigningKeys(folder / "accounts").make_first()
    Users(folder / "accounts").add("user-0000000", "a password of hers", Role.MEMBER)
    log = EventLog(fake_pool(), make_codec())
    app = accounts.app.create_app(Settings.from_environment({"DATA_DIR": str(folder)}), log, limits=_NO_LIMIT)
    make_server("127.0.0.1", port, app, threaded=True, request_handler=_Silent).serve_forever()


LOGIN_TIMES = Fault(
    "login-times", "a wrong password for a user or for nobody, timed", 2_000, 2_000, time_logins
)
