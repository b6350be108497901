"""Keys that sign tokens: changed without logging anybody out, public halves served, kept where accounts is away."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from werkzeug.serving import make_server

import accounts.cli
import customers.app
import customers.cli
from accounts.signing_keys import SIGNS_AFTER, BadKeys, SigningKeys
from accounts.token_issuer import TokenIssuer
from eventlog import EventLog
from shared.key_files import PRIVATE_KEYS_NAME, PUBLIC_KEYS_NAME
from shared.permissions import Identity, Role
from shared.public_keys import ServedKeys
from shared.settings import Settings
from tests.pair import Client, Pair, running_pair

ROOT = Identity("root", Role.ADMIN)


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(fake_log, tmp_path) as pair:
        yield pair


@pytest.fixture
def keys(pair: Pair) -> Callable[..., Result]:
    """`accounts keys …`."""

    def keys(*words: str) -> Result:
        environment = {"DATA_DIR": str(pair.folder)}
        return CliRunner().invoke(accounts.cli.main, ["keys", *words], env=environment)

    return keys


def statuses(pair: Pair, token: str) -> set[int]:
    """What both services answer to it."""
    asked = ((pair.accounts_app, "/accounts"), (pair.customers_app, "/customers"))
    return {Client(app, token).get(path).status_code for app, path in asked}


def key_of(token: str) -> Any:
    return jwt.get_unverified_header(token)["kid"]


def test_rotation_logs_nobody_out(pair: Pair, keys: Callable[..., Result]) -> None:
    old = pair.token()
    added = json.loads(keys("rotate", "--json").stdout)["id"]
    assert key_of(pair.token()) == key_of(old), "the new key is known everywhere before it signs"
    later = SigningKeys(pair.folder / "accounts", lambda: datetime.now(UTC) + SIGNS_AFTER)
    new = TokenIssuer(later).issue(ROOT)
    assert key_of(new) == added
    assert statuses(pair, old) == statuses(pair, new) == {200}

    assert keys("remove", str(key_of(old))).exit_code == 0
    assert statuses(pair, old) == {401}
    assert statuses(pair, new) == statuses(pair, pair.token()) == {200}
    assert key_of(pair.token()) == added, "what is left signs at once"


def test_after_the_key_that_signs_is_removed_the_newest_signs_at_once(
    pair: Pair, keys: Callable[..., Result]
) -> None:
    long_ago = SigningKeys(pair.folder / "accounts", lambda: datetime.now(UTC) - SIGNS_AFTER)
    verifies, signs = pair.keys.find_signing().kid, long_ago.rotate().kid
    assert key_of(pair.token()) == signs
    newest = [json.loads(keys("rotate", "--json").stdout)["id"] for _ in range(2)][-1]

    assert keys("remove", verifies).exit_code == 0
    assert key_of(pair.token()) == signs, "another key than that which signs changes nothing"
    assert keys("remove", signs).exit_code == 0
    assert key_of(pair.token()) == newest
    listed = json.loads(keys("list", "--json").stdout)
    assert [key["state"] for key in listed] == ["verifies", "signs"]


def test_an_older_key_does_not_sign_again(pair: Pair, keys: Callable[..., Result]) -> None:
    """Whoever saw the file has it, too."""
    stolen = [pair.token()]
    long_ago = SigningKeys(pair.folder / "accounts", lambda: datetime.now(UTC) - SIGNS_AFTER)
    long_ago.rotate()
    stolen.append(pair.token())
    seen = [key_of(token) for token in stolen]
    assert len(set(seen)) == 2
    added = json.loads(keys("rotate", "--json").stdout)["id"]
    for key_id in reversed(seen):
        assert keys("remove", key_id).exit_code == 0
        assert key_of(pair.token()) == added
    assert statuses(pair, pair.token()) == {200}
    assert [statuses(pair, token) for token in stolen] == [{401}, {401}]


def test_the_last_key_stays(pair: Pair, keys: Callable[..., Result]) -> None:
    (listed,) = json.loads(keys("list", "--json").stdout)
    assert listed["state"] == "signs"
    refused = keys("remove", listed["id"])
    assert (refused.exit_code, "it is the only key: add another first" in refused.stderr) == (1, True)
    for unknown in ("x", "-x", "--json-x", "-"):
        assert f"there is no key {unknown!r}" in keys("remove", unknown).stderr, "ids may begin with -"
    assert statuses(pair, pair.token()) == {200}


def test_a_key_that_anybody_can_guess_is_refused(pair: Pair, keys: Callable[..., Result]) -> None:
    """Well-formed in every way."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    d, x = (
        urlsafe_b64encode(half).rstrip(b"=").decode()
        for half in (bytes(32), private.public_key().public_bytes_raw())
    )
    thumbprint = sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    key = {"kid": urlsafe_b64encode(thumbprint).rstrip(b"=").decode(), "x": x, "d": d}
    document = {"keys": [{**key, "signs_from": "2026-01-01T00:00:00Z"}]}
    pair.keys.path.write_text(json.dumps(document), "utf-8")
    refused = keys("list")
    assert refused.exit_code == 1
    assert "has a key of one byte repeated, which anybody can guess: delete it" in refused.stderr
    with pytest.raises(BadKeys, match="anybody can guess"):
        pair.token()
    assert pair.keys.check().status == "degraded"


def test_keys_rotated_at_once_are_all_there(pair: Pair) -> None:
    with ThreadPoolExecutor(8) as threads:
        added = list(threads.map(lambda _: pair.keys.rotate().kid, range(8)))
    assert {key.kid for key in pair.keys.list_keys()} > set(added)


def test_only_public_halves_are_served(pair: Pair) -> None:
    answer = pair.accounts(None).get("/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    (key,) = answer.get_json()["keys"]
    assert key.keys() == {"kid", "x", "kty", "crv", "alg", "use"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    assert key["kid"] == key_of(pair.token())
    directory = pair.folder / "accounts"
    assert json.loads((directory / PUBLIC_KEYS_NAME).read_bytes()) == answer.get_json()
    assert (directory / PRIVATE_KEYS_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left_there", [None, b"", b'{"keys":[]}'], ids=["missing", "empty", "of others"])
def test_keys_that_were_restored_alone_are_known_to_customers_once_accounts_starts(
    left_there: bytes | None, pair: Pair
) -> None:
    public = pair.folder / "accounts" / PUBLIC_KEYS_NAME
    before = public.read_bytes()
    public.unlink()
    if left_there is not None:
        public.write_bytes(left_there)
    environment = {"DATA_DIR": str(pair.folder), "DEMO": ""}
    refused = CliRunner().invoke(customers.cli.main, ["serve", "--check"], env=environment)
    assert (refused.exit_code, "start accounts" in refused.stderr) == (1, True)

    assert CliRunner().invoke(accounts.cli.main, ["serve", "--check"], env=environment).exit_code == 0
    assert public.read_bytes() == before
    assert CliRunner().invoke(customers.cli.main, ["serve", "--check"], env=environment).exit_code == 0
    assert statuses(pair, pair.token()) == {200}


def test_public_halves_that_are_there_are_left_alone(pair: Pair) -> None:
    public = pair.folder / "accounts" / PUBLIC_KEYS_NAME
    before = public.stat()
    pair.keys.publish()
    after = public.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_public_halves_that_cannot_be_written_are_named(pair: Pair) -> None:
    public = pair.folder / "accounts" / PUBLIC_KEYS_NAME
    public.unlink()
    public.mkdir()
    environment = {"DATA_DIR": str(pair.folder), "DEMO": ""}
    refused = CliRunner().invoke(accounts.cli.main, ["serve", "--check"], env=environment)
    assert refused.exit_code == 1
    assert f"{public} cannot be written (Is a directory): let the user" in refused.stderr


@contextmanager
def served(pair: Pair) -> Iterator[str]:
    """Accounts over HTTP; the address of its keys."""
    server = make_server("127.0.0.1", 0, pair.accounts_app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/.well-known/jwks.json"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def start_customers(pair: Pair, jwks: str) -> None:
    """It reads its keys from there."""
    settings = Settings.from_environment({"DATA_DIR": str(pair.folder), "JWKS": jwks})
    pair.customers_app = customers.app.create_app(settings, pair.log)


def test_customers_goes_on_when_accounts_is_away_even_after_a_restart(pair: Pair) -> None:
    token = pair.token()
    with served(pair) as address:
        start_customers(pair, address)
        assert statuses(pair, token) == {200}
    assert statuses(pair, token) == {200}
    start_customers(pair, address)
    assert statuses(pair, token) == {200}
    assert pair.customers().get("/health/ready").get_json()["checks"]["keys"]["status"] == "ok"


def test_customers_that_never_reached_accounts_says_so(pair: Pair) -> None:
    with served(pair) as address:
        pass
    start_customers(pair, address)
    answer = pair.customers().get("/customers")
    assert (answer.status_code, answer.get_json(force=True)["type"]) == (503, "/problems/keys-unknown")
    assert answer.headers["Retry-After"]
    check = pair.customers(None).get("/health/ready").get_json()["checks"]["keys"]
    assert (check["status"], "JWKS" in check["mend"]) == ("degraded", True)


class Asked:
    """A clock in seconds, and how often keys were asked for."""

    def __init__(self, pair: Pair) -> None:
        self.now_s = 0.0
        self.count = 0
        answer = pair.accounts_app.wsgi_app

        def counting(environ: Any, start: Any) -> Any:
            self.count += 1
            return answer(environ, start)

        pair.accounts_app.wsgi_app = counting  # type: ignore[assignment, method-assign]


def test_an_unknown_key_id_is_asked_for_and_not_more_often_than_every_five_seconds(pair: Pair) -> None:
    asked = Asked(pair)
    with served(pair) as address:
        keys = ServedKeys(address, pair.folder / "kept", lambda: asked.now_s)
        first = pair.keys.find_signing().kid
        assert keys.find(first)
        added = pair.keys.rotate().kid
        assert [keys.find(added), asked.count] == [None, 1], "it was asked for a moment ago"
        asked.now_s += 6
        assert keys.find(added)
        for number in range(100):
            assert keys.find(f"unknown {number}") is None
        assert asked.count == 2
        pair.keys.remove(first)
        assert keys.find(first)
        asked.now_s += 61
        assert keys.find(first) is None, "within a minute it is known to be removed"


@pytest.mark.parametrize(
    "document",
    ["", "{}", '{"keys": []}', '{"keys": [{"kty": "RSA", "kid": "1"}]}', "[" * 5000, '{"x": ' + "[" * 5000],
)
def test_what_is_no_set_of_keys_changes_nothing(pair: Pair, document: str) -> None:
    file = pair.folder / "accounts" / PUBLIC_KEYS_NAME
    token = pair.token()
    assert statuses(pair, token) == {200}
    file.write_text(document)
    assert statuses(pair, token) == {200}
    refused = CliRunner().invoke(customers.cli.main, ["serve", "--check"], env={"DATA_DIR": str(pair.folder)})
    assert (refused.exit_code, "has no keys to check tokens with" in refused.stderr) == (1, True)
    check = pair.customers(None).get("/health/ready").get_json()["checks"]["keys"]
    assert (check["status"], "until a restart those of before" in check["detail"]) == ("degraded", True)


def test_the_file_of_private_keys_is_none_to_check_tokens_with(pair: Pair) -> None:
    environment = {"DATA_DIR": str(pair.folder), "JWKS": str(pair.keys.path)}
    refused = CliRunner().invoke(customers.cli.main, ["serve", "--check"], env=environment)
    assert (refused.exit_code, "these are private keys, which nobody but accounts" in refused.stderr) == (
        1,
        True,
    )
    start_customers(pair, str(pair.keys.path))
    assert pair.customers().get("/customers").status_code == 503


@pytest.mark.parametrize(
    "jwks", ["http://svc:hunter2@accounts:8090/", "http://hunter2@accounts/jwks", "http://:hunter2@[::1"]
)
def test_an_address_with_a_password_is_refused_and_not_shown(jwks: str) -> None:
    refused = CliRunner().invoke(customers.cli.main, ["serve", "--check"], env={"JWKS": jwks})
    assert (refused.exit_code, "JWKS has a user or a password in it: leave both out" in refused.stderr) == (
        1,
        True,
    )
    assert "hunter2" not in refused.output


@pytest.mark.parametrize("jwks", ["ftp://accounts/jwks", "http://", "http://a:x/"])
def test_an_address_that_is_none_is_refused(jwks: str) -> None:
    refused = CliRunner().invoke(customers.cli.main, ["serve", "--check"], env={"JWKS": jwks})
    assert (refused.exit_code, "set it to the address of accounts'" in refused.stderr) == (1, True)
