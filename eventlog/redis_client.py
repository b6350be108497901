"""Speaking to Redis: raw answers, no retries of its own, every failure a LogUnavailable.

Knows nothing of events or the log.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import resources
from typing import Any, Final, Generic, NamedTuple, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry

from eventlog.errors import LogUnavailable, NotLetIn, OutcomeUnknown, PermissionMissing, RedisHangs
from eventlog.redis_address import DEFAULT_USER, InvalidAddress, RedisAddress

AnswerT = TypeVar("AnswerT")

SOCKET_TIMEOUT_S = 5.0
_CONNECT_TIMEOUT_S = 2.0
_FIRST_RETRY_PAUSE_S, _LONGEST_RETRY_PAUSE_S = 0.02, 0.5


class Script:
    """Lua files of a package, joined: run by digest, and sent whole only to a server that has not got it."""

    def __init__(self, *names: str, package: str = "eventlog") -> None:
        self.name = f"{names[-1]}.lua"
        files = resources.files(package)
        self._source = "".join(files.joinpath(f"{name}.lua").read_text("utf-8") for name in names)
        self._sha1 = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def run(self, connection: Any, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The answer as Redis gives it; raises what redis-py raises."""
        self.send(connection, keys, arguments)
        return self.receive(connection, keys, arguments)

    def send(self, connection: Any, keys: Sequence[str], arguments: Sequence[Any]) -> None:
        """The first half of `run`."""
        connection.send_command("EVALSHA", self._sha1, len(keys), *keys, *arguments)

    def receive(self, connection: Any, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The second half, given the same again."""
        try:
            return connection.read_response()
        except redis.exceptions.NoScriptError:
            connection.send_command("EVAL", self._source, len(keys), *keys, *arguments)
            return connection.read_response()

    def find_call(self, refusal: str) -> str | None:
        """The command in the line that a refusal names, as servers name nothing else; None where it names none."""
        line = re.search(r"@user_script: ?(\d+)", refusal)
        text = self._source.splitlines()[int(line[1]) - 1] if line else ""
        called = re.search(r"redis\.p?call\('(\w+)'", text)
        return called[1] if called else None


_READ_ALL = Script("read_all")

OUT_OF_MEMORY: Final = (
    "command not allowed when used memory"  # redis-py cuts off OOM, Redis 6.2 wraps it in scripts
)


class _PasswordFile(CredentialProvider):
    """Read for each connection, so that a password can change while we run."""

    def __init__(self, address: RedisAddress) -> None:
        self.user_name = address.user_name
        self._address = address

    def get_credentials(self) -> tuple[str, str]:
        try:
            return self.user_name, self._address.password()
        except InvalidAddress as gone:
            raise redis.AuthenticationError(str(gone)) from gone


def make_pool(address: str | RedisAddress) -> redis.ConnectionPool:
    """A pool for RedisClient. Opens no connection yet, so Redis may be away."""
    if isinstance(address, str):
        address = RedisAddress(address)
    more: dict[str, Any] = {}
    if address.says_who:
        more["driver_info"] = None  # told by CLIENT SETINFO, which no user of ours may run
    url = address.url
    if address.password_file is not None:
        url, more["credential_provider"] = address.bare_url, _PasswordFile(address)
    elif address.user:
        more |= {"username": address.user}
    if address.ca_file is not None:
        more["ssl_ca_certs"] = str(address.ca_file)
    return redis.ConnectionPool.from_url(
        url,
        **more,
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=_CONNECT_TIMEOUT_S,
        # The client's own retries would publish twice: 1,000 publishes became 1,111 entries.
        retry=Retry(NoBackoff(), 0),
    )


_CUT_OFF = re.compile("closed by server|reset by peer")
_DENIED = re.compile(
    r"NOPERM|[Nn]o permissions|script can't (run|access)"
)  # in the words of 6.2, 7 and later
# The numbers are X509_V_ERR_... of OpenSSL.
_CERTIFICATE_MENDS = {
    9: "its certificate is not valid yet: set the clock of this machine by a time server",
    10: "its certificate has expired: give Redis a new one",
    62: "its certificate is for another name: write the name that stands in it into REDIS_URL",
    64: "its certificate is for another address: write the name that stands in it into REDIS_URL",
}


class Asked(NamedTuple, Generic[AnswerT]):
    """A question that was sent: `take` waits for the answer, `drop` gives it up. One of them, once."""

    take: Callable[[], AnswerT]
    drop: Callable[[], None]


class RedisClient:
    """Commands, transactions and scripts on one server. Safe to share between threads."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        """`pool` must speak RESP2 and not retry by itself, as that of `make_pool`."""
        self._pool = pool
        # Idle connections: to get one from the pool and give it back takes as long as a short question.
        self._kept: list[Any] = []

    def make_impatient_pool(self, timeout_s: float) -> redis.ConnectionPool:
        """A pool to the same server whose connections give up after `timeout_s`."""
        arguments = {
            **self._pool.connection_kwargs,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
        }
        return redis.ConnectionPool(self._pool.connection_class, **arguments)

    def make_strangers_pool(self) -> redis.ConnectionPool:
        """A pool to the same server whose connections say nothing of who they are."""
        # Without an answer to read first, redis-py takes what TLS has still to say for an answer: let it tell its name.
        ours = {"username", "password", "credential_provider", "driver_info"}
        arguments = {name: value for name, value in self._pool.connection_kwargs.items() if name not in ours}
        return redis.ConnectionPool(self._pool.connection_class, **arguments)

    @property
    def user(self) -> str:
        """As whom Redis knows us."""
        arguments = self._pool.connection_kwargs
        provider = arguments.get("credential_provider")
        if isinstance(provider, _PasswordFile):
            return provider.user_name
        return arguments.get("username") or DEFAULT_USER

    def close(self) -> None:
        """Close every connection; the client may be used again afterwards."""
        self._pool.disconnect()

    def execute(self, *arguments: Any) -> Any:
        """One command's answer. LogUnavailable chains what Redis or the network said."""
        with self._connection() as connection, self._unavailable_if_failing(str(arguments[0])):
            connection.send_command(*arguments)
            return connection.read_response()

    def execute_if_allowed(self, *arguments: Any) -> Any:
        """One command's answer, None where Redis refuses it, as managed ones do with some."""
        try:
            return self.execute(*arguments)
        except LogUnavailable as refusal:
            if isinstance(refusal.__cause__, redis.ResponseError):
                return None
            raise

    def is_let(self, *arguments: Any) -> bool:
        """Whether Redis would run it for this user, for a command that it refuses for another reason anyway."""
        try:
            self.execute(*arguments)
        except PermissionMissing:
            return False
        except LogUnavailable as problem:
            if not isinstance(problem.__cause__, redis.ResponseError):
                raise
        return True

    def read_all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run commands that read, each with its key first, at one moment; every one of them must succeed."""
        return self.begin_read_all(commands).take()

    def begin_read_all(self, commands: Sequence[tuple[Any, ...]]) -> Asked[list[Any]]:
        """Send what `read_all` sends; Redis works on it meanwhile."""
        asked = self._begin(commands)
        return Asked(lambda: self._read_all(asked, commands), asked.drop)

    def _read_all(self, asked: Asked[list[Any]], commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        try:
            return asked.take()
        except LogUnavailable as problem:
            if not isinstance(problem.__cause__, redis.exceptions.OutOfMemoryError):
                raise
        # Out of memory, Redis queues nothing in a MULTI. The script takes nearly three times as long.
        answers: list[Any] = self.run(_READ_ALL, *_as_script(commands))
        return answers

    def ask(self, commands: Sequence[tuple[Any, ...]]) -> Callable[[], list[Any]]:
        """Send a short question, as `read_all` would, and go on; what comes back, called once, waits for the answers.

        Both raise LogUnavailable.
        """
        keys, words = _as_script(commands)
        with self._unavailable_if_failing():
            try:
                connection = self._kept.pop()
            except IndexError:
                connection = self._pool.get_connection()
            with self._given_up_if_failing(connection):
                try:
                    _READ_ALL.send(connection, keys, words)
                except redis.ConnectionError:  # lost long since, perhaps: redis-py connects it anew
                    _READ_ALL.send(connection, keys, words)

        def answers() -> list[Any]:
            with self._unavailable_if_failing(), self._given_up_if_failing(connection):
                try:
                    found: list[Any] = _READ_ALL.receive(connection, keys, words)
                except redis.ConnectionError:
                    found = _READ_ALL.run(connection, keys, words)
            self._kept.append(connection)
            return found

        return answers

    @contextmanager
    def _given_up_if_failing(self, connection: Any) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._give_up(connection)
            raise

    def _give_up(self, connection: Any) -> None:
        # An answer may still be on its way: this connection must not be read by anyone else.
        connection.disconnect()
        self._pool.release(connection)

    def execute_all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run commands at one moment, synced to disk once; LogUnavailable for the first that is refused.

        Where there is no memory, all of them are.
        """
        return self._begin(commands).take()

    def _begin(self, commands: Sequence[tuple[Any, ...]]) -> Asked[list[Any]]:
        with ExitStack() as until_sent:
            connection = until_sent.enter_context(self._connection())
            until_sent.enter_context(self._unavailable_if_failing())
            connection.send_packed_command(connection.pack_commands([("MULTI",), *commands, ("EXEC",)]))
            held = until_sent.pop_all()

        def take() -> list[Any]:
            with held:
                for _ in range(len(commands) + 1):
                    connection.read_response()
                answers: list[Any] = connection.read_response()
            for answer in answers:
                if isinstance(answer, redis.ResponseError):
                    raise self._refused(answer) from answer
            return answers

        def drop() -> None:
            with held:
                connection.disconnect()

        return Asked(take, drop)

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script once."""
        with self._connection() as connection, self._unavailable_if_failing(script):
            return script.run(connection, keys, arguments)

    def run_until_known(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Any], for_s: float
    ) -> Any:
        """Run a script that may be repeated, again and again while it is unknown whether it ran.

        LogUnavailable: it did not run. OutcomeUnknown: it may have, and no answer came within `for_s`.
        """
        deadline = time.monotonic() + for_s
        pause_s = _FIRST_RETRY_PAUSE_S
        may_have_run = False
        while True:
            try:
                with self._connection() as connection:
                    try:
                        return script.run(connection, keys, arguments)
                    except redis.DataError:
                        raise  # an argument that cannot be sent: the caller's mistake, and nothing was
                    except (redis.BusyLoadingError, redis.ResponseError) as refusal:
                        raise self._refused(refusal, script, " the append") from refusal
                    except (redis.RedisError, OSError) as lost:
                        may_have_run = True
                        raise LogUnavailable(f"Redis did not answer: {lost}") from lost
            except LogUnavailable as problem:
                if not may_have_run:
                    raise
                if time.monotonic() + pause_s > deadline:
                    raise OutcomeUnknown(
                        f"no answer from Redis within {for_s:g} s: the append may or may not be in the log; "
                        "publish again with the same command"
                    ) from problem
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_RETRY_PAUSE_S)

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """A connected connection; failing to get one is LogUnavailable, and nothing was sent."""
        connection = self._find_kept()
        if connection is None:
            try:
                connection = self._pool.get_connection()
            except (redis.RedisError, OSError) as problem:
                raise self._unanswered("Redis is away", problem) from problem
        try:
            yield connection
        except BaseException:
            self._give_up(connection)
            raise
        self._kept.append(connection)

    def _find_kept(self) -> Any | None:
        """The one used last of those that are still good; None if there is none."""
        while True:
            try:
                connection = self._kept.pop()
            except IndexError:
                return None
            # As the pool looks: what can be read now is no answer to what comes, but mostly the server's farewell.
            with suppress(redis.RedisError, OSError):
                if connection.is_connected and not connection.can_read():
                    return connection
            self._give_up(connection)

    @contextmanager
    def _unavailable_if_failing(self, asked: Script | str = "") -> Iterator[None]:
        """`asked` is what it is that may be refused, where it is one thing."""
        try:
            yield
        except redis.ResponseError as problem:
            raise self._refused(problem, asked) from problem
        except (redis.RedisError, OSError) as problem:
            raise self._unanswered("Redis did not answer", problem) from problem

    @property
    def _speaks_tls(self) -> bool:
        return issubclass(self._pool.connection_class, redis.SSLConnection)

    def _refused(self, refusal: Exception, asked: Script | str = "", meant: str = "") -> LogUnavailable:
        said = str(refusal)
        if not is_denied(said):
            return LogUnavailable(f"Redis refused{meant}: {_mended(refusal)}")
        if "access" in said:
            return PermissionMissing(self.user, "use one of the keys of this stream")
        told = re.search(r"run the '([\w|-]+)'", said)
        if told:
            what = told[1]
        elif isinstance(asked, Script):
            what = asked.find_call(said) or f"a command of {asked.name}"
        else:
            what = asked or "a command"
        return PermissionMissing(self.user, f"run {what.upper() if told else what}")

    def _unanswered(self, what: str, problem: Exception) -> LogUnavailable:
        """With what was said, by whom, and what to do; never the password."""
        place = self._pool.connection_kwargs
        address = place.get("path") or f"{place.get('host')}:{place.get('port')}"
        said = str(problem).rstrip(".")
        match problem:
            case redis.AuthenticationError():
                return NotLetIn(self.user, f"{said}, says {address}")
            case redis.ResponseError() if "DB index" in str(problem):
                mend = f"it has not got database {place.get('db')}, with which REDIS_URL ends"
            case redis.InvalidResponse():
                mend = "something else than Redis listens there: check REDIS_URL and REDIS_PORT"
            case redis.TimeoutError() if "connecting" not in said and not self._speaks_tls:
                return RedisHangs(f"Redis did not answer: {said}{'' if address in said else f' ({address})'}")
            case _:
                mend = _mend_of_tls(problem) or "start it, or check REDIS_URL and REDIS_PORT"
                if isinstance(problem, redis.TimeoutError) and self._speaks_tls:
                    mend += ", which must be its port for TLS"
                elif _CUT_OFF.search(str(problem)) and not self._speaks_tls:
                    mend += "; is it a port for TLS, which rediss:// is for?"
        by = "" if address in said else f" ({address})"
        return LogUnavailable(f"{what}: {said}{by}: {mend}")


def _as_script(commands: Sequence[tuple[Any, ...]]) -> tuple[list[Any], list[Any]]:
    """The keys and the arguments of the script that runs them."""
    keys = dict.fromkeys(command[1] for command in commands)
    return list(keys), [word for command in commands for word in (len(command), *command)]


def is_denied(said: str) -> bool:
    """Whether Redis said no because of who asked; of what a script asked it says so in words only."""
    return bool(_DENIED.search(said))


def _mend_of_tls(problem: BaseException | None) -> str | None:
    """None where the certificates are not what is wrong."""
    while problem is not None and not isinstance(problem, ssl.SSLError):
        problem = problem.__cause__ or problem.__context__
    if isinstance(problem, ssl.SSLCertVerificationError):
        return _CERTIFICATE_MENDS.get(
            problem.verify_code,
            "let REDIS_CA_FILE name the certificate of who signed that of Redis",
        )
    if problem is not None and "WRONG_VERSION_NUMBER" in str(problem):
        return "it speaks no TLS there: take its TLS port, or write redis:// in REDIS_URL"
    return None if problem is None else "TLS was not agreed on: see the log of Redis"


def _mended(refusal: Exception) -> str:
    """What Redis said, and what to do where its memory is full."""
    if OUT_OF_MEMORY not in str(refusal):
        return str(refusal)
    return f"{str(refusal).rstrip('.')}: raise maxmemory, or free what the archive has: `eventlog trim --keep 7d`"
