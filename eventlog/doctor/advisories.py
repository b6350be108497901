"""Known holes of Redis and Valkey, and the release of each line that mends them."""

from __future__ import annotations

from typing import Final, NamedTuple

from eventlog.server_state import Version

AS_OF: Final = "November 2025"

_EVERY: Final[Version] = ()


class Advisory(NamedTuple):
    """`fixed_in` has one release for each line (major, minor) that was mended; the later lines never had it."""

    identifier: str
    what: str
    fixed_in: tuple[Version, ...]
    since: Version = _EVERY


# From the projects' own release notes and security advisories on GitHub. CVE-2022-0543 is not here: it is of
# Debian's packages alone, whose revision the server does not tell.
ADVISORIES: Final[dict[str, tuple[Advisory, ...]]] = {
    "redis": (
        Advisory(
            "CVE-2025-49844",
            "a script runs any code on the server",
            ((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)),
        ),
        Advisory("CVE-2025-62507", "XACKDEL runs any code on the server", ((8, 2, 3),), since=(8, 2)),
        Advisory(
            "CVE-2025-32023",
            "a HyperLogLog command runs any code on the server",
            ((6, 2, 19), (7, 2, 10), (7, 4, 5), (8, 0, 3)),
        ),
        Advisory(
            "CVE-2025-21605",
            "who has not signed in can use up the memory",
            ((6, 2, 18), (7, 2, 8), (7, 4, 3)),
        ),
        Advisory(
            "CVE-2024-46981",
            "a script runs any code on the server",
            ((6, 2, 17), (7, 2, 7), (7, 4, 2)),
        ),
    ),
    "valkey": (
        Advisory(
            "CVE-2025-49844",
            "a script runs any code on the server",
            ((7, 2, 11), (8, 0, 6), (8, 1, 4)),
        ),
    ),
}


def list_holes(program: str, version: Version) -> list[Advisory]:
    """What is known to be open in this release, as its project published it; distributions mend some by themselves."""
    return [advisory for advisory in ADVISORIES.get(program, ()) if _is_open(advisory, version)]


def _is_open(advisory: Advisory, version: Version) -> bool:
    if version[:2] < advisory.since:
        return False
    line = [fixed for fixed in advisory.fixed_in if fixed[:2] == version[:2]]
    if line:
        return version < line[0]
    return version < advisory.fixed_in[-1]
