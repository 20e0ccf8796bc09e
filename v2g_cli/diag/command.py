"""`v2g diag`: diagnosis of links, logs and the machine."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from v2g.errors import ConfigError, FrameError, V2GError
from v2g.io.network.tcp_info import TcpConnection
from v2g_cli.plc.source import (
    BaudOption,
    DeviceOption,
    FollowFlag,
    InterfaceOption,
    JsonFlag,
    MediumOption,
    SecondsOption,
)

app = typer.Typer(help="Diagnose links, logs and the machine.", no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def _diag() -> None:
    """Diagnose links, logs and the machine."""


@app.command()
def plc(
    interface: InterfaceOption = None,
    device: DeviceOption = None,
    medium: MediumOption = None,
    from_: Annotated[Path | None, typer.Option("--from", help="Recording (pcapng) instead of a port.")] = None,
    follow: FollowFlag = False,
    baud: BaudOption = 115200,
    role: Annotated[
        Literal["ev", "evse"], typer.Option("--role", help="Role that the modem must be configured for.")
    ] = "evse",
    seconds: SecondsOption = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report to this HTML file on exit.")] = None,
    json: JsonFlag = False,
) -> None:
    """Show SLAC matchings with attenuation per carrier group, and the modem's status.

    Examples: `v2g diag plc --interface eth1 --role evse`, `v2g diag plc --medium runs/TIME/medium`,
    `v2g diag plc --from secc.pcapng --html secc.html`

    Exit code: 0, 3 if a recording is damaged: what can be read of it is shown.
    """
    import asyncio

    from v2g_cli.output import raise_all
    from v2g_cli.plc.live import View, inspect
    from v2g_cli.plc.source import Source, followed, frames, recorded

    if from_ is not None and (interface or device or medium):
        raise ConfigError("--from and a port exclude each other", hint="use one of them")
    errors: list[V2GError] = []
    view = View(live=not json and sys.stdout.isatty() and (from_ is None or follow))
    if from_ is not None and not follow:
        for seen in recorded(from_, errors):
            view.take(seen)
    elif from_ is not None:
        asyncio.run(view.watch(followed(from_, seconds=seconds)))
    else:
        source = Source(interface, device, medium, baud)
        if medium is None:
            view.report = asyncio.run(inspect(source, role))
        asyncio.run(view.watch(frames(source, seconds=seconds)))
    view.show(json=json)
    if html is not None:
        view.write_html(html, f"Powerline: {from_ or interface or device or medium}")
    raise_all(errors)


@app.command()
def can(
    channel: Annotated[str, typer.Argument(help="Channel of the adapter, such as can0 or /dev/ttyUSB0.")] = "can0",
    from_: Annotated[
        Path | None, typer.Option("--from", help="Recording (candump, BLF, ASC, MF4, TRC) instead of a bus.")
    ] = None,
    inspect: Annotated[
        bool, typer.Option("--inspect-payload", help="Show each frame: hex, signals, and bits without a signal.")
    ] = False,
    interface: Annotated[str, typer.Option(help="Kind of adapter, as python-can names it.")] = "socketcan",
    bitrate: Annotated[int, typer.Option(min=1, help="Expected bit rate, bit/s.")] = 500_000,
    fd: Annotated[bool, typer.Option("--fd", help="CAN FD: frames of up to 64 octets.")] = False,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML or YAML with `dbc` and `signals`; default: the simulated battery's.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Listen for so long; 0: only the interface. Default: 2 s, payloads until Ctrl-C."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Show bit rate and state of a CAN interface, and its frames as signals.

    Of socketcan, bit rate, state and error counters come from the kernel. Faults, such as bus-off or another bit rate,
    are explained. `v2g-diag can0` and `v2g-diag --inspect-payload can0` are short for this command.

    Examples: `v2g diag can can0`, `v2g diag can can0 --inspect-payload`,
    `v2g diag can --from drive.log --mapping make.yaml --json`

    Exit code: 0, 1 if interface or bus have a fault, 3 if a recording is damaged: what can be read of it is shown.
    """
    from v2g.io.can import CanConfig
    from v2g.io.can_link import read_link
    from v2g.io.can_recordings import recorded
    from v2g_cli.diag.can import BusView, live, read_mapping, show_frames, show_link
    from v2g_cli.output import raise_all

    view = BusView(read_mapping(mapping), channel, bitrate)
    well = True
    errors: list[V2GError] = []
    if from_ is not None:
        frames = recorded(from_, errors)
    else:
        if interface == "socketcan":
            well = show_link(read_link(channel), bitrate, json=json)
        if seconds is None and not inspect:
            seconds = 2.0
        config = CanConfig(interface=interface, channel=channel, bitrate=bitrate, fd=fd)
        frames = iter(()) if seconds == 0 else live(config, seconds)
    if seconds != 0 or from_ is not None:
        well = show_frames(view, frames, inspect=inspect, json=json) and well
    if from_ is not None and not errors and not view.frames:
        errors.append(FrameError(f"{from_}: no frame in it"))
    raise_all(errors)
    if not well:
        raise typer.Exit(1)


@app.command()
def log(
    file: Annotated[
        Path | None, typer.Argument(help="Log, such as /var/log/kern.log; default: standard input.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Explain error codes (0x1A4, 0x2B9) and faults of CAN buses in a log.

    Examples: `v2g diag log /var/log/kern.log`, `journalctl -k | v2g diag log`

    Exit code: 0 if there is nothing to explain, 1 otherwise.
    """
    from v2g_cli.diag.can import LONGEST_LINE, explain
    from v2g_cli.output import print_json, say

    def lines() -> Iterator[str]:
        try:
            with file.open("rb") if file is not None else sys.stdin.buffer as stream:
                while line := stream.readline(LONGEST_LINE):
                    yield line.decode(errors="replace")
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}") from None

    found = explain(lines())
    for each in found:
        if json:
            print_json(each)
            continue
        say(f"line {each.line}: {each.code}" + (f", {each.count} times" if each.count > 1 else ""))
        say(f"     {each.text}")
        say(f"     cause: {each.cause}")
        if each.hint:
            say(f"     {each.hint}")
    if found:
        raise typer.Exit(1)


@app.command()
def net(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Only connections with this port.")] = None,
    mbit_s: Annotated[float, typer.Option("--mbit-s", min=0.001, help="Bandwidth of the line, Mbit/s.")] = 10.0,
    raw: Annotated[
        bool, typer.Option("--raw", help="Count retransmissions on the wire instead; needs CAP_NET_RAW only.")
    ] = False,
    interface: Annotated[str, typer.Option("--interface", "-i", help="With --raw: interface; default: all.")] = "",
    seconds: Annotated[float, typer.Option(min=0.01, help="With --raw: time.")] = 5.0,
    json: JsonFlag = False,
) -> None:
    """Show windows, round trips and retransmissions of this machine's TCP connections.

    A window below bandwidth times round trip limits a connection, and is named.

    Examples: `v2g diag net --port 8883 --mbit-s 50`, `v2g diag net --raw --interface wwan0 --seconds 60`

    Exit code: 0, 1 if a connection is limited, or at least 1 % of the segments were sent again.
    """
    from v2g.io.network.tcp_info import connections, watch_wire
    from v2g_cli.diag.net import LOSS_PERCENT, chosen, judge
    from v2g_cli.output import print_json, print_table, say

    if raw:
        counts = watch_wire(interface, seconds)
        if json:
            print_json(counts)
        else:
            say(
                f"{counts.packets} packets, {counts.segments} TCP segments with payload, {counts.retransmitted} of "
                f"them sent again ({counts.loss_percent:.2f} %), {counts.not_seen} packets not seen"
            )
        if counts.loss_percent >= LOSS_PERCENT:
            raise typer.Exit(1)
        return
    judged = [judge(each, mbit_s) for each in chosen(connections(), port)]
    if json:
        for each in judged:
            print_json(each)
    else:
        columns = ("local", "remote", "round trip", "may be in flight", "peer's window", "own window", "sent again")
        print_table("TCP connections", columns, (_tcp_row(each.connection) for each in judged))
        for each in judged:
            for what in each.complaints:
                say(f"port {each.connection.local_port} to {each.connection.remote_port}: {what}")
    if any(each.complaints for each in judged):
        raise typer.Exit(1)


def _tcp_row(found: TcpConnection) -> tuple[str, ...]:
    return (
        f"{found.local} {found.local_port}",
        f"{found.remote} {found.remote_port}",
        f"{found.rtt_us / 1000:.1f} ms",
        str(found.window),
        "" if found.peer_window is None else str(found.peer_window),
        str(found.receive_window),
        str(found.retransmitted),
    )


@app.command()
def tls(
    host: Annotated[str, typer.Argument(help="Address or name of the charger.")],
    port: Annotated[int, typer.Argument(min=1, max=65535)],
    config: Annotated[Path, typer.Option(help="Configuration of the vehicle that connects (`v2g evcc`).")],
    json: JsonFlag = False,
) -> None:
    """Connect to a charger as a vehicle does, and name why the TLS handshake fails.

    Link-local addresses name the interface: `fe80::1%eth1`. No session is begun.

    Examples: `v2g diag tls ::1 15118 --config evcc.toml`, `v2g diag tls fe80::1%eth1 49152 --config evcc.toml --json`

    Exit code: 0 connected, 7 failed.
    """
    import asyncio

    from v2g_cli.diag.net import handshake
    from v2g_cli.output import print_json, say

    result = asyncio.run(handshake(host, port, config))
    if json:
        print_json(result)
    elif result.error:
        say(f"{result.reason}: {result.error}" + (f"\n     {result.hint}" if result.hint else ""), lines=True)
    else:
        say(f"connected in {result.milliseconds} ms to {result.peer}, revocation status {result.revocation}")
    if result.error:
        raise typer.Exit(7)


@app.command()
def prereq(json: JsonFlag = False) -> None:
    """Check kernel, Python, OpenSSL, libraries with their versions, time synchronisation and capabilities.

    Examples: `v2g diag prereq`, `v2g diag prereq --json`

    Exit code: 0, 1 if something is missing that every program needs.
    """
    from v2g_cli.diag.prereq import checks, this_machine
    from v2g_cli.output import print_json, print_table, say

    found = list(checks(this_machine()))
    if json:
        for each in found:
            print_json(each)
    else:
        rows = ((each.name, each.found, each.needed, _verdict(met=each.met, required=each.required)) for each in found)
        print_table("This machine", ("what", "found", "needed for, or at least", ""), rows)
        for each in found:
            if not each.met:
                say(f"{each.name}: {each.hint}")
    if not all(each.met for each in found if each.required):
        raise typer.Exit(1)


@app.command()
def bundle(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Further events, traces and logs, beside those in configurations.")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PROGRAM=]FILE",
            help="Configuration of a program on this machine (secc, evcc, csms, telemetry); PROGRAM where the file has "
            "another name. Default: those in /etc/v2g-engine.",
        ),
    ] = None,
    health: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Health check or status page of a running program.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="New ZIP archive.")] = Path("v2g-report.zip"),
) -> None:
    """Write an archive for a report of a fault: versions, configuration, checks, last events and logs, health.

    Secrets, VINs, tokens, positions, names and addresses are left out: any word that does not occur in the programs'
    own sources is a placeholder, the same one wherever it recurs. Look into it before you attach it.

    Examples: `v2g diag bundle`, `v2g diag bundle --config secc.toml --config csms=backend.yaml --out report.zip`,
    `v2g diag bundle --health http://localhost:8090/health runs/TIME/*.log`
    """
    import asyncio
    import os

    from v2g.config import nearest
    from v2g.io.runtime.program import config_path
    from v2g_cli.config import PROGRAMS
    from v2g_cli.diag.support_bundle import Scrubber, answer_of, own_words, write
    from v2g_cli.output import open_new, say

    chosen: list[tuple[str, Path]] = []
    for each in config or ():
        program, separator, file = each.partition("=")
        program, file = (program, file) if separator else (Path(each).stem, each)
        if program not in PROGRAMS:
            raise ConfigError(f"{each}: which program is it for?", hint=nearest(program, PROGRAMS) or f"secc={each}")
        chosen.append((program, Path(file)))
    if config is None:
        for program in PROGRAMS:
            with contextlib.suppress(ConfigError):  # not on this machine
                chosen.append((program, config_path(None, program)))
    answers = {f"health-{number}.json": asyncio.run(answer_of(url)) for number, url in enumerate(health or (), 1)}
    with os.fdopen(open_new(out, hint="name another file by --out"), "wb") as archive:
        members = write(archive, chosen, files or (), answers, Scrubber(own_words()))
    say(f"{out}: {', '.join(members)}")


def _verdict(*, met: bool, required: bool) -> str:
    return "ok" if met else "missing" if required else "not available"
