"""Redis by TLS: spoken to where its certificate is right, and else refused in one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from click.testing import CliRunner

from eventlog import Codec, EventLog
from eventlog.cli import main
from eventlog.embedded_redis import EmbeddedRedis, EmbeddedRedisError, free_port, list_servers
from eventlog.errors import LogUnavailable
from eventlog.redis_address import InvalidAddress, RedisAddress
from tests.eventlog.log_contract import publish
from tests.eventlog.parcels import a_parcel_sent, make_codec

pytestmark = pytest.mark.processes

LONG_AGO = datetime.now(UTC) - timedelta(days=2)


class Secured(NamedTuple):
    """A server that speaks TLS on one port, and plainly on another; `ca_file` is of who signed its certificate."""

    server: EmbeddedRedis
    tls_port: int
    ca_file: Path

    def address(self, host: str = "localhost", ca_file: Path | None = None) -> RedisAddress:
        return RedisAddress(f"rediss://{host}:{self.tls_port}", ca_file=ca_file or self.ca_file)


def a_ca(folder: Path, name: str) -> tuple[trustme.CA, Path]:
    ca, file = trustme.CA(), folder / f"{name}.pem"
    ca.cert_pem.write_to_path(str(file))
    return ca, file


@contextmanager
def secured(folder: Path, certificate: Callable[[trustme.CA], trustme.LeafCert]) -> Iterator[Secured]:
    ca, ca_file = a_ca(folder, "ca")
    issued, tls_port = certificate(ca), free_port()
    chain, key = folder / "redis.pem", folder / "redis.key"
    chain.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    overrides = {
        "tls-port": str(tls_port),
        "tls-cert-file": str(chain),
        "tls-key-file": str(key),
        "tls-auth-clients": "no",
    }
    try:
        server = EmbeddedRedis(folder / "redis", server=list_servers()[0], overrides=overrides)
        server.start()
    except EmbeddedRedisError:
        pytest.skip("not run: apt install redis-server")  # that of the environment was built without TLS
    with server:
        yield Secured(server, tls_port, ca_file)


def why_refused(address: RedisAddress) -> str:
    with closing(EventLog.connect(address, Codec([]))) as log, pytest.raises(LogUnavailable) as refused:
        log.state()
    return str(refused.value)


def test_log_is_made_written_and_read(tmp_path: Path) -> None:
    with (
        secured(tmp_path, lambda ca: ca.issue_cert("localhost", "127.0.0.1")) as redis,
        closing(EventLog.connect(redis.address(), make_codec())) as log,
    ):
        log.create()
        assert publish(log, a_parcel_sent(1)).sequence == 1
        assert log.with_patience(2).state().entries == 1
        by_number = ["status", "--json", "--redis-url", f"rediss://127.0.0.1:{redis.tls_port}"]
        told = CliRunner().invoke(main, by_number, env={"REDIS_CA_FILE": str(redis.ca_file)})
        assert (told.exit_code, told.stderr) == (0, "")


@pytest.mark.parametrize(
    ("certificate", "said", "mend"),
    [
        (
            lambda ca: ca.issue_cert(
                "localhost", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=1)
            ),
            "certificate has expired",
            "give Redis a new one",
        ),
        (lambda ca: ca.issue_cert("redis.example"), "Hostname mismatch", "write the name that stands in it"),
        (
            lambda ca: trustme.CA().issue_cert("localhost"),
            "unable to get local issuer certificate",
            "let REDIS_CA_FILE name the certificate of who signed that of Redis",
        ),
    ],
    ids=["expired", "of another name", "of another CA"],
)
def test_wrong_certificate_is_refused_in_one_line_with_the_mend(
    tmp_path: Path, certificate: Callable[[trustme.CA], trustme.LeafCert], said: str, mend: str
) -> None:
    with secured(tmp_path, certificate) as redis:
        why = why_refused(redis.address())
    assert said in why
    assert mend in why
    assert "\n" not in why


def test_name_is_checked_where_an_address_is_written(tmp_path: Path) -> None:
    with secured(tmp_path, lambda ca: ca.issue_cert("localhost")) as redis:
        why = why_refused(redis.address("127.0.0.1"))
    assert "write the name that stands in it into REDIS_URL" in why


def test_certificate_of_nobody_the_system_knows_is_refused_without_a_ca_file(tmp_path: Path) -> None:
    with secured(tmp_path, lambda ca: ca.issue_cert("localhost")) as redis:
        why = why_refused(RedisAddress(f"rediss://localhost:{redis.tls_port}"))
    assert "let REDIS_CA_FILE name the certificate" in why


def test_tls_where_redis_speaks_plainly_says_so(tmp_path: Path) -> None:
    with secured(tmp_path, lambda ca: ca.issue_cert("localhost")) as redis:
        why = why_refused(RedisAddress(f"rediss://localhost:{redis.server.port}", ca_file=redis.ca_file))
    assert "check REDIS_URL and REDIS_PORT, which must be its port for TLS" in why


def test_speaking_plainly_where_redis_speaks_tls_says_so(tmp_path: Path) -> None:
    with secured(tmp_path, lambda ca: ca.issue_cert("localhost")) as redis:
        why = why_refused(RedisAddress(f"redis://localhost:{redis.tls_port}"))
    assert "is it a port for TLS, which rediss:// is for?" in why


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
def test_no_option_of_the_address_switches_the_look_at_the_certificate_off(
    tmp_path: Path, option: str
) -> None:
    with secured(tmp_path, lambda ca: ca.issue_cert("redis.example")) as redis:
        url = f"rediss://localhost:{redis.tls_port}?{option}"
        refused = CliRunner().invoke(
            main, ["status", "--redis-url", url], env={"REDIS_CA_FILE": str(redis.ca_file)}
        )
        assert refused.exit_code == 1
        assert "REDIS_URL has something behind a ? or #" in refused.stderr
        with pytest.raises(InvalidAddress):
            EventLog.connect(RedisAddress(url, ca_file=redis.ca_file), Codec([]))


@pytest.mark.parametrize(
    ("content", "scheme", "said"),
    [
        (None, "rediss", "cannot be read (No such file or directory)"),
        ("no certificate", "rediss", "holds no certificate"),
        ("no certificate", "redis", "nothing would be encrypted"),
    ],
)
def test_ca_file_that_is_of_no_use_is_said_before_anything_is_asked(
    tmp_path: Path, content: str | None, scheme: str, said: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidAddress) as refused:
        RedisAddress(f"{scheme}://localhost", ca_file=file).check()
    assert said in str(refused.value)
    assert "REDIS_CA_FILE" in str(refused.value)
