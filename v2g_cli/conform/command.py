"""`v2g conform`: tests a charger's SECC or a vehicle's EVCC of any vendor, case by case."""

import asyncio
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Annotated, Final, NoReturn

import msgspec
import typer
from msgspec.structs import replace

from v2g.errors import ConfigError, TimeoutExpired, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.tls.endpoint import ISO15118_2, PROFILES
from v2g.iso15118.trace import Line
from v2g.iso15118.trace_read import entries
from v2g.observe import Observe
from v2g.pki.credentials import load_authorities
from v2g_cli.conform import kit, running
from v2g_cli.conform import report as conform_report
from v2g_cli.conform.csms import csms
from v2g_cli.conform.eebus import eebus
from v2g_cli.conform.gridcode import gridcode
from v2g_cli.conform.ocpi import ocpi
from v2g_cli.conform.options import Certificates, CheckFlag, JsonFlag, Link, Reports, Selection, Vehicle
from v2g_cli.conform.station import station
from v2g_cli.options import with_option_groups
from v2g_cli.output import print_json, print_table, read_text, say, write_text
from v2g_cli.trace import html as trace_html
from v2g_testkit.cases.case import Case, Result, Verdict
from v2g_testkit.cases.declaration import ChargerDeclaration
from v2g_testkit.cases.editions import CHARGERS, VEHICLES, Edition
from v2g_testkit.cases.known import Kit
from v2g_testkit.cases.report import chosen, totals
from v2g_testkit.charger_tester import Bench, SeccTester, by_command, no_stimulus, stop_by_command
from v2g_testkit.ocpp import declaration as declaration_file
from v2g_testkit.vehicle_tester import EvccTester, Starter, VehicleBench

# -- `v2g conform diff`: compares two runs of cases. `v2g conform badge`: a picture of one run's result (SVG).

RecordsFile = Annotated[Path, typer.Argument(help="Records of a run: the output of a test with --json.")]


def diff(before: RecordsFile, after: RecordsFile, json: JsonFlag = False) -> None:
    """Compare two runs, of the same device before and after a change, or of two devices.

    Exit code 1 if a case fails that did not fail before.

    Example: `v2g conform diff monday.jsonl friday.jsonl`
    """
    first, second = _by_case(running.read_results(before)), _by_case(running.read_results(after))
    changes = [
        (case, first.get(case), second.get(case))
        for case in dict.fromkeys((*first, *second))
        if _verdict(first.get(case)) != _verdict(second.get(case))
    ]
    if json:
        for case, old, new in changes:
            print_json({"case": case, "before": _verdict(old), "after": _verdict(new), "found": new and new.found})
    elif changes:
        rows = [(case, _verdict(old), _verdict(new), new.found if new else "") for case, old, new in changes]
        print_table("Changes", ("Case", "Before", "After", "Found"), rows)
    else:
        say(f"no verdict changed, in {len(second)} cases")
    worse = [case for case, _, new in changes if new is not None and new.verdict is Verdict.FAIL]
    raise typer.Exit(1 if worse else 0)


def badge(
    records: RecordsFile,
    file: Annotated[Path, typer.Argument(help="SVG file to write.")],
    title: Annotated[str, typer.Option("--title", help="Left part of the badge.")] = "conformance cases",
) -> None:
    """Write a badge with the result of a run: how many of the cases that apply passed.

    Example: `v2g conform badge friday.jsonl badge.svg --title 'OCPP 2.0.1 Core'`
    """
    write_text(file, drawn(title, running.read_results(records)))


def drawn(title: str, results: Sequence[Result]) -> str:
    """Return the badge: green if all that applies passed, red if something failed."""
    counted = totals(results)
    applied = sum(counted.values()) - counted[Verdict.NOT_APPLICABLE]
    text = f"{counted[Verdict.PASS]} of {applied}"
    colour = "#c0392b" if counted[Verdict.FAIL] else "#2e7d32" if 0 < counted[Verdict.PASS] == applied else "#b26a00"
    left, right = 12 + 7 * len(title), 12 + 7 * len(text)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{escape(title)}: {text}"><title>{escape(title)}: {text}</title>'
        f'<rect width="{left}" height="20" fill="#444"/><rect x="{left}" width="{right}" height="20" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2:g}" y="14">{escape(title)}</text><text x="{left + right / 2:g}" y="14">{text}</text>'
        "</g></svg>\n"
    )


def _by_case(results: Sequence[Result]) -> Mapping[str, Result]:
    return {each.case: each for each in results}


def _verdict(result: Result | None) -> str:
    return "not run" if result is None else result.verdict.value


# -- Devices that are tested at once: where each is, and where its reports go

_TARGET: Final = re.compile(r"([A-Za-z0-9][\w.-]*)=([^\s:=]+)(?::(\d{1,5}))?")
_FORM: Final = "NAME=INTERFACE or NAME=INTERFACE:PORT, names of letters, digits, . - _"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A device under test. `name` is empty if it is the only one."""

    name: str = ""
    interface: str
    sdp_port: int

    def named(self, command: str) -> str:
        """Return a command with the device's name in the place of {target}."""
        return command.replace("{target}", self.name)


def targets_of(texts: Sequence[str], only: Target) -> tuple[Target, ...]:
    """Return the devices of `--target`, or the `only` one without that option; its port is the default.

    Raises ConfigError.
    """
    found = tuple(_target(each, only.sdp_port) for text in texts for each in _lines(text))
    if len({each.name for each in found}) < len(found):
        raise ConfigError("--target: a name is used twice", hint="a name of its own for each device")
    if len({(each.interface, each.sdp_port) for each in found}) < len(found):
        raise ConfigError("--target: two devices at one port of an interface", hint="NAME=INTERFACE:PORT")
    if texts and not found:
        raise ConfigError(f"--target {texts[0]}: no device", hint=_FORM)
    return found or (only,)


def _lines(text: str) -> Iterator[str]:
    """Yield an option's value, or the lines of the file that it names, without comments."""
    if not text.startswith("@"):
        yield text
        return
    for line in read_text(Path(text[1:])).splitlines():
        if written := line.partition("#")[0].strip():
            yield written


def _target(text: str, sdp_port: int) -> Target:
    match = _TARGET.fullmatch(text)
    port = int(match[3]) if match is not None and match[3] else sdp_port
    if match is None or not 0 < port < 65536:
        raise ConfigError(f"--target {text}: not a device", hint=_FORM)
    return Target(name=match[1], interface=match[2], sdp_port=port)


app = typer.Typer(no_args_is_help=True)
app.command()(with_option_groups(station))
app.command()(with_option_groups(csms))
app.command()(with_option_groups(eebus))
app.command()(with_option_groups(gridcode))
app.command()(with_option_groups(ocpi))
app.command()(diff)
app.command()(badge)


@app.command()
@with_option_groups
def secc(
    link: Link,
    certificates: Certificates,
    vehicle: Vehicle,
    selection: Selection,
    reports: Reports,
    declaration: Annotated[
        Path | None, typer.Option("--declaration", metavar="FILE", help="What the charger has (TOML).")
    ] = None,
    check: CheckFlag = False,
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
    test = CHARGERS[link.edition]
    if link.energy not in test.families:
        named = " and ".join(each.value for each in test.families)
        raise ConfigError(f"--energy {link.energy.value}: chargers of {test.title} are tested with {named}")
    declared = ChargerDeclaration()
    if declaration is not None:
        declared = declaration_file.read(declaration, ChargerDeclaration, "docs/reference/conformance-declaration.md")
    elif check:
        raise ConfigError("--check needs a declaration", hint="--declaration FILE")
    cases = _chosen("secc", test.cases(link.energy), selection)
    if selection.listed:
        running.list_cases(cases, json=reports.json)
        return
    if check and declaration is not None:
        running.say_ruled_out(
            declaration, cases, lambda case: case.does_not_apply(declared, tls=not link.plain), "cases"
        )
        return
    targets = _targets(link, vehicle.pay)
    means = _means(link, certificates)
    tls = PROFILES[link.profile] if link.edition is Edition.ISO20 else ISO15118_2
    if not link.plain and tls.mutual and not means.identities:
        raise ConfigError("no vehicle certificate given", hint="--pki, or --vehicle-chain and --vehicle-key")
    if not link.plain and not means.anchors:
        raise ConfigError("no root of the charger's chain given", hint="--pki or --root, or --without-tls")
    bench = Bench(
        interface=link.interface,
        family=link.energy,
        edition=link.edition,
        identities=means.identities,
        anchors=means.anchors,
        kit=declared.on(
            Kit(
                contracts=kit.payers(means.contracts),
                provisioning=kit.payers(means.provisioning),
                roots=means.anchors,
                pay=vehicle.pay,
                voltage=vehicle.voltage,
                current=vehicle.current,
                phases=vehicle.phases,
                without_power=vehicle.without_power,
                sets_pilot=vehicle.pilot is not None,
            )
        ),
        declared=declared,
        sdp_port=link.sdp_port,
        profile=tls,
        without_tls=link.plain,
    )

    def tester(at: Target) -> SeccTester:
        pilot, stop = vehicle.pilot, vehicle.stop
        return SeccTester(
            replace(bench, interface=at.interface, sdp_port=at.sdp_port),
            Clock(),
            pilot=no_stimulus if pilot is None else by_command(at.named(pilot), _warn),
            stop=None if stop is None else stop_by_command(at.named(stop), _warn),
        )

    _play("secc", tester, targets, cases, reports, link.parallel)


def _means(link: Link, files: Certificates) -> kit.Means:
    now = datetime.now(UTC)
    if link.pki is not None:
        return kit.means_of_tree(kit.known_tree(link.pki), now)
    return kit.means_of_files(
        (files.vehicle_chain, files.vehicle_key),
        files.root or [],
        (files.contract_chain, files.contract_key),
        (files.provisioning_chain, files.provisioning_key),
        now,
    )


@app.command()
@with_option_groups
def evcc(
    link: Link,
    selection: Selection,
    reports: Reports,
    charger_chain: Annotated[Path | None, typer.Option(help="PEM chain that the charger presents in TLS.")] = None,
    charger_key: Annotated[Path | None, typer.Option(help="Its key, mode 0600.")] = None,
    ocsp: Annotated[Path | None, typer.Option(help="OCSP answer (DER) to staple.")] = None,
    root: Annotated[list[Path] | None, typer.Option(help="Root (PEM) of the vehicle's chain; repeatable.")] = None,
    start: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Command that makes the vehicle connect; run for each case.")
    ] = None,
    wait: Annotated[float, typer.Option(min=1, max=3600, help="Seconds to wait for the vehicle to connect.")] = 120.0,
    pay: Annotated[
        str,
        typer.Option(metavar="EIM|PnC", help="The only authorisation method offered where a case does not fix one."),
    ] = "",
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
    test = VEHICLES[link.edition]
    if link.energy not in test.families:
        named = " and ".join(each.value for each in test.families)
        raise ConfigError(f"--energy {link.energy.value}: the reference charger supports {named}", hint="--energy DC")
    cases = _chosen("evcc", test.cases(link.energy), selection)
    if selection.listed:
        running.list_cases(cases, json=reports.json)
        return
    targets = _targets(link, pay)
    now = datetime.now(UTC)
    if link.pki is not None:
        tree = kit.known_tree(link.pki)
        identities, anchors = kit.chargers_of_tree(tree, now), tree.anchors("oem", "v2g")
    elif link.plain:
        identities, anchors = {}, ()
    else:
        identities = kit.chargers_of_files((charger_chain, charger_key), ocsp, now)
        anchors = load_authorities(root or [])
    if not link.plain and not identities:
        raise ConfigError("no charger certificate given", hint="--pki, or --charger-chain and --charger-key")
    bench = VehicleBench(
        interface=link.interface,
        family=link.energy,
        edition=link.edition,
        identities=identities,
        anchors=anchors,
        sdp_port=link.sdp_port,
        profile=PROFILES[link.profile] if link.edition is Edition.ISO20 else ISO15118_2,
        without_tls=link.plain,
        pay=pay,
        wait_s=wait,
    )

    def tester(at: Target) -> EvccTester:
        place = replace(bench, interface=at.interface, sdp_port=at.sdp_port)
        return EvccTester(place, Clock(), starter=Starter(None if start is None else at.named(start)))

    _play("evcc", tester, targets, cases, reports, link.parallel)


def _chosen(device: str, cases: Iterable[Case], selection: Selection) -> list[Case]:
    """Return the selected cases. Raises ConfigError if there are none."""
    only = selection.only or ()
    found = chosen(cases, only, skip=selection.skip or (), quick=selection.quick)
    if not found:
        raise ConfigError(
            f"no case named {' or '.join(only)}",
            hint=f"whole words of an id, or * for any text: v2g conform {device} --list",
        )
    return found


def _targets(link: Link, pay: str) -> tuple[Target, ...]:
    """Return the devices under test. Raises ConfigError for invalid options."""
    targets = targets_of(link.target or (), Target(interface=link.interface, sdp_port=link.sdp_port))
    for each in targets:
        try:
            socket.if_nametoindex(each.interface)
        except OSError:
            known = ", ".join(name for _, name in socket.if_nameindex())
            raise ConfigError(f"--interface {each.interface}: no such network interface", hint=known) from None
    profile, plain = link.profile, link.plain
    if profile not in PROFILES or (plain and profile != "interop" and link.edition is Edition.ISO20):
        raise ConfigError(f"--profile {profile}" + (" with --without-tls" if plain else ""), hint="interop")
    if pay not in ("", "EIM", "PnC"):
        raise ConfigError(f"--pay {pay}", hint="EIM or PnC")
    return targets


def _play(
    kind: str,
    tester: Callable[[Target], SeccTester | EvccTester],
    targets: Sequence[Target],
    cases: Sequence[Case],
    reports: Reports,
    parallel: int,
) -> NoReturn:
    """Run the cases with each device, report, and exit with the exit code of all; 130 when interrupted."""
    runs = [_Run(kind, tester(each), each, cases, reports) for each in targets]
    if len(runs) == 1:
        asyncio.run(runs[0].alone())
    else:
        asyncio.run(running.run_devices([each.beside for each in runs], parallel))
    for each in runs:
        each.report()
    raise typer.Exit(running.combined([each.code for each in runs]))


class _Run:
    """The run of one device."""

    def __init__(
        self, kind: str, tester: SeccTester | EvccTester, target: Target, cases: Sequence[Case], reports: Reports
    ) -> None:
        self._kind, self._tester, self._cases = kind, tester, cases
        self._name, self._reports = target.name, reports.of(target.name)
        conform_report.prepare(self._reports.junit, self._reports.html)
        self._about = running.describe(" ".join(filter(None, (reports.device, target.name))))
        resume = self._reports.resume
        self._done = [] if resume is None else running.read_results(resume, target.name)
        self._lines: dict[str, list[Line]] = {}
        self._results: list[Result] = []
        self._absent = False
        self._unusable = ""
        """Why no vehicle can connect to a charger that answers SDP."""

    @property
    def code(self) -> int:
        """The exit code: 3 if the device was not there."""
        return 3 if self._absent else running.ending(self._results, self._cases, stuck=bool(self._unusable))

    async def alone(self) -> None:
        """Run the cases. Raises V2GError if there is no device: that is the whole result."""
        with running.quiet():
            await self._find()
        await self._run(alone=True)

    async def beside(self) -> None:
        """Run the cases beside other devices, whose runs continue if this one's cannot."""
        try:
            await self._find()
            await self._run(alone=False)
        except V2GError as error:
            self._absent, self._about["not run"] = True, str(error)
            say(f"{self._name}: {error}", err=True)
            if self._reports.json:
                self._shown().done([])

    async def _find(self) -> None:
        if not isinstance(self._tester, SeccTester) or not any(case.scripts for case in self._cases):
            return
        try:
            await self._tester.find()
        except TimeoutExpired as error:
            if not self._of_sdp or not await self._tester.answers():
                raise
            self._unusable = self._about["not run"] = f"{error}: {error.hint}"

    @property
    def _of_sdp(self) -> list[str]:
        """The cases of which the charger needs no usable answer."""
        return [case.id for case in self._cases if case.probe.startswith("sdp:")]

    def _shown(self) -> running.Reporter:
        shown = running.Reporter(self._cases, self._about, json=self._reports.json, device=self._name)
        shown.stuck = self._unusable
        return shown

    async def _run(self, *, alone: bool) -> None:
        self._results = await running.run_cases(
            self._one, self._cases, self._shown(), self._done, alone=alone, without_device=self._of_sdp
        )

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
        running.write_reports(self._kind, *found, junit=to.junit, html=to.html, json=to.json)

    def _page(self, case: str, title: str) -> str | None:
        if not self._lines.get(case):
            return None
        found = entries(self._lines[case])
        text = trace_html.page(title, found)
        last = next((each.number for each in reversed(found) if each.speaker == self._kind), None)
        return text.replace(f'<details id="m{last}"', f'<a {conform_report.JUDGED}></a><details id="m{last}"', 1)


def _warn(event: Observe) -> None:
    say(f"{event.stage}: {event.name} {event.data}", err=True)
