"""Simulated charging stations in any number: the charger's own core and runner with simulated hardware."""

import asyncio
import logging
import os
import random
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Protocol

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Meta

from v2g.energy.frequency_trace import load_grid_trace
from v2g.energy.settlement.ocmf import Assignment, MeterIdentity, Reading, Transaction, sign_readings
from v2g.errors import CertificateError, KeyAccessError
from v2g.io.network.plain_tcp import port_of, start_server
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.supervision import cancel_tasks, spawn, wait_at_most
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g.ocpp.messages.certificates import InstallCertificateUse
from v2g.ocpp.messages.metering import ReadingContext
from v2g.ocpp.messages.provisioning import BootReason
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.ocpp.routes import Version
from v2g.ota.window import parse_window
from v2g.pki.certificates import chain_from_pem, emaid_of, load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.keys import SoftwareKey
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain
from v2g.text import numbered
from v2g.typed_json import Fields
from v2g_station.blocks.authorization.contracts import describe_chain
from v2g_station.blocks.connection.network import first_profile
from v2g_station.blocks.evse import ContractPresented, Restart
from v2g_station.blocks.security.certificate_store import StoredCertificate
from v2g_station.blocks.settings import Inverter, StationSettings
from v2g_station.blocks.smart_charging.smart_charging import SetPhases
from v2g_station.blocks.transaction_records import MeterSample, SignedRegister
from v2g_station.blocks.web_payment import ShowQrCode
from v2g_station.device.certificates import seeds
from v2g_station.device.firmware import UpdateConfig
from v2g_station.kernel.kernel import Connect, Keep, Moment, StationCommand
from v2g_station.kernel.layout import ConnectorLayout, EvseLayout, StationLayout
from v2g_station.runner import StationMemory, StationRunner
from v2g_station.simulator.behaviour import LINE_VOLTS, Behaviour, Departing, SimulatedSite
from v2g_station.simulator.device import IN_MEMORY, SimulatedMachine
from v2g_station.simulator.grid import SimulatedGrid
from v2g_station.simulator.sessions import PlannedSession
from v2g_station.simulator.terminal import TERMINAL
from v2g_station.station import StationCore
from v2g_station.store import StationStore

# -- A simulated meter that signs its readings as OCMF, with a key of its own until the program ends


_MARKS: Final[Mapping[ReadingContext, Transaction]] = {"Transaction.Begin": "B", "Transaction.End": "E"}
"""What a reading is in its transaction, by OCMF."""


class SigningMeter:
    """Signs samples. `serial` is its number, `evse_id` the EVSE that it measures."""

    def __init__(self, serial: str, evse_id: int) -> None:
        self._identity = MeterIdentity(meter_serial=serial)
        self._assignment = Assignment(emaid=None, evse_id=str(evse_id))
        secret = ec.generate_private_key(ec.SECP256R1())
        self._key = SoftwareKey(secret)
        self._public = secret.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._pages = 0

    def signed(self, sample: MeterSample, context: ReadingContext) -> tuple[SignedRegister, ...]:
        """Return the import register of a sample, signed."""
        self._pages += 1
        reading = Reading(sample.utc_ms, sample.import_mwh)
        data = sign_readings(
            "import",
            [(_MARKS.get(context, "C"), reading)],
            identity=self._identity,
            assignment=self._assignment,
            pagination=self._pages,
            key=self._key,
        )
        return (SignedRegister(register="import", data=data, public_key=self._public),)


_log = logging.getLogger(__name__)

REBOOT_S: Final = 2.0
LEAD_S: Final = 2.0
"""Time for a station to connect before the first planned session, and to report the last one, real s."""
MOST_LINE_A: Final = 32
"""Of each line conductor of an EVSE with alternating current."""
METERS: Final = "simulated_meters"
MOST_REASONS: Final = 20
MOST_STATIONS: Final = 20
"""Number of stations whose displays are in the report."""


class StationFleet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which stations are simulated, and against what. `speed` is simulated seconds per second."""

    url: str
    count: Annotated[int, Meta(ge=1, le=10_000)] = 1
    prefix: str = "SIM"
    names: tuple[str, ...] = ()
    """Identities, in place of `count` and `prefix`."""
    evses: Annotated[int, Meta(ge=1, le=64)] = 2
    power_kw: Annotated[float, Meta(gt=0)] = 150.0
    versions: tuple[Version, ...] = ("2.1", "2.0.1")
    password: str | None = None
    passwords: Mapping[str, str] = {}
    """By identity, for stations with their own."""
    certificate: str | None = None
    """PEM file of each station's certificate and chain, for security profile 3; {identity} is replaced."""
    speed: Annotated[float, Meta(ge=1, le=10_000)] = 1.0
    ramp_per_s: Annotated[float, Meta(gt=0)] = 50.0
    """Number of connections per second at the start."""
    message_timeout_s: Annotated[int, Meta(ge=1, le=3600)] = 30
    """Time limit of answers."""
    seed: int = 0
    store: Path | None = None
    """Folder of the stations' stores; without it they lose their state when the simulator ends."""
    ca: Path | None = None
    """PEM file with the root of the CSMS, and of file servers for logs and firmware."""
    update: UpdateConfig = IN_MEMORY
    """Which firmware the stations install, and when; their slots are in memory."""
    behaviour: Behaviour = Behaviour()
    contract: Path | None = None
    """PEM file of the contract chain, leaf first, of vehicles that come by hand."""
    sessions: Mapping[str, tuple[PlannedSession, ...]] = {}
    """By station: only these stations and vehicles are simulated, the first one once all had time to connect."""

    @property
    def security_profile(self) -> int:
        """The security profile that results from URL and certificates (A00)."""
        if not self.url.startswith("wss:"):
            return 0 if self.versions == ("1.6",) and not (self.password or self.passwords) else 1
        return 3 if self.certificate is not None else 2

    @property
    def identities(self) -> tuple[str, ...]:
        return tuple(self.sessions) or self.names or numbered(self.prefix, self.count)

    @property
    def lead_ms(self) -> int:
        """Simulated ms until the first planned session."""
        return round((len(self.sessions) / self.ramp_per_s + LEAD_S) * 1000 * self.speed)

    @property
    def planned_s(self) -> float | None:
        """How long the planned sessions take, real s; None without any."""
        ends = [each.ends_ms for sessions in self.sessions.values() for each in sessions]
        return (self.lead_ms + max(ends)) / 1000 / self.speed + LEAD_S if ends else None


class LongMemory(StationMemory, Protocol):
    """A store that survives restarts of its station."""

    def saved(self) -> dict[str, dict[str, bytes]]:
        """Return all stored documents, as a starting program finds them."""

    def close(self) -> None:
        """Close it."""


class Forgetful:
    """A store in memory that survives restarts of a simulated station."""

    def __init__(self) -> None:
        self._saved: dict[str, dict[str, bytes]] = {}
        self.commits = 0

    def saved(self) -> dict[str, dict[str, bytes]]:
        """Return all stored documents."""
        return {collection: dict(entries) for collection, entries in self._saved.items()}

    def keep(self, changes: Iterable[Keep]) -> None:
        """Carry out changes."""
        durable = False
        for each in changes:
            durable = durable or each.durable
            collection = self._saved.setdefault(each.collection, {})
            if each.body is None:
                collection.pop(each.key, None)
            else:
                collection[each.key] = each.body
        self.commits += durable

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class MeterMemory:
    """A store that restores meters: their registers are stored with every change."""

    def __init__(self, memory: LongMemory, site: SimulatedSite) -> None:
        self._memory = memory
        self._site = site
        self._reported: dict[int, bytes] = {}
        for key, body in memory.saved().get(METERS, {}).items():
            site.set_meter(int(key), *map(int, body.split()))

    def keep(self, changes: Iterable[Keep]) -> None:
        """Carry out changes."""
        shown = {bay.number: b"%d %d" % (bay.import_mwh, bay.export_mwh) for bay in self._site.bays.values()}
        turned = [number for number, body in shown.items() if self._reported.get(number) != body]
        self._memory.keep([*changes, *(Keep(METERS, str(each), shown[each], durable=False) for each in turned)])
        self._reported = shown


class FleetTally(msgspec.Struct, kw_only=True):
    """The counts of all stations; `sent` and `received` count frames."""

    sent: int = 0
    received: int = 0
    events: Counter[str] = msgspec.field(default_factory=Counter)
    kept_out: Counter[str] = msgspec.field(default_factory=Counter)
    """Why stations were rejected, and how often; STATION replaces their identities."""
    boot_s: list[float] = msgspec.field(default_factory=list)


class SimulatedStation:
    """One station, its drivers and its vehicles.

    `memory` replaces the fleet's setting. Drivers, vehicles and meters use elapsed time, whatever the station's clock
    shows.
    """

    def __init__(
        self,
        identity: str,
        fleet: StationFleet,
        tally: FleetTally,
        clock: Clock,
        context: ssl.SSLContext | None,
        memory: LongMemory | None = None,
        grid: SimulatedGrid | None = None,
        contract: ContractPresented | None = None,
    ) -> None:
        self.identity = identity
        self._fleet = fleet
        self._tally = tally
        self._clock = clock
        self._context = context
        self._random = random.Random(f"{fleet.seed}/{identity}")  # noqa: S311  # behaviour, not secrets
        phases = fleet.behaviour.phases
        most_w = MOST_LINE_A * LINE_VOLTS * phases if phases else fleet.power_kw * 1000
        powers = (int(min(fleet.power_kw * 1000, most_w)),) * fleet.evses
        name = f"{identity}{clock.utc_ms()}"
        planned = fleet.sessions[identity] if fleet.sessions else None
        begins_ms = clock.elapsed_ms() + (fleet.lead_ms if planned is not None else 0)
        self.site = SimulatedSite(
            fleet.behaviour, powers, begins_ms, self._random.random, name, grid, planned, contract
        )
        numbers = self.site.bays if fleet.behaviour.signed_readings else ()
        self._signing = {number: SigningMeter(f"{identity}-{number}", number) for number in numbers}
        self._memory: LongMemory = memory or (
            Forgetful() if fleet.store is None else StationStore(fleet.store / f"{identity}.sqlite3")
        )
        self._meter_memory: StationMemory = (
            self._memory if fleet.store is None else MeterMemory(self._memory, self.site)
        )
        self._layout = StationLayout(
            evses=(
                EvseLayout(
                    connectors=(_connector(fleet.behaviour),),
                    max_power_w=powers[0],
                    max_discharge_w=powers[0] if fleet.behaviour.bidirectional > 0 else 0,
                    phases=phases,
                    line_v=LINE_VOLTS,
                    switches_phases=fleet.behaviour.phase_switch,
                    selects_phase=fleet.behaviour.phase_switch,
                ),
            )
            * fleet.evses,
            model="Simulated",
            serial_number=identity,
            optional=("WebPaymentsCtrlr", "DataCollector"),
            terminal=TERMINAL if fleet.behaviour.card_payments > 0 else None,
        )
        self._facts: deque[Fact] = deque()
        self._handling = False
        self._restart: asyncio.Event = asyncio.Event()
        self._boot_reason: BootReason = "RemoteReset"
        self._roots: tuple[StoredCertificate, ...] = ()
        roots: dict[InstallCertificateUse, tuple[Path, ...]] = {
            "ManufacturerRootCertificate": fleet.update.manufacturer_roots
        }
        if fleet.ca is not None and fleet.url.startswith("wss:"):
            roots["CSMSRootCertificate"] = (fleet.ca,)
        self._roots = seeds(roots)
        self._chains: dict[CertificateSigningUse, str] = {}
        if fleet.certificate is not None:
            self._chains["ChargingStationCertificate"] = _text(fleet.certificate.replace("{identity}", identity))
        self._machine = SimulatedMachine(
            identity,
            fleet.store,
            notify=self._notify,
            accepted=lambda: self.runner.online,
            restart=self._restart.set,
            observe=self._observe,
            ca=fleet.ca,
            roots=self._roots,
            update=fleet.update,
        )
        self._moved = asyncio.Event()
        """Set when the next step of the site may have become due earlier."""
        self._known = asyncio.Event()
        """Set once the CSMS has accepted the station: drivers come only then."""
        self.codes: dict[int, str | None] = {}
        """The QR code for payment displayed at each EVSE; 0 is the station."""
        self.runner = self._make("PowerUp")

    def _make(self, reason: BootReason) -> StationRunner:
        fleet, grid, able = self._fleet, self._fleet.behaviour.grid, {"sleep", "web_payments", "remote_start", "reset"}
        if grid is not None:
            able |= {"frequency", "der"}
        layout = msgspec.structs.replace(self._layout, firmware=self._machine.installer.version)
        password = fleet.passwords.get(self.identity, fleet.password)
        settings = StationSettings(
            identity=self.identity,
            network=first_profile(
                fleet.url, security_profile=fleet.security_profile, message_timeout=fleet.message_timeout_s
            ),
            layout=layout,
            versions=fleet.versions,
            boot_reason=reason,
            same_boot=reason != "PowerUp",
            scale=self._clock.scale,
            able=self._machine.parts.able | able,
            der_controls=grid.controls if grid is not None else (),
            inverter=_inverter(layout, 0 if grid is None else grid.max_var),
            nominal_hz=grid.nominal_hz if grid is not None else 50.0,
            nominal_v=grid.nominal_v if grid is not None else 230.0,
            frequency_response=grid.response if grid is not None else None,
            roots=self._roots,
            chains=self._chains,
            update_window=parse_window(fleet.update.window),
            values={} if password is None else {"SecurityCtrlr.BasicAuthPassword": password},
        )
        core = StationCore(
            settings,
            self._memory.saved(),
            Moment(self._clock.monotonic(), self._clock.utc_ms()),
            entropy=os.urandom,
            read=self._read,
            serves=self.site.serves,
        )
        return StationRunner(
            core,
            self._meter_memory,
            clock=self._clock,
            command=self._command,
            observe=self._observe,
            context=self._tls,
            tap=self._tap,
        )

    def _read(self, evse_id: int, context: ReadingContext = "Other") -> MeterSample | None:
        sample = self.site.read(evse_id, self._clock.elapsed_ms())
        if sample is None:
            return None
        sample = msgspec.structs.replace(sample, utc_ms=self._clock.utc_ms())
        meter = self._signing.get(evse_id)
        return sample if meter is None else msgspec.structs.replace(sample, signed=meter.signed(sample, context))

    def _tls(self, wanted: Connect) -> ssl.SSLContext | None:
        return self._machine.csms_context(self._context) if wanted.url.startswith("wss:") else None

    # -- lifecycle

    async def run(self) -> None:
        """Run until cancelled, across restarts."""
        while True:
            await self.live()
            await asyncio.sleep(REBOOT_S)
            self.start_again(self._boot_reason)
            self._boot_reason = "RemoteReset"

    def start_again(self, reason: BootReason) -> None:
        """Restart the program from its store; it has ended before."""
        self._machine.installer.boot()
        self._facts.clear()
        self.runner = self._make(reason)

    async def live(self) -> None:
        """Run until the program is to restart, or cancelled."""
        self._restart.clear()
        for fact in self.site.started(self._clock.elapsed_ms()):
            self._notify(fact)
        tasks = [spawn(each) for each in (self.runner.run(), self._note_boot(), self._pass_time(), self._crash())]
        try:
            await self._restart.wait()
        finally:
            await cancel_tasks(*tasks)

    async def _crash(self) -> None:
        """End the program as bad firmware does."""
        if (seconds := self._machine.installer.crashes_after_s) is not None:
            await self.runner.online.wait()
            await asyncio.sleep(seconds)
            self._boot_reason = "Watchdog"
            self._restart.set()

    async def close(self) -> None:
        """Close the store."""
        await self._machine.close()
        self._memory.close()

    async def _note_boot(self) -> None:
        began = self._clock.monotonic()
        await self.runner.online.wait()
        self._tally.boot_s.append(self._clock.monotonic() - began)
        self._known.set()

    async def _pass_time(self) -> None:
        """Simulate drivers once the station has been accepted, and occasional connection failures."""
        await self._known.wait()
        next_gap = self.site.offline_in()
        gap_at = None if next_gap is None else self._clock.elapsed_ms() + next_gap
        while True:
            if gap_at is not None and self._clock.elapsed_ms() >= gap_at:
                # simulate a connection failure, which drivers do not notice
                self._tally.events["offline_spells"] += 1
                self.runner.step(self.runner.core.stop)
                until = self._clock.elapsed_ms() + self.site.offline_for()
                while self._clock.elapsed_ms() < until:
                    await self._advance(until)
                self.runner.step(self.runner.core.start)
                next_gap = self.site.offline_in()
                gap_at = None if next_gap is None else self._clock.elapsed_ms() + next_gap
            await self._advance(gap_at)

    async def _advance(self, until: int | None) -> None:
        """Carry out what is due, then wait for the next step, at most until `until`."""
        now = self._clock.elapsed_ms()
        for fact in list(self.site.advance(now)):
            self._notify(fact)
        wake = self.site.due() if until is None else min(self.site.due(), until)
        self._moved.clear()
        wait_s = max(0.005, min((wake - self._clock.elapsed_ms()) / 1000 / self._clock.scale, 3600.0))
        await wait_at_most(wait_s, self._moved.wait())

    def _notify(self, fact: Fact) -> None:
        """Pass a fact to the station, and the facts that its commands cause; never one within another."""
        match fact:
            case Departing():
                fact = fact.dated(self._clock.utc_ms())
            case ContractPresented() if fact.chain_pem:
                store = self.runner.core.certificates
                roots = [*store.of("MORootCertificate"), *store.of("V2GRootCertificate")]
                fact = msgspec.structs.replace(fact, locally_valid=validity(fact, roots, self._clock.utc_ms()))
        self._facts.append(fact)
        if self._handling:
            return
        self._handling = True
        try:
            while self._facts:
                first = self._facts.popleft()
                self.runner.step(lambda moment, first=first: self.runner.core.handle(first, moment))  # type: ignore[misc]
        finally:  # a fact whose step raised is not handled again, nor does it hold up the others
            self._handling = False

    # -- hardware

    def do(self, line: str) -> None:
        """Carry out a step by hand: `reboot`, or see `Site.do`. Raises ValueError, LookupError."""
        if line.split() == ["reboot"]:
            self._boot_reason = "PowerUp"
            self._restart.set()
            return
        for fact in list(self.site.do(line, self._clock.elapsed_ms())):
            self._notify(fact)

    def _command(self, command: StationCommand) -> None:
        for fact in self.site.command(command, self._clock.elapsed_ms()):
            asyncio.get_running_loop().call_soon(self._notify, fact)
        if isinstance(command, SetPhases):
            self._moved.set()
        match command:
            case Restart(evse_id=None):
                self._tally.events["restarts"] += 1
                self._restart.set()
            case ShowQrCode(evse_id=evse_id, url=url):
                self.codes[evse_id] = url
            case _:
                self._machine.carry_out(command)

    # -- observation

    def _observe(self, event: Observe) -> None:
        self._tally.events[event.name] += 1
        match event.name:
            case "csms_unreachable" | "boot_refused":
                self._tally.kept_out[str(event.data["reason"]).replace(self.identity, "STATION")] += 1
            case "station_defect":
                _log.error("%s: %s", self.identity, event.data["where"], extra={"defect": event.data})
            case "boot" if event.data["status"] != "Accepted":
                self._tally.kept_out[f"boot: {event.data['status']}"] += 1

    def _tap(self, way: str, text: str) -> None:
        if way == "sent":
            self._tally.sent += 1
            if text.startswith("[2,"):
                self._tally.events[f"call {text[4:120].split(chr(34), 3)[2]}"] += 1
        else:
            self._tally.received += 1
            if text.startswith("[4,"):
                self._tally.events["call_errors"] += 1


def _text(file: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyAccessError(f"{file} is not usable: {error}", hint="a certificate in PEM") from None


def _connector(behaviour: Behaviour) -> ConnectorLayout:
    fixed = not behaviour.detachable_cables
    if not behaviour.phases:
        return ConnectorLayout(fixed_cable=fixed)
    return ConnectorLayout(connector_type="cType2" if fixed else "sType2", fixed_cable=fixed)


def _inverter(layout: StationLayout, max_var: int) -> Inverter:
    """Return the nameplate of the station's own inverters."""
    return Inverter(
        manufacturer=layout.vendor,
        model=layout.model,
        serial_number=layout.serial_number or "",
        sw_version=layout.firmware,
        max_var=max_var,
    )


class Simulator:
    """All stations."""

    def __init__(
        self,
        fleet: StationFleet,
        contexts: Callable[[str], ssl.SSLContext | None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        """Create them; `contexts` returns the TLS context delivered with a station, by its identity. The station adds
        roots and certificates that its CSMS sets. `clock`: other than real time.

        Raises CodecError for an invalid grid trace, KeyAccessError for an unreadable certificate, CertificateError for
        an unusable contract.
        """
        self.fleet = fleet
        self.tally = FleetTally()
        self._ended: dict[str, object] | None = None
        self._clock = clock or Clock(ClockConfig(scale=fleet.speed))
        plan = fleet.behaviour.grid
        trace = load_grid_trace(Path(plan.trace)) if plan is not None and plan.trace is not None else None
        contract = load_contract(fleet.contract) if fleet.contract is not None else None
        grid = SimulatedGrid(plan, trace, self._clock.elapsed_ms()) if plan is not None else None
        self.stations = [
            SimulatedStation(identity, fleet, self.tally, self._clock, contexts(identity), grid=grid, contract=contract)
            for identity in fleet.identities
        ]

    async def run(self, duration_s: float | None, look: Callable[["Simulator"], None] = lambda _: None) -> None:
        """Run for some time, or until cancelled; `look` is called every second."""
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(duration_s):
                for station in self.stations:
                    tasks.append(spawn(station.run()))
                    await asyncio.sleep(1 / self.fleet.ramp_per_s)
                    if len(tasks) % max(1, int(self.fleet.ramp_per_s)) == 0:
                        look(self)
                while True:
                    look(self)
                    await asyncio.sleep(1.0)
        except TimeoutError:
            pass
        finally:
            self._ended = self.report()  # before they stop
            await cancel_tasks(*tasks)
            for station in self.stations:
                await station.close()

    def report(self) -> Fields:
        """Return the results until now, or until the end, for JSON."""
        if self._ended is not None:
            return self._ended
        bays = [bay for station in self.stations for bay in station.site.bays.values()]
        boots = sorted(self.tally.boot_s)
        events = self.tally.events
        return {
            "stations": len(self.stations),
            "online": sum(station.runner.served for station in self.stations),
            "charging": sum(bay.phase == "charging" for bay in bays),
            "power_kw": round(sum(bay.power_w for bay in bays) / 1000, 1),
            "discharging": sum(bay.power_w < 0 for bay in bays),
            "energy_kwh": round(sum(bay.import_mwh for bay in bays) / 1_000_000, 3),
            "export_kwh": round(sum(bay.export_mwh for bay in bays) / 1_000_000, 3),
            "sessions": sum(station.site.sessions for station in self.stations),
            "refused": sum(station.site.refused for station in self.stations),
            "waiting": sum(len(station.runner.core.outbox) for station in self.stations),
            "frames_sent": self.tally.sent,
            "frames_received": self.tally.received,
            "call_errors": events["call_errors"],
            "given_up": events["event_given_up"],
            "defects": events["station_defect"],
            "boot_to_accepted_s": {
                "median": round(boots[len(boots) // 2], 3) if boots else None,
                "most": round(boots[-1], 3) if boots else None,
            },
            "qr_codes": {
                each.identity: {str(evse_id): url for evse_id, url in each.codes.items() if url}
                for each in self.stations[:MOST_STATIONS]
                if any(each.codes.values())
            },
            "kept_out": dict(self.tally.kept_out.most_common(MOST_REASONS)),
            "calls": {name[5:]: count for name, count in sorted(events.items()) if name.startswith("call ")},
        }


# -- The contract of simulated vehicles, and its validation in place of the charger's


def load_contract(path: Path) -> ContractPresented:
    """Return the contract of a chain, PEM, leaf first, at no EVSE yet. Raises CertificateError."""
    chain = load_chain(path)
    pem, hashes = describe_chain(chain)
    return ContractPresented(evse_id=0, emaid=emaid_of(load_certificate(chain[0])), chain_pem=pem, hashes=hashes)


def validity(contract: ContractPresented, roots: Iterable[x509.Certificate], utc_ms: int) -> bool | None:
    """Return whether a chain is valid by these roots, None without its root (C07.FR.06)."""
    leaf, *above = chain_from_pem(contract.chain_pem.encode())
    anchors = [each.public_bytes(Encoding.DER) for each in roots]
    at = datetime.fromtimestamp(utc_ms / 1000, UTC)
    try:
        verify_chain(leaf, above, anchors, role=Role.CONTRACT, at=at, interop=True)
    except CertificateError as error:
        return None if error.reason == "unknown_root" else False
    return True


MOST_LINE: Final = 200


class StationControl:
    """Listens for steps. `stations` by identity."""

    def __init__(self, stations: Mapping[str, SimulatedStation]) -> None:
        self._stations = stations
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def listen(self, port: int) -> int:
        """Listen at 127.0.0.1; return the port, which is chosen for 0. Raises OSError."""
        self._server = await start_server(self._serve, "127.0.0.1", port, limit=MOST_LINE)
        return port_of(self._server)

    async def close(self) -> None:
        """Stop listening, and end all connections."""
        if self._server is not None:
            self._server.close()
            for client in self._clients:
                client.transport.abort()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                writer.write(f"{self.carry_out(line.decode(errors='replace').strip())}\n".encode())
                await writer.drain()
        except (OSError, ValueError):  # ValueError: a line that is too long
            pass
        finally:
            self._clients.discard(writer)
            writer.close()

    def carry_out(self, line: str) -> str:
        """Carry out a step; return the answer."""
        first, _, rest = line.partition(" ")
        station = self._stations.get(first)
        if station is None and len(self._stations) == 1:
            (station,) = self._stations.values()
        else:
            line = rest
        if station is None:
            return f"error no station {first}"
        try:
            station.do(line)
        except LookupError as error:
            return f"no {error.args[0]}"
        except (ValueError, msgspec.ValidationError) as error:
            return f"error {error}"
        return "ok"
