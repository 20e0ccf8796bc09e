"""Vehicle and charger joined in memory: two cores, one clock in the hand, copper as arithmetic.

No sockets and no sleeping. Bytes go from one session to the other; the plant in the middle has the contactors of
both ends, the battery, and a meter.
"""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec

from evcc.policy.battery import Battery, BatteryConfig
from evcc.session import ports as ev
from evcc.session.contracts import Contract
from evcc.session.d20.session import VehicleSession
from evcc.session.edition import Connection
from evcc.session.settings import SessionConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import SeccConfig
from secc.session.identity import Identity, SessionTrust
from secc.session.ports import Paused
from tests.charger_session import charger_session
from tests.trees import known
from v2g import exi
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.energy.settlement.checkpoints import Copy
from v2g.energy.settlement.records import MeterReading
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.session import SCHEMAS
from v2g.iso15118.engine.session import Close, Command, Fact, Send, Session
from v2g.iso15118.engine.v2gtp import Framer
from v2g.observe import Observe
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

STEP_S = 0.05
"""How often the plant is measured, in seconds of the protocol's clock."""

AC_MV = 230_000
AIR = 0.92
"""How much of what a coil sends arrives."""

Tamper = Callable[[bytes], bytes]


def counter(start: int) -> Callable[[int], bytes]:
    numbers = itertools.count(start)
    return lambda n: next(numbers).to_bytes(n, "big")


def make_tariff(utc_ms: int, *, compensation: int = 250_000, version: int = 1) -> Tariff:
    begin = utc_ms - utc_ms % 900_000
    slots = tuple(PriceSlot(begin + n * 900_000, 900_000, 300_000, compensation) for n in range(48))
    return Tariff(currency="EUR", slots=slots, version=version, source="test")


class Plant:
    """What both ends act on: contactors, voltage, current, battery, meter (mWh)."""

    def __init__(self, config: BatteryConfig, utc_ms: int) -> None:
        self.battery = Battery(config, at_ms=utc_ms)
        self.ev_closed = self.evse_closed = False
        self.idle_mv = 0
        self.ac_w: int | None = None  # what an on-board charger draws, None with direct current
        self.ac_lines = 3  # of the outlet
        self.air_w: int | None = None  # what a coil sends
        self.output: se.SetOutput | None = None
        self.ev_limits = ev.SetPowerLimits(0, 0)
        self.import_mwh, self.export_mwh = 5_000_000.0, 2_000_000.0
        self._utc_ms = utc_ms

    def flow(self) -> tuple[int, int]:
        """Return voltage (mV) at the inlet and current (mA)."""
        state = self.battery.state
        if self.air_w is not None:  # what the vehicle gets of it; the meter counts what is sent
            return (state.voltage_mv, int(self.air_w * AIR) * 1_000_000 // state.voltage_mv)
        if self.ac_w is not None:
            return (AC_MV, self.ac_w * 1_000_000 // AC_MV) if self.evse_closed else (0, 0)
        if not self.ev_closed:
            return (self.idle_mv if self.evse_closed else 0), 0
        if not self.evse_closed or self.output is None:
            return state.voltage_mv, 0
        amps = self.output.current_ma
        most = min(self.output.charge_w, self.ev_limits.charge_w) * 1_000_000 // state.voltage_mv
        least = -min(self.output.discharge_w, self.ev_limits.discharge_w) * 1_000_000 // state.voltage_mv
        return state.voltage_mv, max(least, min(most, amps, state.max_charge_ma))

    def advance(self, utc_ms: int) -> None:
        """Let the present current have flowed until now."""
        voltage, current = self.flow()
        power_w = voltage * current / 1e6 if self.air_w is None else self.air_w
        energy = power_w * (utc_ms - self._utc_ms) / 3600
        self.import_mwh += max(0.0, energy)
        self.export_mwh += max(0.0, -energy)
        across = (
            current
            if self.ac_w is None or self.air_w is not None
            else voltage * current // self.battery.state.voltage_mv
        )
        self.battery.advance(utc_ms, across)
        self._utc_ms = utc_ms


class Joined:
    """Two sessions and the plant. `wire_to_secc` and `wire_to_evcc` may change what passes."""

    def __init__(
        self,
        pki: PkiTree,
        utc_ms: int,
        *,
        vehicle: SessionConfig | None = None,
        charger: SeccConfig | None = None,
        soc: float = 60.0,
        battery: BatteryConfig | None = None,
        scale: float = 20.0,
        contract: Contract | None = None,
        contracts: tuple[Contract, ...] = (),
        authorized: AuthorizationStatus = AuthorizationStatus.ACCEPTED,
        before: "Joined | None" = None,
        connected_for: float = 0.0,
        vehicle_tls: bool = True,
        **options: Any,
    ) -> None:
        """`before`: a pair that has paused; the same vehicle comes back to the same charger. `connected_for` (s): since
        when the link is there. Without `vehicle_tls` the vehicle has none, whatever the charger believes."""
        pki = known(pki)
        self.now, self.scale, self.origin = 500.0, scale, utc_ms
        self.plant = Plant(battery or BatteryConfig(soc=soc), utc_ms)
        self._before, self._connected_for = before, connected_for
        self.ledger, self.lines, self.copies = SessionJournal(), list[bytes](), list[Copy]()
        if before is not None:
            self.now, self.origin, self.plant = before.now, before.origin, before.plant
            options.setdefault("paused", before.kept())
            vehicle, charger = vehicle or before.vehicle_config, charger or before.charger_config
        self.vehicle_config, self.charger_config = vehicle or SessionConfig(), charger or SeccConfig()
        self.authorized = authorized
        self.allowed_services: frozenset[int] | None = None
        self.evcc = self.make_vehicle(
            secc_certificate=pki.chain("secc")[0] if vehicle_tls and options.get("tls", True) else b"",
            contracts=contracts or (contract or Contract(pki.chain("contract"), pki.key("contract")),),
        )
        self.secc = charger_session(
            self.charger_config,
            trust=SessionTrust(
                pki.anchors("v2g"),
                pki.anchors("mo"),
                pki.key("secc"),
                pki.chain("secc"),
                price_key=options.pop("price_key", None),
            ),
            identity=Identity("CS-1", "METER-0001", pki.chain("meter")[0]),
            entropy=options.pop("entropy", None) or counter(1 << 40 if before is None else 1 << 41),
            tariff=options.pop("tariff", None) or make_tariff(utc_ms),
            meter=self._reading(),
            pilot=PilotState.B,
            time_scale=scale,
            **{
                "vehicle_certificate": pki.chain("vehicle")[0] if options.get("tls", True) else b"",
                "limits": (
                    Limit(source=SITE, charge_w=22_000, discharge_w=15_000),
                    Limit(source=OPERATOR, charge_w=22_000, discharge_w=8_000, version=1),
                ),
                **options,
            },
        )
        self.evcc_actions: list[Any] = []
        self.secc_actions: list[Any] = []
        self.wire_to_secc: Tamper = lambda data: data
        self.wire_to_evcc: Tamper = lambda data: data
        self.cut = False
        self.travel_cm = 0
        self.transmitted_id: int | None = 1
        self.evcc_reason = self.secc_reason = ""

    def make_vehicle(self, *, secc_certificate: bytes, contracts: tuple[Contract, ...]) -> Any:
        """Return the vehicle's session."""
        before = self._before
        return VehicleSession(
            self.vehicle_config,
            Connection(
                battery=self.plant.battery.state,
                secc_certificate=secc_certificate,
                contracts=contracts,
                entropy=counter(1 if before is None else 1 << 20),
                stopwatch=lambda: self.now,
                time_scale=self.scale,
                resume=before.evcc.paused if before is not None else None,
            ),
            connected_for=self._connected_for,
        )

    @property
    def utc_ms(self) -> int:
        return self.origin + int((self.now - 500.0) * 1000 * self.scale)

    def _reading(self) -> se.MeterRead:
        plant = self.plant
        return se.MeterRead(self.utc_ms, int(plant.import_mwh), int(plant.export_mwh))

    # -- shells -------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Carry actions and bytes back and forth until both ends wait."""
        busy = True
        while busy:
            busy = self._serve(self.evcc, self.evcc_actions, self.obey_vehicle, self.secc, self.wire_to_secc)
            busy |= self._serve(self.secc, self.secc_actions, self.obey_charger, self.evcc, self.wire_to_evcc)

    def _serve(
        self, session: Session, log: list[Any], obey: Callable[[Command], Fact | None], peer: Session, wire: Tamper
    ) -> bool:
        actions = session.actions()
        facts: list[Fact] = []
        for action in actions:
            log.append(action)
            match action:
                case Send(data=data):
                    if not self.cut:
                        self.deliver(peer, wire(data))
                case Command():
                    fact = obey(action)
                    if fact is not None:
                        facts.append(fact)
                case Close(reason=reason):
                    if session is self.evcc:
                        self.evcc_reason = reason
                    else:
                        self.secc_reason = reason
                    if not self.cut:
                        self.deliver(peer, None)
        for fact in facts:
            session.fact(fact, self.now, self.utc_ms)
        return bool(actions)

    def deliver(self, peer: Session, data: bytes | None) -> None:
        """Let bytes arrive, or the end of the stream (None)."""
        if data is None:
            peer.receive_eof(self.now, self.utc_ms)
        else:
            peer.receive(data, self.now, self.utc_ms)

    def arrival(self) -> float | None:
        """Return when something on its way arrives."""
        return None

    def obey_vehicle(self, command: Command) -> Fact | None:
        self.plant.advance(self.utc_ms)
        match command:
            case ev.StoreCheckpoint():
                self.copies.append(
                    Copy(
                        session_id=command.session_id.hex(),
                        number=command.number,
                        checkpoint=command.checkpoint,
                        receipt=command.receipt,
                    )
                )
                return ev.CheckpointStored(command.number)
            case ev.CloseContactor() | ev.OpenContactor():
                self.plant.ev_closed = isinstance(command, ev.CloseContactor)
                return ev.ContactorState(self.plant.ev_closed)
            case ev.ObserveDevice():
                return ev.DeviceObserved(1)
            case ev.DriveIn():
                self.travel_cm += 150
                return ev.DroveIn(in_place=self.travel_cm >= 400, travel_cm=self.travel_cm)
            case ev.SetPowerLimits():
                self.plant.ev_limits = command
            case ev.SetAcPower(power_w=power_w) if self._is_ac():
                self.plant.ac_w = power_w
            case ev.SetCpState(state=state):
                self.secc.fact(se.PilotChanged(state), self.now, self.utc_ms)
        return None

    def _is_ac(self) -> bool:
        family = getattr(self.evcc, "family", None)  # of either edition
        return family is not None and family.name == "AC"

    @property
    def device(self) -> se.Device:
        """What the charger knows of its coil or pantograph."""
        return self.secc.facts.device

    def obey_charger(self, command: Command) -> Fact | None:
        self.plant.advance(self.utc_ms)
        match command:
            case se.AuthorizeContract() | se.AuthorizeExternally():
                return se.AuthorizationDecided(command.attempt, self.authorized, self.allowed_services)
            case se.StartCableCheck():
                self.plant.evse_closed = True
                return se.CableCheckFinished(passed=True)
            case se.StartPreCharge(voltage_mv=voltage_mv):
                self.plant.idle_mv = voltage_mv
            case se.SetOutput():
                self.plant.output = command
            case se.StartPositioning():
                return se.DeviceChanged(msgspec.structs.replace(self.device, in_place=True))
            case se.StartPairing(method="LF_TxEV"):
                return se.DeviceChanged(msgspec.structs.replace(self.device, observed_id=self.transmitted_id))
            case se.StartPairing(method="External confirmation"):
                return se.DeviceChanged(msgspec.structs.replace(self.device, confirmed=True))
            case se.CheckAlignment(current_ma=current_ma):
                sent = current_ma * 3 // 1000
                self.plant.air_w = sent
                changes = {"aligned": True, "coil_ma": current_ma, "alignment_w": sent}
                return se.DeviceChanged(msgspec.structs.replace(self.device, **changes))
            case se.MoveDevice(to_vehicle=there):
                changes = {"mechanical": "EndPosition" if there else "Home", "connected": there}
                return se.DeviceChanged(msgspec.structs.replace(self.device, **changes))
            case se.SetWptOutput(power_w=power_w):
                self.plant.air_w = power_w
            case se.CloseContactors():
                self.plant.evse_closed = True
                return se.ContactorState(closed=True)
            case se.OpenContactors() | se.EmergencyOff():
                self.plant.evse_closed, self.plant.output, self.plant.idle_mv = False, None, 0
                self.plant.air_w = None if self.plant.air_w is None else 0
                return se.ContactorState(closed=False)
            case se.JoinSession():
                assert self._before is not None
                self.ledger, self.lines = self._before.ledger, self._before.lines
                self.copies = [*self._before.copies, *self.copies]
                return self.read("resume")
            case se.Journal(record=record, utc_ms=utc_ms):
                self.lines += self.ledger.record(record, self.utc_ms if utc_ms is None else utc_ms)
            case se.RecordMeter(reason=reason):
                return self.read(reason)
            case se.CloseJournal(reason=reason):
                reading = self._reading()
                self.lines += self.ledger.end(
                    reason, reading.utc_ms, import_mwh=reading.import_mwh, export_mwh=reading.export_mwh
                )
                return reading
        return self.measured() if isinstance(command, se.StartPreCharge | se.SetOutput) else None

    def read(self, reason: str) -> se.MeterRead:
        """Read the meter into the journal."""
        reading = msgspec.structs.replace(self._reading(), reason=reason)
        record = MeterReading(import_mwh=reading.import_mwh, export_mwh=reading.export_mwh, reason=reason)
        self.lines += self.ledger.record(record, reading.utc_ms)
        return msgspec.structs.replace(reading, journal=self.ledger.head)

    def measured(self) -> se.Measured:
        return se.Measured(*self.plant.flow(), self.plant.air_w)

    # -- time ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.secc.start(self.now, self.utc_ms)
        self.evcc.start(self.now, self.utc_ms)
        self.settle()

    def advance(self, seconds: float = STEP_S) -> None:
        """Let time pass to the next deadline, at most `seconds`, and measure the plant."""
        deadlines = [d for d in (self.evcc.deadline(), self.secc.deadline(), self.arrival()) if d is not None]
        self.now = max(self.now, min([self.now + seconds, *deadlines]))
        self.plant.advance(self.utc_ms)
        voltage, current = self.plant.flow()
        lines = 0 if self.plant.ac_w is None else self.plant.ac_lines
        for fact in (self.plant.battery.state, ev.PresentVoltage(voltage, current, lines)):
            self.evcc.fact(fact, self.now, self.utc_ms)
        for other in (self.measured(), self._reading()):
            self.secc.fact(other, self.now, self.utc_ms)
        for session in (self.evcc, self.secc):
            session.tick(self.now, self.utc_ms)
        self.settle()

    def run(self, until: Callable[[], bool] = lambda: False, *, most_s: float = 600.0) -> None:
        """Go on until `until` holds or both ends have closed."""
        if not self.evcc_actions:
            self.start()
        end = self.now + most_s
        while not until() and not (self.evcc.closed and self.secc.closed):
            assert self.now < end, f"no end after {most_s} s: {self.evcc.stage}"
            self.advance()

    def complete(self, *, most_s: float = 600.0) -> None:
        """Go on until the session is over, as both ends intended."""
        self.run(most_s=most_s)
        assert (self.evcc_reason, self.secc_reason) == ("finished", "finished")

    def kept(self) -> Paused:
        """What the charger keeps of a paused session, after a way through a file."""
        (command,) = [each for each in self.secc_actions if isinstance(each, se.SaveSession)]
        return msgspec.json.decode(msgspec.json.encode(command.paused), type=Paused)

    # -- what was seen ------------------------------------------------------------------------------------------

    def vehicle_saw(self, stage: str, name: str) -> list[dict[str, Any]]:
        return _seen(self.evcc_actions, stage, name)

    def charger_saw(self, stage: str, name: str) -> list[dict[str, Any]]:
        return _seen(self.secc_actions, stage, name)

    def records(self) -> list[str]:
        """The kinds of journal entries that the charger wrote, in order."""
        return [type(action.record).__name__ for action in self.secc_actions if isinstance(action, se.Journal)]

    def exported_mwh(self) -> int:
        return int(self.plant.export_mwh - 2_000_000)

    def imported_mwh(self) -> int:
        return int(self.plant.import_mwh - 5_000_000)


def end_meanwhile(joined: Joined, ramping: type) -> None:
    """Let the charger end the session while the vehicle ramps down (`ramping`: that stage), and run to the end."""

    def ended(data: bytes) -> bytes:
        if isinstance(joined.evcc.stage, ramping):
            joined.secc.fact(se.StopRequested("remote"), joined.now, joined.utc_ms)
        return data

    joined.wire_to_secc = ended
    joined.run()


def messages(actions: list[Any], kind: type) -> list[Any]:
    """Return what was sent of a kind of message."""
    framer, found = Framer(), []
    for action in actions:
        if isinstance(action, Send):
            for each in framer.feed(action.data):
                schema = SCHEMAS.get(each.payload_type)
                if schema is not None:
                    message = exi.decode(each.payload, schema)
                    found += [message] if isinstance(message, kind) else []
    return found


def _seen(actions: list[Any], stage: str, name: str) -> list[dict[str, Any]]:
    return [a.data for a in actions if isinstance(a, Observe) and (a.stage, a.name) == (stage, name)]
