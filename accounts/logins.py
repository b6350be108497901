"""Who it is that gives a name and a password, where neither the user nor the address has failed too often."""

from __future__ import annotations

from accounts.failed_logins import FailedLogins
from accounts.identity import Authenticated, Users


class Logins:
    """For every path that takes a password."""

    def __init__(self, users: Users, failed: FailedLogins) -> None:
        self._users = users
        self._failed = failed

    def authenticate(self, username: str, password: str, address: str) -> Authenticated | None:
        """None for a wrong name or password; TooManyFailures or TooBusy where it was not looked at."""
        attempt = self._failed.begin(username, address)
        try:
            authenticated = self._users.authenticate(username, password)
        except BaseException:
            self._failed.take_back(attempt)
            raise
        if authenticated is not None:
            self._failed.succeeded(attempt)
        return authenticated
