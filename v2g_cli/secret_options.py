"""Secrets among the arguments of commands: other users of the machine can read them, reports must not have them."""

import shlex
import sys
from collections.abc import Iterator
from typing import Final

import typer

from v2g.text import redacted
from v2g_cli.output import say

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
