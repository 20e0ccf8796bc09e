"""Commands made from operations of the API: arguments and options from their fields, help and example from what is
said of them there. `declared` gives the usual ones names and columns of their own; `v2g csms api` has all."""

import inspect
import json as json_
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from v2g.config import parse_tree
from v2g.errors import ConfigError
from v2g.io.runtime.clock import Clock
from v2g_cli.csms.operations import ApiOperation, Field, operations
from v2g_cli.csms.show import JsonFlag, client_of, part, show, show_one
from v2g_cli.output import print_json, read_file, read_text, say, write_out

_NONE: Final[Mapping[str, Any]] = {}
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TYPES: Final = {"string": str, "integer": int, "number": float, "boolean": bool, "json": str}
_ENDS: Final = ("to_ms", "until_ms", "expires_ms", "before_ms", "valid_until_ms")
"""Times for which a day means its end."""
_PAST: Final = ("oldest_ms", "latest_ms", "at_ms")
"""Times in the past, as all that lists ask for are."""
_FOR_GOOD: Final = ("cancel_campaign", "close_period", "close_transaction", "reject_journal")
"""Operations that are asked about at a terminal, as all that delete something."""


class Flag(msgspec.Struct, frozen=True):
    """An option without value, that leaves out a field, which else is `absent`."""

    option: str
    about: str
    absent: object


class FromFile(msgspec.Struct, frozen=True):
    """An argument that names the file with a field's text."""

    about: str


class Instead(msgspec.Struct, frozen=True):
    """An option that asks another operation instead of listing."""

    option: str
    operation: str
    about: str


def add(
    app: typer.Typer,
    command: str,
    operation: str,
    columns: str = "",
    *,
    title: str = "",
    options: Mapping[str, str | Flag] = _NONE,
    about: Mapping[str, str] = _NONE,
    words: Mapping[str, str | FromFile] = _NONE,
    defaults: Mapping[str, object] = _NONE,
    instead: Instead | None = None,
    present: Callable[[Any], Any] = lambda row: row,
    text: str = "",
    example: str | None = None,
    only: str = "",
    done: str = "",
    limit: int = 100,
    ask_always: str = "",
    whole: bool = False,
) -> None:
    """Add a command that asks one operation.

    `columns` of a list: `heading: field` with commas between them, or fields; `a.b` is a member. `title`: its heading.
    `options`: other names of options by field. `words`: fields that are arguments, and their names in help; those of
    the path are. `about`: what help says of a field where the API says nothing. `present` formats a row; `only` this
    field is printed, or the text `done`. `ask_always`: the question before it is done, also where nobody is at a
    terminal. `whole`: the body may come from a file (`--body`).
    """
    known = operations()[operation]
    group = app.info.name
    path = " ".join(filter(None, ("v2g csms", group if isinstance(group, str) else "", command)))
    lost = bool(ask_always) or known.method == "DELETE" or operation in _FOR_GOOD
    fields: dict[str, Field] = {}
    given: list[inspect.Parameter] = []

    def parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> None:
        given.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default))

    parameter("context", typer.Context)
    for each in sorted(known.fields, key=lambda each: each.place != "path" and each.name not in words):
        name = f"{each.place}_{each.name}"
        fields[name] = each
        kind: Any = _kind(each)
        help_ = about.get(each.name) or each.about or ("JSON." if each.kind == "json" else "")
        if each.place == "path" or each.name in words:
            word = words.get(each.name) or each.name.removesuffix("_id").upper()
            if isinstance(word, FromFile):
                kind, help_, word = Path, word.about, "FILE"
            shown = f"{word}..." if each.many else word
            parameter(name, Annotated[kind, typer.Argument(metavar=shown, help=help_)])
            continue
        option = options.get(each.name) or _option(each, known)
        if isinstance(option, Flag):
            parameter(name, Annotated[bool, typer.Option(option.option, help=option.about)], default=False)
        elif each.required and not whole and each.name not in defaults:
            parameter(name, Annotated[kind, typer.Option(option, metavar=_metavar(each), help=help_)])
        else:
            note = " Required." if each.required and each.name not in defaults else ""
            declared = Annotated[kind | None, typer.Option(option, metavar=_metavar(each), help=help_ + note)]
            parameter(name, declared, default=defaults.get(each.name))
    if known.body and whole:
        parameter("body_file", Annotated[Path | None, typer.Option("--body", help=_BODY)], default=None)
    if instead is not None:
        parameter("otherwise", Annotated[bool, typer.Option(instead.option, help=instead.about)], default=False)
    if known.paged:
        parameter("limit", Annotated[int, typer.Option("--limit", min=1, help="Maximum number of records.")], limit)
    if known.media == "text/event-stream":
        parameter("count", Annotated[int | None, typer.Option("--count", min=1, help="Exit after so many.")], None)
    if lost:
        parameter("yes", Annotated[bool, typer.Option("--yes", help="Do not ask.")], default=False)
    if known.media not in ("application/json", "", "text/event-stream"):
        out = typer.Option("--out", "-o", metavar="FILE", help="New file, mode 0600; otherwise standard output.")
        parameter("out", Annotated[Path | None, out], default=None)
    elif known.media:
        parameter("json", JsonFlag, default=False)

    def run(context: typer.Context, **said: Any) -> None:
        values = {
            name: _value(each, said[name], options.get(each.name), known.method == "GET")
            for name, each in fields.items()
        }
        in_path = {each.name: values[name] for name, each in fields.items() if each.place == "path"}
        query = {each.name: values[name] for name, each in fields.items() if each.place == "query"}
        body = _body(known, said.get("body_file"), {each: values[name] for name, each in fields.items()})
        if lost and not said["yes"] and (ask_always or sys.stdin.isatty()):
            question = ask_always or f"{known.about.partition('.')[0]}: {' '.join(map(str, in_path.values()))}?"
            typer.confirm(question.format_map(in_path), abort=True)
        target = known.path.format(**{name: part(str(value)) for name, value in in_path.items()})
        client, json = client_of(context), said.get("json", False)
        if said.get("otherwise"):
            assert instead is not None
            other = operations()[instead.operation]
            show_one(client.ask(other.method, other.path).body, json=json)
        elif known.media == "text/event-stream":
            for event, record in islice(client.events(target, **query), said["count"]):
                print_json({"kind": event, **record}) if json else say(f"{event} {json_.dumps(record)}")
        elif known.paged:
            show(client.pages(target, said["limit"], **query), title or _titled(known), _columns(columns), json=json,
                 present=present)  # fmt: skip
        else:
            found = client.ask(known.method, target, body, **query).body
            if "out" in said:
                write_out(found or b"", said["out"])
            elif isinstance(found, list):
                show(found, title or _titled(known), _columns(columns), json=json, present=present)
            elif done and not json:
                say(done.format_map(in_path | (found or {})))
            elif only and not json:
                say(str(found[only]))
            else:
                show_one(found, json=json)

    run.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in given}
    shown = _example(known, words, options, defaults) if example is None else example
    help_text = f"{text or inspect.cleandoc(known.about)}\n\nExample: `{' '.join(filter(None, (path, shown)))}`"
    app.command(command, help=help_text)(run)


_BODY: Final = "JSON, TOML or YAML file with the request; options replace what it says."


def _kind(each: Field) -> Any:
    if each.name.endswith(("_ms", "_s")) or each.kind == "json":
        return str
    kind = _TYPES[each.kind]
    return list[kind] if each.many else kind  # type: ignore[valid-type]


def _metavar(each: Field) -> str | None:
    if each.name.endswith("_ms"):
        return "TIME"
    if each.name.endswith("_s"):
        return "DURATION"
    if each.kind == "json":
        return "JSON"
    return "|".join(each.choices) if 1 < len(each.choices) < 8 else None


def _option(each: Field, known: ApiOperation) -> str:
    """Return the option of a field: its name without unit, unless another has that."""
    short = re.sub(r"(?<=.)_(ms|s|id)$", "", each.name)
    name = each.name if any(other.name == short for other in known.fields) else short
    option = f"--{name.replace('_', '-')}"
    return f"{option}/--no-{option[2:]}" if each.kind == "boolean" else option


def _titled(known: ApiOperation) -> str:
    return known.name.partition("_")[2].replace("_", " ").capitalize()


def _columns(spec: str) -> dict[str, str]:
    """Return headings and fields; times get their zone."""
    pairs = ([text.strip() for text in each.split(":")] for each in spec.split(",") if each)
    named = ((pair[0].removesuffix("_ms").replace("_", " ") if len(pair) == 1 else pair[0], pair[-1]) for pair in pairs)
    return {f"{name} (UTC)" if field.endswith("_ms") else name: field for name, field in named}


def _example(
    known: ApiOperation, words: Mapping[str, Any], options: Mapping[str, str | Flag], defaults: Mapping[str, object]
) -> str:
    """Return arguments and options of an example: what must be given, and what the API's example has."""
    said = []
    for each in sorted(known.fields, key=lambda each: each.place != "path" and each.name not in words):
        option = options.get(each.name) or _option(each, known)
        if not each.example or isinstance(option, Flag) or (each.name in defaults and not each.required):
            continue
        if each.place == "path" or each.name in words:
            said.append("FILE" if isinstance(words.get(each.name), FromFile) else each.example)
        elif each.kind == "boolean":
            said.append(option.split("/")[each.example != "true"])
        else:
            said.append(f"{option} {each.example}")
    return " ".join(said)


def _value(each: Field, said: Any, option: str | Flag | None, past: bool) -> Any:
    """Return the value of a field, None if it is not given. Raises ConfigError."""
    if isinstance(option, Flag):
        return None if said else option.absent
    if said is None or (each.many and not said):
        return None
    if isinstance(said, Path):
        return read_file(said).decode(errors="replace")
    if each.name.endswith("_ms"):
        return moment_of(said, past=past or each.name in _PAST, ends=each.name in _ENDS)
    if each.name.endswith("_s"):
        return seconds(said)
    if each.kind != "json":
        return said
    try:
        return json_.loads(said)
    except ValueError as error:
        raise ConfigError(f"{each.name} is not JSON: {error}", hint='quote it: \'{"name": "value"}\'') from None


def _body(known: ApiOperation, file: Path | None, values: Mapping[Field, Any]) -> Any:
    """Return the body of a request, None where it takes none. Raises ConfigError for a member that is missing."""
    if not known.body:
        return None
    said = {each.name: value for each, value in values.items() if each.place == "body" and value is not None}
    if file is not None:
        whole = _read(file)
        if not isinstance(whole, dict):
            return whole
        said = whole | said
    for each in values:
        if each.place == "body" and each.required and each.name not in said:
            raise ConfigError(f"{_option(each, known)} is missing", hint="give it, or a file with it: --body")
    return said


def _read(file: Path) -> Any:
    text = read_text(file)
    if file.suffix != ".json":
        return parse_tree(text, str(file))
    try:
        return json_.loads(text)
    except ValueError as error:
        raise ConfigError(f"{file}: not JSON: {error}") from None


def seconds(text: str) -> float:
    """Return a duration such as 90, 30m or 8h, s. Raises ConfigError."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd]?)", text)
    if found is None:
        raise ConfigError(f"{text!r} is not a duration", hint="such as 30m, 8h or 2d")
    number = float(found[1]) * _UNITS_S[found[2] or "s"]
    return int(number) if number.is_integer() else number


def moment_of(text: str, *, past: bool = False, ends: bool = False) -> int:
    """Return a time as ms of UTC: a date (with `ends` its end), a time (ISO 8601), ms, or a duration from now on, or
    with `past` ago. Raises ConfigError."""
    if re.fullmatch(r"-?[0-9]{9,16}", text):
        return int(text)
    if re.fullmatch(r"[0-9.]+[smhd]", text):
        return Clock().utc_ms() + round((-1000 if past else 1000) * seconds(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = "such as 2027-01-31, 2027-01-31T18:00, or 30m, 8h or 2d from now"
        raise ConfigError(f"{text!r} is not a date or time", hint=hint) from None
    if ends and len(text) == len("2027-01-31"):
        moment += timedelta(days=1)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
