"""Commands made from operations of the API: arguments and options from their fields, help and example from what is
said of them there. `declared` gives the usual ones names and columns of their own; `v2g csms api` has all.

The operations are in `operations.jsonl`, which `docs/generate.py` makes from the OpenAPI document, so that `--help`
needs no back end and no import of one.
"""

import importlib.resources
import inspect
import json as json_
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer

from v2g import typed_json
from v2g.config import parse_tree
from v2g.errors import ConfigError
from v2g.io.runtime.clock import Clock
from v2g.typed_json import Fields
from v2g_cli.csms.show import JsonFlag, client_of, columns_of, part, show, show_fields, show_one
from v2g_cli.output import print_json, read_file, read_text, say, write_out

_NONE: Final[Mapping[str, Any]] = {}
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MANY: Final = 8
"""From so many on, choices stand in the help of an option, not in its place."""
_TYPES: Final = {"string": str, "integer": int, "number": float, "boolean": bool, "json": str}
_ENDS: Final = ("to_ms", "until_ms", "expires_ms", "before_ms", "valid_until_ms")
"""Times for which a day means its end."""
_PAST: Final = ("oldest_ms", "latest_ms", "at_ms")
"""Times in the past, as all that lists ask for are."""


class Field(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parameter or a member of the body. `many`: an array of them; `json`: a value with members of its own."""

    name: str
    place: Literal["path", "query", "body"]
    kind: Literal["string", "integer", "number", "boolean", "json"] = "string"
    many: bool = False
    required: bool = False
    about: str = ""
    choices: tuple[str, ...] = ()
    example: str = ""


class ApiOperation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A route. `media`: of its answer, empty for none. `body`: whether it takes one; `paged`: whether its answer is a
    list that comes in pages; `lasting`: whether something is lost, and it is asked before."""

    name: str
    tag: str
    method: str
    path: str
    about: str
    media: str = ""
    paged: bool = False
    body: bool = False
    lasting: bool = False
    fields: tuple[Field, ...] = ()


@cache
def operations() -> dict[str, ApiOperation]:
    """Return all operations by their names."""
    lines = (importlib.resources.files("v2g_cli.csms") / "operations.jsonl").read_bytes().splitlines()
    read = typed_json.decoder(ApiOperation).decode
    return {each.name: each for each in map(read, lines)}


class FlagOption(msgspec.Struct, frozen=True):
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


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command that asks one operation, `known`.

    `columns` of a list: `heading: field` with commas between them, or fields; `a.b` is a member. `title`: its heading.
    `options`: other names of options by field. `words`: fields that are arguments, and their names in help; those of
    the path are. `about`: what help says of a field where the API says nothing. `present` formats a row; `only` this
    field is printed, or the text `done`. `rows` makes a list of a record. `lines`: a record is shown as a line for each
    field, and its list of this name, if any, with `columns`. `ask_always`: the question before it is done, also
    where nobody is at a terminal. `whole`: the body may come from a file (`--body`).
    """

    known: ApiOperation
    columns: str = ""
    title: str = ""
    options: Mapping[str, str | FlagOption] = _NONE
    about: Mapping[str, str] = _NONE
    words: Mapping[str, str | FromFile] = _NONE
    defaults: Mapping[str, object] = _NONE
    instead: Instead | None = None
    present: Callable[[Any], Any] = lambda row: row
    rows: Callable[[Any], list[Any]] | None = None
    lines: str | None = None
    text: str = ""
    example: str | None = None
    only: str = ""
    done: str = ""
    limit: int = 100
    ask_always: str = ""
    whole: bool = False

    @property
    def fields(self) -> list[Field]:
        """The operation's fields, arguments first."""
        return sorted(self.known.fields, key=lambda each: not self.is_word(each))

    def is_word(self, field: Field) -> bool:
        """Return whether a field is an argument."""
        return field.place == "path" or field.name in self.words

    @property
    def is_for_good(self) -> bool:
        """Whether something is lost."""
        return bool(self.ask_always) or self.known.lasting

    def parameters(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield name, annotation and default (`...`: none) of each argument and option."""
        yield "context", typer.Context, ...
        for each in self.fields:
            yield (f"{each.place}_{each.name}", *self._parameter(each))
        if self.known.body and self.whole:
            yield "body_file", Annotated[Path | None, typer.Option("--body", help=_BODY)], None
        if self.instead is not None:
            yield "otherwise", Annotated[bool, typer.Option(self.instead.option, help=self.instead.about)], False
        if self.known.paged:
            option = typer.Option("--limit", min=1, help="Maximum number of records.")
            yield "limit", Annotated[int, option], self.limit
        if self.known.media == "text/event-stream":
            yield "count", Annotated[int | None, typer.Option("--count", min=1, help="Exit after so many.")], None
        if self.is_for_good:
            yield "yes", Annotated[bool, typer.Option("--yes", help="Do not ask.")], False
        if self.known.media not in ("application/json", "", "text/event-stream"):
            option = typer.Option(
                "--out", "-o", metavar="FILE", help="New file, mode 0600; else, or -, standard output."
            )
            yield "out", Annotated[Path | None, option], None
        elif self.known.media:
            yield "json", JsonFlag, False

    def _parameter(self, field: Field) -> tuple[Any, Any]:
        kind: Any = _kind(field)
        help_ = self.about.get(field.name) or field.about or ("JSON." if field.kind == "json" else "")
        if len(field.choices) >= _MANY and field.name not in self.about:
            help_ += f" One of {', '.join(field.choices)}."
        needed = field.required and field.name not in self.defaults
        if self.is_word(field):
            word = self.words.get(field.name) or field.name.removesuffix("_id").upper()
            if isinstance(word, FromFile):
                kind, help_, word = Path, word.about, "FILE"
            given: Any = typer.Argument(metavar=f"{word}..." if field.many else word, help=help_)
        else:
            option = self.options.get(field.name) or _option(field, self.known)
            if isinstance(option, FlagOption):
                return Annotated[bool, typer.Option(option.option, help=option.about)], False
            note = " Required." if needed and self.whole else ""
            needed = needed and not self.whole
            given = typer.Option(option, metavar=_metavar(field), help=help_ + note)
        if needed:
            return Annotated[kind, given], ...
        return Annotated[kind | None, given], self.defaults.get(field.name)

    def run(self, context: typer.Context, said: Fields) -> None:
        """Ask the operation with what was said, and show its answer."""
        known = self.known
        values = {
            each: _value(each, said[f"{each.place}_{each.name}"], self.options.get(each.name), known.method == "GET")
            for each in self.fields
        }
        in_path = {each.name: value for each, value in values.items() if each.place == "path"}
        query = {each.name: value for each, value in values.items() if each.place == "query"}
        body = _body(known, said.get("body_file"), values)
        if self.is_for_good and not said["yes"] and (self.ask_always or sys.stdin.isatty()):
            question = self.ask_always or f"{known.about.partition('.')[0]}: {' '.join(map(str, in_path.values()))}?"
            typer.confirm(question.format_map(in_path), abort=True)
        target = known.path.format(**{name: part(str(value)) for name, value in in_path.items()})
        client, json = client_of(context), said.get("json", False)
        if said.get("otherwise") and self.instead is not None:
            other = operations()[self.instead.operation]
            show_one(client.ask(other.method, other.path).body, json=json)
        elif known.media == "text/event-stream":
            for event, record in islice(client.events(target, **query), said["count"]):
                print_json({"kind": event, **record}) if json else say(f"{event} {json_.dumps(record)}")
        elif known.paged:
            self._show(client.pages(target, said["limit"], **query), json=json)
        else:
            found = client.ask(known.method, target, body, **query).body
            if "out" in said:
                write_out(found or b"", said["out"])
            elif isinstance(found, list):
                self._show(found, json=json)
            elif self.rows is not None:
                self._show(self.rows(found), json=json)
            elif self.lines is not None and not json:
                show_fields({name: value for name, value in found.items() if name != self.lines})
                if self.lines:
                    self._show(found[self.lines], json=json)
            elif self.done and not json:
                say(self.done.format_map(in_path | (found or {})))
            elif self.only and not json:
                say(str(found[self.only]))
            else:
                show_one(found, json=json)

    def _show(self, rows: Iterable[object], *, json: bool) -> None:
        title = self.title or self.known.name.partition("_")[2].replace("_", " ").capitalize()
        show(rows, title, columns_of(self.columns), json=json, present=self.present)

    def example_text(self) -> str:
        """Return arguments and options of an example: what must be given, and what the API's example has."""
        said = []
        for each in self.fields:
            option = self.options.get(each.name) or _option(each, self.known)
            if not each.example or isinstance(option, FlagOption) or (each.name in self.defaults and not each.required):
                continue
            if self.is_word(each):
                said.append("FILE" if isinstance(self.words.get(each.name), FromFile) else each.example)
            elif each.kind == "boolean":
                said.append(option.split("/")[each.example != "true"])
            else:
                said.append(f"{option} {each.example}")
        return " ".join(said)


def add(app: typer.Typer, name: str, operation: str | ApiOperation, columns: str = "", **more: Any) -> None:
    """Add a command that asks an operation; `more`: fields of `Command`."""
    known = operations()[operation] if isinstance(operation, str) else operation
    command = Command(known=known, columns=columns, **more)
    given = [
        inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY, annotation=kind,
                          default=inspect.Parameter.empty if default is ... else default)
        for each, kind, default in command.parameters()
    ]  # fmt: skip

    def run(context: typer.Context, **said: Any) -> None:
        command.run(context, said)

    run.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in given}
    group = app.info.name if isinstance(app.info.name, str) else ""
    example = command.example_text() if command.example is None else command.example
    shown = " ".join(filter(None, ("v2g csms", group, name, example)))
    text = command.text or inspect.cleandoc(command.known.about)
    app.command(name, help=f"{text}\n\nExample: `{shown}`")(run)


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
    return "|".join(each.choices) if 1 < len(each.choices) < _MANY else None


def _option(each: Field, known: ApiOperation) -> str:
    """Return the option of a field: its name without unit, unless another has that."""
    short = re.sub(r"(?<=.)_(ms|s|id)\Z", "", each.name)
    name = each.name if any(other.name == short for other in known.fields) else short
    option = f"--{name.replace('_', '-')}"
    return f"{option}/--no-{option[2:]}" if each.kind == "boolean" else option


def _value(each: Field, said: Any, option: str | FlagOption | None, past: bool) -> Any:
    """Return the value of a field, None if it is not given. Raises ConfigError."""
    if isinstance(option, FlagOption):
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
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{each.name} is not JSON: {error}", hint='quote it: \'{"name": "value"}\'') from None


def _body(known: ApiOperation, file: Path | None, values: Mapping[Field, object]) -> Any:
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
    except (ValueError, RecursionError) as error:
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
        moment = datetime.fromisoformat(text) + timedelta(days=ends and len(text) == len("2027-01-31"))
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        hint = "such as 2027-01-31, 2027-01-31T18:00, or 30m, 8h or 2d from now"
        raise ConfigError(f"{text!r} is not a date or time", hint=hint) from None
