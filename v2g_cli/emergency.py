"""`v2g emergency`: the record of emergencies of a charger, vehicle or gateway, and their reset by hand (R127)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2g.errors import ConfigError, RefusedError
from v2g_cli.output import print_json, print_table, say, when

if TYPE_CHECKING:
    from v2g.io.storage.emergency_log import EmergencyLog, EmergencyRecord

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
Program = Annotated[str, typer.Argument(help="Whose: secc, evcc, or gateway: a thermal runaway that it found.")]
ConfigFile = Annotated[Path, typer.Option("--config", help="The program's configuration.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]


@app.command()
def show(program: Program, config: ConfigFile, json: JsonFlag = False) -> None:
    """Show emergencies and their resets, the oldest first. The program must not be running.

    Example: `v2g emergency show secc --config secc.toml`
    """
    rows = [(name, record) for name, log in _logs(program, config) for record in log.entries]
    if json:
        for name, record in rows:
            print_json({"where": name, **_shown(record)})
    elif rows:
        shown = [(name, each.what, when(each.utc_ms), each.cause or each.reason) for name, each in rows]
        print_table("emergencies", ("where", "what", "when", "cause or reason"), shown)
    else:
        say("no emergency")


@app.command()
def reset(
    program: Program,
    config: ConfigFile,
    reason: Annotated[str, typer.Option(help="What was found and done; it is recorded.")],
) -> None:
    """Reset an emergency, after a person has seen to the hardware: energy may flow again once the program has started.
    The program must not be running. Refused (exit code 5) without an emergency.

    Example: `v2g emergency reset secc --config secc.toml --reason "cable replaced"`
    """
    import time

    from v2g.io.storage.emergency_log import EmergencyRecord

    if not 3 <= len(reason.strip()) <= 500:
        raise ConfigError("--reason: 3 to 500 characters", hint="write what was found and done")
    done = 0
    for name, log in _logs(program, config):
        lasting = log.latched
        if lasting is not None:
            log.append(EmergencyRecord(utc_ms=time.time_ns() // 1_000_000, what="reset", reason=reason.strip()))
            say(f"{name}: {lasting.cause} of {when(lasting.utc_ms)} is reset")
            done += 1
    if not done:
        raise RefusedError("there is no emergency to reset", reason="no_emergency")


def _shown(record: "EmergencyRecord") -> dict[str, object]:
    import msgspec

    shown: dict[str, object] = msgspec.to_builtins(record)
    return shown


def _logs(program: str, config: Path) -> "Iterator[tuple[str, EmergencyLog]]":
    """Yield the records of a program by name, each open until the next."""
    from v2g.io.storage.emergency_log import EmergencyLog

    for name, path in _paths(program, config):
        with contextlib.closing(EmergencyLog.open(path)) as log:
            yield name, log


def _paths(program: str, config: Path) -> list[tuple[str, Path]]:
    from v2g.io.runtime.program import read_config
    from v2g.io.storage.emergency_log import FILE

    if program == "secc":
        import secc.config

        places = secc.config.load_config(read_config(config), name=str(config)).places
        return [(place.charger.evse_id, place.data_dir / FILE) for place in places]
    if program == "evcc":
        import evcc.config

        vehicle = evcc.config.load_config(read_config(config), name=str(config))
        if vehicle.hardware.emergency is None:
            raise ConfigError(f"{config}: hardware.emergency is missing", hint="without it nothing is recorded")
        return [(vehicle.vehicle.evcc_id, vehicle.hardware.emergency.folder / FILE)]
    if program == "gateway":
        import v2g_gateway.config

        gateway = v2g_gateway.config.load_config(read_config(config), name=str(config))
        return [(gateway.ev, gateway.emergency_log)]
    raise ConfigError(f"{program!r} has no record of emergencies", hint="secc, evcc or gateway")
