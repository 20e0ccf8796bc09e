"""`v2g eebus`: the EEBUS node of a charger (`[station.energy_managers.eebus]`) or of a site (`[grid.eebus.node]` of the
back end), and the control boxes that it trusts."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from v2g_cli.output import print_json, say, say_row

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
Folder = Annotated[
    Path,
    typer.Argument(
        exists=True,
        file_okay=False,
        help="`folder` of the charger's `[station.energy_managers.eebus]`, or of the back end's `[grid.eebus.node]`.",
    ),
]
Ski = Annotated[str, typer.Argument(help="SKI of the box: 40 hexadecimal digits, as its label or page shows it.")]


@app.command()
def show(
    folder: Folder, json: Annotated[bool, typer.Option("--json", help="One JSON record per line.")] = False
) -> None:
    """Show the charger's SKI and QR text, the boxes that it trusts, and those that were found or wait for trust.

    Example: `v2g eebus show eebus`
    """
    from v2g.errors import ConfigError
    from v2g.io.eebus.files import SeenPeer, seen, trusted

    node, known = seen(folder), trusted(folder)
    if node is None:
        raise ConfigError(f"{folder}: no EEBUS node was started here", hint="start the charger once")
    peers = {each.ski: each for each in node.peers}
    trusts = {**dict.fromkeys(node.configured, "trusted by the configuration"), **dict.fromkeys(known, "trusted")}
    rows = [peers.get(ski, SeenPeer(ski=ski, state="not found")) for ski in sorted({*peers, *trusts})]
    if json:
        print_json({"ski": node.ski, "qr": node.qr})
    else:
        say(f"SKI {node.ski}")
        say(node.qr)
    for each in rows:
        if json:
            print_json({"ski": each.ski, "id": each.id, "state": each.state, "trusted": each.ski in trusts})
        else:
            say_row(each.ski, trusts.get(each.ski, "not trusted"), each.state, each.brand, each.id)


@app.command()
def trust(folder: Folder, ski: Ski) -> None:
    """Trust a control box: the running charger then lets it in at once. The box must trust the charger, too.

    Example: `v2g eebus trust eebus 5a3f0c9be17d8844c2aa90b1d6e3f7521c0b9d4e`
    """
    _change(folder, ski, trusts=True)


@app.command()
def untrust(folder: Folder, ski: Ski) -> None:
    """Trust a control box no more: the running charger ends its connection, and the failsafe limits follow.

    Example: `v2g eebus untrust eebus 5a3f0c9be17d8844c2aa90b1d6e3f7521c0b9d4e`
    """
    _change(folder, ski, trusts=False)


@app.command()
def log(
    folder: Folder,
    since: Annotated[
        str, typer.Option("--since", help="Leave out what is older: a UTC date or time, 2026-11-27.")
    ] = "",
) -> None:
    """Print the log of commands as JSON lines: what a box wrote, the answer, states, peers, and power before and after.

    Example: `v2g eebus log eebus --since 2026-11-01`
    """
    import msgspec

    from v2g import typed_json
    from v2g.errors import ConfigError
    from v2g.io.eebus.files import COMMANDS
    from v2g.io.storage.growing_file import generations

    try:
        datetime.fromisoformat(since or "2026-11-27")
    except ValueError:
        raise ConfigError(f"--since {since}: no date or time", hint="2026-11-27") from None
    for path in reversed(generations(folder / COMMANDS)):
        for line in path.read_bytes().splitlines():
            try:
                record = typed_json.decode(line, dict[str, str | int | float | bool | None])
            except msgspec.MsgspecError:
                continue  # torn by a power cut
            if str(record.get("at", "")) >= since:
                print_json(record)


def _change(folder: Path, text: str, *, trusts: bool) -> None:
    from v2g.eebus.identity import parse_ski
    from v2g.errors import CodecError, ConfigError
    from v2g.io.eebus.files import seen, trusted
    from v2g.io.eebus.files import trust as write

    try:
        ski = parse_ski(text)
    except CodecError as error:
        raise ConfigError(str(error), hint=error.hint) from None
    known, node = trusted(folder), seen(folder)
    changed = (ski in known) is not trusts
    if changed:
        write(folder, known | {ski} if trusts else known - {ski})
    if not trusts and node is not None and ski in node.configured:
        raise ConfigError(f"{ski}: the configuration trusts it", hint="remove it from `trusted` of the EEBUS section")
    say(f"{ski}: {('trusted' if trusts else 'no longer trusted') if changed else 'no change'}")
