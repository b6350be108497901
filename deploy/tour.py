"""What `make run` prints when everything is up: where things are, and a tour to copy and paste."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deploy.installation import PROGRAMS_DIR, Installation

# The read carries the position of the invoice: it waits until accounts has got there.
_TOUR = """\
TOKEN=$(curl -sS {accounts}/auth/login -d '{{"username": "user1", "password": "password1"}}')
AUTH="Authorization: Bearer $TOKEN"
ANSWER=$(curl -sS {customers}/customers -H "$AUTH" -d '{{"name": "Ada", "account_id": "1"}}'); echo "$ANSWER"
CUSTOMER=$(echo "$ANSWER" | sed -n 's/^{{"id": *"\\([0-9]*\\)".*/\\1/p')
INVOICE='{{"customer_id": "'$CUSTOMER'", "purchase_date": "2026-01-31", "purchase_price_cents": 12000}}'
ANSWER=$(curl -sSi {customers}/invoices -H "$AUTH" -d "$INVOICE" | tr -d '\\r'); echo "$ANSWER"
POSITION=$(echo "$ANSWER" | awk 'tolower($1) == "log-position:" {{ print $2 }}')
curl -sS {accounts}/accounts -H "$AUTH" -H "Min-Log-Position: $POSITION" | {python} -m json.tool
"""


def tour(installation: Installation) -> str:
    """Lines for bash, each to be pasted after the one before; they need curl, and no jq."""
    return _TOUR.format(
        accounts=installation.url("accounts"),
        customers=installation.url("customers"),
        python=_program("python"),
    )


def read_the_stream(installation: Installation) -> str:
    """The redis-cli line that shows the whole stream of this installation."""
    stream = shlex.quote(installation.settings.stream)
    return f"{_program('redis-cli')} {_redis_cli_target(installation)} XREAD STREAMS {stream} 0"


def welcome(installation: Installation) -> str:
    """Everything a newcomer needs to know once both services are ready."""
    settings = installation.settings
    demo = f"""
A tour to paste, whole or line by line, into another terminal in this directory
(log in, create a customer and an invoice, see what the accounts have earned):

{tour(installation)}"""
    return f"""
customers  {installation.url("customers")}
accounts   {installation.url("accounts")}    open it in a browser: the console
{demo if settings.demo else ""}
The log itself:

{read_the_stream(installation)}

Data lies in {_near(settings.data_dir)}, logs in {_near(installation.log_dir)}.
Ctrl-C stops everything; `make run` goes on from there.
"""


def _redis_cli_target(installation: Installation) -> str:
    if installation.private_redis:
        return f"-p {installation.redis_port}"
    url = urlsplit(installation.settings.redis_url)
    if url.password is None:
        return f"-u {shlex.quote(url.geturl())}"
    # never shown: redis-cli asks for it
    words = ["-h", url.hostname or "127.0.0.1", "-p", str(url.port or 6379), "-n", url.path.strip("/") or "0"]
    words += ["--tls"] if url.scheme == "rediss" else []
    words += ["--user", unquote(url.username)] if url.username else []
    return shlex.join([*words, "--askpass"])


def _program(name: str) -> str:
    """The environment's own program as typed from here, else the one on the PATH."""
    path = PROGRAMS_DIR / name
    return shlex.quote(str(_near(path))) if path.exists() else name


def _near(path: Path) -> Path:
    """As seen from the working directory, where that is shorter to read."""
    relative = Path(os.path.relpath(path))
    return path if ".." in relative.parts else relative
