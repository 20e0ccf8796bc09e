"""The reference of the HTTP interface, from the declarations of its routes."""

from collections.abc import Iterator
from itertools import groupby

from csms.api.http.openapi import described, problems_of
from csms.api.http.operations import Operation
from csms.api.routes import OPERATIONS
from csms.api.stations import commands
from csms.domain.stations.commands import RECORDS


def routes() -> str:
    """Return every route by resource: what it does, what it needs; commands to stations are one line."""
    return "\n".join(_resource(tag, list(found)) for tag, found in groupby(_documented(), key=lambda each: each.tag))


def _documented() -> Iterator[Operation]:
    actions = {each.name for each in commands.OPERATIONS}
    yield from (each for each in OPERATIONS if each.name not in actions)


def _resource(tag: str, found: list[Operation]) -> str:
    module = __import__(found[0].handler.__module__, fromlist=["_"])
    about = (module.__doc__ or "").partition("\n")[0]
    lines = [f"### {tag.replace('_', ' ')}", "", about, "", "| Request | What | Needs | Errors |", "|---|---|---|---|"]
    lines += [
        f"| `{each.method} {each.path}` | {described(each)[0]} | `{each.permission.value}` | {_errors(each)} |"
        for each in found
    ]
    return "\n".join([*lines, ""])


def _errors(each: Operation) -> str:
    usual = {400, 401, 403, 409, 413, 429, 500, 503}
    return ", ".join(str(status) for status in sorted(problems_of(each) - usual))


def records() -> str:
    """Return what the back end records when a station accepts a request, by the action."""
    lines = ["| Action | What the back end records of the station |", "|---|---|"]
    lines += [f"| {action} | {what} |" for action, what in RECORDS.items()]
    return "\n".join(lines) + "\n"


def actions() -> str:
    """Return the actions that can be sent to stations, by the permission that it takes."""
    by_permission: dict[str, list[str]] = {}
    for each in commands.OPERATIONS:
        by_permission.setdefault(each.permission.value, []).append(each.path.rpartition("/")[2])
    lines = ["| Needs | Actions |", "|---|---|"]
    lines += [f"| `{permission}` | {', '.join(found)} |" for permission, found in by_permission.items()]
    return "\n".join(lines) + "\n"
