"""`--check-config`: lists all errors of a configuration."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from v2g_cli.output import say

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
