"""The description of both APIs is what they are: the committed one, the served one, and what is answered."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from jsonschema_rs import Draft202012Validator
from werkzeug.serving import make_server

from eventlog import EventLog
from eventlog.cli import main as eventlog_command
from shared.problem_kinds import KINDS
from shared.strict_json import TextField
from tests.make_run import NEVER_S, ROOT
from tests.pair import Client, Pair, running_pair

SERVICES = ("accounts", "customers")


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Pair:
    return Pair(fake_log, tmp_path)


def app_of(pair: Pair, service: str) -> Flask:
    return pair.accounts_app if service == "accounts" else pair.customers_app


@pytest.mark.parametrize("service", SERVICES)
def test_the_committed_description_is_the_served_one(pair: Pair, service: str) -> None:
    served = Client(app_of(pair, service), None).get("/openapi.json")
    committed = (ROOT / "docs" / "api" / f"{service}.json").read_text()
    assert served.get_data(as_text=True) == committed, "run `make api`"
    again = Client(app_of(pair, service), None).get(
        "/openapi.json", headers={"If-None-Match": served.headers["ETag"]}
    )
    assert again.status_code == 304


def test_the_committed_catalogue_of_events_is_the_printed_one() -> None:
    printed = CliRunner().invoke(eventlog_command, ["catalogue", "--json"])
    committed = json.loads((ROOT / "docs" / "api" / "events.json").read_text())
    assert json.loads(printed.output) == committed, "run `make api`"


@pytest.mark.parametrize("service", SERVICES)
def test_the_description_is_openapi_and_every_answer_has_an_example(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where it is there, jsonschema parses grammars for a second, for a format that OpenAPI has no field of.
    monkeypatch.setitem(sys.modules, "rfc3987_syntax", None)
    from openapi_spec_validator import validate  # noqa: PLC0415  # every worker would wait for it half a second

    document = json.loads((ROOT / "docs" / "api" / f"{service}.json").read_text())
    validate(document)
    assert document["tags"][0]["name"] == service
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    assert content.get("example") is not None or content["examples"], (method, path, status)


READ = re.compile(r"""request\.(?:headers|cookies)(?:\.get\(|\[)["']([\w-]+)["']|request\.(if_\w+)""")
# What OpenAPI describes elsewhere, and what is the browser's own.
DESCRIBED_ELSEWHERE = {"Accept", "Authorization", "Origin"}


def test_every_header_that_a_request_is_asked_for_is_described() -> None:
    packages = [ROOT / name for name in ("accounts", "customers", "shared")]
    sources = "".join(path.read_text() for package in packages for path in package.rglob("*.py"))
    read = {(name or attribute.replace("_", "-")).lower() for name, attribute in READ.findall(sources)}
    documents = [json.loads((ROOT / "docs" / "api" / f"{service}.json").read_text()) for service in SERVICES]
    described = {
        parameter["name"].lower()
        for document in documents
        for operations in document["paths"].values()
        for operation in operations.values()
        for parameter in operation["parameters"]
        if parameter.get("in") == "header"
    }
    assert {"if-match", "prefer"} <= read
    assert read - {name.lower() for name in DESCRIBED_ELSEWHERE} == described


def examples_in(part: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Of all that has a schema: where it stands, the schema, and each example beside it or in it."""
    if isinstance(part, list):
        for number, item in enumerate(part):
            yield from examples_in(item, f"{where}/{number}")
    if not isinstance(part, dict):
        return
    if "schema" in part:
        named = [each["value"] for each in part.get("examples", {}).values()]
        beside = [part["example"]] if "example" in part else []
        for example in [*named, *beside, *part["schema"].get("examples", ())]:
            yield where, part["schema"], example
    for name, item in part.items():
        yield from examples_in(item, f"{where}/{name}")


@pytest.mark.parametrize("service", SERVICES)
def test_every_example_fits_its_schema(service: str) -> None:
    """Those of parameters, bodies, answers, problems and headers."""
    document = json.loads((ROOT / "docs" / "api" / f"{service}.json").read_text())
    found = list(examples_in({name: document[name] for name in ("paths", "components")}))
    assert len(found) > 100
    for where, schema, example in found:
        inside = {**schema, "components": document["components"]}
        problems = list(Draft202012Validator(inside, validate_formats=True).iter_errors(example))
        assert not problems, (where, problems)


@pytest.mark.parametrize("service", SERVICES)
def test_every_type_of_problem_is_a_page_that_says_what_to_do(pair: Pair, service: str) -> None:
    client = Client(app_of(pair, service), None)
    listed = client.get("/problems").get_data(as_text=True)
    for kind in KINDS.values():
        page = client.get(f"/problems/{kind.name}")
        assert (page.status_code, page.mimetype) == (200, "text/html")
        text = page.get_data(as_text=True)
        assert kind.title in text
        assert "What to do" in text
        assert f'href="/problems/{kind.name}"' in listed
        assert "script" not in text
    assert client.get("/problems/no-such").status_code == 404


@pytest.mark.parametrize("service", SERVICES)
def test_the_catalogue_of_events_is_shown(pair: Pair, service: str) -> None:
    client = Client(app_of(pair, service), None)
    committed = json.loads((ROOT / "docs" / "api" / "events.json").read_text())
    assert client.get("/asyncapi.json").get_json() == committed
    shown = client.get("/catalogue").get_data(as_text=True)
    for message in committed["components"]["messages"].values():
        assert message["title"] in shown
    assert "purchase_price_cents" in shown


@pytest.mark.parametrize("service", SERVICES)
def test_the_page_of_the_api_needs_nothing_from_elsewhere(pair: Pair, service: str) -> None:
    client = Client(app_of(pair, service), None)
    page = client.get("/docs")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    asked = re.findall(r'(?:src|href)="([^"]+)"', page.get_data(as_text=True))
    assert any(path.endswith("swagger-ui-bundle.js") for path in asked)
    for path in asked:
        assert path.startswith("/")
        assert client.get(path).status_code == 200, path


def test_text_is_refused_by_what_unicode_says_of_its_characters() -> None:
    """The pattern of the description spells out the categories; those that came after Unicode 14 it does not know."""
    pattern = re.compile(TextField(shortest=1, longest=9).json_schema()["pattern"])
    turning = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.ucd_3_2_0.category(character)
        if category in {"Cn", "Cs"}:
            continue
        invisible = category in {"Cc", "Zl", "Zp", "Cf", "Zs"} or character in turning
        if category != unicodedata.category(character):
            continue
        assert (pattern.fullmatch(character) is None) == invisible, hex(code)


@pytest.fixture
def served(real_log: EventLog, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Both services on ports of their own, with the demo accounts and a customer with an invoice; and a token."""
    with running_pair(real_log, tmp_path) as pair:
        pair.make_demo()
        pair.wait_until_applied()
        customer = (
            pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"}).get_json()["id"]
        )
        invoice = {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": 100}
        assert pair.customers().post("/invoices", json=invoice).status_code == 201
        servers = {
            service: make_server("127.0.0.1", 0, app_of(pair, service), threaded=True) for service in SERVICES
        }
        threads = [Thread(target=server.serve_forever) for server in servers.values()]
        for thread in threads:
            thread.start()
        try:
            yield {"token": pair.token()} | {
                service: f"http://127.0.0.1:{server.server_port}" for service, server in servers.items()
            }
        finally:
            for server in servers.values():
                server.shutdown()
                server.server_close()
            for thread in threads:
                thread.join(NEVER_S)


def test_the_page_says_which_paths_have_an_etag() -> None:
    page = (ROOT / "docs" / "api" / "README.md").read_text()
    said = re.search(r"by the `ETag`.*: of (.*); other paths have none", page)
    assert said is not None
    named = re.findall(r"`(/[^`]*)`", said[1])
    with_one = set()
    for service in SERVICES:
        document = json.loads((ROOT / "docs" / "api" / f"{service}.json").read_text())
        for path, methods in document["paths"].items():
            if "ETag" not in methods.get("get", {"responses": {"200": {}}})["responses"]["200"].get(
                "headers", {}
            ):
                continue
            first = f"/{path.split('/')[1]}"
            with_one.add(f"{first}…" if f"{first}…" in named else path)
    assert sorted(named) == sorted(with_one)


def test_the_recorded_run_is_of_what_is_described_and_as_long_as_is_said() -> None:
    page = (ROOT / "docs" / "api" / "README.md").read_text()
    recorded = {
        service: [int(number.replace(",", "")) for number in numbers.split(" | ")]
        for service, numbers in re.findall(r"^\| (\w+) \| ([0-9, |]+) \|$", page, re.MULTILINE)
    }
    for service in SERVICES:
        document = json.loads((ROOT / "docs" / "api" / f"{service}.json").read_text())
        operations, asked, _, failures = recorded[service]
        assert operations == sum(len(methods) for methods in document["paths"].values())
        assert (0 < asked <= operations, failures) == (True, 0)
    assert sum(cases for _, _, cases, _ in recorded.values()) >= 20_000


@pytest.mark.processes
@pytest.mark.parametrize("service", SERVICES)
def test_requests_made_from_the_description_find_nothing(
    served: dict[str, Any], service: str, tmp_path: Path
) -> None:
    """All checks and phases of schemathesis, by links too; docs/api/README.md has the long run."""
    shutil.copy(ROOT / "schemathesis.toml", tmp_path)
    program = [str(Path(sys.executable).with_name("st")), "run", f"{served[service]}/openapi.json"]
    arguments = ["--header", f"Authorization: Bearer {served['token']}", "--checks", "all", "--seed", "1"]
    bounds = ["--max-examples", "8", "--no-color"]
    ran = subprocess.run(
        [*program, *arguments, *bounds],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in ran.stdout


@pytest.mark.processes
def test_generated_clients_make_the_tour_of_the_page(served: dict[str, Any], tmp_path: Path) -> None:
    page = (ROOT / "docs" / "api" / "README.md").read_text()
    for line in re.findall(r"^\.venv/bin/(openapi-python-client .*)$", page, re.MULTILINE):
        program, *arguments = line.replace("docs/api/", f"{ROOT}/docs/api/").split()
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=NEVER_S)
    shown = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    tour = shown[1].replace("http://127.0.0.1:8090", served["accounts"])
    tour = tour.replace("http://127.0.0.1:8080", served["customers"])
    told = subprocess.run(
        [sys.executable, "-c", tour],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=NEVER_S,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == ["one 12100", "two 0"], "100 cents were there before"
