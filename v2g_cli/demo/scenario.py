"""Declaration of a scenario of `v2g demo`."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from csms.fleets.rules import Fleet, Peak
from pki_tools.tree import TreeFault as CertificateFault
from v2g import typed_json
from v2g.hardware import faults
from v2g.iso15118.select import EditionName
from v2g.pki.profile import Generation
from v2g.tables import table
from v2g.typed_json import Fields
from v2g_cli.demo.faults import Fault
from v2g_cli.demo.processes import Event

Ending = Literal["whole", "charged", "beside", "stopped", "interrupted", "refused", "no_session", "no_export"]
"""`whole`: everything happened. `charged`: whole, but without discharging. `beside`: vehicles
charged at once, each with its own bill. `stopped`: power stopped safely during the session. `interrupted`:
ended gracefully before completion. `refused`: authorised, but no energy could flow, for a reported reason.
`no_session`: no energy at all. `no_export`: charged, but no discharging beyond signed commands."""

_DAY_MIN: Final = 1440
DEPOT_PEAK_W: Final = 12_000
GATE_S: Final = 300
"""How long before its period a bid is given at the latest, simulated seconds."""

Expected = tuple[str, str, str, dict[str, str]]
"""(process, stage, name, {field: value}) of an event; a value may be a range of numbers, as "-2200..-2000"."""


def happened(expected: Expected, events: Iterable[Event]) -> list[Event]:
    """Return the events that are as expected."""
    process, stage, name, fields = expected
    return [
        each
        for each in events
        if (each.process, each.stage, each.name) == (process, stage, name)
        and all(_is(each.data.get(key), value) for key, value in fields.items())
    ]


def _is(value: object, wanted: str) -> bool:
    least, dots, most = wanted.partition("..")
    return isinstance(value, int) and int(least) <= value <= int(most) if dots else str(value) == wanted


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `sees` are events that must happen."""

    name: str
    about: str
    ending: Ending
    sees: tuple[Expected, ...] = ()
    secc: CertificateFault = CertificateFault.NONE
    vehicle: CertificateFault = CertificateFault.NONE
    contract: CertificateFault = CertificateFault.NONE
    cps: CertificateFault = CertificateFault.NONE
    install: bool = False
    evcc_fault: Fault | None = None
    secc_fault: Fault | None = None
    lower_limit: bool = False
    withdraw_v2g: bool = False
    """The back end withdraws the permission to discharge during the session."""
    rest_by_csms: bool = False
    """The back end's charging profile allows nothing for a while."""
    csms_away: bool = False
    kill_secc: bool = False
    kill_paused_secc: bool = False
    kill_gateway: bool = False
    """The telemetry gateway is stopped, then killed with -9, and starts again after the session."""
    trades: bool = False
    """The bill shows that the vehicle bought at low and sold at high prices."""
    neighbours: tuple[str, ...] = ()
    """Tables (TOML) of more vehicles, each at an EVSE of its own in the same charger."""
    fleet: Literal["depot", "market", "bids"] | None = None
    """The fleet to which the vehicles belong: the back end plans them; `bids`: what it can do is bid, too."""
    roaming: bool = False
    """The vehicle's contract is of another back end's operator, a roaming partner."""
    vtn: bool = False
    """An OpenADR VTN steers the back end."""
    prices: str = ""
    """Package data of v2g_cli.demo: a day of market prices, which the back end reads."""
    local_time: tuple[str, int, int] | None = None
    """Time zone, and hours of the clock at which the run begins, on the next such day, and the vehicle departs."""
    time_scale: float = 300.0
    """Simulated seconds per second, unless the caller says otherwise."""
    stay_s: int = 21_600
    battery: str = "capacity_wh = 60000\nsoc = 55.0\n"
    least_price: str = "0.10"
    """Minimum compensation of the vehicle."""
    command_s: int = 900
    """Validity of a signed command. Simulated time is fast: a quarter of an hour is seconds of the demo."""
    freeze_evcc: bool = False
    interrupt_evcc: bool = False
    """Ctrl-C at the vehicle in the charge loop."""
    cut_powerline: bool = False
    """The modems lose each other, from the charge loop on."""
    off_within_s: float | None = None
    """Limit for the charger to switch power off after the fault, real seconds."""
    offers: tuple[EditionName, ...] = ("20",)
    """Editions that the vehicle offers, best first."""
    serves: tuple[EditionName, ...] = ("20",)
    """Editions that the charger serves."""
    without_tls: bool = False
    """The vehicle requests no TLS."""
    remote_start: bool = False
    """External identification: the back end starts the transaction once the vehicle is plugged in."""
    plug: bool = True
    """Pilot and powerline through a plug; else the vehicle is positioned, and discovered on the network."""
    broker: bool = True
    charger: str = ""
    """Lines of the charger's [charger], TOML."""
    mains: str = ""
    """The file `mains.csv` of the charger's simulated mains."""
    secc_tables: str = ""
    evcc_tables: str = ""
    """More tables of either configuration, TOML."""
    program: str
    """The vehicle's program, TOML."""
    ocpp: tuple[str, ...] = ("ocpp2.1", "ocpp2.0.1")

    @property
    def edition(self) -> EditionName:
        """The edition of the session: the vehicle's first one that the charger serves."""
        return next(each for each in self.offers if each in self.serves)

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Whose certificates charger and vehicle have."""
        older = "2" in self.serves and not self.without_tls
        return (Generation.ISO15118_20, Generation.ISO15118_2) if older else (Generation.ISO15118_20,)

    def begun_fleet(self, begin_ms: int) -> Fleet | None:
        """Return its fleet at a start (UTC ms); a depot has a peak from 40 to 80 minutes after it."""
        if self.fleet == "market":
            return Fleet(id="market", zone="Europe/Berlin", charge_efficiency=0.98, discharge_efficiency=0.98)
        if self.fleet is None:
            return None
        if self.fleet == "bids":
            return Fleet(id="bids", gate_closure_s=GATE_S)
        begin = begin_ms // 60_000 + 40
        until = (begin + 40) % _DAY_MIN or _DAY_MIN
        return Fleet(
            id="depot", peak=Peak(from_minute=begin % _DAY_MIN, until_minute=until, import_limit_w=DEPOT_PEAK_W)
        )


_DATA: Final = table("v2g_cli.demo", "data/scenarios.toml", Fields)
_PROGRAMS: Final[dict[str, str]] = _DATA["programs"]


def _scenario(fields: Fields) -> Scenario:
    program = fields.get("program", "there_and_back")
    return typed_json.convert({**fields, "program": _PROGRAMS.get(program, program)}, Scenario)


def _broken(name: str, fault: str, step: str, *, ends: str = "", flows: bool = True, stands: bool = True) -> Scenario:
    """Return the scenario of a hardware fault; `ends` is the response code to the vehicle, if any. One that does not
    stand ends with the voltage, perhaps before the connector's state is reported."""
    seen: list[Expected] = [
        ("secc", "hardware", "fault_began", {"fault": fault}),
        ("secc", "hardware", "light", {"light": "red"}),
        ("csms", "ocpp", "device_event", {"tech_code": fault}),
        *((("csms", "ocpp", "connector_status", {"status": "Faulted"}),) if stands else ()),
        ("secc", "power", "emergency_off", {} if ends else {"reason": fault}),
    ]
    if ends:
        seen.append(("secc", "session", "request_failed", {"code": ends}))
    return Scenario(
        name=f"fault-{name}",
        about=f"in the charger: {faults.FAULTS[fault].sentence}",
        ending="stopped" if flows else "no_session",
        sees=tuple(seen),
        program=_PROGRAMS["there_and_back"],
        secc_tables=f"[[hardware.simulated.faults]]\n{step.replace(', ', chr(10))}\n",
    )


FAULTS: Final[tuple[Scenario, ...]] = (
    _broken("cable-check", "isolation_low", 'fault = "isolation", value = 1000', ends="FAILED", flows=False),
    _broken("isolation", "isolation_low", 'fault = "isolation", value = 1000, when = "current", after_s = 1'),
    _broken("over-voltage", "over_voltage", 'fault = "over_voltage", when = "current", after_s = 1', stands=False),
    _broken(
        "over-temperature", "over_temperature", 'fault = "over_temperature", value = 95, when = "current", after_s = 1'
    ),
    _broken("emergency-stop", "emergency_stop", 'fault = "estop", when = "current", after_s = 1'),
    _broken("power-stage-lost", "stage_lost", 'fault = "stage_silent", when = "current", after_s = 1'),
    _broken(
        "contactor-welded",
        "contactor_welded",
        'fault = "weld", when = "current", after_s = 1',
        ends="FAILED_ContactorError",
    ),
)
"""Faults of the charger's hardware: reported to the vehicle, the lamp, the back end and the log."""

SCENARIOS: Final = (*map(_scenario, _DATA["scenarios"]), *FAULTS)


def find(name: str) -> Scenario | None:
    """Return the scenario of that name."""
    return next((scenario for scenario in SCENARIOS if scenario.name == name), None)
