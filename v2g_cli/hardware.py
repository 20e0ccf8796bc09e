"""`v2g hardware`: a charger's parts, shown and moved by hand; their drivers and the test of these; latched faults."""

import asyncio
import contextlib
import tomllib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from v2g.errors import ConfigError
from v2g.hardware.faults import FAULTS
from v2g.typed_json import Fields
from v2g_cli.output import print_json, print_table, say, when

if TYPE_CHECKING:
    import msgspec

    from secc.config import ProgramConfig
    from secc.hardware.drivers import InstalledDriver
    from secc.hardware.fault_file import FaultFile, LatchedFault
    from secc.hardware.maintenance import Maintenance
    from v2g.observe import Observe
    from v2g_testkit.cases.case import Result
    from v2g_testkit.driver_cases import Bench, DriverCase

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
ConfigFile = Annotated[Path, typer.Option("--config", help="The charger's configuration.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]


@app.command("list")
def list_(json: JsonFlag = False) -> None:
    """List the installed drivers, and those that cannot be used.

    Example: `v2g hardware list`
    """
    from secc.hardware.drivers import installed

    found = installed()
    if json:
        for each in found:
            fields = ("name", "kind", "distribution", "version", "error")
            print_json({field: getattr(each, field) for field in fields})
        return
    rows = [(each.name, each.kind or "?", f"{each.distribution} {each.version}", each.error) for each in found]
    print_table("drivers", ("name", "kind", "distribution", "error"), rows)


@app.command()
def install(
    file: Annotated[Path, typer.Argument(help="A wheel, or a module that assigns DRIVER.")],
    root: Annotated[Path, typer.Option(help="Folder of the system whose charger gets it, such as an image.")] = Path(
        "/"
    ),
    name: Annotated[str, typer.Option(help="Name of a module's driver; else the module's name.")] = "",
) -> None:
    """Install a driver on a charger of the Debian package, below /usr/lib/v2g-engine/drivers. Elsewhere pip does.

    An earlier version of the same distribution is replaced. Start the charger again. Where it attests itself, sign a
    manifest that has the new files.

    Example: `v2g hardware install acme_power-1.0-py3-none-any.whl`
    """
    from v2g.extras import DRIVERS, HOME
    from v2g_cli.driver_files import install as install_

    home = root / HOME.relative_to("/")
    if not home.is_dir():
        raise ConfigError(f"{home} is missing: no package is installed here", hint=f"pip install {file}")
    found = install_(file, root / DRIVERS.relative_to("/"), name=name)
    drivers = ", ".join(found.drivers) or "no driver, a library"
    say(f"{found.name} {found.version}: {drivers}")


@app.command()
def show(config: ConfigFile, json: JsonFlag = False) -> None:
    """Show what each part of the hardware reports right now. The charger must not be running.

    Example: `v2g hardware show --config secc.toml`
    """
    import msgspec

    async def look(place: "ProgramConfig") -> None:
        async with _maintenance(place) as hardware:
            found = {"evse_id": place.charger.evse_id, **msgspec.to_builtins(await hardware.report())}
        if json:
            print_json(found)
            return
        shown = {
            **{name: value for name, value in found.items() if not isinstance(value, dict)},
            **{f"temperature {name}": value for name, value in found["temperatures_c"].items()},
            "lock": "present" if found["lock"] else "none",
            "faults": ", ".join(found["faults"]) or "none",
        }
        rows = [(name, "-" if value is None else str(value)) for name, value in shown.items()]
        print_table(place.charger.evse_id, ("part", "reports"), rows)

    for place in _places(config):
        asyncio.run(look(place))


@app.command()
def exercise(
    part: Annotated[str, typer.Argument(help="contactor, lock, fan or lamp.")],
    config: ConfigFile,
    evse: Annotated[int, typer.Option(min=1, help="Number of the EVSE.")] = 1,
) -> None:
    """Move a part by hand. The charger must not be running, and no vehicle be connected.

    Refused (exit code 5) while a vehicle is connected, the output has a voltage, or a part reports a fault. Many
    control boards close their contactor only for a vehicle.

    Example: `v2g hardware exercise contactor --config secc.toml`
    """
    from secc.hardware.maintenance import PartName

    names: tuple[PartName, ...] = get_args(PartName)
    if part not in names:
        raise ConfigError(f"{part!r} is not a part that moves", hint=f"one of {', '.join(names)}")
    places = _places(config)
    if evse > len(places):
        raise ConfigError(f"--evse {evse}", hint=f"{config} has {len(places)}")

    async def move() -> None:
        async with _maintenance(places[evse - 1]) as hardware:
            async for line in hardware.exercise(part):
                say(line)

    asyncio.run(move())


@contextlib.asynccontextmanager
async def _maintenance(place: "ProgramConfig") -> AsyncIterator["Maintenance"]:
    """Open the parts of an EVSE. Raises ConfigError, TransportError, StoreError."""
    from secc.hardware.assembly import Assembly
    from secc.hardware.fault_file import FaultFile
    from secc.hardware.heat import RUNAWAY
    from secc.hardware.maintenance import Maintenance
    from v2g.io.runtime.clock import Clock
    from v2g.io.runtime.watchdog import Watchdog
    from v2g.io.storage.emergency_log import FILE, EmergencyLog
    from v2g.io.storage.record_keys import RecordKeys

    async with contextlib.AsyncExitStack() as stack:
        watchdog = Watchdog(hung_s=place.hardware.watch.hung_s)
        stack.callback(watchdog.close)
        bare = await Assembly(
            place.hardware,
            place.charger,
            Clock(place.clock),
            stack,
            lambda event: say(f"{event.name}: {event.data}", err=True),
            folder=place.data_dir,
            meter_serial="",
            medium_folder=place.link.medium,
            name=place.link.name,
            connector=place.link.connector,
            watchdog=watchdog,
            keys=RecordKeys.read(place.journal_keys),
        ).make_bare()
        watchdog.start()
        with contextlib.closing(EmergencyLog.open(place.data_dir / FILE)) as log:
            latched = () if log.latched is None else (RUNAWAY,)
            yield Maintenance(bare, (*(each.word for each in FaultFile(place.data_dir).load()), *latched))


@app.command("test")
def run_test(
    driver: Annotated[str, typer.Argument(help="Name of an installed driver: v2g hardware list.")],
    kind: Annotated[str, typer.Option(help="Kind of the driver, if there are several of that name.")] = "",
    config: Annotated[Path | None, typer.Option(help="A charger's configuration that has the driver's keys.")] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A key of the driver; repeatable.")
    ] = None,
    energised: Annotated[
        bool, typer.Option("--energised", help="Close the contactor and drive the output. Keep people away from it.")
    ] = False,
    discharge: Annotated[bool, typer.Option("--discharge", help="Also discharge the load.")] = False,
    voltage: Annotated[float, typer.Option(min=60, max=1500, help="Voltage to drive, V.")] = 400.0,
    current: Annotated[float, typer.Option(min=2, max=1000, help="Current to drive into a load, A.")] = 10.0,
    load: Annotated[
        float | None, typer.Option(min=60, max=1500, help="Voltage of the source and sink at the output, V.")
    ] = None,
    power: Annotated[
        float | None,
        typer.Option(
            metavar="WATT", help="Power through the meter by another instrument, W; below 0 out of the vehicle."
        ),
    ] = None,
    pilot: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Command that sets the control pilot; {state} becomes B or C.")
    ] = None,
    card: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Command that holds a card to the reader, or takes it away; {card} becomes on or off.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="ID", help="Only cases with these parts of an id; * is any text; repeatable."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the cases and exit.")] = False,
    json: JsonFlag = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML for build servers.")] = None,
) -> None:
    """Test a driver: whether it keeps the contract of its interface.

    Without `--energised` no contactor closes and the output stays off. Exit code 1 if a case failed, 3 if none was
    conclusive. Vehicle and load of simulated drivers are simulated.

    Examples:

    - `v2g hardware test simulated --kind stage --energised --load 400 --voltage 420 --discharge`
    - `v2g hardware test board --set device=/dev/ttyACM0 --pilot 'set-pilot {state}' --energised`
    - `v2g hardware test modbus --set host=192.0.2.7 --power 7000`
    - `v2g hardware test acme --config secc.toml --junit report.xml`
    - `v2g hardware test pn532 --set device=/dev/ttyUSB1 --card 'read -p "card {card}? "'`
    """
    from v2g_cli.conform import report
    from v2g_cli.conform.running import describe, list_cases
    from v2g_testkit.cases.report import chosen, exit_code
    from v2g_testkit.charger_tester import by_command, card_by_command
    from v2g_testkit.driver_cases import Bench, cases

    found = _driver(driver, kind)
    assert found.kind is not None
    wanted = {case.id for case in chosen((each.case for each in cases(found.kind)), only or ())}
    selected = [each for each in cases(found.kind) if each.case.id in wanted]
    if not selected:
        raise ConfigError(
            f"no case named {' or '.join(only or ())}",
            hint=f"whole words of an id, or * for any text: v2g hardware test {driver} --list",
        )
    if listed:
        list_cases([each.case for each in selected], json=json)
        return
    settings = _settings(found, config, values or [])
    report.prepare(junit, None)

    def noted(event: "Observe") -> None:
        say(f"{event.name} {event.data}", err=True)

    bench = Bench(
        energised=energised,
        discharge=discharge,
        voltage_mv=round(voltage * 1000),
        current_ma=round(current * 1000),
        load_mv=None if load is None else round(load * 1000),
        power_w=power,
        vehicle=None if pilot is None else by_command(pilot, noted),
        card=None if card is None else card_by_command(card, noted),
    )
    about = describe(f"driver {driver} of {found.distribution} {found.version}")
    results = asyncio.run(_run(found, settings, bench, selected, about, json=json))
    if junit is not None:
        report.write_junit(junit, "hardware", about, [each.case for each in selected], results)
    raise typer.Exit(exit_code(results))


def _driver(name: str, kind: str) -> "InstalledDriver":
    """Return the only driver of this name, and kind if given. Raises ConfigError."""
    from secc.hardware.drivers import KINDS, find, installed

    if kind and kind not in KINDS:
        raise ConfigError(f"--kind {kind}", hint=f"one of {', '.join(KINDS)}")
    found = [each for each in installed() if each.name == name and kind in ("", each.kind)]
    usable = [each for each in found if each.part is not None]
    if len({each.kind for each in usable}) > 1:
        kinds = ", ".join(sorted(str(each.kind) for each in usable))
        raise ConfigError(f"there are several drivers {name!r}: {kinds}", hint=f"--kind {usable[0].kind}")
    if not usable and found and found[0].error:
        raise ConfigError(f"{name!r} of {found[0].distribution} {found[0].version} {found[0].error}")
    if not usable:
        known = ", ".join(sorted({each.name for each in installed()}))
        raise ConfigError(f"no driver {name!r} is installed", hint=f"installed: {known}")
    assert usable[0].kind is not None
    find(usable[0].kind, name)  # raises if two distributions have it
    return usable[0]


def _settings(driver: "InstalledDriver", config: Path | None, values: Sequence[str]) -> "msgspec.Struct":
    """Return a driver's configuration: from a charger's, or from keys and values. Raises ConfigError."""
    from v2g.config import Table

    assert driver.part is not None
    if config is not None:
        if values:
            raise ConfigError("--config and --set", hint="use one of them")
        # a driver's configuration from a charger's. Raises ConfigError
        from secc.hardware.config import settings_of
        from secc.hardware.drivers import settings_from

        places = _places(config)
        station = places[0].station
        match driver.kind:
            case "pilot" | "stage" | "meter" | "emergency" as kind:
                for place in places:
                    if getattr(place.hardware, kind) == driver.name:
                        return settings_of(place.hardware, kind)
                raise ConfigError(f"{config}: hardware.{kind} is not {driver.name!r}")
            case "card_reader" if station is not None:
                for reader in station.card_readers:
                    if reader.driver == driver.name:
                        return settings_from("card_reader", driver.name, reader.settings)
            case "display" if station is not None and station.display.driver == driver.name:
                return settings_from("display", driver.name, station.display.settings)
        raise ConfigError(f"{config}: no {driver.kind} has the driver {driver.name!r}")
    tree: Fields = {}
    for each in values:
        key, separator, text = each.partition("=")
        table, *rest = key.split(".")
        if not separator or not all([table, *rest]):
            raise ConfigError(f"--set {each}", hint="KEY=VALUE, such as device=/dev/ttyUSB0")
        inner = tree
        for further in rest:
            inner, table = inner.setdefault(table, {}), further
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {each}: another --set gives {key.rpartition('.')[0]} a value")
        inner[table] = _value(text)
    found, flaws = Table(tree).read(driver.part.config)
    if found is None or flaws:
        path, why, hint = flaws[0]
        raise ConfigError(f"{' '.join(filter(None, ('--set', '.'.join(path))))}: {why}", hint=hint)
    return found


def _value(text: str) -> object:
    """Return a value as in TOML, or the text itself if it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


async def _run(
    driver: "InstalledDriver",
    settings: "msgspec.Struct",
    bench: "Bench",
    cases: "Sequence[DriverCase]",
    about: dict[str, str],
    *,
    json: bool,
) -> "list[Result]":
    from v2g.io.hardware.driver import DriverContext
    from v2g.io.runtime.clock import Clock
    from v2g_cli.conform.running import Reporter
    from v2g_testkit.driver_cases import DriverTester, simulated

    assert driver.kind is not None
    clock, results = Clock(), []
    reporter = Reporter([each.case for each in cases], about, json=json, notice="")
    async with simulated(bench, clock) as (simulation, context):
        if driver.name != "simulated":
            simulation, context = bench, DriverContext(clock=clock)
        tester = DriverTester(driver.kind, driver.name, settings, simulation, context)
        for case in cases:
            reporter.begins(case.case)
            results.append(await tester.run(case))
            reporter.ended(case.case, results[-1])
    reporter.done(results)
    return results


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


def _places(config: Path) -> "tuple[ProgramConfig, ...]":
    from secc.config import load_config
    from v2g.io.runtime.program import read_config

    return load_config(read_config(config), name=str(config)).places


def _files(config: Path) -> "list[tuple[str, FaultFile]]":
    from secc.hardware.fault_file import FaultFile

    return [(place.charger.evse_id, FaultFile(place.data_dir)) for place in _places(config)]


def _show(found: "list[tuple[str, LatchedFault]]", *, json: bool) -> None:
    if json:
        for evse_id, fault in found:
            print_json({"evse_id": evse_id, "fault": fault.word, "utc_ms": fault.utc_ms})
    elif found:
        rows = [(evse_id, fault.word, FAULTS[fault.word].sentence, when(fault.utc_ms)) for evse_id, fault in found]
        print_table("latched faults", ("EVSE", "fault", "meaning", "found"), rows)
    else:
        say("no latched faults")
