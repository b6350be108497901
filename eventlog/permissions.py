"""Whether Redis lets this user run what is needed, found before anything is half done: its scripts do not roll back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import Final

from eventlog.errors import PermissionMissing
from eventlog.redis_client import RedisClient, Script, is_denied

_TRY = Script("permissions")

_STREAM, _NOTHING = "<stream>", "<nothing>"  # each stands for a key: the stream, and one that is not there
_WRONG = "none"  # is no id, no number and no option, so that Redis refuses it

# Each writes nothing, as its arguments are wrong or its key is not there.
_FORMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "XADD": (_STREAM, _WRONG, "field", "value"),
        "XDEL": (_STREAM, _WRONG),
        "XTRIM": (_STREAM, "MINID", "=", _WRONG),
        "XSETID": (_STREAM, _WRONG),
        "XGROUP SETID": (_STREAM, "no such group", _WRONG),
        "XGROUP CREATE": (_STREAM, "no such group", _WRONG),
        "XGROUP DESTROY": (_STREAM, "no such group"),
        "HSET": (_NOTHING, "field", "value", "field without a value"),
        "HDEL": (_NOTHING, "field"),
        "SETRANGE": (_NOTHING, "0", ""),
        "SET": (_NOTHING, "value", _WRONG),
        "PEXPIRE": (_NOTHING, _WRONG),
        "PERSIST": (_NOTHING,),
        "DEL": (_NOTHING,),
        "RENAME": (_NOTHING, _NOTHING),
    }
)
TO_REPORT: Final = ("HSET", "XGROUP SETID", "XGROUP CREATE")
TO_PUBLISH: Final = ("XADD", "XDEL", "HSET", "PEXPIRE", "SETRANGE")
TO_SERVE: Final = (*TO_PUBLISH, *TO_REPORT, "HDEL", "XGROUP DESTROY")
TO_OPERATE: Final = tuple(_FORMS)


class Permissions:
    """`log.permissions`; raises LogUnavailable as every question to Redis does."""

    def __init__(self, client: RedisClient, stream: str) -> None:
        self._redis = client
        self._stream = stream

    @property
    def user(self) -> str:
        """As whom Redis knows us."""
        return self._redis.user

    def require(self, commands: Sequence[str]) -> None:
        """PermissionMissing for the first that this user may not run on the log."""
        for command in self.list_missing(commands):
            raise PermissionMissing(self._redis.user, f"run {command}")

    def list_missing(self, commands: Sequence[str]) -> list[str]:
        """Those that this user may not run; PermissionMissing where not even a script may be run."""
        return [
            command
            for command, refusal in zip(commands, self._try(commands), strict=True)
            if is_denied(refusal)
        ]

    def may_strangers_write(self) -> bool:
        """Whether who says nothing of who they are may add to the stream; nothing is added."""
        with closing(RedisClient(self._redis.make_strangers_pool())) as stranger:
            return stranger.is_let("XADD", self._stream, *_FORMS["XADD"][1:])

    def _try(self, commands: Sequence[str]) -> list[str]:
        """What each was refused with, if it was."""
        keys = {_STREAM: self._stream, _NOTHING: f"{{{self._stream}}}:nothing"}
        words: list[str | int] = []
        for command in commands:
            form = [*command.split(), *(keys.get(word, word) for word in _FORMS[command])]
            words += [len(form), *form]
        answers = self._redis.run(_TRY, list(keys.values()), words)
        return [answer.decode("utf-8", "replace") for answer in answers]
