"""Behind nginx as deploy/nginx.conf sets it up: TLS for both services, clients told apart, bodies taken in first."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
import trustme

from eventlog.embedded_redis import HOST, free_port
from shared.admission import ARRIVING
from tests.make_run import NEVER_S, ROOT, Run, make_environment, runs_ended, wait_until
from tests.needs import find_program

pytestmark = [pytest.mark.processes, pytest.mark.needs("nginx")]

WRITES: Final = 30  # a minute, so that a limit is met soon
NAMES: Final = ("accounts.example", "customers.example")
_AROUND: Final = """
daemon off; user root; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies; proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {site};
}}
"""


@dataclass(frozen=True)
class Proxied:
    run: Run
    port: int
    trusted: ssl.SSLContext

    def ask(
        self, name: str, method: str, path: str, headers: list[tuple[str, str]] | None = None, **rest: object
    ) -> httpx.Response:
        """On a connection of its own, as a client that takes `name` for the address of nginx."""
        with httpx.Client(verify=self.trusted, timeout=NEVER_S) as client:
            url, sent = f"https://{HOST}:{self.port}{path}", [("Host", name), *(headers or [])]
            return client.request(method, url, headers=sent, extensions={"sni_hostname": name}, **rest)  # type: ignore[arg-type]

    def signed_in(self) -> list[tuple[str, str]]:
        login = {"username": "user1", "password": "password1"}
        token = self.ask("accounts.example", "POST", "/auth/login", json=login).raise_for_status().text
        return [("Authorization", f"Bearer {token}")]

    def connect(self, name: str) -> ssl.SSLSocket:
        plain = socket.create_connection((HOST, self.port), timeout=NEVER_S)
        return self.trusted.wrap_socket(plain, server_hostname=name)


def site(folder: Path, port: int, run: Run, certificate: trustme.LeafCert) -> Path:
    """The file as it is delivered, but for ports and certificates."""
    pem, key = folder / "site.pem", folder / "site.key"
    pem.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for there, here in {
        "/etc/ssl/private/revenue-stream.pem": str(pem),
        "/etc/ssl/private/revenue-stream.key": str(key),
        "listen 443 ssl": f"listen {HOST}:{port} ssl",
        "127.0.0.1:8090": f"{HOST}:{run.environment['ACCOUNTS_PORT']}",
        "127.0.0.1:8080": f"{HOST}:{run.environment['CUSTOMERS_PORT']}",
    }.items():
        assert there in text
        text = text.replace(there, here)
    file = folder / "site.conf"
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder, ours = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("nginx")
    ca, port = trustme.CA(), free_port()
    trusted = ssl.create_default_context()
    ca.configure_trust(trusted)
    with runs_ended(folder, make_environment(folder)) as start:
        run = start(TRUSTED_PROXIES="1", REQUEST_LIMITS=f"writes={WRITES}")
        run.wait_until_up()
        main = ours / "nginx.conf"
        main.write_text(_AROUND.format(folder=ours, site=site(ours, port, run, ca.issue_cert(*NAMES))))
        said = ours / "said"
        with said.open("wb") as output:
            nginx = subprocess.Popen(
                [find_program("nginx") or "nginx", "-p", str(ours), "-c", str(main)], stderr=output
            )
        try:
            wait_until(lambda: nginx.poll() is not None or answers(port), said.read_text)
            assert nginx.poll() is None, said.read_text()
            yield Proxied(run, port, trusted)
        finally:
            nginx.terminate()
            nginx.wait(NEVER_S)


def answers(port: int) -> bool:
    with suppress(OSError), closing(socket.create_connection((HOST, port))):
        return True
    return False


def test_both_services_are_reached_by_name_over_tls(proxied: Proxied) -> None:
    token = proxied.signed_in()
    listed = proxied.ask("accounts.example", "GET", "/accounts", token)
    assert listed.status_code == 200, listed.text
    assert [listed["account"]["id"] for listed in listed.json()] == [1, 2]
    assert listed.headers["Strict-Transport-Security"] == "max-age=31536000"
    body = {"name": "Ada", "account_id": "1"}
    made = proxied.ask("customers.example", "POST", "/customers", token, json=body)
    assert made.status_code == 201, made.text
    page = proxied.ask("accounts.example", "GET", "/", [("Accept", "text/html")])
    assert page.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", ["/metrics", "/health/ready", "/health/live", "/metrics/", "//metrics"])
def test_what_is_for_those_who_watch_is_not_passed_on(proxied: Proxied, name: str, path: str) -> None:
    assert proxied.ask(name, "GET", path).status_code == 404


def test_a_body_in_chunks_arrives_whole(proxied: Proxied) -> None:
    token = proxied.signed_in()
    body = iter([b'{"name": "Ada", ', b'"account_id": "1"}'])
    sent = [*token, ("Content-Type", "application/json")]
    assert proxied.ask("customers.example", "POST", "/customers", sent, content=body).status_code == 201


def test_bodies_that_do_not_end_keep_nobody_from_being_served(proxied: Proxied) -> None:
    """They stay in nginx: of one address the services would take in no more."""
    token = proxied.signed_in()
    head = "POST /customers HTTP/1.1\r\nHost: customers.example\r\nContent-Length: 100\r\n\r\n{"
    with ExitStack() as connections:
        for _ in range(ARRIVING + 32):
            begun = connections.enter_context(closing(proxied.connect("customers.example")))
            begun.sendall(head.encode())
        answer = proxied.ask(
            "customers.example", "POST", "/customers", token, json={"name": "Ada", "account_id": "1"}
        )
    assert answer.status_code == 201, answer.text


def test_changes_are_told_as_they_come(proxied: Proxied) -> None:
    token = proxied.signed_in()
    (bearer,) = token
    with closing(proxied.connect("accounts.example")) as watching:
        head = f"GET /events HTTP/1.1\r\nHost: accounts.example\r\n{': '.join(bearer)}\r\n\r\n"
        watching.sendall(head.encode())
        seen = ""
        while "event: projection" not in seen:
            seen += watching.recv(1 << 16).decode()
        made = proxied.ask(
            "customers.example", "POST", "/customers", token, json={"name": "Ada", "account_id": "1"}
        )
        before = seen.count("event:")
        while seen.count("event:") == before:
            told = watching.recv(1 << 16).decode()
            assert told, f"the stream ended after {seen}"
            seen += told
    assert made.status_code == 201, made.text


def test_no_client_chooses_the_address_that_it_is_counted_by(proxied: Proxied) -> None:
    """A write without a token counts for its address, one with a token for its user."""

    def write(number: int, header: str) -> int:
        named = [(header, f"192.0.2.{number}")]
        return proxied.ask("customers.example", "POST", "/customers", named, json={}).status_code

    for header in ("X-Forwarded-For", "X_Forwarded_For"):
        answers = {write(number, header) for number in range(2 * WRITES)}
        assert 429 in answers <= {401, 429}, "each would be the first of its address"
