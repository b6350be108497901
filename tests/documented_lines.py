"""What the documentation tells people to type: where it stands, and which test types it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.followed_page import blocks_in
from tests.make_run import ROOT
from tests.programs import PROGRAMS

PAGES: Final = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

# Each test below compares the pages that it has typed with `pages_typed_by`; of the README it types the tour.
TYPED_BY: Final = {
    "README.md": "tests/deploy/test_run.py",
    "docs/api/README.md": "tests/deploy/test_typed_pages.py",
    "docs/eventlog.md": "tests/test_followed_pages.py",
    "docs/tutorial.md": "tests/test_followed_pages.py",
    "docs/how-to/add-a-projection.md": "tests/test_followed_pages.py",
    "docs/how-to/add-an-event-type.md": "tests/test_followed_pages.py",
    "docs/how-to/change-a-payload.md": "tests/test_followed_pages.py",
    "docs/how-to/call-the-api-safely.md": "tests/deploy/test_typed_pages.py",
    "docs/how-to/trace-a-request.md": "tests/deploy/test_typed_pages.py",
    "docs/how-to/follow-from-another-language.md": "tests/deploy/test_typed_pages.py",
    "docs/how-to/secure-redis.md": "tests/deploy/test_typed_pages.py",
    "docs/how-to/run-in-production.md": "tests/deploy/test_run_in_production.py",
    "docs/how-it-works.md": "tests/deploy/test_typed_pages.py",
    "docs/runbook.md": "tests/deploy/test_typed_pages.py",
}

_AN_INDEX = "asks a package index"
_ANOTHER_LOG = "makes another log of what is there: tests/faults/test_log_damage.py"
_GENERATE = (
    ".venv/bin/openapi-python-client generate --path docs/api/{0}.json --meta none --output-path {0}_client"
)
_CLIENT = "generates into the directory it stands in: tests/services/test_openapi.py types it"
_MINUTES = "takes minutes: tests/services/test_openapi.py makes fewer requests"
_KEYS = "signs all that follows: tests/eventlog/test_keys_command.py, tests/services/test_signed_pair.py"
NEEDS_ROOT: Final = "needs root: tests/deploy/test_run_in_production.py does the same as who it is"
IN_PRODUCTION: Final = "needs a Redis of one's own: tests/deploy/test_run_in_production.py types it"
_LOAD_USERS = (
    "REDISCLI_AUTH=$(cat secrets/passwords/operator)"
    " redis-cli -u redis://127.0.0.1:6379 --user operator ACL LOAD"
)
# The lines that no test types as they stand, and why.
LEFT_OUT: Final = {
    "make run": "what tests/deploy/test_run.py starts",
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 make run": "what tests/deploy/test_traces.py starts",
    "make test": "runs this test",
    "make faults FAULT=process-kills SEED=1 TRIALS=10": "takes a minute: tests/faults/test_campaign.py",
    "python3 -m venv .venv": _AN_INDEX,
    ".venv/bin/pip install ~/revenue-stream pytest": _AN_INDEX,
    ". .venv/bin/activate": _AN_INDEX,
    ".venv/bin/eventlog archive --once": "that of `make run` is running: tests/eventlog/test_forged_counter.py",
    ".venv/bin/eventlog init --adopt": _ANOTHER_LOG,
    "rm -r var/accounts/revenue var/customers/directory": _ANOTHER_LOG,
    "mv var/archive var/archive-of-the-lost-log": _ANOTHER_LOG,
    ".venv/bin/st run docs/api/customers.json --url http://127.0.0.1:8080"
    ' --header "Authorization: Bearer $TOKEN"': _MINUTES,
    _GENERATE.format("accounts"): _CLIENT,
    _GENERATE.format("customers"): _CLIENT,
    ".venv/bin/eventlog keys new --keys-file event-keys.json": _KEYS,
    ".venv/bin/eventlog keys begin --keys-file event-keys.json": _KEYS,
    "sudo apt install redis-server python3-venv git nginx": NEEDS_ROOT,
    "sudo useradd --system --shell /bin/bash --home-dir /srv/revenue-stream revenue": NEEDS_ROOT,
    "sudo git clone REPOSITORY /srv/revenue-stream && sudo chown -R revenue: /srv/revenue-stream": NEEDS_ROOT,
    ".venv/bin/pip install --require-hashes -r deploy/services.lock": _AN_INDEX,
    ".venv/bin/pip install --no-deps --no-build-isolation --no-index .": "installs into the tests' own .venv",
    "sudo install -o redis -g redis -m 600 /srv/revenue-stream/secrets/users.acl"
    " /etc/redis/users.acl": NEEDS_ROOT,
    "sudo tee -a /etc/redis/redis.conf <<< 'include /srv/revenue-stream/deploy/redis.conf'": NEEDS_ROOT,
    "sudo systemctl restart redis-server": NEEDS_ROOT,
    "sudo cp -r /srv/revenue-stream/deploy/systemd/. /etc/systemd/system/"
    " && sudo systemctl daemon-reload": NEEDS_ROOT,
    "sudo systemctl enable --now revenue-archive revenue-tail@customers revenue-tail@accounts"
    " revenue-web@customers revenue-web@accounts": NEEDS_ROOT,
    "NEW=$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')": IN_PRODUCTION,
    'sed -i "s/^user accounts on resetpass /&#$(printf %s "$NEW" | sha256sum | cut -c 1-64) /"'
    " secrets/users.acl": IN_PRODUCTION,
    _LOAD_USERS: IN_PRODUCTION,
    'printf %s "$NEW" > secrets/passwords/accounts': IN_PRODUCTION,
    "python3 -m deploy.redis_users secrets": IN_PRODUCTION,
    'COPY=~/copy-$(date +%F-%H%M%S) && mkdir -m 700 "$COPY"': IN_PRODUCTION,
    '.venv/bin/accounts backup "$COPY/revenue.db"': IN_PRODUCTION,
    '.venv/bin/customers backup "$COPY/directory.db"': IN_PRODUCTION,
    "sqlite3 var/archive/archive.db \".backup '$COPY/archive.db'\"": IN_PRODUCTION,
    "sqlite3 var/accounts/users.db \".backup '$COPY/users.db'\"": IN_PRODUCTION,
    'cp -p var/accounts/signing-keys.json "$COPY"': IN_PRODUCTION,
    'mkdir -p -m 700 var/archive var/accounts && cp -p "$COPY/archive.db" var/archive/'
    ' && cp -p "$COPY/users.db" "$COPY/signing-keys.json" var/accounts/': IN_PRODUCTION,
    '.venv/bin/accounts restore "$COPY/revenue.db"': IN_PRODUCTION,
    '.venv/bin/customers restore "$COPY/directory.db"': IN_PRODUCTION,
    ".venv/bin/eventlog archive --check && .venv/bin/accounts verify"
    " && .venv/bin/customers verify": IN_PRODUCTION,
    ".venv/bin/python -m eventlog.embedded_redis var/redis --port 16379": "beside `make run` its Redis is in the way:"
    " tests/deploy/test_typed_pages.py types it by itself",
    ".venv/bin/eventlog tail -f": "runs until Ctrl-C: tests/services/test_manner_of_commands.py",
}

_COMMENT = re.compile(r"\s{2,}# .*")
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_MENTION = re.compile(rf"(?:\.venv/bin/)?((?:{'|'.join(PROGRAMS)})(?: .*)?)")


_HEADING = re.compile(r"^#+ (.*?) *$", re.MULTILINE)


def pages_typed_by(test: str) -> set[str]:
    """Of this file under `tests/`, by its own word above."""
    return {page for page, file in TYPED_BY.items() if file == f"tests/{test}"}


def anchors_of(page: Path) -> set[str]:
    """What a link to a heading of the page may name behind `#`, as GitHub makes it."""
    found: list[str] = []
    for heading in _HEADING.findall(_FENCED.sub("", page.read_text("utf-8"))):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.append(re.sub(r"[^\w -]", "", shown).lower().replace(" ", "-"))
    return {
        f"{anchor}-{before}" if (before := found[:number].count(anchor)) else anchor
        for number, anchor in enumerate(found)
    }


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands_of(page: Path) -> list[str]:
    """Each line of a block of commands, without its comment."""
    return commands_in(page.read_text("utf-8"))


def commands_in(markdown: str) -> list[str]:
    """As `commands_of`, of a part of a page."""
    blocks = (block.text for block in blocks_in(markdown) if block.language in {"", "sh", "bash"})
    return [_COMMENT.sub("", line) for text in blocks for line in text.splitlines() if line]


def section_of(page: Path, heading: str) -> str:
    """What stands beneath one heading, whatever its level, up to the next one."""
    text = page.read_text("utf-8").partition(f"# {heading}\n")[2]
    return re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0]


def mentions_of(page: Path) -> list[str]:
    """Every command of ours, within sentences and in blocks, from the program's name on."""
    sentences = _FENCED.sub("", page.read_text("utf-8"))
    pieces = [*_INLINE.findall(sentences), *commands_of(page)]
    return [found[1] for piece in pieces if (found := _MENTION.fullmatch(piece))]
