"""The real HTTP server before the app: what no client library would send is answered too, and never with a 5xx."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from eventlog import EventLog
from eventlog.child_process import ending_with
from eventlog.embedded_redis import EmbeddedRedis, free_port
from shared.admission import AT_ONCE, WAITING
from shared.cli import WORKERS
from shared.events import make_codec
from shared.strict_json import LARGEST_BATCH_BYTES, LARGEST_BODY_BYTES
from tests.make_run import NEVER_S, ROOT, answers_http, wait_until
from tests.pair import Pair, running_pair

pytestmark = pytest.mark.processes

_FLOOD = 4 * WORKERS * (AT_ONCE + WAITING)

ADA = b'{"name":"Ada","account_id":"1"}'
INVOICE = b'{"customer_id":"1","purchase_date":"2026-01-31","purchase_price_cents":100}'
EXACTLY = b'{"name":"' + b"x" * (LARGEST_BODY_BYTES - 11) + b'"}'


class Server:
    """`customers serve` as a process, spoken to in bytes."""

    def __init__(self, port: int, token: str, output: Path) -> None:
        self._port = port
        self._output = output
        self._authorization = b"Authorization: Bearer " + token.encode()

    def ask(self, start: bytes, *headers: bytes, body: bytes = b"", ends: bool = False) -> int:
        """The status of the answer to this request line with these headers; `ends`: nothing more will come."""
        return self.ask_raw(self._request(start, headers, body), ends=ends)

    def ask_raw(self, request: bytes, *, ends: bool = False) -> int:
        return int(self.answer_to(request, ends=ends).split(maxsplit=2)[1])

    def answer_to(self, request: bytes, *, ends: bool = False) -> bytes:
        """All of it: the connection is closed behind it."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=NEVER_S) as connection:
            connection.sendall(request)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answer:
                return answer.read()

    def reset(self, start: bytes, *headers: bytes, body: bytes) -> int:
        """The status that the server wrote down, where nobody waited for the answer: the connection was reset."""
        request_id = str(uuid4())
        headers = (*headers, b"X-Request-Id: " + request_id.encode())
        with socket.create_connection(("127.0.0.1", self._port), timeout=NEVER_S) as connection:
            connection.sendall(self._request(start, headers, body))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: request_id in self._output.read_text(), self._output.read_text)
        (line,) = (line for line in self._output.read_text().splitlines() if request_id in line)
        status: int = json.loads(line)["status"]
        return status

    def _request(self, start: bytes, headers: Sequence[bytes], body: bytes) -> bytes:
        lines = [start, b"Connection: close", self._authorization, *headers]
        if not any(header.startswith(b"Host:") for header in headers):
            lines.append(b"Host: here")
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def post(self, *headers: bytes, body: bytes = ADA) -> int:
        return self.ask(b"POST /customers HTTP/1.1", b"Content-Length: %d" % len(body), *headers, body=body)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, EmbeddedRedis]]:
    folder = tmp_path_factory.mktemp("pair")
    with EmbeddedRedis(folder / "redis") as redis_server:
        log = EventLog.connect(redis_server.url, make_codec())
        log.create()
        with running_pair(log, folder) as pair:
            pair.make_demo()
            yield pair, redis_server
        log.close()


@contextmanager
def serving(
    pair: tuple[Pair, EmbeddedRedis], port: int, output_file: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`customers serve` as a process, perhaps not answering yet."""
    services, redis_server = pair
    environment = {
        **os.environ,
        "DATA_DIR": str(services.folder),
        "REDIS_URL": redis_server.url,
        "CUSTOMERS_PORT": str(port),
    }
    command = [str(Path(sys.executable).parent / "customers"), "serve"]
    with (
        output_file.open("wb") as output,
        subprocess.Popen(
            ending_with(os.getpid(), command), cwd=ROOT, env=environment, stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(NEVER_S)


@pytest.fixture(scope="module")
def server(pair: tuple[Pair, EmbeddedRedis]) -> Iterator[Server]:
    port, output = free_port(), pair[0].folder / "customers.log"
    with serving(pair, port, output):
        wait_until(lambda: answers_http(port), output.read_text)
        yield Server(port, pair[0].token(), output)
    written = output.read_text()
    assert "Traceback" not in written, written


@contextmanager
def stopped(redis_server: EmbeddedRedis) -> Iterator[None]:
    """It stands still inside, and goes on afterwards."""
    process = psutil.Process(redis_server.pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@pytest.mark.parametrize("after_ms", [0, 50, 150, 300])
def test_no_worker_outlives_a_server_killed_while_it_starts(
    pair: tuple[Pair, EmbeddedRedis], after_ms: int, tmp_path: Path
) -> None:
    output = tmp_path / "customers.log"
    with serving(pair, free_port(), output) as process:
        server = psutil.Process(process.pid)
        wait_until(lambda: bool(server.children()), output.read_text)
        time.sleep(after_ms / 1000)  # a worker imports for longer than any of these
        workers = server.children(recursive=True)
        process.kill()
    gone, alive = psutil.wait_procs(workers, timeout=NEVER_S)
    for worker in alive:
        worker.kill()
    assert gone
    assert not alive


def chunks(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])


def test_a_body_is_read_whole_and_measured(server: Server) -> None:
    assert server.post(body=EXACTLY) == 400
    assert server.post(body=EXACTLY + b" ") == 413
    start = b"POST /customers HTTP/1.1"
    assert server.ask(start, b"Content-Length: %s%d" % (b"0" * 5000, len(ADA)), body=ADA) == 201


@pytest.mark.parametrize("coding", [b"chunked", b"gzip, chunked"])
@pytest.mark.parametrize(
    "body",
    [chunks(ADA, 7), b"1f\r\n" + ADA, chunks(ADA, 31)[:-5] + b"zz\r\n", b"1f\r\n" + ADA + b"XX0\r\n\r\n"],
    ids=["whole", "cut", "no number", "no end of a chunk"],
)
def test_a_body_in_chunks_is_411_for_nobody_says_whether_it_is_whole(
    server: Server, pair: tuple[Pair, EmbeddedRedis], coding: bytes, body: bytes
) -> None:
    before = pair[0].log.state().sequence
    for start in (b"POST /customers HTTP/1.1", b"DELETE /customers/1 HTTP/1.1"):
        assert server.ask(start, b"Transfer-Encoding: " + coding, body=body) == 411
    assert pair[0].log.state().sequence == before


@pytest.mark.parametrize(
    ("start", "body", "announced"),
    [
        (b"POST /customers HTTP/1.1", ADA, 100),
        (b"POST /customers HTTP/1.1", ADA, len(ADA) + 1),
        (b"POST /customers HTTP/1.1", b"", len(ADA)),
        (b"POST /invoices/batch HTTP/1.1", b"[%s]" % INVOICE, 5000),
        (b"DELETE /customers/1 HTTP/1.1", b"{}", 3),
        (b"DELETE /customers/1 HTTP/1.1", b"{}", 10**12),
    ],
    ids=lambda found: repr(found[:30]) if isinstance(found, bytes) else str(found),
)
def test_a_request_whose_body_did_not_come_whole_is_not_carried_out(
    server: Server, pair: tuple[Pair, EmbeddedRedis], start: bytes, body: bytes, announced: int
) -> None:
    before = pair[0].log.state().sequence
    length = b"Content-Length: %d" % announced
    refused = 413 if announced > LARGEST_BATCH_BYTES else 400
    assert server.ask(start, length, body=body, ends=True) == refused
    assert server.reset(start, length, body=body) == refused
    assert pair[0].log.state().sequence == before


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Content-Type: \xff", 201),
        (b"Content-Type: text/plain", 201),
        (b"Accept: \xff", 201),
        (b"Prefer: \xff, wait=wait", 201),
        (b"Cookie: \xff", 201),
        (b"Idempotency-Key: \xd9\xa7", 400),
        (b"Idempotency-Key: a b", 400),
        (b"Idempotency-Key:", 400),
        (b"Idempotency-Key: p1\r\nIdempotency-Key: p2", 400),
        (b"Idempotency-Key: p1\r\nIdempotency-Key: p1", 400),
        (b"Idempotency-Key: !#+-./:~", 201),
        (b"Host: " + b"a" * 300 + b".....", 400),
        (b"X-\xff: 1", 400),
        (b"X-Zero: \x00", 400),
        (b"X-Long: " + b"a" * 31_000, 201),
        (b"X-Long: " + b"a" * 64_000, 431),
        (b"\r\n".join(b"X-%d: a" % number for number in range(90)), 201),
        (b"\r\n".join(b"X-%d: a" % number for number in range(100)), 431),
        (b"Content-Length: x", 400),
    ],
    ids=lambda found: repr(found[:40]) if isinstance(found, bytes) else str(found),
)
def test_an_odd_header_is_taken_or_400(server: Server, header: bytes, status: int) -> None:
    assert server.post(header) == status


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"HEAD /customers HTTP/1.1", 200),
        (b"OPTIONS /customers HTTP/1.1", 204),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"TRACE /customers HTTP/1.1", 405),
        (b"BREW /customers HTTP/1.1", 405),
        (b"CONNECT here:80 HTTP/1.1", 404),
        (b"GET /customers HTTP/1.0", 200),
        (b"GET http://elsewhere/customers HTTP/1.1", 200),
        (b"GET /customers/ HTTP/1.1", 404),
        (b"GET /customers/../../etc/passwd HTTP/1.1", 404),
        (b"GET /customers/%00 HTTP/1.1", 400),
        (b"GET /customers/%ff HTTP/1.1", 400),
        (b"GET /customers/\xff HTTP/1.1", 400),
        (b"GET /customers/" + b"1" * 20_000 + b" HTTP/1.1", 400),
        (b"GET /customers/" + b"1" * 600_000 + b" HTTP/1.1", 431),
        (b"GET /customers?%ff=%ff HTTP/1.1", 400),
        (b"GET /customers?%ed%a0%80 HTTP/1.1", 400),
        (b"GET /customers?" + b"a=1&" * 5000 + b" HTTP/1.1", 400),
        (b"\x16\x03\x01", 400),
    ],
    ids=lambda found: repr(found[:40]) if isinstance(found, bytes) else str(found),
)
def test_an_odd_request_line_is_4xx_or_understood(server: Server, start: bytes, status: int) -> None:
    assert server.ask(start) == status


@pytest.mark.parametrize("header", [b"X-Zero: \x00", b"X-Long: " + b"a" * 64_000])
def test_what_the_web_server_refuses_by_itself_has_nothing_of_ours(server: Server, header: bytes) -> None:
    """docs/security.md says so: if this fails for more headers, so much the better."""
    told = server.answer_to(b"GET /health/live HTTP/1.1\r\nHost: here\r\n%s\r\n\r\n" % header)
    head, _, body = told.partition(b"\r\n\r\n")
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    assert (names, body) == ({b"connection", b"content-length", b"date"}, b"")


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n"], ids=["none", "two"])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_the_web_server_is_lenient(server: Server, hosts: bytes, end: bytes) -> None:
    """docs/security.md says so, for whatever stands in front."""
    asked = b"GET /health/live HTTP/1.1\r\nConnection: close\r\n" + hosts + b"\r\n"
    assert server.ask_raw(asked.replace(b"\r\n", end)) == 200


def test_a_garbage_token_does_not_end_the_connection(server: Server) -> None:
    """The former services broke it off."""
    for token in (b"abc", b"\xff", b"a" * 20_000, b""):
        request = (
            b"GET /customers HTTP/1.1\r\nHost: here\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n"
        )
        assert server.ask_raw(request % token) == 401


def test_a_flood_is_answered_whole_and_what_is_refused_left_no_trace(
    server: Server, pair: tuple[Pair, EmbeddedRedis]
) -> None:
    """Redis stands still meanwhile, so that nothing is done with for a while."""
    services, redis_server = pair
    before = services.log.state().sequence
    with ThreadPoolExecutor(_FLOOD) as threads, stopped(redis_server):
        answers = [threads.submit(server.post) for _ in range(_FLOOD)]
        wait_until(
            lambda: sum(answer.done() for answer in answers) > _FLOOD // 4, lambda: "nobody is refused"
        )
        assert server.ask(b"GET /health/live HTTP/1.1") == 200
    statuses = Counter(answer.result() for answer in answers)
    assert set(statuses) == {201, 503}
    assert services.log.state().sequence == before + statuses[201]
