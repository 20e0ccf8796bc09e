"""`v2g conform`: tests a charger's SECC or a vehicle's EVCC of any vendor, case by case."""

import asyncio
import contextlib
import logging
import platform
import shlex
import signal
import socket
import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.text import Text

from v2g.errors import ConfigError
from v2g.io.runtime.clock import Clock
from v2g.io.tls.endpoint import ISO15118_2, PROFILES
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import sdp
from v2g.iso15118.trace import Line
from v2g.observe import Observe
from v2g.pki.credentials import load_chain
from v2g_cli.conform import report as conform_report
from v2g_cli.conform.kit import chargers_of_files, chargers_of_tree, known_tree, means_of_files, means_of_tree
from v2g_cli.output import print_json, print_table, say, say_row, terminal
from v2g_testkit.cases.case import Case, Result, Verdict
from v2g_testkit.cases.editions import CHARGERS, VEHICLES, Edition
from v2g_testkit.cases.known import Kit, Payer
from v2g_testkit.cases.report import NOTICE, chosen, exit_code, totals
from v2g_testkit.charger_tester import Bench, SeccTester, by_command, no_stimulus, stop_by_command
from v2g_testkit.vehicle_tester import EvccTester, Starter, VehicleBench

app = typer.Typer(no_args_is_help=True)

_INTERRUPTED = 130

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.OPEN: "cyan",
    Verdict.NOT_APPLICABLE: "dim",
}

InterfaceOption = Annotated[
    str, typer.Option("--interface", "-i", help="Network interface of the link; lo on one machine.")
]
EnergyOption = Annotated[Family, typer.Option("--energy", help="Energy transfer mode to test.")]
EditionOption = Annotated[Edition, typer.Option("--edition", help="Edition of the protocol to test.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="ID", help="Only cases whose id contains this text; * matches anything; repeatable."
    ),
]
WithoutTlsFlag = Annotated[
    bool, typer.Option("--without-tls", help="Use plain TCP: with interop in edition 20; always in DIN 70121.")
]
QuickFlag = Annotated[bool, typer.Option("--quick", help="Run one case of each kind instead of all.")]
ListFlag = Annotated[bool, typer.Option("--list", help="List the cases and exit.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per case, then the totals.")]
JunitOption = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML for build servers.")]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="TEXT", help="Device under test, for reports: make, model, serial number.")
]
HtmlOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FOLDER", help="Folder for an HTML report: results, and the messages of each case."),
]
PkiOption = Annotated[
    Path | None,
    typer.Option("--pki", metavar="FOLDER", help="PKI folder (`v2g pki make`) whose roots the device trusts."),
]


@app.command()
def secc(
    interface: InterfaceOption = "lo",
    edition: EditionOption = Edition.ISO20,
    energy: EnergyOption = Family.DC,
    pki: PkiOption = None,
    vehicle_chain: Annotated[Path | None, typer.Option(help="PEM chain that the vehicle presents in TLS.")] = None,
    vehicle_key: Annotated[Path | None, typer.Option(help="Its key, mode 0600.")] = None,
    root: Annotated[list[Path] | None, typer.Option(help="V2G root (PEM) of the charger's chain; repeatable.")] = None,
    contract_chain: Annotated[Path | None, typer.Option(help="PEM chain of a contract.")] = None,
    contract_key: Annotated[Path | None, typer.Option(help="Its key, mode 0600.")] = None,
    sdp_port: Annotated[int, typer.Option(help="UDP port of SDP.")] = sdp.PORT,
    profile: Annotated[str, typer.Option(help="iso15118-20, or interop for peers with P-256.")] = "iso15118-20",
    without_tls: WithoutTlsFlag = False,
    pilot: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Command that sets the control pilot; {state} becomes B or C.")
    ] = None,
    stop: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Command that ends the session at the charger.")
    ] = None,
    pay: Annotated[
        str, typer.Option(metavar="EIM|PnC", help="Authorisation method where a case does not fix one.")
    ] = "",
    voltage: Annotated[float, typer.Option(min=50, max=1500, help="Voltage that the vehicle requests, V.")] = 400.0,
    current: Annotated[float, typer.Option(min=0, max=100, help="Current that the vehicle draws, A.")] = 5.0,
    phases: Annotated[int, typer.Option(min=1, max=3, help="Phases of an AC vehicle.")] = 3,
    without_power: Annotated[
        bool, typer.Option("--without-power", help="The charger has no power electronics and always reports 0 V.")
    ] = False,
    device: DeviceOption = "",
    only: OnlyOption = None,
    quick: QuickFlag = False,
    listed: ListFlag = False,
    json: JsonFlag = False,
    junit: JunitOption = None,
    html: HtmlOption = None,
) -> None:
    """Test a charger: the reference vehicle reaches each state, runs the case and evaluates the answer.

    Exit code 1 if a case failed, 3 if none was conclusive. Open points never fail a device. A pass is not a
    certificate, and this is not the test suite of ISO 15118-21, or that of ISO 15118-4, whose ids the cases of
    edition 2 have.

    Examples:

    - `v2g conform secc --list --energy AC`
    - `v2g conform secc -i eth0 --edition 2 --without-tls --quick`
    - `v2g conform secc -i eth0 --pki certs/lab --quick`
    - `v2g conform secc -i eth0 --pki certs/lab --only SEQ --only AUT --html report --junit report.xml`
    - `v2g conform secc -i eth0 --pki certs/lab --pilot 'set-pilot {state}' --voltage 380`
    - `v2g conform secc -i eth0 --profile interop --vehicle-chain v.pem --vehicle-key v.key --root root.pem`
    """
    test = CHARGERS[edition]
    if energy not in test.families:
        named = " and ".join(each.value for each in test.families)
        raise ConfigError(f"--energy {energy.value}: chargers of {test.title} are tested with {named}")
    cases = _chosen("secc", test.cases(energy), only or (), quick=quick)
    if listed:
        list_cases(cases, json=json)
        return
    without_tls |= edition is Edition.DIN
    _check(interface, profile, pay, without_tls=without_tls, edition=edition)
    now = datetime.now(UTC)
    if pki is not None:
        means = means_of_tree(known_tree(pki), now)
    else:
        means = means_of_files((vehicle_chain, vehicle_key), root or [], (contract_chain, contract_key), now)
    tls = PROFILES[profile] if edition is Edition.ISO20 else ISO15118_2
    if not without_tls and tls.mutual and not means.identities:
        raise ConfigError("no vehicle certificate given", hint="--pki, or --vehicle-chain and --vehicle-key")
    if not without_tls and not means.anchors:
        raise ConfigError("no root of the charger's chain given", hint="--pki or --root, or --without-tls")
    contracts = {name: Payer(each.chain, each.key) for name, each in means.contracts.items()}
    bench = Bench(
        interface=interface,
        family=energy,
        edition=edition,
        identities=means.identities,
        anchors=means.anchors,
        kit=Kit(
            contracts=contracts,
            pay=pay,
            voltage=voltage,
            current=current,
            phases=phases,
            without_power=without_power,
            sets_pilot=pilot is not None,
        ),
        sdp_port=sdp_port,
        profile=tls,
        without_tls=without_tls,
    )
    moved = no_stimulus if pilot is None else by_command(pilot, _warn)
    tester = SeccTester(bench, Clock(), pilot=moved, stop=None if stop is None else stop_by_command(stop, _warn))
    _play("secc", device, tester, cases, junit=junit, html=html, json=json)


@app.command()
def evcc(
    interface: InterfaceOption = "lo",
    edition: EditionOption = Edition.ISO20,
    energy: EnergyOption = Family.DC,
    pki: PkiOption = None,
    charger_chain: Annotated[Path | None, typer.Option(help="PEM chain that the charger presents in TLS.")] = None,
    charger_key: Annotated[Path | None, typer.Option(help="Its key, mode 0600.")] = None,
    ocsp: Annotated[Path | None, typer.Option(help="OCSP answer (DER) to staple.")] = None,
    root: Annotated[list[Path] | None, typer.Option(help="Root (PEM) of the vehicle's chain; repeatable.")] = None,
    start: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Command that makes the vehicle connect; run for each case.")
    ] = None,
    wait: Annotated[float, typer.Option(min=1, max=3600, help="Seconds to wait for the vehicle to connect.")] = 120.0,
    sdp_port: Annotated[int, typer.Option(help="UDP port of SDP.")] = sdp.PORT,
    profile: Annotated[str, typer.Option(help="iso15118-20, or interop for peers with P-256.")] = "iso15118-20",
    without_tls: WithoutTlsFlag = False,
    pay: Annotated[
        str,
        typer.Option(metavar="EIM|PnC", help="The only authorisation method offered where a case does not fix one."),
    ] = "",
    device: DeviceOption = "",
    only: OnlyOption = None,
    quick: QuickFlag = False,
    listed: ListFlag = False,
    json: JsonFlag = False,
    junit: JunitOption = None,
    html: HtmlOption = None,
) -> None:
    """Test a vehicle: the reference charger alters one answer in each case and evaluates the vehicle's reaction.

    The vehicle must connect once for each case: by a --start command, or on its own. Exit code 1 if a case failed, 3
    if none was conclusive. Open points never fail a device. A pass is not a certificate, and this is not the test
    suite of ISO 15118-21 or ISO 15118-4.

    Examples:

    - `v2g conform evcc --list --energy AC`
    - `v2g conform evcc -i eth0 --edition din --quick`
    - `v2g conform evcc -i eth0 --pki certs/lab --quick --start 'plug-relay on; sleep 20; plug-relay off'`
    - `v2g conform evcc --pki pki --start 'v2g evcc --config evcc.toml' --only COD --html report`
    """
    test = VEHICLES[edition]
    if energy not in test.families:
        named = " and ".join(each.value for each in test.families)
        raise ConfigError(f"--energy {energy.value}: the reference charger supports {named}", hint="--energy DC")
    cases = _chosen("evcc", test.cases(energy), only or (), quick=quick)
    if listed:
        list_cases(cases, json=json)
        return
    without_tls |= edition is Edition.DIN
    _check(interface, profile, pay, without_tls=without_tls, edition=edition)
    now = datetime.now(UTC)
    if pki is not None:
        tree = known_tree(pki)
        identities, anchors = chargers_of_tree(tree, now), tree.anchors("oem", "v2g")
    elif without_tls:
        identities, anchors = {}, ()
    else:
        identities = chargers_of_files((charger_chain, charger_key), ocsp, now)
        anchors = tuple(load_chain(each)[0] for each in root or [])
    if not without_tls and not identities:
        raise ConfigError("no charger certificate given", hint="--pki, or --charger-chain and --charger-key")
    bench = VehicleBench(
        interface=interface,
        family=energy,
        edition=edition,
        identities=identities,
        anchors=anchors,
        sdp_port=sdp_port,
        profile=PROFILES[profile] if edition is Edition.ISO20 else ISO15118_2,
        without_tls=without_tls,
        pay=pay,
        wait_s=wait,
    )
    tester = EvccTester(bench, Clock(), starter=Starter(start))
    _play("evcc", device, tester, cases, junit=junit, html=html, json=json)


def _chosen(device: str, cases: Iterable[Case], only: Sequence[str], *, quick: bool) -> list[Case]:
    """Return the selected cases. Raises ConfigError if there are none."""
    found = chosen(cases, only, quick=quick)
    if not found:
        raise ConfigError(f"no case named {' or '.join(only)}", hint=f"v2g conform {device} --list")
    return found


def _check(interface: str, profile: str, pay: str, *, without_tls: bool, edition: Edition = Edition.ISO20) -> None:
    """Raise ConfigError for invalid options."""
    try:
        socket.if_nametoindex(interface)
    except OSError:
        known = ", ".join(name for _, name in socket.if_nameindex())
        raise ConfigError(f"--interface {interface}: no such network interface", hint=known) from None
    if profile not in PROFILES or (without_tls and profile != "interop" and edition is Edition.ISO20):
        raise ConfigError(f"--profile {profile}" + (" with --without-tls" if without_tls else ""), hint="interop")
    if pay not in ("", "EIM", "PnC"):
        raise ConfigError(f"--pay {pay}", hint="EIM or PnC")


def _play(
    kind: str,
    device: str,
    tester: SeccTester | EvccTester,
    cases: Sequence[Case],
    *,
    junit: Path | None,
    html: Path | None,
    json: bool,
) -> NoReturn:
    """Run the cases, report, and exit with the exit code; 130 when interrupted."""
    conform_report.prepare(junit, html)
    about = describe(device)
    teller = Reporter(cases, about, json=json)
    results, lines = asyncio.run(_run(tester, cases, teller))
    if isinstance(tester, SeccTester) and tester.device:
        about["address"] = tester.device
    if junit is not None:
        conform_report.write_junit(junit, kind, about, cases, results)
    if html is not None:
        conform_report.write_pages(html, kind, about, cases, results, lines)
        if not json:
            say(f"{html / 'index.html'}")
    raise typer.Exit(exit_code(results) if len(results) == len(cases) else _INTERRUPTED)


def describe(device: str) -> dict[str, str]:
    """Return the metadata of a report: device, time, versions, command with its options."""
    versions = (
        f"v2g-engine {version('v2g-engine')}",
        f"Python {platform.python_version()}",
        ssl.OPENSSL_VERSION,
        platform.platform(),
    )
    return {
        "device": device or "not named (--device)",
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "versions": ", ".join(versions),
        "command": shlex.join(["v2g", *sys.argv[1:]]),
    }


async def _run(
    tester: SeccTester | EvccTester, cases: Sequence[Case], report: "Reporter"
) -> tuple[list[Result], dict[str, list[Line]]]:
    results: list[Result] = []
    lines: dict[str, list[Line]] = {}
    with _quiet():
        if isinstance(tester, SeccTester) and any(case.scripts for case in cases):
            await tester.find()  # without a device the error is the whole result
        # also report results after Ctrl-C
        with _ended_by_sigterm(), contextlib.suppress(asyncio.CancelledError):
            for case in cases:
                report.begins(case)
                results.append(await tester.run(case))
                lines[case.id] = tester.lines
                report.ended(case, results[-1])
    report.done(results)
    return results, lines


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Log errors only: failing handshakes are part of the test."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class Reporter:
    """Shows progress: colours at a terminal, lines in a pipe, records with --json."""

    def __init__(self, cases: Sequence[Case], about: Mapping[str, str], *, json: bool, notice: str = NOTICE) -> None:
        self._about, self._notice = about, notice
        self._count, self._number, self._json = len(cases), 0, json
        self._console = terminal() if sys.stdout.isatty() and not json else None
        self._status = self._console.status("") if self._console is not None else None

    def begins(self, case: Case) -> None:
        """A case begins."""
        self._number += 1
        if self._status is not None:
            self._status.update(f"{self._number} of {self._count}  {case.id}  {case.title}")
            self._status.start()

    def ended(self, case: Case, result: Result) -> None:
        """The result of a case."""
        if self._json:
            print_json(
                {"title": case.title, "required": case.required, "requirements": case.requirements}
                | msgspec.to_builtins(result)
            )
        elif self._console is not None:
            colour = _COLOURS[result.verdict]
            self._console.print(Text(f"{result.verdict.value:14}", colour), f"{case.id}  {result.found}")
        else:
            say_row(result.verdict.value, case.id, result.found)

    def done(self, results: Sequence[Result]) -> None:
        """End of the run."""
        if self._status is not None:
            self._status.stop()
        counted = totals(results)
        if self._json:
            counts = {verdict.value: n for verdict, n in counted.items()}
            print_json({"totals": counts, "about": self._about, "notice": self._notice})
        else:
            if len(results) < self._count:
                say(f"interrupted after {len(results)} of {self._count} cases")
            say(", ".join(f"{n} {verdict.value}" for verdict, n in counted.items()))
            if self._notice:
                say(self._notice)


def list_cases(cases: Sequence[Case], *, json: bool) -> None:
    """List cases."""
    if json:
        for case in cases:
            print_json({**msgspec.to_builtins(case), "group": case.group})
        return
    print_table(
        "Cases",
        ("Case", "What is done", "Required", "Requirements", "Open"),
        ((case.id, case.title, case.required, " ".join(case.requirements), case.open) for case in cases),
    )


def _warn(event: Observe) -> None:
    say(f"{event.stage}: {event.name} {event.data}", err=True)
