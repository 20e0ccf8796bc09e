"""The state of all parts of a charger, for commissioning: one picture, taken once a second.

The status page (`secc.status_page`) and `v2g secc --live` show it; `SUMMARY` says it in words. Taking it only reads
what is known anyway: parts of the charger, and its own events, from which the connection to the CSMS, the last matching
and the last sessions follow. A reader in another thread takes `StatusKeeper.latest`, which never changes once made.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from secc.config import ProgramConfig
from secc.session.power import GRID_SUPPORT
from v2g.energy.conductors import LINE_NAMES
from v2g.errors import V2GError
from v2g.events import WARNINGS
from v2g.hardware.faults import FAULTS
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe, Scalar
from v2g.pki.certificates import load_certificate
from v2g.text import printable, redacted
from v2g.version import VERSION

if TYPE_CHECKING:
    from secc.evse.controller import EvseController

EVERY_S: Final = 1.0
"""Interval of pictures."""

SESSIONS: Final = 10
"""Remembered sessions of an EVSE."""

_LONGEST: Final = 200
"""Characters of a text of others."""

_METER_MS: Final = 60_000
"""Interval of events in which only figures have changed."""

Tone = Literal["good", "busy", "bad", "plain"]


class CsmsShown(msgspec.Struct, frozen=True):
    """The connection to the back end."""

    state: Literal["none", "connecting", "registering", "connected", "disconnected"] = "none"
    """`none`: no back end is configured; `registering`: connected, but not (yet) accepted."""
    since_ms: int = 0
    """Since when, ms of UTC."""
    reason: str = ""
    """Why it is not connected: the TLS error, the refusal, the answer to the boot notification."""
    attempts: int = 0
    """Failed attempts since the last connection."""
    url: str = ""
    """Configured URL; the CSMS may have set another one."""
    identity: str = ""
    """This station's identity there."""
    version: str = ""
    """Negotiated version of OCPP."""
    silent: bool = False
    """Connected, but the last request was not answered in time."""


class Board(msgspec.Struct, frozen=True):
    """The control board."""

    source: str = "simulated"
    """Its serial port, `simulated`, or the driver of the pilot."""
    state: Literal["answers", "lost"] = "answers"
    name: str = ""
    """What it calls itself."""
    serial: str = ""
    """Its serial number."""
    firmware: str = ""
    """Version of its firmware."""
    reason: str = ""
    """Why it is lost."""


class Pilot(msgspec.Struct, frozen=True):
    """The control pilot of IEC 61851-1, and the plug."""

    state: str = ""
    """A to F."""
    duty_percent: float | None = None
    """Duty cycle set; null while the oscillator is off."""
    proximity: str = ""
    """Contact of the plug: open, seated, half-open and so on."""
    fault: str = ""
    """Why the state is E."""


class ModemShown(msgspec.Struct, frozen=True):
    """The powerline modem and its matching (SLAC)."""

    port: str = ""
    """Backend and interface or device; empty: no SLAC."""
    state: Literal["none", "starting", "ready", "matching", "matched", "lost"] = "none"
    """`ready`: it has a network key and waits for a vehicle."""
    chip: str = ""
    """As the modem reports; empty if it does not."""
    firmware: str = ""
    """As the modem reports; empty if it does not."""
    attenuation_db: float | None = None
    """Of the last match, averaged over carrier groups and sounds."""
    matched_ms: int = 0
    """When that was, ms of UTC; 0: never."""
    reason: str = ""
    """Why the last matching failed or the link went down."""


class StageShown(msgspec.Struct, frozen=True):
    """Power electronics."""

    source: str = "simulated"
    """`simulated`, `can`, `bench`, or another driver."""
    kind: str = ""
    """dc, ac, wpt or acdp."""
    voltage_mv: int = 0
    """At the output."""
    current_ma: int = 0
    """Positive into the vehicle."""
    line_ma: tuple[int, ...] = ()
    """Currents of L1, L2, L3 and the neutral with alternating current, mA; empty where they are not measured."""
    power_w: int = 0
    """Positive into the vehicle."""
    rating_w: tuple[int, int] = (0, 0)
    """Most power into the vehicle, and out of it."""


class MeterShown(msgspec.Struct, frozen=True):
    """The meter, and what it signs with."""

    source: str = "simulated"
    """`simulated`, `modbus`, or another driver."""
    serial: str = ""
    """Serial number, of its certificate."""
    answers: bool = True
    """Whether the last reading succeeded."""
    import_mwh: int = 0
    """Register of energy into the vehicle."""
    export_mwh: int = 0
    """Register of energy out of it."""
    read_ms: int = 0
    """When it last answered, ms of UTC."""
    certificate_until: str = ""
    """Last day of its certificate, `YYYY-MM-DD`."""
    certificate_from: str = ""
    """Its first day."""
    signature: Literal["none", "signed", "failed", "expired", "not_yet_valid"] = "none"
    """Of the last session; `expired`, `not_yet_valid`: the certificate is, by the clock."""
    reason: str = ""
    """Why the last session was not signed."""


class FaultShown(msgspec.Struct, frozen=True):
    """An active fault."""

    code: str
    """See the reference of hardware faults."""
    text: str
    """What it means."""
    stops: bool
    """Whether it stops energy."""
    until: str
    """`cleared`, `unplugged`, `tested`, or `serviced` or `reset` (latched, across restarts)."""


class InterlockShown(msgspec.Struct, frozen=True):
    """The contactor, and what keeps it open."""

    contactor: Literal["open", "closed"] = "open"
    blocked: str = ""
    """Why it must not close: a fault, `not_authorised`, `pilot_A` and so on; empty: nothing forbids it."""
    light: str = ""
    """Signal of the lamp."""
    faults: tuple[FaultShown, ...] = ()


class Safety(msgspec.Struct, frozen=True):
    """Last verdict of the safety monitor."""

    verdict: Literal["none", "lowered", "opened"] = "none"
    reason: str = ""
    """The rule."""
    at_ms: int = 0
    """When, ms of UTC."""


class SessionShown(msgspec.Struct, frozen=True):
    """One session with a vehicle."""

    session_id: str
    started_ms: int
    """ms of UTC."""
    edition: str = ""
    """Protocol of the handshake; `IEC 61851-1` for basic charging."""
    authorisation: str = ""
    """PnC (contract) or EIM (others); followed by the reason of a refusal."""
    grid_support: str = ""
    """Functions that the vehicle's inverter was given (AC DER), or what it lacks, so that it only charges."""
    energy_in_wh: int = 0
    """Into the vehicle."""
    energy_out_wh: int = 0
    """Out of the vehicle."""
    ended_ms: int = 0
    """ms of UTC; 0 while it runs."""
    reason: str = ""
    """Why it ended."""


class EvseShown(msgspec.Struct, frozen=True):
    """One EVSE."""

    number: int
    """OCPP's, from 1."""
    evse_id: str
    """As sent to vehicles."""
    state: str = ""
    """Available, Occupied, Faulted or Unavailable."""
    board: Board = Board()
    pilot: Pilot | None = None
    """null: a bench, or a device without one."""
    modem: ModemShown = ModemShown()
    stage: StageShown = StageShown()
    meter: MeterShown = MeterShown()
    interlock: InterlockShown = InterlockShown()
    safety: Safety = Safety()
    refused: str = ""
    """Why the last vehicle was refused before a session began."""
    sessions: tuple[SessionShown, ...] = ()
    """The last ones, newest first."""


class EebusShown(msgspec.Struct, frozen=True):
    """The charger's EEBUS node: what a user types, or scans, to pair it with a control box, and how things are."""

    ski: str = ""
    qr: str = ""
    """Text of its QR code."""
    boxes: Mapping[str, str] = {}
    """State of each box that has connected, by SKI: waiting (for trust), connecting, connected, disconnected."""
    limits: Mapping[str, str] = {}
    """State of LPC and LPP, and the limit in force."""


class LineShown(NamedTuple):
    """What is said of one part, and how it looks."""

    text: str
    tone: Tone = "plain"


class GridCodeShown(msgspec.Struct, frozen=True):
    """The grid code that the charger keeps, and whether it is connected by it."""

    code: str = ""
    """Name and edition."""
    digest: str = ""
    """SHA-256 of its values."""
    connected: bool = False
    """It may feed back."""
    narrow: bool = False
    """The narrow stages of the code act, too."""
    stage: str = ""
    """The stage of protection that disconnected it; empty: it waits to connect after the start."""
    since_ms: int = 0
    """Since when, ms of UTC."""

    @property
    def line(self) -> LineShown:
        """What the page says."""
        code = f"{self.code}, narrow stages" if self.narrow else self.code
        if self.connected:
            return LineShown(f"{code}: connected", "good")
        why = f"disconnected by {self.stage}" if self.stage else "waits until the grid was good for long enough"
        return LineShown(f"{code}: {why}", "bad" if self.stage else "busy")

    def after(self, event: Observe, now: int) -> "GridCodeShown":
        """Return it after an event of the grid code."""
        if event.name == "grid_code":
            return GridCodeShown(_text(event.data["code"]), _text(event.data["digest"]), since_ms=now)
        if event.name == "grid_code_stages":
            return replace(self, narrow=event.data["narrow"] is True)
        connected = event.name == "grid_connected"
        return replace(self, connected=connected, stage=_text(event.data.get("stage", "")), since_ms=now)


class ChargerStatus(msgspec.Struct, frozen=True):
    """The whole charger at one moment."""

    utc_ms: int
    """When, ms of UTC."""
    started_ms: int = 0
    """When the program started, ms of UTC."""
    program: str = ""
    """Version of the program."""
    defects: int = 0
    """Exceptions that no code expected, since the start: events `defect`, `station_defect` and `task_failed`."""
    events: Mapping[str, int] = {}
    """Events of severity warning and error since the start: stage and name, and how often."""
    csms: CsmsShown = CsmsShown()
    frequency_lost: bool = False
    """The configured source of the grid's frequency does not measure it, and no power leaves vehicles."""
    managers_lost: Mapping[str, str] = {}
    """What holds instead of an energy manager that does not respond, by its source."""
    grid_code: GridCodeShown | None = None
    eebus: EebusShown | None = None
    evses: tuple[EvseShown, ...] = ()


class StatusKeeper:
    """Takes the pictures. Give `saw` every event of the charger, from before its parts are made, and run `run`."""

    def __init__(self, config: ProgramConfig, clock: Clock) -> None:
        self._clock, self._many = clock, len(config.places) > 1
        self._numbers = {place.charger.evse_id: place_number for place_number, place in enumerate(config.places)}
        now = clock.utc_ms()
        csms = CsmsShown()
        if config.station is not None:
            url = printable(redacted(config.station.url))
            csms = CsmsShown("connecting", now, url=url, identity=config.station.identity)
        places = enumerate(config.places, 1)
        evses = tuple(_configured(number, place) for number, place in places)
        self.latest = ChargerStatus(now, now, VERSION, csms=csms, evses=evses)
        """The last picture."""
        self._evses = list(evses)
        self._sessions: list[deque[SessionShown]] = [deque(maxlen=SESSIONS) for _ in evses]
        self._edition = [""] * len(evses)
        self._registers: list[tuple[int, int]] = [(0, 0)] * len(evses)
        self._reported: list[tuple[int, dict[str, Scalar]]] = [(0, {})] * len(evses)

    async def run(self, controllers: Sequence["EvseController"], connected: Callable[[], bool]) -> None:
        """Take pictures until cancelled, of one EVSE after the other: no turn of the event loop waits for all.

        `connected`: whether the socket to the CSMS is open.
        """
        while True:
            for index, controller in enumerate(controllers):
                self._look_at_csms(connected())
                self._take(index, controller)
                await asyncio.sleep(EVERY_S / len(controllers))

    def take(self, controllers: Sequence["EvseController"], *, connected: bool = True) -> None:
        """Take one picture of all, and report what it shows of each EVSE when that is new."""
        self._look_at_csms(connected)
        for index, controller in enumerate(controllers):
            self._take(index, controller)

    def _look_at_csms(self, connected: bool) -> None:
        csms, now = self.latest.csms, self._clock.utc_ms()
        if not connected and csms.state in ("registering", "connected"):
            csms = replace(csms, state="disconnected", since_ms=now, reason="the connection has ended")
            self.latest = replace(self.latest, csms=csms)

    def _take(self, index: int, controller: "EvseController") -> None:
        now = self._clock.utc_ms()
        evse = self._seen(index, controller, now)
        evses = (*self.latest.evses[:index], evse, *self.latest.evses[index + 1 :])
        self.latest = replace(self.latest, utc_ms=now, evses=evses)
        said: dict[str, Scalar] = {name: line.text for name, line in summary(self.latest, evse).items()}
        at, before = self._reported[index]
        steady = {name: text for name, text in said.items() if name not in _FIGURES}
        if any(before.get(name) != text for name, text in steady.items()) or (
            said != before and now - at >= _METER_MS and not controller.busy
        ):
            self._reported[index] = now, said
            controller.observe(Observe("hardware", "status", said))

    # -- from events

    def saw(self, event: Observe) -> None:
        """Process an event of the charger."""
        if (event.stage, event.name) in WARNINGS:
            declared, counts = event.declaration, self.latest.events
            self.latest = replace(
                self.latest,
                defects=self.latest.defects + declared.defect,
                events={**counts, declared.name: counts.get(declared.name, 0) + 1},
            )
        if event.name in ("frequency_lost", "frequency_back"):
            self.latest = replace(self.latest, frequency_lost=event.name == "frequency_lost")
        if event.name in ("energy_manager_lost", "energy_manager_connected"):
            source, instead = _text(event.data["source"]), _text(event.data.get("instead", ""))
            others = {name: text for name, text in self.latest.managers_lost.items() if name != source}
            lost = {**others, source: instead} if instead else others
            self.latest = replace(self.latest, managers_lost=lost)
        if event.name in ("grid_code", "grid_code_stages", "grid_connected", "grid_disconnected"):
            code = self.latest.grid_code or GridCodeShown()
            self.latest = replace(self.latest, grid_code=code.after(event, self._clock.utc_ms()))
        if event.stage == "ocpp":
            self._csms(event)
        if event.stage == "power" and event.name in ("eebus_node", "eebus_peer", "eebus_state"):
            self.latest = replace(self.latest, eebus=_eebus(self.latest.eebus or EebusShown(), event))
        if event.stage not in _READ and event.name not in _GRID:
            return
        index = self._numbers.get(str(event.data.get("evse_id")), None if self._many else 0)
        if index is not None:
            evse, now, data = self._evses[index], self._clock.utc_ms(), event.data
            said = {key: _text(value) for key, value in data.items()}
            match event.stage, event.name:
                case "link", _:
                    evse = replace(evse, modem=_modem(evse.modem, event.name, said, now))
                case "hardware", "board_found":
                    found = {key: said.get(field, "") for key, field in _BOARD.items()}
                    evse = replace(evse, board=replace(evse.board, state="answers", reason="", **found))
                case "hardware", "board_lost":
                    evse = replace(evse, board=replace(evse.board, state="lost", reason=said.get("why", "")))
                case "safety", "lowered" | "opened":
                    verdict: Literal["lowered", "opened"] = "lowered" if event.name == "lowered" else "opened"
                    evse = replace(evse, safety=Safety(verdict, said.get("reason", ""), now))
                case "settlement", "bundle_written":
                    evse = replace(evse, meter=replace(evse.meter, signature="signed", reason=""))
                case "settlement", "bundle_failed":
                    evse = replace(evse, meter=replace(evse.meter, signature="failed", reason=said.get("error", "")))
                case "tls", "refused":
                    at = datetime.fromtimestamp(now / 1000, UTC)
                    evse = replace(evse, refused=f"{said.get('reason', '')} ({at:%Y-%m-%d %H:%M:%S} UTC)")
                case (("session" | "authorization" | "basic" | "power"), _):
                    self._session(index, event.name, said, now)
            self._evses[index] = evse
            self.latest = replace(self.latest, evses=tuple(self._evses))

    def _csms(self, event: Observe) -> None:
        now, csms, data = self._clock.utc_ms(), self.latest.csms, event.data
        match event.name:
            case "csms_connected":
                csms = replace(
                    csms,
                    state="registering",
                    since_ms=now,
                    reason="",
                    attempts=0,
                    version=_text(data.get("version")),
                    silent=False,
                )
            case "boot" if data.get("status") != "Accepted":
                csms = replace(csms, reason=f"the CSMS answered {_text(data.get('status'))} to the boot notification")
            case "boot_refused":
                csms = replace(csms, reason=_text(data.get("reason")))
            case "csms_online":
                csms = replace(csms, state="connected", reason="")
            case "csms_silent":
                csms = replace(csms, silent=True)
            case "csms_answers":
                csms = replace(csms, silent=False)
            case "csms_disconnected":
                csms = replace(csms, state="disconnected", since_ms=now, reason=_text(data.get("reason")))
            case "csms_unreachable":
                since = now if csms.state in ("registering", "connected") else csms.since_ms
                attempts = int(each) if isinstance(each := data.get("attempt"), int) else 0
                reason = _text(data.get("reason"))
                csms = replace(csms, state="disconnected", since_ms=since, reason=reason, attempts=attempts)
            case "station_failed":
                csms = replace(csms, state="disconnected", since_ms=now, reason=_text(data.get("error")))
            case _:
                return
        self.latest = replace(self.latest, csms=csms)

    def _session(self, index: int, name: str, said: dict[str, str], now: int) -> None:
        sessions = self._sessions[index]
        match name:
            case "protocol_negotiated":
                self._edition[index] = _EDITIONS.get(said.get("protocol", ""), said.get("protocol", ""))
            case "session_started" | "session_joined" | "started":
                edition = "IEC 61851-1" if name == "started" else self._edition[index]
                session_id = said.get("session_id", "")
                if sessions and session_id and sessions[0].session_id == session_id:  # goes on after a pause
                    sessions[0] = replace(sessions[0], ended_ms=0, reason="")
                    return
                self._registers[index] = _registers(self.latest.evses[index].meter)
                sessions.appendleft(SessionShown(session_id, now, edition))
            case "session_ended" | "session_paused" if sessions:
                reason = said.get("reason", "paused" if name == "session_paused" else "")
                sessions[0] = replace(sessions[0], ended_ms=now, reason=reason)
            case "asked" if sessions:
                sessions[0] = replace(sessions[0], authorisation=said.get("method", ""))
            case "supports_grid" | "vehicle_lacks_grid_support" if sessions:
                lacks = "" if name == "supports_grid" else "lacks "
                sessions[0] = replace(sessions[0], grid_support=lacks + said.get("functions", ""))
            case "limited" if sessions:
                given = sessions[0].grid_support.removesuffix(_LACKING).rstrip()
                lacking = said.get("discharge_limited_by") == GRID_SUPPORT and not given.startswith("lacks ")
                if lacking or said.get("discharge_limit_w", "0") != "0":  # at the end, too, power is 0
                    sessions[0] = replace(sessions[0], grid_support=f"{given} {_LACKING * lacking}".strip())
            case "refused" if sessions:
                method = sessions[0].authorisation.partition(" ")[0]
                sessions[0] = replace(sessions[0], authorisation=f"{method} refused: {said.get('reason', '')}".strip())

    # -- from the parts

    def _seen(self, index: int, controller: "EvseController", now: int) -> EvseShown:
        """Return an EVSE as it is now."""
        evse, hardware = self._evses[index], controller.hardware
        reading, present = controller.meter.read(now), hardware.present
        meter = replace(
            evse.meter,
            serial=_text(controller.meter.serial),
            answers=reading.answered,
            import_mwh=reading.import_mwh,
            export_mwh=reading.export_mwh,
            read_ms=now if reading.answered else evse.meter.read_ms,
        )
        if not meter.certificate_until:
            meter = _certified(meter, controller.owner.meter.leaf)
        today = f"{datetime.fromtimestamp(now / 1000, UTC):%Y-%m-%d}"
        if meter.certificate_until < today:
            meter = replace(meter, signature="expired")
        elif today < meter.certificate_from:
            meter = replace(meter, signature="not_yet_valid")
        elif meter.signature == "not_yet_valid":  # the clock was set
            meter = replace(meter, signature="none")
        pilot = None
        if controller.wires is not None:
            wire = controller.wires.pilot
            pilot = Pilot(wire.state.value, wire.duty_percent, wire.proximity.state, wire.fault)
        # add up the energy of the running session, and once more after its end
        sessions, began = self._sessions[index], self._registers[index]
        if sessions and (not sessions[0].ended_ms or sessions[0].ended_ms >= self.latest.utc_ms):
            used = [max(0, new - old) // 1000 for new, old in zip(_registers(meter), began, strict=True)]
            sessions[0] = replace(sessions[0], energy_in_wh=used[0], energy_out_wh=used[1])
        evse = self._evses[index] = replace(
            evse,
            state="Unavailable" if not controller.in_service else controller.status or "Unavailable",
            pilot=pilot,
            stage=replace(
                evse.stage,
                voltage_mv=present.voltage_mv,
                current_ma=present.current_ma,
                line_ma=() if present.currents is None else (*present.currents, present.currents.neutral_ma),
                power_w=present.watts,
                rating_w=controller.rating,
            ),
            meter=meter,
            interlock=InterlockShown(
                "closed" if hardware.contactors_closed else "open",
                hardware.blocked,
                hardware.light,
                tuple(
                    FaultShown(word, FAULTS[word].sentence, FAULTS[word].stops, FAULTS[word].until)
                    for word in hardware.faults
                ),
            ),
            sessions=tuple(self._sessions[index]),
        )
        return evse


_READ: Final = frozenset({"link", "hardware", "safety", "settlement", "tls", "session", "authorization", "basic"})
"""Stages of events that say something of an EVSE."""
_LACKING: Final = "(lacks functions of the grid code)"
_GRID: Final = frozenset({"limited", "supports_grid", "vehicle_lacks_grid_support"})
"""Events of power that say something of a session."""
_BOARD: Final = {"name": "board", "serial": "serial", "firmware": "firmware"}
_EDITIONS: Final = {"2": "ISO 15118-2", "20": "ISO 15118-20", "din": "DIN 70121"}
_BOXES: Final = 16
_FIGURES: Final = frozenset({"power", "meter"})
"""Parts whose words change with every reading."""


def _eebus(shown: EebusShown, event: Observe) -> EebusShown:
    said = {key: _text(value) for key, value in event.data.items()}
    match event.name:
        case "eebus_node":
            return replace(shown, ski=said.get("ski", ""), qr=printable(str(event.data.get("qr", ""))))
        case "eebus_peer":
            boxes = {**shown.boxes, said.get("ski", ""): said.get("state", "")}
            return replace(shown, boxes=dict(list(boxes.items())[-_BOXES:]))
    limit = f", {said['limit_w']} W" if said.get("limit_w") else ""
    return replace(shown, limits={**shown.limits, said.get("use_case", ""): f"{said.get('state', '')}{limit}"})


def _registers(meter: MeterShown) -> tuple[int, int]:
    return meter.import_mwh, meter.export_mwh


def _configured(number: int, place: ProgramConfig) -> EvseShown:
    """Return what a configuration says of an EVSE."""
    hardware, link = place.hardware, place.link
    board = hardware.board.device if hardware.pilot == "board" and hardware.board is not None else hardware.pilot
    bench = hardware.backend == "bench"
    modem = ModemShown()
    if link.slac is not None:
        where = link.plc.interface or link.plc.device
        modem = ModemShown(port=f"{link.plc.backend} {where}".strip(), state="starting")
    return EvseShown(
        number,
        place.charger.evse_id,
        board=Board("none" if bench else board),
        modem=modem,
        stage=StageShown("bench" if bench else hardware.stage, hardware.kind),
        meter=MeterShown("simulated" if bench else hardware.meter),
    )


def _modem(modem: ModemShown, name: str, said: dict[str, str], now: int) -> ModemShown:
    match name:
        case "modem_found":
            return replace(modem, chip=said.get("chip") or modem.chip, firmware=said.get("firmware", ""))
        case "key_set":
            return replace(modem, state="ready")  # a fresh one, also after each vehicle
        case "matching_started":
            return replace(modem, state="matching", reason="")
        case "matched":
            text = said.get("attenuation_db", "")
            attenuation_db = float(text) if text.replace(".", "", 1).isdecimal() else None
            return replace(modem, state="matched", matched_ms=now, attenuation_db=attenuation_db, reason="")
        case "down":
            reason = said.get("reason", "")
            state: Literal["ready", "lost"] = "lost" if reason in ("modem_silent", "port_lost") else "ready"
            return replace(modem, state=state, reason="" if reason == "unplugged" else reason)  # no failure
        case "run_failed" | "link_failed":
            return replace(modem, reason=said.get("reason", ""))
        case "port_lost":
            return replace(modem, state="lost", reason=said.get("error", "port_lost"))
        case "port_back":
            return replace(modem, state="starting")
    return modem


def _certified(meter: MeterShown, leaf: bytes) -> MeterShown:
    try:
        own = load_certificate(leaf)
        begin, end = f"{own.not_valid_before_utc:%Y-%m-%d}", f"{own.not_valid_after_utc:%Y-%m-%d}"
        return replace(meter, certificate_from=begin, certificate_until=end)
    except V2GError as error:
        return replace(meter, certificate_until="unreadable", signature="failed", reason=_text(error))


def _text(value: object) -> str:
    """Return a text of others in a form that pages and terminals may show."""
    return "" if value is None else printable(redacted(str(value)))[:_LONGEST]


# -- in words ---------------------------------------------------------------------------------------------------------


def summary(status: ChargerStatus, evse: EvseShown) -> dict[str, LineShown]:
    """Return a line for each part of an EVSE and for the CSMS, in the order of commissioning."""
    return {name: say(status, evse) for name, say in SUMMARY.items()}


_STATES: Final[dict[str, LineShown]] = {
    "Available": LineShown("available", "good"),
    "Occupied": LineShown("occupied", "busy"),
    "Faulted": LineShown("faulted", "bad"),
    "Unavailable": LineShown("not available", "bad"),
}
_PILOT: Final = {
    "A": "no vehicle", "B": "vehicle connected", "C": "vehicle ready", "D": "vehicle ready, needs ventilation",
    "E": "error: no usable level", "F": "charger shows that it is not available",
}  # fmt: skip


def _state(_: ChargerStatus, evse: EvseShown) -> LineShown:
    return _STATES.get(evse.state, LineShown(evse.state))


def _board(_: ChargerStatus, evse: EvseShown) -> LineShown:
    board = evse.board
    if board.state == "lost":
        return LineShown(f"{board.source}: lost: {board.reason}", "bad")
    if not board.name:  # simulated, or a driver that reports none
        return LineShown(board.source)
    known = (board.name, board.serial and f"serial {board.serial}", board.firmware and f"firmware {board.firmware}")
    return LineShown(f"{board.source}: {', '.join(filter(None, known))}", "good")


def _pilot(_: ChargerStatus, evse: EvseShown) -> LineShown:
    pilot = evse.pilot
    if pilot is None:
        return LineShown("none")
    duty = "oscillator off" if pilot.duty_percent is None else f"duty {pilot.duty_percent:g} %"
    parts = [f"{pilot.state}: {_PILOT.get(pilot.state, '')}", duty, f"plug {pilot.proximity.replace('_', ' ')}"]
    bad = pilot.state in ("E", "F")
    return LineShown(", ".join((*parts, pilot.fault) if pilot.fault else parts), "bad" if bad else "plain")


def _modem_line(_: ChargerStatus, evse: EvseShown) -> LineShown:
    modem = evse.modem
    if not modem.port:
        return LineShown("none: no matching (SLAC)")
    parts = [f"{modem.port}: {_MODEM[modem.state]}"]
    if modem.chip or modem.firmware:
        parts.append(f"{modem.chip} firmware {modem.firmware}".strip())
    if modem.attenuation_db is not None:
        parts.append(f"last match {modem.attenuation_db:g} dB")
    if modem.reason and modem.state != "matched":
        parts.append(f"last failure: {modem.reason}")
    tones: dict[str, Tone] = {"ready": "good", "matched": "good", "matching": "busy", "lost": "bad"}
    return LineShown(", ".join(parts), tones.get(modem.state, "plain"))


_MODEM: Final = {
    "none": "", "starting": "no network key yet", "ready": "ready for a vehicle", "matching": "matching a vehicle",
    "matched": "link up", "lost": "does not answer",
}  # fmt: skip


def _power(status: ChargerStatus, evse: EvseShown) -> LineShown:
    stage = evse.stage
    measured = f"{stage.voltage_mv / 1000:.1f} V, {stage.current_ma / 1000:.1f} A, {stage.power_w / 1000:.2f} kW"
    if stage.line_ma:
        lines = zip((*LINE_NAMES, "N"), stage.line_ma, strict=True)
        measured += f" ({', '.join(f'{name} {each / 1000:.1f} A' for name, each in lines)})"
    charge, discharge = (each / 1000 for each in stage.rating_w)
    text = f"{stage.source} ({stage.kind}): {measured}; at most {charge:g} kW in, {discharge:g} kW out"
    return (
        LineShown(f"{text}; now none out: the grid's frequency is lost", "bad")
        if status.frequency_lost
        else LineShown(text)
    )


def _meter(_: ChargerStatus, evse: EvseShown) -> LineShown:
    meter = evse.meter
    registers = f"{meter.import_mwh / 1e6:.3f} kWh in, {meter.export_mwh / 1e6:.3f} kWh out"
    if not meter.answers:
        return LineShown(f"{meter.source} {meter.serial}: does not answer; last {registers}", "bad")
    return LineShown(f"{meter.source} {meter.serial}: {registers}", "good")


def _signature(status: ChargerStatus, evse: EvseShown) -> LineShown:
    meter = evse.meter
    today = f"{datetime.fromtimestamp(status.utc_ms / 1000, UTC):%Y-%m-%d}"
    words = {
        "none": "no session signed since the start",
        "signed": "last session signed",
        "failed": f"last session not signed: {meter.reason}",
        "expired": "the certificate has expired",
        "not_yet_valid": f"the clock is wrong ({today}): the certificate is valid from {meter.certificate_from} on",
    }
    tone: Tone = {"none": "plain", "signed": "good"}.get(meter.signature, "bad")  # type: ignore[assignment]
    return LineShown(f"{words[meter.signature]}; certificate until {meter.certificate_until or 'unknown'}", tone)


def _interlock(_: ChargerStatus, evse: EvseShown) -> LineShown:
    lock = evse.interlock
    why = f", may not close: {lock.blocked.replace('_', ' ')}" if lock.blocked and lock.contactor == "open" else ""
    return LineShown(f"contactor {lock.contactor}{why}", "busy" if lock.contactor == "closed" else "plain")


def _faults(_: ChargerStatus, evse: EvseShown) -> LineShown:
    faults = evse.interlock.faults
    if not faults:
        return LineShown("none", "good")
    words = "; ".join(f"{each.code}: {each.text}" + _UNTIL.get(each.until, "") for each in faults)
    return LineShown(words, "bad")


_UNTIL: Final = {
    "unplugged": " (until the vehicle has left)",
    "reset": " (latched: `v2g emergency reset secc` after service)",
    "serviced": " (latched: `v2g hardware serviced` after service)",
}


def _safety(_: ChargerStatus, evse: EvseShown) -> LineShown:
    safety = evse.safety
    if safety.verdict == "none":
        return LineShown("watches, nothing lowered or opened", "good")
    at = datetime.fromtimestamp(safety.at_ms / 1000, UTC)
    tone: Tone = "bad" if safety.verdict == "opened" else "plain"
    return LineShown(f"last {safety.verdict} by rule {safety.reason}, {at:%Y-%m-%d %H:%M:%S} UTC", tone)


def _csms(status: ChargerStatus, _: EvseShown) -> LineShown:
    csms = status.csms
    if csms.state == "none":
        return LineShown("none configured")
    since = f"{datetime.fromtimestamp(csms.since_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    match csms.state:
        case "connected":
            line = f"connected to {csms.url} as {csms.identity}, OCPP {csms.version}, since {since}"
            return LineShown(f"{line}, but it does not answer", "bad") if csms.silent else LineShown(line, "good")
        case "registering":
            return LineShown(f"connected since {since}, not accepted yet: {csms.reason or 'no answer'}", "busy")
        case "connecting":
            return LineShown(f"connecting to {csms.url}", "busy")
    tries = f", {csms.attempts} failed attempts" if csms.attempts > 1 else ""
    return LineShown(f"not connected since {since}{tries}: {csms.reason or 'unknown'}; its limits stay in force", "bad")


SUMMARY: Final[dict[str, Callable[[ChargerStatus, EvseShown], LineShown]]] = {
    "state": _state,
    "board": _board,
    "pilot": _pilot,
    "modem": _modem_line,
    "power": _power,
    "meter": _meter,
    "signature": _signature,
    "interlock": _interlock,
    "faults": _faults,
    "safety": _safety,
    "csms": _csms,
}
"""Part -> what is said of it."""
