"""`v2g station`: simulated charging stations against any OCPP back end."""

import asyncio
import contextlib
import signal
import ssl
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
import typer
from rich.live import Live
from rich.table import Table

from v2g import typed_json
from v2g.errors import ConfigError, StoreError, TransportError
from v2g.io.runtime.clock import Clock, ClockConfig, monotonic
from v2g.io.runtime.supervision import child
from v2g.text import numbered
from v2g_cli.init import of_init
from v2g_cli.options import seen_by_others
from v2g_cli.output import say, terminal

if TYPE_CHECKING:  # slow to load: other commands do without
    from v2g_station.device.firmware import UpdateConfig
    from v2g_station.simulator.behaviour import Behaviour
    from v2g_station.simulator.fleet import Simulator, StationFleet

ROWS = 20
"""Stations shown in the table."""
PREFIX = "SIM"


def station(
    url: Annotated[
        str, typer.Option("--url", help="OCPP-J endpoint without the identity: ws://host:port/ocpp, or wss.")
    ] = "",
    csms: Annotated[
        Path | None,
        typer.Option(
            "--csms",
            metavar="FOLDER",
            help="What `v2g csms init` wrote, in place of --url, --ca, --cert and --key: its station, "
            "or those of --prefix, --count or --fleet.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="Number of stations.")] = 1,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="Identities are the prefix and a number. Default: SIM.")
    ] = None,
    evses: Annotated[int, typer.Option("--evses", min=1, max=64, help="EVSEs per station.")] = 2,
    version: Annotated[
        list[str] | None, typer.Option("--ocpp", help="OCPP version: 2.1, 2.0.1 or 1.6; repeatable.")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(
            "--password",
            envvar="V2G_STATION_PASSWORD",
            callback=seen_by_others,
            help="HTTP Basic password of all stations.",
        ),
    ] = None,
    passwords: Annotated[
        Path | None,
        typer.Option("--passwords", help="CSV of identity,password (mode 0600) for a password per station."),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", help="PEM file of the root that wss servers must chain to.")
    ] = None,
    certificate: Annotated[
        str | None,
        typer.Option("--cert", help="PEM file of each station's certificate and chain; {identity} is replaced."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="PEM file of its key, mode 0600; {identity} is replaced.")
    ] = None,
    speed: Annotated[float, typer.Option("--speed", min=1, max=10_000, help="Simulated seconds per second.")] = 1.0,
    duration: Annotated[
        float | None, typer.Option("--duration", min=0, help="Duration, s; default: until Ctrl-C.")
    ] = None,
    behaviour: Annotated[
        Path | None, typer.Option("--behaviour", help="TOML: arrivals, vehicles, offline spells, faults.")
    ] = None,
    fleet_file: Annotated[
        Path | None,
        typer.Option(
            "--fleet",
            metavar="FILE",
            help="CSV or JSON Lines of charging sessions to repeat, with station, evse, plugged_in, plugged_out, "
            "energy_kwh, max_kw, token. Replaces --count, --prefix and --evses; ends after the last session.",
        ),
    ] = None,
    message_timeout: Annotated[
        int, typer.Option("--message-timeout", min=1, max=3600, help="Seconds to wait for an answer.")
    ] = 30,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random drivers.")] = 0,
    store: Annotated[Path | None, typer.Option("--store", help="Folder for the stations' persistent stores.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="File for the JSON report.")] = None,
    control: Annotated[
        int | None,
        typer.Option(
            "--control",
            metavar="PORT",
            min=0,
            max=65535,
            help="Take steps by hand at 127.0.0.1:PORT, a line each: plug 1, present 1 TOKEN. No simulated drivers.",
        ),
    ] = None,
    fast_forward: Annotated[
        float,
        typer.Option(
            "--fast-forward",
            metavar="FACTOR",
            min=1,
            max=100,
            help="Let all time pass faster, also OCPP's timers, for `v2g conform station` with the same factor.",
        ),
    ] = 1.0,
    update: Annotated[
        Path | None,
        typer.Option(
            "--update", metavar="FILE", help="TOML with keys of a charger's [station.update]: firmware, its repository."
        ),
    ] = None,
    begin: Annotated[
        datetime | None, typer.Option("--begin", help="UTC at the start of the simulation; default: now.")
    ] = None,
    contract: Annotated[
        Path | None,
        typer.Option("--contract", help="PEM file of the contract chain of vehicles that come by hand, leaf first."),
    ] = None,
    live: Annotated[bool, typer.Option("--live/--no-live", help="Show a table while it runs.")] = True,
) -> None:
    """Simulate charging stations: the charger's own OCPP code over simulated drivers, vehicles and hardware.

    Examples:

    - `v2g station --csms my-csms --behaviour short.toml`
    - `v2g station --url ws://127.0.0.1:9000/ocpp --count 100 --speed 60 --duration 60 --report report.json`
    - `v2g station --url ws://127.0.0.1:9000/ocpp --fleet sessions.csv --speed 60`
    - `v2g station --url ws://127.0.0.1:9000/ocpp --control 9100`
    """
    from v2g.io.runtime.clock import clock_of, loop_of
    from v2g_cli.passwords import read_passwords
    from v2g_station.simulator.fleet import Simulator
    from v2g_station.simulator.sessions import read_sessions

    sessions = {} if fleet_file is None else read_sessions(fleet_file)
    names: tuple[str, ...] = ()
    if csms is not None:
        if url or ca or certificate or key:
            raise ConfigError("--csms excludes --url, --ca, --cert and --key", hint="it has them all")
        names = tuple(sessions) or numbered(prefix or PREFIX, count) if sessions or prefix or count > 1 else ()
        names, url, ca, certificate, key = of_init(csms, names)
    fleet = _fleet(
        {
            "url": url,
            "count": len(sessions) or count,
            "prefix": prefix or PREFIX,
            "names": names,
            "evses": max((each.evse for all_of in sessions.values() for each in all_of), default=evses),
            "sessions": sessions,
            "password": password,
            "passwords": {} if passwords is None else read_passwords(passwords),
            "certificate": certificate,
            "speed": speed,
            "message_timeout_s": message_timeout,
            "seed": seed,
            "store": store,
            "ca": ca,
            "contract": contract,
            "behaviour": behaviour_of(behaviour, quiet=control is not None or fleet_file is not None),
        }
        | ({"versions": tuple(version)} if version else {})
        | ({} if update is None else {"update": _update(update)})
    )
    if report is not None and not report.absolute().parent.is_dir():
        raise ConfigError(f"{report}: no such folder", hint="create it first")
    if fast_forward != 1 and speed != 1:
        raise ConfigError("--speed and --fast-forward exclude each other", hint="--fast-forward speeds up everything")
    contexts = contexts_of(fleet.url, fleet.identities, ca, certificate, key)
    if (factor := max(speed, fast_forward)) != 1:
        say(f"v2g: a minute takes {60 / factor:.3g} s here: a back end in real time holds amounts (`clock`)", err=True)
    clock = clock_of(fast_forward) if fast_forward != 1 else None
    if begin is not None:
        if fast_forward != 1:
            raise ConfigError("--begin and --fast-forward exclude each other", hint="--speed goes with --begin")
        begin_ms = int(begin.replace(tzinfo=UTC).timestamp() * 1000)
        clock = Clock(ClockConfig(scale=speed, origin_monotonic=monotonic(), origin_utc_ms=begin_ms))
    simulator = Simulator(fleet, contexts, clock)
    shown = Live(console=terminal(err=True), auto_refresh=False) if live and sys.stderr.isatty() else None
    look = _reason_printer() if shown is None else lambda each: shown.update(table(each), refresh=True)
    with shown or contextlib.nullcontext(), asyncio.Runner(loop_factory=loop_of(fast_forward)) as runner:
        runner.run(_run(simulator, fleet.planned_s if duration is None else duration, look, control))
    _write(msgspec.json.format(msgspec.json.encode(simulator.report()), indent=2).decode(), report)
    if not simulator.tally.boot_s:
        ((reason, _times),) = simulator.tally.kept_out.most_common(1) or [("no answer from the back end yet", 1)]
        hint = "is it running, is --url right, are they admitted?"
        if "HTTP response" in reason:  # closed in or before the handshake of TLS, which ends after that of a client
            hint = "does it need a client certificate: --cert, --key?" if certificate is None else hint
            hint = hint if fleet.url.startswith("wss:") else "does it need TLS: --url wss://...?"
        raise TransportError(f"no station connected: {reason}", hint=hint)


async def _run(
    simulator: "Simulator", duration: float | None, look: Callable[["Simulator"], None], control: int | None
) -> None:
    """Run until the time is over, SIGINT or SIGTERM."""
    from v2g_station.simulator.fleet import StationControl

    steps = StationControl({each.identity: each for each in simulator.stations})
    if control is not None:
        try:
            port = await steps.listen(control)
        except OSError as error:
            raise TransportError(f"--control {control}: {error.strerror}", hint="choose another port") from None
        say(f"steps at 127.0.0.1:{port}", err=True)
    running = child(simulator.run(duration, look))
    with contextlib.suppress(ValueError, RuntimeError):  # signals come to the main thread only
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await steps.close()


def _reason_printer() -> Callable[["Simulator"], None]:
    """Return a function that prints each new reason for failed connections, on standard error."""
    from v2g_station.simulator.fleet import MOST_REASONS

    reported: set[str] = set()

    def report(simulator: "Simulator") -> None:
        for reason in simulator.tally.kept_out.keys() - reported:
            if len(reported) < MOST_REASONS:
                reported.add(reason)
                say(f"rejected: {reason}", err=True)

    return report


def _write(text: str, file: Path | None) -> None:
    if file is None:
        say(text, lines=True)
        return
    try:
        file.write_text(text + "\n")
    except OSError as error:
        say(text, lines=True)  # keep the results
        raise StoreError(f"{file}: {error.strerror}", hint="the report is on standard output instead") from None


def contexts_of(
    url: str, identities: Sequence[str], ca: Path | None, certificate: str | None, key: str | None
) -> Callable[[str], ssl.SSLContext | None]:
    """Return each station's TLS context. Raises ConfigError, KeyAccessError for any that is missing."""
    if (certificate is None) != (key is None):
        raise ConfigError("--cert and --key belong together", hint="give both or neither")
    if not url.startswith("wss:"):
        if certificate is not None:
            raise ConfigError("--cert needs TLS", hint="wss://host:port/ocpp")
        return lambda _: None
    if certificate is None or key is None:
        shared = _context(ca)
        return lambda _: shared
    if len(identities) > 1 and "{identity}" not in certificate:
        hint = "--cert 'certs/{identity}/chain.pem'"
        raise ConfigError("each station needs its own certificate with its identity as common name", hint=hint)
    made = {
        identity: _context(ca, *(Path(each.replace("{identity}", identity)) for each in (certificate, key)))
        for identity in identities
    }
    return made.__getitem__


def _context(ca: Path | None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    from v2g.pki.keys import read_secret

    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"--ca: {error}", hint="give a PEM file") from None
    if certificate is not None and key is not None:
        read_secret(key)
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:
            hint = "a PEM file, the station's certificate first, and the key that belongs to it"
            raise ConfigError(f"--cert {certificate}: {error}", hint=hint) from None
    return context


def _fleet(fields: dict[str, object]) -> "StationFleet":
    from v2g.config import misfit
    from v2g.io.websocket.server import IDENTITY
    from v2g_station.simulator.fleet import StationFleet

    try:
        fleet = typed_json.convert(fields, StationFleet)
    except msgspec.ValidationError as error:
        raise ConfigError(f"station: {misfit(error, StationFleet)}", hint="v2g station --help") from None
    try:
        parts = urlsplit(fleet.url)
        usable = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{fleet.url!r} is not a URL of a back end", hint="ws://host:port/ocpp, or wss://")
    if not IDENTITY.fullmatch(f"{fleet.prefix}{fleet.count}"):
        raise ConfigError(
            f"--prefix {fleet.prefix!r} does not make valid identities",
            hint="1 to 48 letters, digits or *_=+|@.- with the number (OCPP-J 3.1.1)",
        )
    if fleet.passwords and (lacking := [each for each in fleet.identities if each not in fleet.passwords]):
        hint = "create them with v2g csms password --generate, with the same --count and --prefix"
        raise ConfigError(f"--passwords has none for {lacking[0]}", hint=hint)
    return fleet


def behaviour_of(path: Path | None, *, quiet: bool) -> "Behaviour":
    """Return the behaviour in a file; what it leaves out is usual, or `quiet`: without drivers of its own. Raises
    ConfigError."""
    from v2g_station.simulator.behaviour import QUIET, Behaviour

    usual = QUIET if quiet else Behaviour()
    if path is None:
        return usual
    try:
        return typed_json.convert(msgspec.to_builtins(usual) | msgspec.toml.decode(path.read_bytes()), Behaviour)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint="docs/how-to/simulate-stations.md lists the keys") from None


def _update(path: Path) -> "UpdateConfig":
    """Return what stations install; paths are relative to the file."""
    from v2g.config import parse_config
    from v2g_cli.output import read_text
    from v2g_station.device.firmware import UpdateConfig

    return parse_config(read_text(path), UpdateConfig, name=str(path))


def table(simulator: "Simulator") -> Table:
    """Return the present state of the stations."""
    summary = simulator.report()
    title = (
        f"{summary['online']} of {summary['stations']} online · {summary['charging']} charging · "
        f"{summary['power_kw']} kW · {summary['energy_kwh']} kWh · {summary['export_kwh']} kWh back · "
        f"{summary['frames_sent']} frames sent · "
        f"{summary['waiting']} messages pending · {summary['call_errors']} errors"
    )
    kept_out = next((f"rejected: {reason}" for reason in summary["kept_out"]), None)
    found = Table("Station", "Link", "EVSEs", "Power", "Energy", "Back", "Waiting", title=title, caption=kept_out)
    for each in simulator.stations[:ROWS]:
        bays = each.site.bays.values()
        found.add_row(
            each.identity,
            "online" if each.runner.served else "offline",
            " ".join(bay.phase for bay in bays),
            f"{sum(bay.power_w for bay in bays) / 1000:.1f} kW",
            f"{sum(bay.import_mwh for bay in bays) / 1_000_000:.2f} kWh",
            f"{sum(bay.export_mwh for bay in bays) / 1_000_000:.2f} kWh",
            str(len(each.runner.core.outbox)),
        )
    return found
