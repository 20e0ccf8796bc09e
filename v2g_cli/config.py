"""`v2g config`: what the programs' configuration files may hold."""

import re
import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from v2g.config import nearest
from v2g.errors import ConfigError
from v2g_cli.config_keys import PROGRAMS, Key, configuration, keys_of, sections
from v2g_cli.output import print_json, print_table, say

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

Program = Annotated[str, typer.Argument(help=f"One of {', '.join(PROGRAMS)}.")]


@app.callback()
def _config() -> None:
    """Describe the configuration files of the programs."""


@app.command()
def schema(program: Program) -> None:
    """Print the JSON schema of a program's configuration, for editors and for tools that write such files.

    The program itself checks more: `v2g PROGRAM --config FILE --check-config` names each bad key with its line.

    Example: `v2g config schema secc > secc.schema.json`
    """
    from v2g.config import schema_of

    described = schema_of(_of(program), f"Configuration of v2g {program}")
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(described), indent=2).decode() + "\n")


@app.command()
def explain(
    program: Program,
    key: Annotated[str, typer.Argument(help="A key or section, as `tls.chain`; all without one.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON record per line.")] = False,
) -> None:
    """Explain the keys of a program's configuration: type, range, default, meaning.

    Examples:

    - `v2g config explain secc tls.chain`
    - `v2g config explain csms api`
    - `v2g config explain telemetry --json | jq -r .key`
    """
    found = list(_keys(program))
    chosen = [(path, each) for path, each in found if path == key or path.startswith(f"{key}.") or not key]
    if not chosen:
        hint = nearest(key, [path for path, _ in found])
        raise ConfigError(f"no key of {program} is called {key!r}", hint=hint)
    if json:
        for path, each in chosen:
            print_json({"key": path, "type": each.kind, "default": each.default, "meaning": each.meaning})
    elif len(chosen) == 1:
        [(path, each)] = chosen
        say(f"{path}: {each.kind}; {each.default}\n{each.meaning}", lines=True)
    else:
        rows = [(path, each.kind, each.default, each.meaning) for path, each in chosen]
        print_table(f"Configuration of v2g {program}", ("Key", "Type", "Default", "Meaning"), rows)


def _keys(program: str) -> Iterator[tuple[str, Key]]:
    """Yield every key with its dotted path; its texts without the marks of pages."""
    _of(program)
    for section, struct in sections(program):
        for key in keys_of(struct):
            plain = Key(key.name, _plain(key.kind), _plain(key.default), _plain(key.meaning), key.section)
            yield f"{section}.{key.name}".strip("."), plain


def _of(program: str) -> type[msgspec.Struct]:
    if program not in PROGRAMS:
        raise ConfigError(f"{program!r} is no program with a configuration", hint=nearest(program, PROGRAMS))
    return configuration(program)


def _plain(text: str) -> str:
    """Return text without the marks that a page shows it with, and links as what they show."""
    return re.sub(r"\[([^\]]+)\]\([^)\s]+\)", r"\1", text).replace("`", "").replace("**", "")
