"""Requests of a user who signs in anew once the token has expired, as the clock of the services says."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping

import httpx

from tests.make_run import NEVER_S


class SignedIn(httpx.Auth):
    """A request that is answered 401 is sent once more, with a new token. Shared by threads."""

    def __init__(self, accounts_url: str, credentials: Mapping[str, str]) -> None:
        self._url = f"{accounts_url}/auth/login"
        self._credentials = credentials
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
                answer = httpx.post(self._url, json=dict(self._credentials), timeout=NEVER_S)
                answer.raise_for_status()
                self._token = answer.text
            return self._token
