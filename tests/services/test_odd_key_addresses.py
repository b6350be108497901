"""`JWKS` is an address, and what answers there is no proper web server: customers goes on, and says what is wrong."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result

import customers.app
import customers.cli
from eventlog import EventLog
from shared.bounded_fetch import FetchFailed, fetch
from shared.key_files import PUBLIC_KEYS_NAME
from shared.public_keys import ServedKeys
from shared.settings import Settings
from shared.tokens import KeysUnknown
from tests.make_run import NEVER_S, wait_until
from tests.pair import Pair, running_pair
from tests.raw_server import answering
from tests.scraped import scrape, value_of

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "nothing": b"",
    "no HTTP": b"garbage\r\n\r\n",
    "a long status": b"x" * 70_000,
    "a header of over 64 KiB": HEAD + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
    "many headers": HEAD + b"X: x\r\n" * 200 + b"\r\n",
    "a broken chunk": CHUNKED + b"zz\r\n",
    "a chunk cut off": CHUNKED + b"ff\r\n{",
    "a body cut off": HEAD + b"Content-Length: 900\r\n\r\n{",
    "an address that is none": b"HTTP/1.1 302 Found\r\nLocation: http://a b/\r\n\r\n",
    "a status of its own": b"HTTP/1.1 999 What\r\n\r\n",
    "deep JSON": HEAD + b'\r\n{"x":' + b"[" * 60_000,
    "keys of odd letters": HEAD
    + b'\r\n{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"\xc3\xa4","x":"\xc3\xa4"}]}',
}


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(fake_log, tmp_path) as pair:
        yield pair


@pytest.mark.parametrize("answered", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_changes_nothing_and_is_no_traceback(pair: Pair, answered: bytes) -> None:
    with answering([answered]) as address:
        variables = {"DATA_DIR": str(pair.folder), "JWKS": address}
        pair.customers_app = customers.app.create_app(Settings.from_environment(variables), pair.log)
        assert pair.customers().get("/customers").status_code == 503, "no key was ever known"
        check = pair.customers(None).get("/health/ready").get_json()["checks"]["keys"]
        assert (check["status"], address in check["detail"]) == ("degraded", True)
        checked = CliRunner().invoke(customers.cli.main, ["serve", "--check"], env=variables)
        assert (checked.exit_code, checked.stderr) == (0, ""), "the keys may come"

        kept = pair.folder / "customers" / PUBLIC_KEYS_NAME
        kept.write_bytes((pair.folder / "accounts" / PUBLIC_KEYS_NAME).read_bytes())
        pair.customers_app = customers.app.create_app(Settings.from_environment(variables), pair.log)
        assert pair.customers().get("/customers").status_code == 200
        assert pair.customers(None).get("/health/ready").get_json()["checks"]["keys"]["status"] == "ok"


def test_the_doctor_says_what_an_odd_address_lacks(pair: Pair) -> None:
    with answering([BROKEN["no HTTP"]]) as address:
        variables = {"DATA_DIR": str(pair.folder), "JWKS": address}
        told = CliRunner().invoke(customers.cli.main, ["doctor"], env=variables)
    assert "keys-unusable" in told.stdout
    assert address in told.stdout
    assert told.stderr == ""


SLOW = {
    "status": [HEAD[:1]] * 5000,
    "headers": [HEAD, *[b"X"] * 5000],
    "chunk": [CHUNKED, *[b"0"] * 5000],
    "body": [HEAD + b"\r\n", *[b" "] * 5000],
}


@pytest.mark.parametrize("encrypted", [False, True], ids=["plainly", "by TLS"])
@pytest.mark.parametrize("pieces", SLOW.values(), ids=SLOW)
def test_however_slowly_an_answer_comes_it_is_waited_for_no_longer(
    pieces: list[bytes], encrypted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of pieces, each of which comes well within the time for all of them."""
    with answering(pieces, trusted(tmp_path, monkeypatch) if encrypted else None) as address:
        with pytest.raises(FetchFailed, match=r"no whole answer|timed out"):
            fetch(address, 0.5, 65536)
        wait_until(
            lambda: not any(thread.name == "fetch" for thread in threading.enumerate()),
            lambda: "it still takes in what comes",
        )


def trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Of a server whom this process knows."""
    ca, file = trustme.CA(), folder / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    return context


def test_after_an_answer_that_never_ended_the_next_one_is_taken(pair: Pair) -> None:
    now_s = 0.0
    pieces = SLOW["body"].copy()
    with answering(pieces) as address:
        keys = ServedKeys(address, pair.folder / "kept", lambda: now_s)
        with pytest.raises(KeysUnknown):
            keys.find("")
        pieces[:] = [HEAD + b"\r\n" + (pair.folder / "accounts" / PUBLIC_KEYS_NAME).read_bytes()]
        now_s += 6
        assert keys.find(pair.keys.find_signing().kid)


def test_a_redirect_is_followed_and_the_size_is_bounded() -> None:
    with (
        answering([HEAD + b"\r\n" + b"x" * 200]) as there,
        answering([b"HTTP/1.1 302 Found\r\nLocation: " + there.encode() + b"\r\n\r\n"]) as here,
    ):
        assert fetch(here, NEVER_S, 100) == b"x" * 100


NOT_FOUND = b"HTTP/1.1 404 No keys\x1b[2J here\r\nContent-Length: 0\r\n\r\n"


def good_answer(pair: Pair) -> bytes:
    return HEAD + b"\r\n" + (pair.folder / "accounts" / PUBLIC_KEYS_NAME).read_bytes()


def test_an_address_without_keys_for_over_a_minute_is_told_while_those_of_before_go_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    pieces = [good_answer(pair)]
    with answering(pieces) as address:
        kept = pair.folder / "customers" / PUBLIC_KEYS_NAME
        monkeypatch.setattr(
            customers.app, "open_keys", lambda place, _: ServedKeys(place, kept, lambda: now_s)
        )
        settings = Settings.from_environment({"DATA_DIR": str(pair.folder), "JWKS": address})
        pair.customers_app = customers.app.create_app(settings, pair.log)
        stolen = pair.customers()
        assert stolen.get("/customers").status_code == 200

        pieces[:] = [NOT_FOUND]
        removed = pair.keys.find_signing().kid
        pair.keys.rotate()
        pair.keys.remove(removed)
        now_s += 59
        assert checked_keys(pair)["status"] == "ok", "within the minute nothing is promised"
        assert value_of(scrape(pair, "customers"), "health_check_ok", check="keys") == 1
        now_s += 6
        assert stolen.get("/customers").status_code == 200
        told = checked_keys(pair)
        assert told["status"] == "degraded"
        for said in (address, "404: No keys?[2J here", "is still good", f"{datetime.now(UTC):%Y-%m-%dT}"):
            assert said in told["detail"]
        assert "JWKS" in told["mend"]
        assert pair.customers(None).get("/health/ready").status_code == 200
        assert value_of(scrape(pair, "customers"), "health_check_ok", check="keys") == 0

        pieces[:] = [good_answer(pair)]
        now_s += 6
        assert checked_keys(pair)["status"] == "ok"
        assert stolen.get("/customers").status_code == 401
        assert value_of(scrape(pair, "customers"), "health_check_ok", check="keys") == 1


def checked_keys(pair: Pair) -> dict[str, str]:
    return dict(pair.customers(None).get("/health/ready").get_json()["checks"]["keys"])


def test_since_when_there_are_no_keys_outlives_a_restart(pair: Pair) -> None:
    kept = pair.folder / "kept"
    pieces = [good_answer(pair)]
    with answering(pieces) as address:
        assert ServedKeys(address, kept).check().status == "ok"
        hour_ago_s = time.time() - 3600
        os.utime(kept, (hour_ago_s, hour_ago_s))
        pieces[:] = [NOT_FOUND]
        told = ServedKeys(address, kept).check()
        since = datetime.fromtimestamp(hour_ago_s, UTC)
        assert (told.status, f"{since:%Y-%m-%dT%H:%M}" in told.detail) == ("degraded", True), told
        pieces[:] = [good_answer(pair)]
        assert ServedKeys(address, kept).check().status == "ok"
        pieces[:] = [NOT_FOUND]
        assert ServedKeys(address, kept).check().status == "ok", "the same keys were given a moment ago"


def test_who_was_not_asked_for_long_is_not_called_silent_while_it_is_asked(pair: Pair) -> None:
    now_s = 0.0
    pieces = [good_answer(pair)]
    with answering(pieces) as address:
        keys = ServedKeys(address, pair.folder / "kept", lambda: now_s)
        assert keys.check().status == "ok"
        now_s += 600
        pieces[:] = SLOW["body"]
        asking = threading.Thread(target=keys.find, args=("unknown",))
        asking.start()
        wait_until(
            lambda: any(thread.name == "fetch" for thread in threading.enumerate()), lambda: "nobody asks"
        )
        assert keys.check().status == "ok"
        asking.join()
        assert keys.check().status == "degraded"


def test_the_doctor_finds_an_address_without_keys_and_leaves_what_is_kept(pair: Pair) -> None:
    kept = pair.folder / "customers" / PUBLIC_KEYS_NAME
    pieces = [good_answer(pair)]
    with answering(pieces) as address:
        assert "keys-unusable" in all_clear(ask_doctor(pair, address))
        assert not kept.exists()
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes((pair.folder / "accounts" / PUBLIC_KEYS_NAME).read_bytes())
        os.utime(kept, (1e9, 1e9))
        assert "keys-unusable" in all_clear(ask_doctor(pair, address))
        pieces[:] = [NOT_FOUND]
        told = ask_doctor(pair, address)
        assert (
            f"problem  keys-unusable  {address} has given no keys since 2001-09-09T01:46:40Z" in told.stdout
        )
        assert "\x1b" not in told.stdout
        assert kept.stat().st_mtime == 1e9


def ask_doctor(pair: Pair, address: str) -> Result:
    variables = {"DATA_DIR": str(pair.folder), "JWKS": address}
    return CliRunner().invoke(customers.cli.main, ["doctor"], env=variables)


def all_clear(told: Result) -> str:
    """The names of what it looked for and did not find."""
    return told.stdout.partition("looked for, and not found:")[2]
