"""`v2g hardware`: latched hardware faults of a charger."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2g.hardware.faults import FAULTS
from v2g_cli.output import print_json, print_table, say, when

if TYPE_CHECKING:
    from secc.config import ProgramConfig
    from secc.hardware.fault_file import FaultFile, LatchedFault

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
ConfigFile = Annotated[Path, typer.Option("--config", help="The charger's configuration.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]


@app.command()
def faults(config: ConfigFile, json: JsonFlag = False) -> None:
    """Show latched faults that need service, for each EVSE.

    Example: `v2g hardware faults --config secc.toml`
    """
    _show([(evse_id, fault) for evse_id, file in _files(config) for fault in file.load()], json=json)


@app.command()
def serviced(config: ConfigFile, json: JsonFlag = False) -> None:
    """Clear latched faults after the hardware was checked. The charger must not be running.

    Example: `v2g hardware serviced --config secc.toml`
    """
    from v2g.errors import StoreError

    cleared = []
    for evse_id, file in _files(config):
        try:
            cleared += [(evse_id, fault) for fault in file.load()]
        except StoreError as error:
            say(f"{error}: removed", err=True)
        file.remove()
    _show(cleared, json=json)


def _files(config: Path) -> "list[tuple[str, FaultFile]]":
    from secc.config import load_config
    from secc.hardware.fault_file import FaultFile
    from v2g.io.runtime.program import read_config

    loaded: ProgramConfig = load_config(read_config(config), name=str(config))
    return [(place.charger.evse_id, FaultFile(place.data_dir)) for place in loaded.places]


def _show(found: "list[tuple[str, LatchedFault]]", *, json: bool) -> None:
    if json:
        for evse_id, fault in found:
            print_json({"evse_id": evse_id, "fault": fault.word, "utc_ms": fault.utc_ms})
    elif found:
        rows = [(evse_id, fault.word, FAULTS[fault.word].sentence, when(fault.utc_ms)) for evse_id, fault in found]
        print_table("latched faults", ("EVSE", "fault", "meaning", "found"), rows)
    else:
        say("no latched faults")
