"""What `make run` prints when everything is up: where things are, and a tour to copy and paste."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from urllib.parse import urlsplit

from deploy.installation import PROGRAMS_DIR, Installation
from shared.settings import Settings

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
    settings = installation.settings
    program, *words = settings.redis_cli
    # what comes with the environment cannot speak TLS
    here = program if urlsplit(installation.redis.url).scheme == "rediss" else _program(program)
    return f"{here} {shlex.join([*words, 'XREAD', 'STREAMS', settings.stream, '0'])}"


def look_at_the_log(installation: Installation, *, with_tour: bool) -> str:
    """Lines that show the log, one of them the entry whose position the tour has noted."""
    eventlog = _program("eventlog")
    lines = [f"{eventlog} tail", read_the_stream(installation), f"{eventlog} status"]
    if with_tour:
        lines.insert(1, f"{eventlog} show ${{POSITION%@*}}")
    return "\n".join(lines)


def for_other_terminals(installation: Installation) -> str:
    """The line of a shell after which our commands find this installation; empty where they do anyway.

    An address that has a password in it is not shown.
    """
    here, usual = installation.settings, Installation.from_environment({}).settings
    chosen, defaults = _variables(here), _variables(usual)
    if here.redis_given and urlsplit(here.redis_given.url).password:
        del chosen["REDIS_URL"]
    differ = [f"{name}={shlex.quote(value)}" for name, value in chosen.items() if value != defaults[name]]
    return f"export {' '.join(differ)}" if differ else ""


def welcome(installation: Installation, *, with_tour: bool) -> str:
    """Everything a newcomer needs to know once both services are ready; the tour needs the demo users."""
    settings = installation.settings
    demo = f"""
A tour to paste, whole or line by line, into another terminal in this directory
(log in, create a customer and an invoice, see what the accounts have earned):

{tour(installation)}"""
    export = for_other_terminals(installation)
    first = f"""
This run differs from the defaults: paste this first into each other terminal, so that commands find this run:

{export}
"""
    return f"""
customers  {installation.url("customers")}
accounts   {installation.url("accounts")}    open it in a browser: the console
{first if export else ""}{demo if with_tour else ""}
The log itself{", when the tour is pasted" if with_tour else ""}:

{look_at_the_log(installation, with_tour=with_tour)}

Data lies in {_near(settings.data_dir)}, logs in {_near(installation.log_dir)}.
Ctrl-C stops everything; `make run` goes on from there.
"""


def _variables(settings: Settings) -> dict[str, str]:
    ports = {"CUSTOMERS_PORT": settings.customers_port, "ACCOUNTS_PORT": settings.accounts_port}
    return {**settings.as_variables(), **{name: str(port) for name, port in ports.items()}}


def _program(name: str) -> str:
    """The environment's own program as typed from here, else the one on the PATH."""
    path = PROGRAMS_DIR / name
    return shlex.quote(str(_near(path))) if path.exists() else name


def _near(path: Path) -> Path:
    """As seen from the working directory, where that is shorter to read."""
    relative = Path(os.path.relpath(path))
    return path if ".." in relative.parts else relative
