"""Everything the library raises, grouped by who must act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from eventlog.continuity import Verdict
    from eventlog.position import Position


PERMISSION_MEND: Final = "load deploy/users.acl into it again (docs/how-to/secure-redis.md)"
WHO_MEND: Final = "say who you are by REDIS_USER and REDIS_PASSWORD_FILE (docs/how-to/secure-redis.md)"
OPERATOR: Final = "operator"  # the user of commands that look after the log


def mend_for(user: str, meant: str = "") -> str:
    """What is done where Redis does not let a user run a command; `meant` is who should."""
    if user == "default":
        return WHO_MEND
    if meant and user != meant:
        return f"come as {meant!r}, by REDIS_USER and REDIS_PASSWORD_FILE (docs/how-to/secure-redis.md)"
    return PERMISSION_MEND


class EventLogError(Exception):
    """The one root: catch it to catch all that this library raises on purpose."""


# The caller acts: decide again, or send something else.


class Conflict(EventLogError):
    """A guard was touched, or a foreign entry arrived, after the decision; nothing was written.

    Decide again on state that includes `position`.
    """

    def __init__(self, position: Position, subject: str) -> None:
        super().__init__(f"{subject} changed at {position}, after this was decided: decide again")
        self.position = position
        self.subject = subject


class IdsTaken(EventLogError):
    """No new ids are free between the bounds given; nothing was written. Decide again on ids above `up_to`."""

    def __init__(self, up_to: int) -> None:
        super().__init__(f"ids up to {up_to} may be in use: decide again on ids above them")
        self.up_to = up_to


class CommandReused(EventLogError):
    """The command's key was used before for something else; nothing was written."""

    def __init__(self, key: str) -> None:
        super().__init__(f"command key {key!r} was used before with other content: use a new key")
        self.key = key


class InvalidPosition(EventLogError, ValueError):
    """Text that is not a stream ID."""


# Nobody acts: wait and try again.


class LogUnavailable(EventLogError):
    """Redis did not answer, or refused for a reason of its own; nothing was written."""


class RedisHangs(LogUnavailable):
    """A connection to Redis was there, and no answer came: it is not away; nothing was written."""

    mend: Final = "kill -CONT its process, or kill -9 and start it again (docs/runbook.md, LogUnreachable)"

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}: it hangs or is paused, or the network drops its answers: {self.mend}")


class PermissionMissing(LogUnavailable):
    """Redis does not let this user do what was asked. `user` is who, `what` may not be done; nothing was written."""

    def __init__(self, user: str, what: str, mend: str = "") -> None:
        self.mend = mend or mend_for(user)
        super().__init__(f"Redis does not let user {user!r} {what}: {self.mend}")
        self.user = user
        self.what = what


class NotLetIn(PermissionMissing):
    """Redis does not know this user by this password, or whoever says nothing of who they are."""

    def __init__(self, user: str, said: str) -> None:
        super().__init__(
            user,
            f"in ({said})",
            "put the right one into REDIS_USER or REDIS_URL, and their password into the file that "
            "REDIS_PASSWORD_FILE names, or the URL",
        )


class OutcomeUnknown(EventLogError):
    """The append was sent and its answer never came: it may be in the log.

    Publish again with the same command; it cannot be written twice.
    """


class CheckpointMoved(EventLogError):
    """Another process advanced the checkpoint first; this batch was rolled back whole."""


# The operator acts: the message says what to type.


class WrongLog(EventLogError):
    """This is not, or no longer, the log the caller followed; nothing was written."""

    def __init__(self, verdict: Verdict, explanation: str, mend: str) -> None:
        super().__init__(f"{verdict}: {explanation}. {mend}")
        self.verdict = verdict
        self.explanation = explanation
        self.mend = mend


class WeakDurability(EventLogError):
    """Redis could lose what it acknowledged; `settings` names each weak one with its value."""

    def __init__(self, settings: dict[str, str]) -> None:
        found = ", ".join(f"{name} is {value!r}" for name, value in settings.items())
        super().__init__(
            f"this Redis can lose acknowledged events: {found}. "
            "Set appendonly yes, appendfsync always, no-appendfsync-on-rewrite no, maxmemory-policy noeviction."
        )
        self.settings = settings


class KeysUnusable(EventLogError):
    """The file of keys that sign entries is missing, wrong or not named: nothing is published or applied without it."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(f"{problem}: {mend}")


class KeysRefused(EventLogError):
    """The file of keys was left as it is."""


class ReaderUnreadable(EventLogError):
    """What a reader made known of itself is nonsense: how far it is cannot be told."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"what reader {name!r} made known of itself cannot be read: run `eventlog readers remove {name}`; "
            "one that is alive makes itself known again"
        )
        self.name = name


class TrimRefused(EventLogError):
    """Entries would be nowhere any more; nothing was freed."""


class NewerSchema(EventLogError):
    """An entry has a schema version this code does not know."""

    def __init__(self, event_type: str, version: int, known: int, position: Position) -> None:
        super().__init__(
            f"{position} is {event_type} version {version}; this code knows up to {known}: "
            "upgrade this service first, then start it again"
        )
        self.event_type = event_type
        self.version = version
        self.position = position


class NotBuilt(EventLogError):
    """The projection cannot be read: not built yet, or built by another version of the code."""


class FileGone(NotBuilt):
    """The file that was opened is no longer the one that is served: it was deleted, or another took its place."""


class SwitchRefused(EventLogError):
    """Another generation cannot be served now; what was served before still is."""


class MomentsDiffer(SwitchRefused):
    """What is served and what the log gives do not stand at one entry: the log was changed, or the file was."""


class ArchiveUnusable(EventLogError):
    """The archive is not there, damaged, of another log, or lacks what was asked of it; the message names the file."""


class ArchiveAltered(ArchiveUnusable):
    """Something else than the archive wrote to its file. `sequence` and `position` are of the first entry in question.

    `sequence` is None where it is no entry; `position` is START where that is not known.
    """

    def __init__(self, path: Path, sequence: int | None, position: Position, how: str) -> None:
        what = "what it keeps beside the entries"
        if sequence is not None:
            what = f"entry number {sequence}" + (f", at {position}," if any(position) else "")
        super().__init__(f"{path} is not as it was written: {what} {how}")
        self.sequence = sequence
        self.position = position


class ArchiveDisagrees(ArchiveUnusable):
    """The archive is as it was written, as far as was looked, and Redis has another entry."""


class ReseedRefused(EventLogError):
    """The log was not written back; nothing was changed."""


class TailRunning(EventLogError):
    """Another process holds the projection's tail lock."""


# The author of a projection acts.


class HandlerFailed(EventLogError):
    """A handler raised, or its changes cannot be written; the checkpoint stays before the entry."""

    def __init__(self, position: Position, event_type: str, cause: BaseException) -> None:
        super().__init__(f"handler of {event_type} failed at {position}: {type(cause).__name__}: {cause}")
        self.position = position
        self.event_type = event_type
