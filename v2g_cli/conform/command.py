"""`v2g conform`: tests a charger's SECC or a vehicle's EVCC of any vendor, case by case."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from msgspec.structs import replace

from v2g.errors import ConfigError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.tls.endpoint import ISO15118_2, PROFILES
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import sdp
from v2g.iso15118.trace import Line
from v2g.iso15118.trace_read import entries
from v2g.observe import Observe
from v2g.pki.credentials import load_chain
from v2g_cli.conform import report as conform_report
from v2g_cli.conform.comparison import badge, diff
from v2g_cli.conform.csms import csms
from v2g_cli.conform.kit import chargers_of_files, chargers_of_tree, known_tree, means_of_files, means_of_tree, payers
from v2g_cli.conform.options import (
    CheckFlag,
    DeviceOption,
    HtmlOption,
    JsonFlag,
    JunitOption,
    ListFlag,
    OnlyOption,
    ParallelOption,
    QuickFlag,
    ResumeOption,
    SkipOption,
    TargetOption,
)
from v2g_cli.conform.running import (
    Reporter,
    combined,
    describe,
    ending,
    list_cases,
    quiet,
    read_results,
    run_cases,
    run_devices,
    say_ruled_out,
    write_reports,
)
from v2g_cli.conform.station import station
from v2g_cli.conform.targets import Reports, Target, targets_of
from v2g_cli.output import say
from v2g_cli.trace import html as trace_html
from v2g_testkit import declaration_file
from v2g_testkit.cases.case import Case, Result
from v2g_testkit.cases.declaration import ChargerDeclaration
from v2g_testkit.cases.editions import CHARGERS, VEHICLES, Edition
from v2g_testkit.cases.known import Kit
from v2g_testkit.cases.report import chosen
from v2g_testkit.charger_tester import Bench, SeccTester, by_command, no_stimulus, stop_by_command
from v2g_testkit.vehicle_tester import EvccTester, Starter, VehicleBench

app = typer.Typer(no_args_is_help=True)
app.command()(station)
app.command()(csms)
app.command()(diff)
app.command()(badge)

InterfaceOption = Annotated[
    str, typer.Option("--interface", "-i", help="Network interface of the link; lo on one machine.")
]
EnergyOption = Annotated[Family, typer.Option("--energy", help="Energy transfer mode to test.")]
EditionOption = Annotated[Edition, typer.Option("--edition", help="Edition of the protocol to test.")]
WithoutTlsFlag = Annotated[
    bool, typer.Option("--without-tls", help="Use plain TCP: with interop in edition 20; always in DIN 70121.")
]
PkiOption = Annotated[
    Path | None,
    typer.Option("--pki", metavar="FOLDER", help="PKI folder (`v2g pki make`) whose roots the device trusts."),
]


@app.command()
def secc(
    interface: InterfaceOption = "lo",
    target: TargetOption = None,
    parallel: ParallelOption = 4,
    edition: EditionOption = Edition.ISO20,
    energy: EnergyOption = Family.DC,
    pki: PkiOption = None,
    vehicle_chain: Annotated[Path | None, typer.Option(help="PEM chain that the vehicle presents in TLS.")] = None,
    vehicle_key: Annotated[Path | None, typer.Option(help="Its key, mode 0600.")] = None,
    root: Annotated[list[Path] | None, typer.Option(help="V2G root (PEM) of the charger's chain; repeatable.")] = None,
    contract_chain: Annotated[Path | None, typer.Option(help="PEM chain of a contract.")] = None,
    contract_key: Annotated[Path | None, typer.Option(help="Its key, mode 0600.")] = None,
    provisioning_chain: Annotated[Path | None, typer.Option(help="PEM chain of the vehicle's provisioning.")] = None,
    provisioning_key: Annotated[Path | None, typer.Option(help="Its key, mode 0600.")] = None,
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
    declaration: Annotated[
        Path | None, typer.Option("--declaration", metavar="FILE", help="What the charger has (TOML).")
    ] = None,
    check: CheckFlag = False,
    resume: ResumeOption = None,
    device: DeviceOption = "",
    only: OnlyOption = None,
    skip: SkipOption = None,
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
    declared = ChargerDeclaration()
    if declaration is not None:
        declared = declaration_file.read(declaration, ChargerDeclaration, "docs/reference/conformance-declaration.md")
    elif check:
        raise ConfigError("--check needs a declaration", hint="--declaration FILE")
    cases = _chosen("secc", test.cases(energy), only or (), skip or (), quick=quick)
    if listed:
        list_cases(cases, json=json)
        return
    without_tls |= edition is Edition.DIN
    if check and declaration is not None:
        say_ruled_out(declaration, cases, lambda case: case.does_not_apply(declared, tls=not without_tls), "cases")
        return
    targets = targets_of(target or (), Target(interface=interface, sdp_port=sdp_port))
    for each in targets:
        _check(each.interface, profile, pay, without_tls=without_tls, edition=edition)
    now = datetime.now(UTC)
    if pki is not None:
        means = means_of_tree(known_tree(pki), now)
    else:
        contract, own = (contract_chain, contract_key), (provisioning_chain, provisioning_key)
        means = means_of_files((vehicle_chain, vehicle_key), root or [], contract, own, now)
    tls = PROFILES[profile] if edition is Edition.ISO20 else ISO15118_2
    if not without_tls and tls.mutual and not means.identities:
        raise ConfigError("no vehicle certificate given", hint="--pki, or --vehicle-chain and --vehicle-key")
    if not without_tls and not means.anchors:
        raise ConfigError("no root of the charger's chain given", hint="--pki or --root, or --without-tls")
    bench = Bench(
        interface=interface,
        family=energy,
        edition=edition,
        identities=means.identities,
        anchors=means.anchors,
        kit=declared.on(
            Kit(
                contracts=payers(means.contracts),
                provisioning=payers(means.provisioning),
                roots=means.anchors,
                pay=pay,
                voltage=voltage,
                current=current,
                phases=phases,
                without_power=without_power,
                sets_pilot=pilot is not None,
            )
        ),
        declared=declared,
        sdp_port=sdp_port,
        profile=tls,
        without_tls=without_tls,
    )

    def tester(at: Target) -> SeccTester:
        return SeccTester(
            replace(bench, interface=at.interface, sdp_port=at.sdp_port),
            Clock(),
            pilot=no_stimulus if pilot is None else by_command(at.named(pilot), _warn),
            stop=None if stop is None else stop_by_command(at.named(stop), _warn),
        )

    reports = Reports(junit=junit, html=html, json=json, resume=resume)
    _play("secc", device, tester, targets, cases, reports, parallel)


@app.command()
def evcc(
    interface: InterfaceOption = "lo",
    target: TargetOption = None,
    parallel: ParallelOption = 4,
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
    resume: ResumeOption = None,
    device: DeviceOption = "",
    only: OnlyOption = None,
    skip: SkipOption = None,
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
    cases = _chosen("evcc", test.cases(energy), only or (), skip or (), quick=quick)
    if listed:
        list_cases(cases, json=json)
        return
    without_tls |= edition is Edition.DIN
    targets = targets_of(target or (), Target(interface=interface, sdp_port=sdp_port))
    for each in targets:
        _check(each.interface, profile, pay, without_tls=without_tls, edition=edition)
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

    def tester(at: Target) -> EvccTester:
        place = replace(bench, interface=at.interface, sdp_port=at.sdp_port)
        return EvccTester(place, Clock(), starter=Starter(None if start is None else at.named(start)))

    reports = Reports(junit=junit, html=html, json=json, resume=resume)
    _play("evcc", device, tester, targets, cases, reports, parallel)


def _chosen(device: str, cases: Iterable[Case], only: Sequence[str], skip: Sequence[str], *, quick: bool) -> list[Case]:
    """Return the selected cases. Raises ConfigError if there are none."""
    found = chosen(cases, only, skip=skip, quick=quick)
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
    tester: Callable[[Target], SeccTester | EvccTester],
    targets: Sequence[Target],
    cases: Sequence[Case],
    reports: Reports,
    parallel: int,
) -> NoReturn:
    """Run the cases with each device, report, and exit with the exit code of all; 130 when interrupted."""
    runs = [_Run(kind, device, tester(each), each, cases, reports) for each in targets]
    if len(runs) == 1:
        asyncio.run(runs[0].alone())
    else:
        asyncio.run(run_devices([each.beside for each in runs], parallel))
    for each in runs:
        each.report()
    raise typer.Exit(combined([each.code for each in runs]))


class _Run:
    """The run of one device."""

    def __init__(
        self,
        kind: str,
        device: str,
        tester: SeccTester | EvccTester,
        target: Target,
        cases: Sequence[Case],
        reports: Reports,
    ) -> None:
        self._kind, self._tester, self._cases = kind, tester, cases
        self._name, self._reports = target.name, reports.of(target.name)
        conform_report.prepare(self._reports.junit, self._reports.html)
        self._about = describe(" ".join(filter(None, (device, target.name))))
        resume = self._reports.resume
        self._done = [] if resume is None else read_results(resume, target.name)
        self._lines: dict[str, list[Line]] = {}
        self._results: list[Result] = []
        self._absent = False

    @property
    def code(self) -> int:
        """The exit code: 3 if the device was not there."""
        return 3 if self._absent else ending(self._results, self._cases)

    async def alone(self) -> None:
        """Run the cases. Raises V2GError if there is no device: that is the whole result."""
        with quiet():
            await self._find()
        await self._run(alone=True)

    async def beside(self) -> None:
        """Run the cases beside other devices, whose runs continue if this one's cannot."""
        try:
            await self._find()
            await self._run(alone=False)
        except V2GError as error:
            self._absent = True
            say(f"{self._name}: {error}", err=True)

    async def _find(self) -> None:
        if isinstance(self._tester, SeccTester) and any(case.scripts for case in self._cases):
            await self._tester.find()

    async def _run(self, *, alone: bool) -> None:
        shown = Reporter(self._cases, self._about, json=self._reports.json, device=self._name)
        self._results = await run_cases(self._one, self._cases, shown, self._done, alone=alone)

    async def _one(self, case: Case) -> Result:
        result = await self._tester.run(case)
        self._lines[case.id] = self._tester.lines
        return result

    def report(self) -> None:
        """Write the reports. Raises StoreError."""
        if isinstance(self._tester, SeccTester) and self._tester.device:
            self._about["address"] = self._tester.device
        to = self._reports
        found = self._about, self._cases, self._results, self._page
        write_reports(self._kind, *found, junit=to.junit, html=to.html, json=to.json)

    def _page(self, case: str, title: str) -> str | None:
        return trace_html.page(title, entries(self._lines[case])) if self._lines.get(case) else None


def _warn(event: Observe) -> None:
    say(f"{event.stage}: {event.name} {event.data}", err=True)
