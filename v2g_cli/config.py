"""`v2g config`: what the programs' configuration files may hold."""

import sys
from importlib import import_module
from typing import Annotated, Final

import msgspec
import typer

from v2g.errors import ConfigError

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

PROGRAMS: Final = {
    "secc": ("secc.config", "ProgramConfig"),
    "evcc": ("evcc.config", "EvccConfig"),
    "csms": ("csms.config", "CsmsConfig"),
    "telemetry": ("v2g_gateway.config", "GatewayConfig"),
}
"""Program -> module and type of its configuration."""


@app.callback()
def _config() -> None:
    """Describe the configuration files of the programs."""


@app.command()
def schema(
    program: Annotated[str, typer.Argument(help=f"One of {', '.join(PROGRAMS)}.")],
) -> None:
    """Print the JSON schema of a program's configuration, for editors and for tools that write such files.

    The program itself checks more: `v2g PROGRAM --config FILE --check-config` names each bad key with its line.

    Example: `v2g config schema secc > secc.schema.json`
    """
    from v2g.config import nearest, schema_of

    if program not in PROGRAMS:
        raise ConfigError(f"{program!r} is no program with a configuration", hint=nearest(program, PROGRAMS))
    module, name = PROGRAMS[program]
    described = schema_of(getattr(import_module(module), name), f"Configuration of v2g {program}")
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(described), indent=2).decode() + "\n")
