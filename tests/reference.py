"""Write docs/reference and docs/permissions.md from docstrings, commands and routes: `make reference`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import click
import griffe

from shared.permissions import Allowed
from tests.make_run import ROOT
from tests.programs import COMMANDS
from tests.routes import list_routes

DOCS: Final = ROOT / "docs"
_WIDTH = 110
_MADE = "<!-- Made by `make reference`. -->"
_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
_PERMISSIONS = """\
# Who may what

{made}

| who | |
|---|---|
{meanings}

A user owns itself, and the accounts made for it; with an account its customers, and their invoices. What is foreign or
deleted is answered exactly as what never was: [how, and what can be told all the same](security.md#who-may-what).
`OPTIONS` is for anyone: it tells methods. `GET /` shows whoever signed in on that page the accounts in sight.

| service | asked for | who | what |
|---|---|---|---|
{lines}
"""
_LIBRARY = """\
What `from eventlog import …` gives, by its docstrings; [the guide](../eventlog.md) shows it at work. Deciders and tests
have modules of their own: `eventlog/deciding.py`, `eventlog/testing.py`.
"""


def make_pages() -> dict[str, str]:
    """The text of each page by its path in docs."""
    return {
        "reference/eventlog.md": _describe_library(),
        "reference/commands.md": _describe_commands(),
        "permissions.md": _describe_permissions(),
    }


def _describe_library() -> str:
    package = griffe.load("eventlog", search_paths=[str(ROOT)])
    names = {name: package[str(name)].final_target for name in sorted(map(str, package.exports or ()))}
    parts = [
        f"# eventlog, name by name\n\n{_MADE}\n",
        _LIBRARY,
        " · ".join(f"[{name}](#{name.lower()})" for name in names) + "\n",
    ]
    return "\n".join([*parts, *(_describe_name(name, found) for name, found in names.items())])


def _describe_name(name: str, found: griffe.Object) -> str:
    lines = [f"## {name}", ""]
    if isinstance(found, griffe.Class):
        lines += [f"`{_signature(name, found)}`", "", *_docstring(found)]
        initializer = found.members.get("__init__")
        lines += _docstring(initializer) if isinstance(initializer, griffe.Function) else []
        for member in _public_members(found):
            lines += _describe_member(member)
    elif isinstance(found, griffe.Attribute):
        lines += [f"`{name} = {found.value}`", ""]
    return "\n".join(lines).rstrip() + "\n"


def _signature(name: str, found: griffe.Class) -> str:
    """How one is made: by its own initializer, or by its fields."""
    initializer = found.members.get("__init__")
    if isinstance(initializer, griffe.Function):
        return _shown(initializer, name).removesuffix(" -> None")
    return f"{name}({', '.join(_field(field) for field in _fields(found))})"


def _fields(found: griffe.Class) -> list[griffe.Attribute]:
    return [
        member
        for name, member in found.members.items()
        if isinstance(member, griffe.Attribute)
        and not name.startswith("_")
        and "instance-attribute" in member.labels  # which a ClassVar has not
    ]


def _field(field: griffe.Attribute) -> str:
    value = "" if field.value is None else f" = {field.value}"
    return f"{field.name}: {field.annotation}{value}"


def _public_members(found: griffe.Class) -> Iterator[griffe.Object]:
    """Its methods and properties, and those of bases of ours, in order."""
    for name, member in found.all_members.items():
        target = member.final_target if isinstance(member, griffe.Alias) else member
        of_ours = target.canonical_path.startswith("eventlog.")
        is_property = isinstance(target, griffe.Attribute) and "property" in target.labels
        if of_ours and not name.startswith("_") and (is_property or isinstance(target, griffe.Function)):
            yield target


def _describe_member(member: griffe.Object) -> Iterator[str]:
    if isinstance(member, griffe.Function):
        yield f"- `{_shown(member, member.name)}`"
    elif isinstance(member, griffe.Attribute):
        yield f"- `{member.name}: {member.annotation}`"
    yield ""
    for line in _docstring(member):
        yield f"  {line}".rstrip()


def _shown(function: griffe.Function, name: str) -> str:
    """Its signature as a caller sees it."""
    return (
        function.signature(name=name).replace("(self, ", "(").replace("(cls, ", "(").replace("(self)", "()")
    )


def _docstring(found: griffe.Object) -> list[str]:
    return [*found.docstring.value.splitlines(), ""] if found.docstring else []


def _describe_commands() -> str:
    parts = [
        f"# Commands\n\n{_MADE}\n",
        "What `--help` says of each. `accounts` and `customers` have most of them in common: those stand here once.\n",
    ]
    for path, command in COMMANDS.items():
        program, _, rest = path.partition(" ")
        if program == "customers" and COMMANDS.get(f"accounts {rest}") is command:
            continue
        both = program == "accounts" and COMMANDS.get(f"customers {rest}") is command
        context = click.Context(command, info_name=path, terminal_width=_WIDTH)
        heading = f"## {path}" + (f", customers {rest}" if both else "")
        parts.append(f"{heading}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _describe_permissions() -> str:
    of_all: dict[tuple[str, str, Allowed, str], list[str]] = {}
    for route in list_routes():
        line = (route.method, _VARIABLE.sub(r"{\1}", route.path), route.allowed, route.summary)
        of_all.setdefault(line, []).append(route.service)
    meanings = "\n".join(f"| {_written(allowed)} | {allowed.value} |" for allowed in Allowed)
    lines = [
        f"| {' and '.join(services)} | `{method} {path}` | {_written(allowed)} | {summary} |"
        for (method, path, allowed, summary), services in sorted(of_all.items(), key=_by_services)
    ]
    return _PERMISSIONS.format(made=_MADE, meanings=meanings, lines="\n".join(lines))


def _written(allowed: Allowed) -> str:
    return allowed.name.lower().replace("_", " ")


def _by_services(line: tuple[tuple[str, str, Allowed, str], list[str]]) -> tuple[list[str], str]:
    return line[1], line[0][1]


if __name__ == "__main__":
    for name, text in make_pages().items():
        (DOCS / name).write_text(text, "utf-8")
