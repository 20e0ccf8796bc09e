"""`v2g ocpp-bridge`: stations of one version of OCPP behind a back end of another."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer

from v2g.errors import ConfigError
from v2g.text import redacted
from v2g_cli.output import say

_File = Path | None


def ocpp_bridge(
    listen: Annotated[str, typer.Option(help="URL for stations, such as wss://0.0.0.0:8443/ocpp.")] = "",
    to: Annotated[str, typer.Option("--to", help="URL of the back end, without the identity.")] = "",
    back_end: Annotated[Literal["2.0.1", "1.6"], typer.Option(help="Its version; stations speak the other.")] = "2.0.1",
    store: Annotated[Path, typer.Option(help="SQLite file of transactions.")] = Path("ocpp-bridge.sqlite3"),
    chain: Annotated[_File, typer.Option(help="Certificate of --listen, with its chain.")] = None,
    key: Annotated[_File, typer.Option(help="Its key, mode 0600.")] = None,
    client_root: Annotated[
        list[Path] | None, typer.Option(help="Root of stations' certificates: they need no passwords then.")
    ] = None,
    ca: Annotated[_File, typer.Option(help="Root of the back end's certificate.")] = None,
    identities: Annotated[
        _File,
        typer.Option(help="Folder with IDENTITY/chain.pem, leaf.key (for the back end), password (of the station)."),
    ] = None,
    metrics: Annotated[_File, typer.Option(help="File for Prometheus, written every 15 s.")] = None,
    events: Annotated[_File, typer.Option(help="File for one JSON line per event.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="List what is refused, and exit.")] = False,
) -> None:
    """Put stations of OCPP 1.6 behind a back end of OCPP 2.0.1, or the other way round, until it is stopped.

    Examples: `v2g ocpp-bridge --explain`, `v2g ocpp-bridge --listen ws://127.0.0.1:8080/ocpp --to ws://127.0.0.1:9000`
    """
    from v2g.ocpp.v16.explained import explain as refused

    if explain:
        say(refused(back_end).rstrip(), lines=True)
        return
    if not listen or not to:
        raise ConfigError("--listen and --to are needed", hint="v2g ocpp-bridge --help")
    from v2g.io.runtime.clock import Clock
    from v2g.io.runtime.events import EventLog
    from v2g_station.ocpp_bridge.program import BridgeOptions, OcppBridge

    options = BridgeOptions(
        back_end=back_end, listen=listen, to=to, store=store, chain=chain, key=key,
        client_roots=tuple(client_root or ()), ca=ca, identities=identities, metrics=metrics,
    )  # fmt: skip

    async def serve() -> None:
        clock = Clock()
        bridge = OcppBridge(options, clock, EventLog("ocpp-bridge", clock, events))
        server = await bridge.start()
        say(f"stations at port {server.port}, back end {redacted(to)}")
        await bridge.write_metrics()
        await asyncio.Event().wait()

    asyncio.run(serve())
