"""Each user of deploy/users.acl may run what it needs on the keys it needs: every command of each server is tried."""

from __future__ import annotations

import hashlib
import json
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from click.testing import CliRunner

from deploy.redis_users import write_users
from eventlog import START, Codec, EventLog
from eventlog.cli import main
from eventlog.embedded_redis import EmbeddedRedis, Server, list_servers
from eventlog.errors import PermissionMissing
from eventlog.log import Moment
from eventlog.permissions import TO_OPERATE, TO_REPORT, TO_SERVE
from eventlog.redis_address import RedisAddress, password_file_of
from shared.events import make_codec
from tests.make_run import NEVER_S, ROOT
from tests.pair import Pair
from tests.services.facts import an_account_created
from tests.tester import TESTER_URL, admit_tester

pytestmark = pytest.mark.processes

_USERS = ("accounts", "archive", "customers", "operator", "reader")
_STREAM, _META = "event-stream", "{event-stream}:meta"
_ANYBODY = {"auth", "hello", "quit", "reset"}  # Redis asks nobody's leave for these
# Of 6.2, which tells of no subcommand.
_SUBCOMMANDS = {
    "acl": "cat deluser dryrun genpass getuser help list load log save setuser users whoami",
    "client": "caching getname getredir help id info kill list no-evict pause reply setinfo setname tracking "
    "trackinginfo unblock unpause",
    "cluster": "addslots bumpepoch delslots failover flushslots forget info keyslot meet myid nodes replicate reset "
    "saveconfig slots",
    "command": "count getkeys info list",
    "config": "get help resetstat rewrite set",
    "debug": "digest flushall jmap loadaof object reload segfault sleep",
    "latency": "doctor graph help history latest reset",
    "memory": "doctor help malloc-stats purge stats usage",
    "module": "help list load unload",
    "object": "encoding freq help idletime refcount",
    "pubsub": "channels help numpat numsub",
    "script": "debug exists flush help kill load",
    "slowlog": "get help len reset",
    "xgroup": "create createconsumer delconsumer destroy help setid",
    "xinfo": "consumers groups help stream",
}
_NEVER = {"config|set", "debug", "flushall", "keys", "migrate", "replicaof", "restore", "shutdown"}


def _allowed(user: str) -> set[str]:
    """By deploy/users.acl."""
    rules = (ROOT / "deploy" / "users.acl").read_text("utf-8")
    line = next(line for line in rules.splitlines() if line.startswith(f"user {user} "))
    return {word[1:] for word in line.split() if word.startswith("+")}


class Kept(NamedTuple):
    """A server with the users, and where it lies."""

    server: EmbeddedRedis
    directory: Path

    def address(self, user: str) -> RedisAddress:
        return RedisAddress(self.server.url, user, password_file_of(self.directory, user))

    def url(self, user: str) -> str:
        password = password_file_of(self.directory, user).read_text("utf-8")
        return self.server.url.replace("//", f"//{user}:{password}@")

    def admin(self) -> redis.Redis:
        return redis.Redis.from_url(TESTER_URL.format(self.server.port))


@pytest.fixture(params=list_servers(), ids=lambda server: "redis-{}.{}".format(*server.version))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    server: Server = request.param
    directory = tmp_path / "redis"
    admit_tester(directory)
    write_users(directory, _STREAM, anyone_reads=False)
    protected = {
        "enable-debug-command": "yes",
        "enable-module-command": "yes",
    }  # else refused before anybody is asked who
    with EmbeddedRedis(
        directory, server=server, overrides=protected if server.version >= (7,) else {}
    ) as running:
        yield Kept(running, directory)


def _words_of(told: Any, versions: tuple[int, ...]) -> Iterator[tuple[str, list[str]]]:
    """Each command and subcommand, as ACL rules write it, with as many arguments as it must have."""
    for name, arity, *rest in told:
        command = name.decode()
        subcommands = rest[7] if versions >= (7,) else []
        if not subcommands and command in _SUBCOMMANDS and versions < (7,):
            for subcommand in _SUBCOMMANDS[command].split():
                yield f"{command}|{subcommand}", [command, subcommand, *["0"] * max(0, abs(arity) - 2)]
            continue
        for subcommand in subcommands:
            full = subcommand[0].decode()
            yield full, [*full.split("|"), *["0"] * (abs(subcommand[1]) - 2)]
        if not subcommands:
            yield command, [command, *["0"] * (abs(arity) - 1)]


def _is_let(kept: Kept, user: str, words: list[str]) -> bool:
    """Tried on a connection of its own, with arguments that mean nothing."""
    with socket.create_connection(("127.0.0.1", kept.server.port), timeout=NEVER_S) as connection:
        lines = connection.makefile("rb")
        password = password_file_of(kept.directory, user).read_text("utf-8")
        connection.sendall(f"AUTH {user} {password}\r\n".encode())
        assert lines.readline() == b"+OK\r\n"
        connection.sendall(" ".join(words).encode() + b"\r\n")
        answer = lines.readline().decode()
    return "permissions to run the" not in answer


@pytest.mark.parametrize("user", _USERS)
def test_every_command_of_the_server_is_refused_but_those_of_the_file(kept: Kept, user: str) -> None:
    with kept.admin() as admin:
        told = admin.connection_pool.get_connection()
        told.send_command("COMMAND")
        commands = dict(
            _words_of(told.read_response(), tuple(map(int, admin.info()["redis_version"].split("."))))
        )
        told.disconnect()
    assert len(commands) > 200
    let = {name for name, words in commands.items() if _is_let(kept, user, words)}
    assert let - _ANYBODY == _allowed(user)
    assert not let & _NEVER


def test_only_the_operator_deletes_and_trims() -> None:
    dangerous = {"del", "unlink", "xtrim", "rename", "set"}
    assert {user for user in _USERS if dangerous & _allowed(user)} == {"operator"}
    assert not _allowed("reader") & {"xadd", "hset", "eval", "evalsha", "config|get"}
    assert "xadd" not in _allowed("archive")


def test_only_the_operator_lists_keys() -> None:
    """Of whomever they are: the names of keys are no secret to who may SCAN."""
    assert {user for user in _USERS if {"scan", "keys", "randomkey"} & _allowed(user)} == {"operator"}


def test_reader_is_told_the_status_but_for_what_only_a_list_of_keys_shows(kept: Kept) -> None:
    with closing(EventLog.connect(kept.address("operator"), Codec([]))) as log:
        log.create()
    environment = {
        "REDIS_URL": kept.server.url,
        "REDIS_USER": "reader",
        "REDIS_PASSWORD_FILE": str(password_file_of(kept.directory, "reader")),
        "DATA_DIR": str(kept.directory.parent),
    }
    told = CliRunner().invoke(main, ["status", "--json"], env=environment)
    assert (told.exit_code, told.stderr) == (0, "")
    memory = json.loads(told.stdout)["memory"]
    assert (memory["command_record_count"], memory["command_records"]) == (None, None)
    assert memory["subjects"] is not None
    assert "command records not counted" in CliRunner().invoke(main, ["status"], env=environment).stdout


def test_file_allows_what_the_library_says_it_needs() -> None:
    def rules(commands: Iterable[str]) -> set[str]:
        return {command.lower().replace(" ", "|") for command in commands}

    assert rules(TO_SERVE) <= _allowed("customers") == _allowed("accounts")
    assert rules(TO_REPORT) <= _allowed("archive")
    assert rules(TO_OPERATE) <= _allowed("operator")


@pytest.mark.parametrize("user", ["accounts", "archive", "customers", "operator", "reader"])
def test_keys_of_others_are_refused(kept: Kept, user: str) -> None:
    with kept.admin() as admin, redis.Redis.from_url(kept.url(user)) as client:
        admin.hset("other", "field", "value")
        admin.hset(_META, "field", "value")
        admin.xadd(_STREAM, {"field": "value"})
        assert client.hmget(_META, ["field"]) == [b"value"]
        assert client.xlen(_STREAM) == 1
        for key in ("other", "{event-streams}:meta", "event-streams"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.hmget(key, ["field"])
        if user != "reader":
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.eval("return 1", 1, "other")


@pytest.mark.parametrize("user", ["accounts", "archive", "customers", "operator"])
@pytest.mark.parametrize(
    "command", [("FLUSHALL",), ("SCRIPT", "FLUSH"), ("KEYS", "*"), ("CONFIG", "SET", "save", "1 1")]
)
def test_scripts_may_not_run_what_the_user_may_not(kept: Kept, user: str, command: tuple[str, ...]) -> None:
    words = ", ".join(f"'{word}'" for word in command)
    with kept.admin() as admin, redis.Redis.from_url(kept.url(user)) as client:
        admin.xadd(_STREAM, {"field": "value"})
        with pytest.raises(redis.ResponseError):
            client.eval(f"return redis.call({words})", 1, _STREAM)
        assert admin.xlen(_STREAM) == 1


def test_denied_command_is_named_with_its_user_and_the_mend(kept: Kept) -> None:
    """In a script the server names neither."""
    with closing(EventLog.connect(kept.address("operator"), Codec([]))) as log:
        log.create()
    for left_out, what in (("xadd", "run XADD"), ("xrevrange", "run XREVRANGE"), ("evalsha", "run EVALSHA")):
        with kept.admin() as admin, closing(EventLog.connect(kept.address("accounts"), make_codec())) as log:
            admin.acl_setuser("accounts", enabled=True, commands=[f"-{left_out}"])
            with pytest.raises(PermissionMissing, match=r"load deploy/users\.acl into it again") as denied:
                log.check_writable()
            assert (denied.value.user, denied.value.what) == ("accounts", what)
            admin.acl_setuser("accounts", enabled=True, commands=[f"+{left_out}"])


def test_services_count_requests_and_write_nothing_to_the_disk_for_it(kept: Kept, tmp_path: Path) -> None:
    with closing(EventLog.connect(kept.address("operator"), Codec([]))) as log:
        log.create()
    with kept.admin() as admin, closing(EventLog.connect(kept.address("accounts"), make_codec())) as log:
        pair = Pair(log, tmp_path, variables={"REQUEST_LIMITS": "reads=3"})

        def ask() -> int:
            return pair.accounts(None).get("/accounts").status_code

        admin.config_set("appendfsync", "always")
        written = admin.info("persistence")["aof_current_size"]
        assert [ask() for _ in range(4)] == [401, 401, 401, 429]
        assert admin.info("persistence")["aof_current_size"] == written
        (count,) = admin.keys("limits:*")
        assert admin.get(count) == b"4"
        assert 0 < admin.pttl(count) <= 60_000


@pytest.mark.parametrize("left_out", ["evalsha", "incrby", "pttl", "pexpire"])
def test_services_that_may_not_count_in_redis_count_by_themselves(
    kept: Kept, left_out: str, tmp_path: Path
) -> None:
    with closing(EventLog.connect(kept.address("operator"), Codec([]))) as log:
        log.create()
    with kept.admin() as admin, closing(EventLog.connect(kept.address("accounts"), make_codec())) as log:
        admin.acl_setuser("accounts", enabled=True, commands=[f"-{left_out}"])
        pair = Pair(log, tmp_path, variables={"REQUEST_LIMITS": "reads=3"})
        statuses = [pair.accounts(None).get("/accounts").status_code for _ in range(4)]
        assert statuses == [401, 401, 401, 429]


@pytest.mark.parametrize(
    ("user", "command", "meant"),
    [
        ("accounts", ["trim", "--keep", "1"], "operator"),
        ("reader", ["readers", "remove", "x"], "operator"),
        ("reader", ["archive", "--once"], "archive"),
    ],
    ids=str,
)
def test_who_is_denied_what_is_for_another_user_is_told_which(
    kept: Kept, tmp_path: Path, user: str, command: list[str], meant: str
) -> None:
    with closing(EventLog.connect(kept.address("operator"), Codec([]))) as log:
        log.create()
    told = CliRunner().invoke(main, [*command, "--redis-url", kept.url(user), "--data-dir", str(tmp_path)])
    assert (told.exit_code, told.stderr.count("\n")) == (1, 1)
    assert f"Redis does not let user {user!r} " in told.stderr
    assert f"come as {meant!r}, by REDIS_USER" in told.stderr


def test_doctor_warns_whoever_is_not_the_operator_of_who_should_ask(kept: Kept, tmp_path: Path) -> None:
    for user, mends in (("accounts", ["come as 'operator', by REDIS_USER"]), ("operator", [])):
        command = ["doctor", "--json", "--redis-url", kept.url(user), "--data-dir", str(tmp_path)]
        told = json.loads(CliRunner().invoke(main, command).stdout)["findings"]
        found = [each["mend"] for each in told if each["name"] == "permissions-missing" and each["mend"]]
        assert [mend.partition(" and ")[0] for mend in found] == mends


def test_who_says_nothing_of_who_they_are_may_do_nothing(kept: Kept) -> None:
    with redis.Redis.from_url(kept.server.url) as stranger:
        for command in (
            ("PING",),
            ("XLEN", _STREAM),
            ("XADD", _STREAM, "*", "field", "value"),
            ("FLUSHALL",),
        ):
            with pytest.raises(redis.AuthenticationError):
                stranger.execute_command(*command)


def test_log_is_whole_after_a_restart(kept: Kept) -> None:
    """Redis 7.0 reads its AOF as `default`, and left out every script's writes where that user might not make them."""
    with closing(EventLog.connect(kept.address("operator"), Codec([]))) as log:
        moment = Moment(log.create(), START)
    with closing(EventLog.connect(kept.address("accounts"), make_codec())) as log:
        log.publish([an_account_created(1), an_account_created(2)], decided_at=moment)
        before = log.state()
        kept.server.stop()
        kept.server.start()
        assert log.state() == before
        assert before.entries == 2


@pytest.mark.parametrize("left_out", ["hset", "pexpire", "setrange", "xdel"])
def test_nothing_is_half_written_where_a_later_command_is_denied(kept: Kept, left_out: str) -> None:
    with closing(EventLog.connect(kept.address("operator"), Codec([]))) as log:
        moment = Moment(log.create(), START)
    with kept.admin() as admin, closing(EventLog.connect(kept.address("customers"), make_codec())) as log:
        admin.acl_setuser("customers", enabled=True, commands=[f"-{left_out}"])
        with pytest.raises(PermissionMissing, match=left_out.upper()):
            log.publish([an_account_created(1)], decided_at=moment)
        assert admin.xlen(_STREAM) == 0
        assert admin.hget(_META, "sequence") == b"0"


def test_passwords_are_made_once_and_stand_nowhere_but_in_their_files(tmp_path: Path) -> None:
    for _ in range(2):
        write_users(tmp_path, "other-stream", anyone_reads=True)
    lines = (tmp_path / "users.acl").read_text().splitlines()
    assert [line.split()[1] for line in lines] == [
        "default",
        "customers",
        "accounts",
        "archive",
        "operator",
        "reader",
    ]
    for file in [tmp_path / "users.acl", *(tmp_path / "passwords").iterdir()]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert " nopass " in lines[-1]
    for line in lines[1:-1]:
        password = password_file_of(tmp_path, line.split()[1]).read_text()
        assert len(password) > 40
        assert password not in line
        assert f" #{hashlib.sha256(password.encode()).hexdigest()} " in line
        assert "~other-stream ~{other-stream}:" in line
    assert "#" not in (ROOT / "deploy" / "users.acl").read_text()


def test_who_does_not_say_who_they_are_is_let_in_for_a_demonstration_only(tmp_path: Path) -> None:
    for demo in (True, False, True):
        write_users(tmp_path, _STREAM, anyone_reads=True, anyone_writes=demo)
        with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url) as stranger:
            if demo:
                assert stranger.xadd(_STREAM, {"by": "hand"})
            else:
                with pytest.raises(redis.AuthenticationError):
                    stranger.xlen(_STREAM)
                with redis.Redis.from_url(server.url.replace("//", "//reader:any@")) as reader:
                    assert reader.xlen(_STREAM) == 1


@pytest.mark.parametrize("stream", ["two words", "a*b?[c]", "back\\slash"])
def test_stream_of_any_name_is_the_only_one(tmp_path: Path, stream: str) -> None:
    write_users(tmp_path / "redis", stream, anyone_reads=True)
    with EmbeddedRedis(tmp_path / "redis") as server:
        kept = Kept(server, tmp_path / "redis")
        with closing(EventLog.connect(kept.address("operator"), make_codec(), stream)) as log:
            moment = Moment(log.create(), START)
        with closing(EventLog.connect(kept.address("customers"), make_codec(), stream)) as log:
            assert log.publish([an_account_created(1)], decided_at=moment).sequence == 1
        with (
            redis.Redis.from_url(server.url.replace("//", "//reader:any@")) as reader,
            pytest.raises(redis.ResponseError),
        ):
            reader.xlen("axbyzc")
