"""Requests of a demo user, who signs in anew once the token has expired, as the clock of the services says."""

from __future__ import annotations

import threading
from collections.abc import Generator

import httpx

from tests.make_run import NEVER_S

_CREDENTIALS = {"username": "user1", "password": "password1"}


def sign_in(accounts_url: str) -> str:
    """A new token."""
    answer = httpx.post(f"{accounts_url}/auth/login", json=_CREDENTIALS, timeout=NEVER_S)
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.text


class SignedIn(httpx.Auth):
    """A request that is answered 401 is sent once more, with a new token. Shared by threads."""

    def __init__(self, accounts_url: str) -> None:
        self._accounts_url = accounts_url
        self._lock = threading.Lock()
        self._token = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self.token()
        request.headers["Authorization"] = f"Bearer {token}"
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            request.headers["Authorization"] = f"Bearer {self.token(instead_of=token)}"
            yield request

    def token(self, instead_of: str = "") -> str:
        """The one that was good last, or a new one where that is `instead_of`."""
        with self._lock:
            if self._token == instead_of:
                self._token = sign_in(self._accounts_url)
            return self._token
