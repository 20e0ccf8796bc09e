"""Options that several commands have: those that belong together, those with secrets, `--check-config`."""

import inspect
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final, NoReturn, get_type_hints

import msgspec
import typer

from v2g.text import redacted
from v2g_cli.output import say


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for Typer in which the options of each Struct stand in the place of its parameter.

    The fields are annotated as a command's parameters are.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _options(groups[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    @wraps(command)
    def run(**given: object) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field: given.pop(field) for field in kind.__struct_fields__})
        command(**given)

    keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    run.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in keyword}
    return run


def _options(kind: type[msgspec.Struct]) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    empty, kinds = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(
            each.name, kinds, default=empty if each.required else each.default, annotation=hints[each.name]
        )
        for each in msgspec.structs.fields(kind)
    ]


# -- secrets: other users of the machine can read arguments, and reports must not have them


_HIDDEN: Final = "***"
_SECRET: Final = ("--password", "--token")
"""Options with a secret."""


def seen_by_others(context: typer.Context, option: typer.CallbackParam, value: str | None) -> str | None:
    """Callback of an option with a secret and an environment variable: say so if it is given as an argument."""
    name = option.name or ""
    source = context.get_parameter_source(name)
    if source is not None and source.name == "COMMANDLINE":
        say(f"v2g: other users of this machine can read --{name}; they cannot read {option.envvar}", err=True)
    return value


def command_line() -> str:
    """Return this command, for reports, with asterisks for secrets."""
    return shlex.join(["v2g", *_shown()])


def _shown() -> Iterator[str]:
    before = ""
    for word in sys.argv[1:]:
        option, given, _ = word.partition("=")
        hidden = f"{option}={_HIDDEN}" if option in _SECRET and given else redacted(word)
        yield _HIDDEN if before in _SECRET else hidden
        before = word


# -- the configuration of a program


CheckFlag = Annotated[bool, typer.Option("--check-config", help="List all errors in the configuration and exit.")]


def check_config(program: str, path: Path) -> NoReturn:
    """List the errors of a program's configuration, each with its line and a hint; exit code 2 if there are any.

    Raises ConfigError for a file that cannot be read.
    """
    from v2g.io.runtime.program import read_config

    module, text = import_module(f"{program}.config"), read_config(path)
    found = module.check_config(text, name=str(path))
    for each in found:
        say(str(each))
        if each.hint:
            say(f"     {each.hint}")
    if not found:
        say(f"{path}: no errors")
        for each in module.notes(text, name=str(path)):
            say(f"     {each}")
    raise typer.Exit(2 if found else 0)
