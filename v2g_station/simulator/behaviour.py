"""Simulated drivers, vehicles and hardware at one station: arrivals, actions, energy flow.

Pure: `chance()` returns numbers from 0 to 1, times are ms of a clock that is never set. `advance` returns the facts
that hardware would report.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.energy.conductors import LINES
from v2g.energy.needs import EvNeeds, Service
from v2g.hardware.energy_manager.commands import CommandStep
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.authorization import IdToken, IdTokenType
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.units import HOUR_MS
from v2g_station.blocks import evse
from v2g_station.blocks.der.reactive import React
from v2g_station.blocks.der.response import Respond
from v2g_station.blocks.evse import Bay as ParkingBay
from v2g_station.blocks.payment.terminal import CardPresented, VatEntered
from v2g_station.blocks.security.certificates import ContractRequest
from v2g_station.blocks.smart_charging import high_level
from v2g_station.blocks.smart_charging.ev_needs import plan_schedule
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.local_control import GridFrequency, SetPower
from v2g_station.blocks.smart_charging.profiles import ProfileLimits, part
from v2g_station.blocks.smart_charging.smart_charging import AllowEnergyTransfer, PriorityChargingRequested, SetPhases
from v2g_station.blocks.transaction_limits import DriverLimit
from v2g_station.blocks.transaction_records import MeterSample
from v2g_station.blocks.transactions.resumption import Restarted
from v2g_station.blocks.web_payment import WebPaymentRequested
from v2g_station.kernel.kernel import StationCommand
from v2g_station.simulator.grid import NEVER_MS, GridControl, GridPlan, SimulatedGrid
from v2g_station.simulator.sessions import PlannedSession
from v2g_station.simulator.terminal import Share, SimulatedTerminal, TerminalFaults, ending

SYSTEM = "EMS"
"""The external system, as a source of limits."""
CARD = "simulated-card"


def reported(action: str, evse_id: int, values: Sequence[str]) -> Iterator[Fact]:
    """Yield what the hardware reports of a step. Raises ValueError for an unknown one, and for a wrong value."""
    match action, values:
        case "limit", [watts]:
            yield ExternalLimit(source=SYSTEM, limit_w=to_number(watts))
        case "setpoint", [watts]:
            yield ExternalLimit(source=SYSTEM, setpoint_w=to_number(watts))
        case "generate", [watts]:
            yield ExternalLimit(source=SYSTEM, generation=True, limit_w=to_number(watts))
        case "schedule", [text]:
            first, seconds, then = text.split("/")
            begin = CommandStep(start_s=0, limit_w=to_number(first))
            later = CommandStep(start_s=int(seconds), limit_w=to_number(then))
            yield ExternalLimit(source=SYSTEM, schedule=(begin, later))
        case "release", []:
            yield ExternalLimit(source=SYSTEM)
            yield ExternalLimit(source=SYSTEM, generation=True)
        case (("hurry" | "relax"), []):
            yield PriorityChargingRequested(evse_id=evse_id, active=action == "hurry")
        case "pay", []:
            yield CardPresented(evse_id=evse_id, card=CARD)
        case "vat", [written]:
            yield VatEntered(evse_id=evse_id, number=written)
        case (("most-time" | "most-energy" | "most-cost"), [value]):
            yield DriverLimit(evse_id=evse_id, limit=_limit(action, value))
        case _:
            raise ValueError(f"not a step: {' '.join((action, str(evse_id), *values))}")


def chosen(action: str, evse_id: int, value: str) -> Iterator[Fact]:
    """Yield a limit that a driver chooses before a payment on the web. Raises ValueError for a wrong value."""
    yield WebPaymentRequested(evse_id=evse_id, limit=_limit(action, value))


def _limit(action: str, value: str) -> TransactionLimit:
    match action:
        case "most-time":
            return TransactionLimit(max_time=int(value))
        case "most-energy":
            return TransactionLimit(max_energy=to_number(value))
    return TransactionLimit(max_cost=to_number(value))


def to_number(text: str) -> float:
    """Return a number of a step. Raises ValueError for anything else, also for inf and nan."""
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"not a number: {text}")
    return found


STAY_MS: Final = 10 * HOUR_MS
"""How long a bidirectional vehicle stays that came by hand, as it announces."""
VOLTS: Final = 400
"""Of direct current."""
LINE_VOLTS: Final = 230
"""Between a line conductor and the neutral."""
NOMINAL_HZ: Final = 50.0
"""Of a grid that is not simulated."""
PHASE_PAUSE_MS: Final = 10_000
"""How long a vehicle is without mains while its EVSE changes phases, as at a charger (`charger.ac_rating`)."""
EVCCID: Final = "WMISIM0001"
"""Of vehicles that come by hand."""
PROTOCOL: Final = "urn:iso:std:iso:15118:-20:"
OLDER_PROTOCOL: Final = "urn:iso:15118:2:2013:MsgDef"
WISH: Final = b"request for a contract"
"""In place of a vehicle's CertificateInstallationReq, which stations pass on unread."""
_HEX: Final = MappingProxyType({"ISO14443": (8, 14), "ISO15693": (16,)})
"""Lengths of identifiers in hex (OCPP 2.0.1, IdTokenEnumType)."""
_DIGITS: Final = 6
_LONGEST: Final = 36


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Behaviour at a station. Times in minutes, energy in kWh, power in kW; ranges are (least, most)."""

    arrivals_per_hour: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    """Of each free EVSE."""
    energy_kwh: tuple[float, float] = (5.0, 40.0)
    vehicle_kw: tuple[float, float] = (7.0, 120.0)
    bidirectional: Share = 0.0
    """Share of vehicles that send needs with discharging (DC_BPT of ISO 15118-20) and follow set-points."""
    battery_kwh: tuple[float, float] = (40.0, 100.0)
    """Of those vehicles; they arrive about half full and discharge down to a fifth."""
    stay_hours: tuple[float, float] = (2.0, 10.0)
    """How long they stay, which they announce as their departure."""
    linger_minutes: tuple[float, float] = (0.0, 30.0)
    """How long a vehicle stays once it is charged."""
    authorize_first: Share = 0.3
    """Share of drivers who identify themselves before plugging in."""
    plug_and_charge: Share = 0.1
    phases: Literal[0, 1, 3] = 0
    """Line conductors of each EVSE with alternating current, at most 32 A each; 0: direct current."""
    phase_switch: bool = False
    """Whether EVSEs change from three phases to one and back, and choose the one (K01.FR.43, .46)."""
    detachable_cables: bool = False
    """Whether vehicles bring their cables, which the station locks."""
    signed_readings: bool = False
    """Whether meters sign their readings (OCMF), from the moment at which a vehicle is plugged in."""
    card_payments: Share = 0.0
    """Share of drivers without an RFID card, who pay at the station's terminal."""
    terminal: TerminalFaults = TerminalFaults()
    unplug_without_stop: Share = 0.3
    """Share of drivers who unplug the cable without ending the transaction first."""
    tokens: Annotated[int, Meta(ge=1)] = 1000
    """Number of cards; drivers get random ones."""
    token_type: IdTokenType = "ISO14443"  # noqa: S105 - no secret
    """Type of their identifiers."""
    token_prefix: Annotated[str, Meta(max_length=32)] = "CA4D"  # noqa: S105
    """Prefix of the identifiers. A number follows; ISO14443 and ISO15693 are in hex, of 4 or 7 and of 8 bytes."""
    offline_per_day: Annotated[float, Meta(ge=0)] = 0.5
    offline_minutes: tuple[float, float] = (1.0, 30.0)
    faults_per_day: Annotated[float, Meta(ge=0)] = 0.1
    fault_minutes: tuple[float, float] = (1.0, 20.0)
    overstates: Annotated[float, Meta(ge=0, le=1000)] = 1.0
    """What meters report is so many times what flows: a station that lies."""
    grid: GridPlan | None = None
    """What stations measure of the grid and control their power by (Q08, R01); without it they measure nothing."""

    def __post_init__(self) -> None:
        if self.token_type in _HEX and not set(self.token_prefix.upper()) <= set("0123456789ABCDEF"):
            raise ValueError(
                f"token_prefix {self.token_prefix!r}: identifiers of type {self.token_type} must be in hex"
            )
        if self.phase_switch and self.phases != 3:
            raise ValueError("phase_switch needs phases = 3")
        longest = self.card(self.tokens - 1)
        allowed = _HEX.get(self.token_type, (_LONGEST,))
        if len(longest) > allowed[-1]:
            raise ValueError(f"token_prefix: {longest} is too long for {self.token_type} identifiers")

    def card(self, number: int) -> str:
        """Return the identifier of a card, one of `tokens`; those of ISO 14443 have 4 or 7 bytes in hex."""
        digits = max(_DIGITS, len(str(self.tokens - 1)))
        if self.token_type in _HEX:
            least = len(self.token_prefix) + len(str(self.tokens - 1))
            size = next((size for size in _HEX[self.token_type] if size >= least), least)
            digits = size - len(self.token_prefix)
        return f"{self.token_prefix}{number:0{digits}d}"


QUIET: Final = Behaviour(arrivals_per_hour=0, offline_per_day=0, faults_per_day=0)
"""Nobody comes, nothing fails: for steps by hand (`Site.do`)."""


class SimulatedBattery(msgspec.Struct, kw_only=True):
    """The battery of a bidirectional vehicle, mWh."""

    capacity_mwh: int
    energy_mwh: int

    @property
    def least_mwh(self) -> int:
        """The reserve for driving."""
        return self.capacity_mwh // 5

    @property
    def soc(self) -> int:
        """Return the state of charge, percent."""
        return max(0, min(100, self.energy_mwh * 100 // self.capacity_mwh))

    def takes(self, power_w: float) -> bool:
        """Return whether it can be charged with a power, or discharged with one below 0."""
        return self.energy_mwh < self.capacity_mwh if power_w >= 0 else self.energy_mwh > self.least_mwh

    def rest_mwh(self, power_w: float) -> int:
        """Return the remaining energy in that direction."""
        return max(0, self.capacity_mwh - self.energy_mwh if power_w >= 0 else self.energy_mwh - self.least_mwh)


Phase = Literal["free", "identified", "plugged", "charging", "full", "ended", "faulted"]


class SimulatedBay(msgspec.Struct, kw_only=True):
    """One simulated EVSE and the vehicle at it."""

    number: int
    max_w: int
    due_ms: int
    phase: Phase = "free"
    wanted_mwh: int = 0
    vehicle_w: int = 0
    import_mwh: int = 0
    export_mwh: int = 0
    allowed: bool = False
    allowance: ProfileLimits = ProfileLimits()
    phases: int = 0
    """Line conductors of the EVSE; 0: direct current."""
    lines: tuple[int, ...] = ()
    """Those in use (0 to 2)."""
    next_lines: tuple[int, ...] | None = None
    """Those in use from `switches_ms` on; no energy flows until then."""
    switches_ms: int = NEVER_MS
    token: str = ""
    contract: bool = False
    pays: bool = False
    """Whether the driver pays at the terminal."""
    by_hand: bool = False
    """Whether the vehicle came by `Site.do`, and leaves by it."""
    cable: bool = False
    """Whether a detachable cable is plugged in."""
    jammed: bool = False
    """Whether its lock fails."""
    metered_ms: int = 0
    battery: SimulatedBattery | None = None
    """Of a vehicle that sends its needs."""
    older: bool = False
    """Whether the vehicle uses ISO 15118-2, and only charges."""
    service: Service = "DC_BPT"
    control: Literal["dynamic", "scheduled"] = "dynamic"
    token_type: IdTokenType | None = None
    """Of a planned session's token."""
    planned: bool = False
    """Whether the vehicle came by a planned session, and stays until `leaves_ms`."""
    leaves_ms: int = 0
    grid: GridControl

    @property
    def services(self) -> tuple[Service, Service]:
        """The energy services that the EVSE has, to charge and both ways."""
        return ("AC", "AC_BPT") if self.phases else ("DC", "DC_BPT")

    @property
    def power_w(self) -> int:
        """The current power; below 0 out of the vehicle."""
        if self.phase != "charging" or not self.allowed or self.next_lines is not None:
            return 0
        found, rating = self.allowance, self._rating_w
        most = min(rating if found.charge_w is None else max(0.0, found.charge_w), sum(self._of_lines(discharge=False)))
        least = 0.0
        if self.battery is not None:
            out_w = rating if found.discharge_w is None else max(0.0, found.discharge_w)
            least = -min(out_w, sum(self._of_lines(discharge=True)))
        target = found.setpoint_w if self.grid.local_w is None else self.grid.local_w
        target = max(least, min(most, most if target is None else target))
        power = int(self.grid.slewed(max(least, min(most, self.grid.response.bend(int(target))))))
        return power if self.battery is None or self.battery.takes(power) else 0

    @property
    def line_w(self) -> tuple[float, ...]:
        """The power of L1, L2 and L3, as many as there are; in the proportion of what each may carry."""
        power = self.power_w
        most = self._of_lines(discharge=power < 0)[: self.phases]
        return tuple(each * power / sum(most) if power else 0.0 for each in most)

    @property
    def _rating_w(self) -> float:
        return min(self.max_w, self.vehicle_w)

    def _of_lines(self, *, discharge: bool) -> tuple[float, ...]:
        """Return the most that L1, L2 and L3 may carry, W; with direct current all of it in one."""
        if not self.phases:
            return (self._rating_w,)
        found, of_rating = self.allowance, self._rating_w / self.phases
        apart, every = (
            (found.discharge_lines_a, found.discharge_a) if discharge else (found.charge_lines_a, found.charge_a)
        )
        amperes = apart or (of_rating if every is None else every,) * len(LINES)
        return tuple(
            min(of_rating, max(0.0, each) * LINE_VOLTS) if line in self.lines else 0.0
            for line, each in enumerate(amperes)
        )


class Departing(Fact, frozen=True, kw_only=True):
    """A vehicle's needs with its departure in `in_ms`: `dated` makes it `Needs`."""

    evse_id: int
    needs: EvNeeds
    in_ms: int

    def dated(self, utc_ms: int) -> high_level.NeedsReported:
        """Return the fact for the station at a time of day."""
        needs = msgspec.structs.replace(self.needs, departure_ms=utc_ms + self.in_ms)
        return high_level.NeedsReported(evse_id=self.evse_id, needs=needs)


def needs_of(bay: SimulatedBay) -> EvNeeds:
    """Return the needs of a vehicle with a battery, without its departure."""
    assert bay.battery is not None
    watts, volts, charge_only = min(bay.max_w, bay.vehicle_w), LINE_VOLTS if bay.phases else VOLTS, bay.services[:1]
    line_w, both = watts // max(1, bay.phases), bay.service == bay.services[1]
    each = (line_w,) * bay.phases if bay.phases > 1 and not bay.older else ()
    return EvNeeds(
        service=bay.service,
        control_mode=bay.control,
        max_charge_w=watts,
        max_discharge_w=watts if both else 0,
        line_charge_w=each,
        line_discharge_w=each if both else (),
        max_current_ma=line_w * 1000 // volts,
        max_voltage_mv=volts * 1000,
        soc=bay.battery.soc,
        target_soc=80,
        target_energy_wh=bay.battery.rest_mwh(1) // 1000,
        max_energy_wh=bay.battery.rest_mwh(1) // 1000,
        min_energy_wh=-(bay.battery.rest_mwh(-1) // 1000),
        available=charge_only if bay.older else bay.services,
        older=bay.older,
    )


class SimulatedSite:
    """Everything at one station. `powers` are the maximum of each EVSE (W); `name` is the terminal's."""

    def __init__(
        self,
        behaviour: Behaviour,
        powers: tuple[int, ...],
        now_ms: int,
        chance: Callable[[], float],
        name: str = "sim",
        grid: SimulatedGrid | None = None,
        planned: Sequence[PlannedSession] | None = None,
        contract: evse.ContractPresented | None = None,
    ) -> None:
        """Create it; with `planned` only these vehicles come, the first one of the file now. `contract` is that of
        vehicles that come by hand, at any EVSE."""
        self.behaviour = behaviour
        self._contract = contract
        self._chance = chance
        self._began_ms = now_ms
        self._planned: dict[int, deque[PlannedSession]] | None = None
        if planned is not None:
            self._planned = {
                number: deque(each for each in planned if each.evse == number) for number in range(1, len(powers) + 1)
            }
        self.terminal = SimulatedTerminal(chance, behaviour.terminal, name=name)
        self.bays = {
            number: SimulatedBay(
                number=number,
                max_w=power,
                due_ms=self._comes_ms(number, now_ms),
                metered_ms=now_ms,
                phases=behaviour.phases,
                lines=LINES[: behaviour.phases],
                grid=GridControl(rated_w=power),
            )
            for number, power in enumerate(powers, 1)
        }
        self.sessions = 0
        self.refused = 0
        self.grid = grid
        self._place = 0 if grid is None else grid.connect(self._drawn)
        self._measures_ms = NEVER_MS if grid is None else now_ms

    # -- for the station

    def read(self, evse_id: int, now_ms: int) -> MeterSample | None:
        """Return the meter sample of an EVSE; 0 is the main meter."""
        bays = [self.bays[evse_id]] if evse_id in self.bays else list(self.bays.values())
        for bay in bays:
            self._meter(bay, now_ms)
        said = self.behaviour.overstates
        line_w = tuple(round(said * sum(each)) for each in zip(*(bay.line_w for bay in bays), strict=True))
        power_w, volts = round(said * sum(bay.power_w for bay in bays)), LINE_VOLTS if line_w else VOLTS
        return MeterSample(
            utc_ms=now_ms,
            import_mwh=round(said * sum(bay.import_mwh for bay in bays)),
            export_mwh=round(said * sum(bay.export_mwh for bay in bays)),
            soc=bays[0].battery.soc if evse_id in self.bays and bays[0].battery is not None else None,
            power_w=power_w,
            voltage_v=float(volts),
            current_a=max(0.0, sum(line_w) if line_w else power_w) / volts,
            line_w=line_w,
            line_a=tuple(each / LINE_VOLTS for each in line_w),
            line_v=(float(LINE_VOLTS),) * len(line_w),
            frequency_hz=NOMINAL_HZ if self.grid is None else self.grid.at(now_ms, self._place).hz,
        )

    def serves(self, evse_id: int, modes: Sequence[str]) -> bool:
        """Return whether the vehicle at an EVSE can change to one of these energy transfer modes."""
        bay = self.bays[evse_id]
        able = {*bay.services, *(each for each in modes if bay.phases and each.endswith("_phase"))}
        return bay.battery is not None and not bay.older and not able.isdisjoint(modes)

    def _drawn(self) -> complex:
        """Return what the station draws from the grid, W + j var."""
        return complex(sum(bay.power_w for bay in self.bays.values()), -sum(bay.grid.var for bay in self.bays.values()))

    def set_meter(self, evse_id: int, import_mwh: int, export_mwh: int) -> None:
        """Set a meter's registers to a former state; unknown EVSEs are ignored."""
        if (bay := self.bays.get(evse_id)) is not None:
            bay.import_mwh, bay.export_mwh = import_mwh, export_mwh

    def command(self, command: StationCommand, now_ms: int) -> Iterator[Fact]:
        """Carry out a command to the hardware; yield the facts that follow at once."""
        match command:
            case evse.AllowPower(evse_id=evse_id, allowed=allowed, energy_transfer=modes):
                bay = self.bays[evse_id]
                if modes and bay.services[1] not in modes:
                    bay.service = bay.services[0]
                yield from self._allow(bay, now_ms, allowed=allowed)
            case ProfileLimits(evse_id=evse_id):
                bay = self.bays[evse_id]
                self._meter(bay, now_ms)
                bay.allowance = part(command)
                yield from self._flowing(bay, now_ms)
            case SetPhases(evse_id=evse_id, lines=lines):
                yield from self._switch(self.bays[evse_id], lines, now_ms)
            case SetPower(evse_id=evse_id) | Respond(evse_id=evse_id):
                yield from self._follow(self.bays[evse_id], command, now_ms)
            case React(evse_id=evse_id, var=var):
                self.bays[evse_id].grid.var = var
            case high_level.OfferSchedules(evse_id=evse_id):
                yield from self._plan(self.bays[evse_id])
            case high_level.Renegotiate(evse_id=evse_id):
                yield from self._needs(self.bays[evse_id], now_ms)
            case high_level.GiveContract(evse_id=evse_id, outcome=outcome) if outcome.status == "answered":
                yield from self._identifies(self.bays[evse_id])
            case high_level.RenegotiateServices(evse_id=evse_id):
                bay = self.bays[evse_id]
                yield from self._select(bay, bay.services[0], now_ms)
            case AllowEnergyTransfer(evse_id=evse_id, modes=modes):
                bay = self.bays[evse_id]
                yield from self._select(bay, bay.services[bay.services[1] in modes], now_ms)
            case evse.Lock(evse_id=evse_id, locked=True) if self.bays[evse_id].jammed:
                yield evse.LockFailure(evse_id=evse_id)
            case evse.Lock(evse_id=evse_id, connector_id=connector_id, locked=False):
                yield evse.Unlocked(evse_id=evse_id, connector_id=connector_id)
            case evse.Restart(evse_id=int(evse_id)):
                yield Restarted(evse_id=evse_id)
            case _:
                yield from self.terminal.command(command)

    def plugs(self) -> Iterator[Fact]:
        """Yield the state of all cables, as hardware does after the start of its station."""
        for bay in self.bays.values():
            yield from self._cable(bay)

    def _cable(self, bay: SimulatedBay) -> Iterator[Fact]:
        """Yield the state of the cable of an EVSE, and whether its meter signs."""
        station = bay.cable or not self.behaviour.detachable_cables
        vehicle = bay.phase in ("plugged", "charging", "full", "ended")
        yield evse.Plug(evse_id=bay.number, station=station, vehicle=vehicle)
        if self.behaviour.signed_readings:
            yield evse.MeterSigns(evse_id=bay.number, available=vehicle)

    def started(self, now_ms: int) -> Iterator[Fact]:
        """Yield what hardware reports to a station that has started without a state."""
        for bay in self.bays.values():
            self._meter(bay, now_ms)
            bay.grid, bay.lines = GridControl(rated_w=bay.max_w), LINES[: bay.phases]
            bay.next_lines, bay.switches_ms = None, NEVER_MS
        yield from self.plugs()
        if self.grid is not None:
            yield self.grid.at(now_ms, self._place)

    def _follow(self, bay: SimulatedBay, command: SetPower | Respond, now_ms: int) -> Iterator[Fact]:
        """Set the power of an EVSE as commanded for the grid."""
        self._meter(bay, now_ms)
        match command:
            case SetPower(power_w=power_w):
                bay.grid.local_w = power_w
            case Respond(response=response):
                bay.grid.respond(response, bay.power_w)
                if self._measures_ms == NEVER_MS:  # power that rises by a gradient is measured as it rises
                    self._measures_ms = now_ms + 1
        yield from self._flowing(bay, now_ms)

    def _switch(self, bay: SimulatedBay, lines: tuple[int, ...], now_ms: int) -> Iterator[Fact]:
        """Use other line conductors: under a vehicle after a pause without mains, in which the last request counts."""
        self._meter(bay, now_ms)
        if bay.phase not in ("plugged", "charging", "full", "ended"):
            bay.lines = lines
        elif lines != (bay.next_lines or bay.lines):
            bay.next_lines, bay.switches_ms = lines, now_ms + PHASE_PAUSE_MS
            yield from self._flowing(bay, now_ms)

    def _allow(self, bay: SimulatedBay, now_ms: int, *, allowed: bool) -> Iterator[Fact]:
        self._meter(bay, now_ms)
        allowed = allowed and not bay.jammed
        bay.allowed = allowed
        if allowed and (bay.phase == "plugged" or (bay.phase == "ended" and bay.wanted_mwh > 0)):
            bay.phase = "charging"
            if bay.by_hand and bay.wanted_mwh <= 0:
                yield from self._fill(bay)
                return
            yield from self._flowing(bay, now_ms)
            yield from self._needs(bay, now_ms)
        elif not allowed and bay.phase in ("charging", "full"):
            bay.phase = "ended"
            bay.due_ms = bay.leaves_ms if bay.planned else now_ms + self._minutes((0.0, 1.0))
            yield evse.Power(evse_id=bay.number, state="EVConnected")

    @staticmethod
    def _fill(bay: SimulatedBay) -> Iterator[Fact]:
        """Let a vehicle that is charging take no more."""
        if bay.phase == "charging":
            bay.phase, bay.due_ms = "full", NEVER_MS
            yield evse.Power(evse_id=bay.number, state="SuspendedEV")

    def _needs(self, bay: SimulatedBay, now_ms: int) -> Iterator[Fact]:
        """Yield the needs of a bidirectional vehicle."""
        if bay.battery is not None:
            yield Departing(evse_id=bay.number, needs=needs_of(bay), in_ms=max(0, bay.leaves_ms - now_ms))

    def _select(self, bay: SimulatedBay, service: Service, now_ms: int) -> Iterator[Fact]:
        """Let a bidirectional vehicle select an energy service, and yield its needs."""
        if bay.battery is not None and not bay.older and bay.service != service:
            bay.service = service
            yield from self._needs(bay, now_ms)

    @staticmethod
    def _plan(bay: SimulatedBay) -> Iterator[Fact]:
        """Yield the plan of a vehicle in scheduled mode: to charge as fast as it may."""
        if bay.battery is not None and bay.control == "scheduled":
            limit_w = bay.allowance.charge_w
            watts = int(bay.vehicle_w if limit_w is None else min(bay.vehicle_w, limit_w))
            yield high_level.PlanReported(evse_id=bay.number, schedule=plan_schedule(((0, watts),), 3600))

    def _flowing(self, bay: SimulatedBay, now_ms: int) -> Iterator[Fact]:
        if bay.phase != "charging" or not bay.allowed:
            return
        power = bay.power_w
        rest_mwh = max(0, bay.wanted_mwh) if bay.battery is None else bay.battery.rest_mwh(power)
        bay.due_ms = now_ms + (int(rest_mwh * 3600 / abs(power)) + 1 if power else HOUR_MS)
        if bay.battery is not None or bay.planned:
            bay.due_ms = max(now_ms, min(bay.due_ms, bay.leaves_ms))
        lines = sum(each != 0 for each in bay.line_w) or None
        yield evse.Power(evse_id=bay.number, state="Charging" if power else "SuspendedEVSE", phases=lines)

    # -- by hand

    def do(self, line: str, now_ms: int) -> Iterator[Fact]:
        """Carry out `present EVSE TOKEN [TYPE]`, `vehicle EVSE KIND` (see `_drive_in`), `ACTION EVSE`: plug, unplug,
        pull, needs, end, suspend, arrive, depart, stop, fault, alert, jam, clear; or what `steps` knows.

        Raises ValueError for anything else, LookupError for what cannot be done now.
        """
        match line.split():
            case [action, number, *rest] if number.isdecimal() and int(number) in self.bays:
                bay = self.bays[int(number)]
            case _:
                raise ValueError(f"not a step, or no such EVSE: {line}")
        match action, rest:
            case "plug", []:
                if bay.phase not in ("free", "identified"):
                    raise LookupError(f"EVSE {number} is {bay.phase}")
                self._bring(bay)
                yield from self._plug(bay, now_ms)
            case "vehicle", [kind]:
                yield from self._drive_in(bay, kind, now_ms)
            case "frequency", [hertz] if self.grid is not None:
                yield GridFrequency(hz=to_number(hertz), volt=self.grid.plan.voltage_v)
            case "needs", [] if bay.battery is not None:
                bay.leaves_ms += HOUR_MS
                yield from self._needs(bay, now_ms)
            case "end", [] if bay.allowed and bay.phase != "free":
                yield high_level.VehicleEnds(evse_id=bay.number)
            case (("unplug" | "pull"), []):
                self._meter(bay, now_ms)
                yield from self._leave(bay, now_ms, cable=action == "pull")
            case "suspend", []:
                self._meter(bay, now_ms)
                bay.wanted_mwh = 0
                yield from self._fill(bay)
            case (("arrive" | "depart"), []):
                yield ParkingBay(evse_id=bay.number, occupied=action == "arrive")
            case (("present" | "choose" | "choose-all"), [token, *kind]) if len(kind) <= 1:
                identifier = typed_json.convert({"idToken": token, "type": (*kind, "ISO14443")[0]}, IdToken)
                chosen_evses = (bay.number,) if action == "choose" else ()
                yield evse.TokenPresented(id_token=identifier, evse_id=bay.number, chosen=chosen_evses)
            case "stop", []:
                yield evse.StopButton(evse_id=bay.number)
            case "jam", [] if self.behaviour.detachable_cables:
                bay.jammed = True
            case (("fault" | "alert" | "clear"), []):
                if bay.jammed:
                    bay.jammed = False
                    yield evse.Unlocked(evse_id=bay.number)
                yield evse.Fault(evse_id=bay.number, word="simulated", active=action != "clear")
            case (("most-time" | "most-energy" | "most-cost"), [_]) if not bay.allowed:
                yield from chosen(action, bay.number, rest[0])
            case "settlements", [("Settled" | "Failed" | "Rejected") as status]:
                self.terminal.faults = ending(self.behaviour.terminal, status)
            case _:
                yield from reported(action, bay.number, rest)

    def _drive_in(self, bay: SimulatedBay, kind: str, now_ms: int) -> Iterator[Fact]:
        """Let a vehicle of ISO 15118 come by hand.

        Of -20, and bidirectional: `dynamic` or `scheduled`. Of -2: `iso-2`, with a `contract`, or without one, which it
        lets `install`, or with an old one, which it lets `update`.
        Raises ValueError for another kind, LookupError for one that cannot come now.
        """
        both_ways = kind in ("dynamic", "scheduled")
        if not both_ways and kind not in ("iso-2", "contract", "install", "update"):
            raise ValueError(f"not a vehicle: {kind}")
        if bay.phase not in ("free", "identified"):
            raise LookupError(f"EVSE {bay.number} is {bay.phase}")
        if both_ways and not self.behaviour.bidirectional:
            raise LookupError("the station takes no such vehicles")
        if self._contract is None and not both_ways and kind != "iso-2":
            raise LookupError("vehicles have no contract")
        self._bring(bay)
        if both_ways or kind == "iso-2":
            capacity = int(self.behaviour.battery_kwh[1] * 1_000_000)
            bay.battery, bay.leaves_ms = (
                SimulatedBattery(capacity_mwh=capacity, energy_mwh=capacity // 2),
                now_ms + STAY_MS,
            )
        bay.older = not both_ways
        bay.service = bay.services[kind != "iso-2"]
        bay.control = "scheduled" if kind in ("scheduled", "iso-2") else "dynamic"
        yield high_level.VehicleKnown(
            evse_id=bay.number, evccid=EVCCID, protocol=PROTOCOL + bay.services[0] if both_ways else OLDER_PROTOCOL
        )
        yield from self._plug(bay, now_ms)
        if kind == "contract":
            yield from self._identifies(bay)
        elif kind in ("install", "update"):
            wish = ContractRequest(schema=OLDER_PROTOCOL, exi=WISH, update=kind == "update")
            yield high_level.ContractWanted(evse_id=bay.number, request=wish)

    def _identifies(self, bay: SimulatedBay) -> Iterator[Fact]:
        """Let a vehicle that came by hand present its contract."""
        if bay.by_hand and bay.phase == "plugged" and self._contract is not None:
            yield msgspec.structs.replace(self._contract, evse_id=bay.number)

    def _bring(self, bay: SimulatedBay) -> None:
        """Let a vehicle come by hand."""
        bay.by_hand, bay.battery, bay.older, bay.contract = True, None, False, False
        bay.wanted_mwh = int(self.behaviour.energy_kwh[1] * 1_000_000)
        bay.vehicle_w = int(self.behaviour.vehicle_kw[1] * 1000)

    # -- time

    def due(self) -> int:
        """Return when the next step is due."""
        return min(self._measures_ms, *(min(bay.due_ms, bay.switches_ms) for bay in self.bays.values()))

    def advance(self, now_ms: int) -> Iterator[Fact]:
        """Carry out all steps that are due."""
        if self.grid is not None and self._measures_ms <= now_ms:
            # measure the grid; power that rises by a gradient has risen meanwhile
            rising = [bay for bay in self.bays.values() if bay.grid.reach_w is not None]
            self._measures_ms = self.grid.next(now_ms, rising=bool(rising))
            yield self.grid.at(now_ms, self._place)
            for bay in rising:
                self._meter(bay, now_ms)
                yield from self._flowing(bay, now_ms)
        for bay in self.bays.values():
            if bay.switches_ms <= now_ms and bay.next_lines is not None:
                self._meter(bay, now_ms)
                bay.lines, bay.next_lines, bay.switches_ms = bay.next_lines, None, NEVER_MS
                yield from self._flowing(bay, now_ms)
            if bay.due_ms <= now_ms:
                yield from self._next(bay, now_ms)

    def _next(self, bay: SimulatedBay, now_ms: int) -> Iterator[Fact]:
        self._meter(bay, now_ms)
        match bay.phase:
            case "plugged" | "full" | "ended" if bay.by_hand:
                bay.due_ms = NEVER_MS
            case "free" if self._planned is not None:
                yield from self._come(bay, self._planned[bay.number].popleft())
            case "plugged" | "charging" | "full" | "ended" if bay.planned and now_ms >= bay.leaves_ms:
                self.refused += bay.phase == "plugged" and bool(bay.token)
                yield from self._leave(bay, now_ms)
            case "charging" if bay.planned and bay.wanted_mwh > 0:
                yield from self._flowing(bay, now_ms)  # waits for another limit
            case "charging" if bay.planned:
                bay.phase, bay.due_ms = "full", bay.leaves_ms
                yield evse.Power(evse_id=bay.number, state="SuspendedEV")
            case "free":
                yield from self._arrive(bay, now_ms)
            case "identified":
                yield from self._plug(bay, now_ms)
            case "plugged":  # not authorized
                self.refused += 1
                yield from self._leave(bay, now_ms)
            case "charging" if bay.battery is not None and now_ms < bay.leaves_ms:
                yield from self._flowing(bay, now_ms)  # full or empty: waits for another set-point
            case "charging":
                bay.phase = "full"
                bay.due_ms = now_ms + self._minutes(self.behaviour.linger_minutes)
                yield evse.Power(evse_id=bay.number, state="SuspendedEV")
            case "full" if self._chance() >= self.behaviour.unplug_without_stop and not bay.contract:
                bay.due_ms = now_ms + 60_000
                yield self._identify(bay)
            case "full" | "ended":
                yield from self._leave(bay, now_ms)
            case "faulted":
                bay.phase, bay.due_ms = "free", self._comes_ms(bay.number, now_ms)
                yield evse.Fault(evse_id=bay.number, word="simulated", active=False)

    def _come(self, bay: SimulatedBay, session: PlannedSession) -> Iterator[Fact]:
        """Let a planned session begin: the driver plugs in, and presents the token."""
        bay.leaves_ms = self._began_ms + session.ends_ms
        if session.fault:
            bay.phase, bay.due_ms = "faulted", bay.leaves_ms
            yield evse.Fault(evse_id=bay.number, word="simulated", active=True)
            return
        self.sessions += 1
        bay.planned, bay.battery, bay.older, bay.contract, bay.pays = True, None, False, False, False
        bay.wanted_mwh, bay.vehicle_w = session.energy_mwh, session.max_w
        bay.token, bay.token_type = session.token, session.token_type
        bay.phase, bay.due_ms, bay.cable = "plugged", bay.leaves_ms, True
        yield from self._cable(bay)
        if bay.token:
            yield self._identify(bay)

    def _arrive(self, bay: SimulatedBay, now_ms: int) -> Iterator[Fact]:
        faults = self.behaviour.faults_per_day / 24 / max(self.behaviour.arrivals_per_hour, 0.01)
        if self._chance() < faults:
            bay.phase, bay.due_ms = "faulted", now_ms + self._minutes(self.behaviour.fault_minutes)
            yield evse.Fault(evse_id=bay.number, word="simulated", active=True)
            return
        self.sessions += 1
        bay.wanted_mwh = int(self._between(self.behaviour.energy_kwh) * 1_000_000)
        bay.vehicle_w = int(self._between(self.behaviour.vehicle_kw) * 1000)
        number = int(self._chance() * self.behaviour.tokens)
        bay.token = self.behaviour.card(number)
        bay.contract = self._chance() < self.behaviour.plug_and_charge
        bay.battery, bay.older, bay.service = None, False, bay.services[1]
        if self.behaviour.bidirectional > 0 and self._chance() < self.behaviour.bidirectional:
            capacity = int(self._between(self.behaviour.battery_kwh) * 1_000_000)
            bay.battery = SimulatedBattery(capacity_mwh=capacity, energy_mwh=int(capacity * self._between((0.3, 0.7))))
            bay.leaves_ms = now_ms + int(self._between(self.behaviour.stay_hours) * HOUR_MS)
            bay.wanted_mwh = bay.battery.rest_mwh(1)
        bay.pays = (
            not bay.contract and self.behaviour.card_payments > 0 and self._chance() < self.behaviour.card_payments
        )
        if not bay.contract and self._chance() < self.behaviour.authorize_first:
            bay.phase, bay.due_ms = "identified", now_ms + 5_000
            yield self._identify(bay)
        else:
            yield from self._plug(bay, now_ms)
            yield (
                evse.ContractPresented(evse_id=bay.number, emaid=f"DEV2GC{number:08d}", locally_valid=True)
                if bay.contract
                else (self._identify(bay))
            )

    def _plug(self, bay: SimulatedBay, now_ms: int) -> Iterator[Fact]:
        bay.phase, bay.due_ms, bay.cable = "plugged", now_ms + 180_000, True
        yield from self._cable(bay)
        if bay.allowed:
            yield from self._allow(bay, now_ms, allowed=True)

    def _leave(self, bay: SimulatedBay, now_ms: int, *, cable: bool = False) -> Iterator[Fact]:
        """Let a vehicle leave, or only unplug its end of the `cable`."""
        bay.phase, bay.due_ms, bay.contract, bay.by_hand = "free", self._comes_ms(bay.number, now_ms), False, False
        bay.planned, bay.token_type, bay.cable = False, None, cable
        yield from self._cable(bay)

    def _identify(self, bay: SimulatedBay) -> Fact:
        if bay.pays:
            return CardPresented(evse_id=bay.number, card=bay.token)
        return evse.TokenPresented(
            id_token=IdToken(id_token=bay.token, type=bay.token_type or self.behaviour.token_type), evse_id=bay.number
        )

    def _meter(self, bay: SimulatedBay, now_ms: int) -> None:
        power, passed_ms = bay.power_w, max(0, now_ms - bay.metered_ms)
        energy = abs(power) * passed_ms // 3600
        bay.metered_ms = now_ms
        if bay.battery is not None:
            energy = min(energy, bay.battery.rest_mwh(power))
            bay.battery.energy_mwh += energy if power >= 0 else -energy
        if power >= 0:
            bay.import_mwh += energy
            bay.wanted_mwh -= energy
        else:
            bay.export_mwh += energy
        bay.grid.rise(power, passed_ms)

    def _comes_ms(self, number: int, now_ms: int) -> int:
        """Return when the next vehicle comes to an EVSE."""
        if self._planned is None:
            return now_ms + self._arrival()
        return self._began_ms + self._planned[number][0].starts_ms if self._planned[number] else NEVER_MS

    def _arrival(self) -> int:
        """Return when the next vehicle arrives (ms): up to twice the mean."""
        if self.behaviour.arrivals_per_hour <= 0:
            return 10**12
        return int(2 * self._chance() * HOUR_MS / self.behaviour.arrivals_per_hour)

    def _minutes(self, span: tuple[float, float]) -> int:
        return int(self._between(span) * 60_000)

    def _between(self, span: tuple[float, float]) -> float:
        low, high = span
        return low + (high - low) * self._chance()

    def offline_in(self) -> int | None:
        """Return in how many ms the connection fails next, None for never."""
        if self.behaviour.offline_per_day <= 0:
            return None
        return int(2 * self._chance() * 24 * HOUR_MS / self.behaviour.offline_per_day)

    def offline_for(self) -> int:
        """Return for how many ms it fails."""
        return self._minutes(self.behaviour.offline_minutes)
