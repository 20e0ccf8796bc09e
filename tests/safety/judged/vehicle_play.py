"""Plays a list of steps to a vehicle on the rig, before the judge of `vehicle_rule`: a charger that
answers wrongly, drives what nobody asked for, a driver, a plug, and parts that fail. To play one again:
`python -m tests.safety.judged.vehicle_play KIND MODE '[[...], ...]'`.
"""

import asyncio
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from evcc.policy.battery import BatteryConfig
from evcc.session import ports
from evcc.session.settings import (
    AuthorizationConfig,
    DischargeConfig,
    NeedsConfig,
    OnBoardChargerConfig,
    ProgramStep,
    ServiceConfig,
    SessionConfig,
    TimingConfig,
)
from tests import patient
from tests.evcc.session.bench import Counter, Identities
from tests.safety.judged.play import swing
from tests.safety.judged.steps import Chances, Step, goes_on, reported, script, walk
from tests.safety.judged.vehicle_rig import (
    ANSWER_S,
    LOOPS,
    MAINS_MV,
    UTC_MS,
    Crossing,
    Station,
    VehicleRig,
    vehicle_rig,
)
from tests.safety.judged.vehicle_rule import Seen, VehicleJudge
from tests.safety.vehicle_places import Kind, PlaceResponses
from tests.virtual_time import in_simulated_time
from v2g import exi
from v2g.asn1.discharge import DischargeCommand, PriceSlot, signed_content
from v2g.energy.conductors import Currents
from v2g.energy.discharge_gate import Accepted, DischargeGate, Rejected
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import discharge_limits
from v2g.errors import V2GError
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.simulation.medium import Medium
from v2g.iso15118.d20.charts import SIDE_CHARTS
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.messages.common_types import (
    EvseNotification,
    EVSEStatus,
    MessageHeader,
    Processing,
    RationalNumber,
    ResponseCode,
)
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.session import NO_SESSION
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_testkit.cases.responses import Fields

Mode = Literal["dynamic", "scheduled", "signed"]
"""Control mode; `signed` is a dynamic one in which every discharge has to be signed for."""

KINDS: Final[tuple[Kind, ...]] = ("dc", "ac", "wpt", "acdp")
MODES: Final[tuple[Mode, ...]] = ("dynamic", "scheduled", "signed")
WAYS: Final[tuple[tuple[Kind, Mode], ...]] = tuple(
    (kind, mode)
    for kind in KINDS
    for mode in MODES
    if (kind, mode) != ("wpt", "signed")  # it only goes one way
)
LOOK_S: Final = 0.1
REPORTS_S: Final = 0.1
"""How often the judge looks, and battery and inlet report."""
SIGNED: Final = 61_440
WITHIN_S: Final = 30.0
"""How long a step waits for what is to come."""

PROGRAM: Final = (
    ProgramStep(do="charge", for_s=3),
    ProgramStep(do="wait", for_s=2, standby=True),
    ProgramStep(do="discharge", for_s=5),
    ProgramStep(do="wait", for_s=2),
    ProgramStep(do="charge", for_s=36_000),
)
ONE_WAY: Final = (
    ProgramStep(do="wait", for_s=6),
    ProgramStep(do="charge", for_s=3),
    ProgramStep(do="wait", for_s=2, standby=True),
    ProgramStep(do="charge", for_s=36_000),
)
PROGRAMS: Final[Mapping[Kind, tuple[ProgramStep, ...]]] = {
    "wpt": ONE_WAY,
    "ac": (replace(PROGRAM[0], for_s=8), PROGRAM[1], replace(PROGRAM[2], for_s=8), *PROGRAM[3:]),
    "basic": PROGRAM[-1:],
}
"""Those of a vehicle that is not like others: what flows through conductors is judged for longer."""
BATTERY: Final = BatteryConfig(soc=60, resistance_ohm=0.5)


# -- the charger ------------------------------------------------------------------------------------------------------


_TARGETS: Final = ("evse_target_active_power", "evse_target_active_power_l2", "evse_target_active_power_l3")


class Answers(PlaceResponses):
    """Those of a charger that takes discharge, signed or not, and goes on with a session that was paused."""

    signed = False

    def _SessionSetupReq(self, request: Any) -> Fields:
        joined = request.header.session_id == self.session_id != NO_SESSION
        code = ResponseCode.OK_OldSessionJoined if joined else ResponseCode.OK_NewSessionEstablished
        return {**super()._SessionSetupReq(request), "response_code": code}

    def _ServiceDiscoveryReq(self, request: Any) -> Fields:
        added = cm.ServiceList(service=(cm.Service(service_id=SIGNED, free_service=True),)) if self.signed else None
        return {**super()._ServiceDiscoveryReq(request), "vas_list": added}

    def _ServiceDetailReq(self, request: Any) -> Fields:
        if request.service_id != SIGNED:
            return super()._ServiceDetailReq(request)
        values = {"Version": 1, "PayloadType": int(PayloadType.SIGNED_DISCHARGE)}
        parameters = tuple(cm.Parameter(name=name, int_value=value) for name, value in values.items())
        only = cm.ParameterSet(parameter_set_id=0, parameter=parameters)
        return {"service_id": SIGNED, "service_parameter_list": cm.ServiceParameterList(parameter_set=(only,))}

    def _ScheduleExchangeReq(self, request: Any) -> Fields:
        fields = super()._ScheduleExchangeReq(request)
        mode = fields.get("scheduled_se_res_control_mode")
        if mode is not None:
            (only,) = mode.schedule_tuple
            entry = sched.PowerScheduleEntry(duration=86_400, power=RationalNumber(exponent=1, value=-800))
            entries = sched.PowerScheduleEntryList(power_schedule_entry=(entry,))
            back = replace(only.charging_schedule.power_schedule, power_schedule_entries=entries)
            both = replace(only, discharging_schedule=sched.ChargingSchedule(power_schedule=back))
            fields["scheduled_se_res_control_mode"] = replace(mode, schedule_tuple=(both,))
        return fields

    def _AC_ChargeLoopReq(self, request: Any) -> Fields:
        fields = super()._AC_ChargeLoopReq(request)
        mode = fields["cl_res_control_mode"]
        if hasattr(mode, "evse_target_active_power") and "Dynamic" in type(mode).__name__:
            wants = request.cl_req_control_mode.ev_maximum_charge_power.value > 0
            target = dict.fromkeys(_TARGETS, RationalNumber(exponent=1, value=330 if wants else -250))
            fields["cl_res_control_mode"] = replace(mode, **target)
        return fields

    def again(self) -> None:
        """Have everything to be asked twice once more."""
        self._polled.clear()


class Charger(Station):
    """Answers by the book but for what `wrongs` says: label of a request -> how its answer is wrong, how often."""

    def __init__(self, kind: Kind, medium: Medium) -> None:
        super().__init__(kind, medium)
        self.ways: Mapping[str, Callable[[Any], Said]] = WRONGS
        self.responses: PlaceResponses = Answers(kind, medium)
        self.wrongs: dict[str, tuple[str, int]] = {}
        self.heard: Callable[[Any, int], None] = lambda _request, _stream: None
        self.answers: Callable[[Any, int], None] = lambda _response, _stream: None
        self.babbles: Callable[[], None] = lambda: None
        self.signs: Callable[[bytes], None] = lambda _payload: None
        self.gate: DischargeGate | None = None
        self.utc_ms: Callable[[], int] = lambda: UTC_MS
        self.awaited: tuple[str, asyncio.Future[None]] | None = None
        self.label = ""
        self.line_a: float | None = None
        self.beside = ""
        self.agreed: Any = None
        self._resting = self._looped = False

    def again(self) -> None:
        """Be ready for another session."""
        self.wrongs, self.notices, self.force, self.label = {}, [], None, ""
        self.line_a, self.beside = None, ""
        self._resting = self._looped = False
        self.answer = lambda _data: None
        if isinstance(self.responses, Answers):
            self.responses.again()
        if self.responses.pantograph is not None:
            self.responses.pantograph.move(connected=False)
        self.rest()

    def _labelled(self, request: Any) -> str:
        """Return the state of the vehicle in which it sends this."""
        name, more = type(request).__name__, ""
        match name:
            case "PowerDeliveryReq":
                progress = request.charge_progress
                self._resting = progress is cm.ChargeProgress.Standby
                anew = progress is cm.ChargeProgress.Start and self._looped
                more = f" {progress.name}{' anew' if anew else ''}"
            case "DC_PreChargeReq" | "DC_WeldingDetectionReq" | "WPT_FinePositioningReq" | "WPT_AlignmentCheckReq":
                more = f" {request.ev_processing.name}"
            case "SessionStopReq":
                more = f" {request.charging_session.name}"
            case "ScheduleExchangeReq" if self._looped:
                more = " anew"
            case "ServiceDiscoveryReq" if self._looped:
                more = " anew"
            case "DC_ChargeLoopReq" | "AC_ChargeLoopReq" | "WPT_ChargeLoopReq":
                self._looped = True
                more = " at rest" if self._resting else ""
        return name + more

    def reply(self, request: Any, response: Any, payload_type: int) -> None:
        label = self._labelled(request)
        if type(request).__name__.endswith("ChargeParameterDiscoveryReq"):
            self.agreed = response
        if payload_type not in SIDE_CHARTS:
            self.label = label
        self.heard(request, payload_type)
        how, times = self.wrongs.get(label, ("", 0))
        if times == 1:
            del self.wrongs[label]
        elif times:
            self.wrongs[label] = how, times - 1
        if self.beside and payload_type in SIDE_CHARTS:
            self._say_beside(payload_type)
        response = self._on_lines(response)
        for answer, seconds in self.ways[how](response) if how else [(response, ANSWER_S)]:
            asyncio.get_running_loop().call_later(seconds, self._say_on, self.answer, answer, response, payload_type)
        if self.gate is not None and self.label.endswith("ChargeLoopReq") and not self.wrongs:
            self._offer(self.gate)
        if self.awaited is not None and self.awaited[0] == label and not self.awaited[1].done():
            self.awaited[1].set_result(None)

    def _say_on(self, way: Callable[[bytes], None], answer: Any, response: Any, payload_type: int) -> None:
        if way is self.answer:  # else the connection is another one by now
            self._say(answer, response, payload_type)

    def _say(self, answer: Any, response: Any, payload_type: int) -> None:
        if isinstance(answer, bytes):
            if not isinstance(answer, Part):
                self.babbles()
            self.answer(answer)
            return
        stream = _stream(answer, payload_type)
        try:
            data = exi.encode(answer)
        except V2GError:  # what is wrong cannot be said of this answer
            answer, stream, data = response, payload_type, exi.encode(response)
        self.answers(answer, stream)
        self.answer(frame(stream, data))

    def _on_lines(self, response: Any) -> Any:
        """Return the response of a loop with what each conductor may carry, in the direction that it has."""
        mode = getattr(response, "cl_res_control_mode", None)
        if self.line_a is None or not hasattr(mode, _TARGETS[0]):
            return response
        target = getattr(mode, _TARGETS[0])
        least = self.line_a * (-1 if target is not None and target.value < 0 else 1)
        number = RationalNumber(exponent=0, value=round(least * MAINS_MV / 1000))
        return replace(response, cl_res_control_mode=replace(mode, **dict.fromkeys(_TARGETS, number)))

    def _say_beside(self, stream: int) -> None:
        """Say on a side stream what was agreed before power, as more than that."""
        mode = getattr(self.agreed, "dc_cpd_res_energy_transfer_mode", None)
        if mode is None:
            return
        for answer, _ in WRONGS[self.beside](self.agreed):
            self._say(answer, answer, stream)

    def say(self, what: Any) -> None:
        """Say something that nobody has asked for."""
        self._say(what, what, 0x8002)

    def _offer(self, gate: DischargeGate) -> None:
        """Offer to take energy, once in a session."""
        if gate.current_offer is not None:
            return
        utc_ms = self.utc_ms()
        gate.set_limits(discharge_limits(ev_w=10_000, evse_w=20_000, site_w=15_000, operator_w=8_000))
        slot = PriceSlot(utc_ms - 60_000, 8 * 3_600_000, 300_000, 250_000)
        payload = gate.offer(Tariff(currency="EUR", slots=(slot,)), utc_ms)
        self.send(frame(PayloadType.SIGNED_DISCHARGE, payload), 0.0)

    def hear_signed(self, payload: bytes) -> None:
        self.signs(payload)
        if self.gate is None:
            return
        judged = self.gate.on_message(payload, self.utc_ms())
        if isinstance(judged, Accepted | Rejected) and judged.reply is not None:
            self.send(frame(PayloadType.SIGNED_DISCHARGE, judged.reply), 0.01)


def _stream(message: Any, otherwise: int) -> int:
    """Return the payload type that a message is sent as."""
    if otherwise in SIDE_CHARTS:
        return otherwise
    types = {
        "app_protocol": 0x8001,
        "common_messages": 0x8002,
        "ac": 0x8003,
        "dc": 0x8004,
        "acdp": 0x8005,
        "wpt": 0x8006,
    }
    return types.get(type(message).__module__.rpartition(".")[2], otherwise)


# -- how an answer can be wrong ---------------------------------------------------------------------------------------


class Part(bytes):
    """The begin of a frame, which is as good as silence."""


Said = Sequence[tuple[Any, float]]
"""What is said, each so many seconds after the request: a message, or bytes."""


def _code(word: str) -> Callable[[Any], Said]:
    def coded(response: Any) -> Said:
        if isinstance(response, app.SupportedAppProtocolRes):
            failed = word.startswith("FAILED")
            code = app.ResponseCode.Failed_NoNegotiation if failed else response.response_code
            return [(replace(response, response_code=code), ANSWER_S)]
        return [(replace(response, response_code=ResponseCode(word)), ANSWER_S)]

    return coded


def _notice(notice: EvseNotification) -> Callable[[Any], Said]:
    return _field(evse_status=EVSEStatus(notification_max_delay=0, evse_notification=notice))


def _field(**changes: Any) -> Callable[[Any], Said]:
    """Change the fields that the answer has."""

    def changed(response: Any) -> Said:
        fit = {name: value for name, value in changes.items() if hasattr(response, name)}
        return [(replace(response, **fit), ANSWER_S)]

    return changed


def _numbers(change: Callable[[RationalNumber], RationalNumber]) -> Callable[[Any], Said]:
    """Change every number of the answer."""

    def changed(part: Any) -> Any:
        if isinstance(part, RationalNumber):
            return change(part)
        if isinstance(part, tuple):
            return tuple(changed(each) for each in part)
        if isinstance(part, msgspec.Struct):
            known = {name: getattr(part, name) for name in part.__struct_fields__}
            return replace(part, **{name: changed(value) for name, value in known.items() if value is not None})
        return part

    return lambda response: [(changed(response), ANSWER_S)]


def _contradictory(response: Any) -> Said:
    """The least is more than the most."""
    field = next((each for each in response.__struct_fields__ if each.endswith("_mode")), "")
    mode = getattr(response, field, None)
    if mode is None:
        return [(response, ANSWER_S)]
    most = {name: getattr(mode, name) for name in mode.__struct_fields__ if "_maximum_" in name}
    least = {name.replace("_maximum_", "_minimum_"): value for name, value in most.items()}
    pairs = {name: value for name, value in least.items() if hasattr(mode, name) and value is not None}
    none = {name.replace("_minimum_", "_maximum_"): RationalNumber(exponent=0, value=1) for name in pairs}
    return [(replace(response, **{field: replace(mode, **pairs, **none)}), ANSWER_S)]


def _other_mode(response: Any) -> Said:
    """The mode of the other direction, or of the other kind of control."""
    mode = getattr(response, "cl_res_control_mode", None)
    if mode is None:
        return [(response, ANSWER_S)]
    module = sys.modules[type(mode).__module__]
    name = type(mode).__name__
    other = name.removeprefix("BPT_") if name.startswith("BPT_") else f"BPT_{name}"
    return [(replace(response, cl_res_control_mode=_like(mode, getattr(module, other))), ANSWER_S)]


def _like(mode: Any, kind: Any) -> Any:
    known = {name: getattr(mode, name) for name in mode.__struct_fields__}
    number = RationalNumber(exponent=0, value=0)
    required = [field.name for field in msgspec.structs.fields(kind) if field.required]
    return kind(
        **{**dict.fromkeys(required, number), **{n: v for n, v in known.items() if n in kind.__struct_fields__}}
    )


def _another(response: Any) -> Any:
    """Return an answer to something else."""
    kind: Any = cm.ServiceSelectionRes if not isinstance(response, cm.ServiceSelectionRes) else cm.SessionStopRes
    return kind(header=getattr(response, "header", _HEADER), response_code=ResponseCode.OK)


def _stranger(response: Any) -> Said:
    if not hasattr(response, "header"):
        return [(response, ANSWER_S)]
    return [(replace(response, header=replace(response.header, session_id=b"stranger")), ANSWER_S)]


_HEADER: Final = MessageHeader(session_id=b"vehicle1", time_stamp=UTC_MS // 1000)
CODES: Final = (
    "OK",
    "OK_CertificateExpiresSoon",
    "OK_OldSessionJoined",
    "OK_PowerToleranceConfirmed",
    "WARNING_EIMAuthorizationFailure",
    "WARNING_EVPowerProfileViolation",
    "WARNING_PowerToleranceNotConfirmed",
    "WARNING_ScheduleRenegotiationFailed",
    "WARNING_StandbyNotAllowed",
    "WARNING_WPT",
    "FAILED",
    "FAILED_ContactorError",
    "FAILED_PowerDeliveryNotApplied",
    "FAILED_SequenceError",
    "FAILED_UnknownSession",
)
WRONGS: Final[Mapping[str, Callable[[Any], Said]]] = {
    "none": lambda _: [],
    "late": lambda response: [(response, 0.4)],
    "later": lambda response: [(response, 1.7)],
    "too late": lambda response: [(response, 6.0)],
    "twice": lambda response: [(response, ANSWER_S), (response, 2 * ANSWER_S)],
    "garbage": lambda _: [(b"no frame of anybody's", ANSWER_S)],
    "no EXI": lambda _: [(frame(0x8002, b"\xff" * 20), ANSWER_S)],
    "half": lambda response: [(Part(frame(_stream(response, 0x8002), exi.encode(response))[:-3]), ANSWER_S)],
    "end": lambda _: [(b"", ANSWER_S)],
    "another": lambda response: [(_another(response), ANSWER_S)],
    "another before": lambda response: [(_another(response), ANSWER_S / 2), (response, ANSWER_S)],
    "another after": lambda response: [(response, ANSWER_S), (_another(response), 3 * ANSWER_S)],
    "stranger": _stranger,
    "Ongoing": _field(evse_processing=Processing.Ongoing),
    "customer": _field(evse_processing=Processing.Ongoing_WaitingForCustomerInteraction),
    "Finished": _field(evse_processing=Processing.Finished),
    "go to pause": _field(go_to_pause=True),
    "emergency": _field(evse_emergency_shutdown=True),
    "malfunction": _field(evse_malfunction=True),
    "other mode": _other_mode,
    "contradictory": _contradictory,
    "more": _numbers(lambda number: replace(number, exponent=min(3, number.exponent + 1))),
    "less": _numbers(lambda number: replace(number, exponent=max(-3, number.exponent - 1))),
    "nothing": _numbers(lambda number: replace(number, value=0)),
    "reversed": _numbers(lambda number: replace(number, value=-number.value)),
    **{code: _code(code) for code in CODES},
    **{f"notice {each.name}": _notice(each) for each in EvseNotification},
}
"""How an answer is wrong -> what is said instead of the one by the book. An answer that has no such part is right."""

FOR_EVER: Final = ("Ongoing", "customer", "less", "nothing", "contradictory", "late")
"""What is also said again and again."""


# -- the play ---------------------------------------------------------------------------------------------------------

_COMMON: Final = (
    "SupportedAppProtocolReq",
    "SessionSetupReq",
    "AuthorizationSetupReq",
    "AuthorizationReq",
    "ServiceDiscoveryReq",
    "ServiceDetailReq",
    "ServiceSelectionReq",
)
_ENERGY: Final = (
    "PowerDeliveryReq Start",
    "{0}_ChargeLoopReq",
    "PowerDeliveryReq ScheduleRenegotiation",
    "ScheduleExchangeReq anew",
    "PowerDeliveryReq Start anew",
    "PowerDeliveryReq Standby",
    "{0}_ChargeLoopReq at rest",
    "PowerDeliveryReq Stop",
)
_LEAVING: Final = ("SessionStopReq Terminate", "SessionStopReq Pause", "SessionStopReq ServiceRenegotiation")
_DC: Final = ("DC_CableCheckReq", "DC_PreChargeReq Ongoing", "DC_PreChargeReq Finished")
_WELDING: Final = ("DC_WeldingDetectionReq Ongoing", "DC_WeldingDetectionReq Finished")


_COIL: Final = (
    "WPT_FinePositioningSetupReq",
    "WPT_FinePositioningReq Ongoing",
    "WPT_FinePositioningReq Finished",
    "WPT_PairingReq",
)
_ALIGNMENT: Final = ("WPT_AlignmentCheckReq Ongoing", "WPT_AlignmentCheckReq Finished")


def _chart(family: str, before: Sequence[str], after: Sequence[str], *, place: Sequence[str] = ()) -> tuple[str, ...]:
    planning = (f"{family}_ChargeParameterDiscoveryReq", "ScheduleExchangeReq")
    energy = (each.format(family) for each in _ENERGY)
    return (*_COMMON, *place, *planning, *before, *energy, *after, *_LEAVING, "ServiceDiscoveryReq anew")


STATES: Final[Mapping[str, tuple[str, ...]]] = {
    "dc": _chart("DC", _DC, _WELDING),
    "ac": _chart("AC", (), ()),
    "wpt": _chart("WPT", _ALIGNMENT, (), place=_COIL),
    "acdp": _chart(
        "DC", ("ACDP_ConnectReq", *_DC), (*_WELDING, "ACDP_DisconnectReq"), place=("ACDP_VehiclePositioningReq",)
    ),
}
"""Each state of the vehicle's chart, by the request whose answer it waits for."""

_ANEW: Final = ("PowerDeliveryReq ScheduleRenegotiation", "ScheduleExchangeReq anew", "PowerDeliveryReq Start anew")


class Play(VehicleRig):
    """A rig whose judge observes everything."""

    station: Charger
    looking: "asyncio.Task[None]"
    judging: Callable[..., VehicleJudge] = VehicleJudge
    loops: Mapping[str, str] = LOOPS
    wrongs: Mapping[str, Callable[[Any], Said]] = WRONGS
    closing: Any = cm.SessionStopRes(header=_HEADER, response_code=ResponseCode.OK)
    """What is said out of order."""

    def __init__(self, kind: Kind, station: Charger, *others: Any) -> None:
        super().__init__(kind, station, *others)
        discharge = self.config.discharge
        on_board = self.config.on_board_charger
        self.judge = judge = self.judging(
            mains=kind in ("ac", "basic"),
            signed=discharge.require_signed,
            phases=on_board.phases,
            rated_a=round(on_board.max_charge_w / on_board.phases / MAINS_MV * 1000),
        )
        self._identities: Identities | None = None
        self._silent: dict[str, float] = {}
        self._over = False
        if discharge.require_signed and kind != "basic":
            self._identities = _identities()
            self.contracts, station.leaf = (self._identities.contract,), self._identities.secc_leaf
            station.responses.signed = True  # type: ignore[attr-defined]
        station.heard = self._heard
        station.answers = self._answers
        station.babbles = lambda: judge.parts("what nobody can read", self.now)
        station.signs = self._signs
        station.utc_ms = self.clock.utc_ms
        if kind == "basic":
            self.pilot.on_duty(lambda _: self._duty())

    def connect(self, *, resume: Any = None) -> None:
        self.judge.begin(self.now)
        self._over = False
        if self._identities is not None:
            self.station.gate = DischargeGate(
                session_id=b"vehicle1",
                evse_id="DEV2GPLAY1",
                key=self._identities.secc_key,
                certificate=self._identities.secc_leaf,
                signer_certificate=self._identities.contract.chain[0],
                entropy=Counter(),
            )
        if self.kind == "basic":
            self._duty()
        super().connect(resume=resume)

    def watch(self) -> None:
        """Let the judge look from now on."""
        self.looking = self.loop.create_task(self._look())

    async def _look(self) -> None:
        while True:
            self._see()
            await asyncio.sleep(LOOK_S)

    def _see(self) -> None:
        station, battery = self.station, self.channel.battery
        if self.running.done() and not self._over:
            self._over = True
            self.judge.parts("the session is over", self.now)
        shown = station.dc.vehicle
        volts = battery.voltage_mv / 1000
        if station.by_dc and shown is not None:
            wants_w, gives_w = (int(each * volts / 1000) for each in (shown.max_charge_ma, shown.max_discharge_ma))
        else:  # what it would take is seen by what it takes
            drawn_w = self.power_w
            if self.wires is not None:
                drawn_w = int(self.wires.drawn.total_ma * MAINS_MV / 1_000_000)
            wants_w, gives_w = max(0, drawn_w), max(0, -drawn_w)
        seen = Seen(
            joined=self.joined and station.by_dc,
            touches=station.touches,
            shows_c=self.shows_c,
            stuck=bool(self.faults & {"weld", "stuck_closed"}),
            wants_w=wants_w,
            gives_w=gives_w,
            flows_w=self.power_w,
            there_mv=station.driven[0] if station.by_dc else station.ac_mv,
            battery_mv=battery.voltage_mv,
            battery_ma=battery.current_ma,
            bears_mv=battery.max_voltage_mv,
            bears_ma=(battery.max_charge_ma, battery.max_discharge_ma),
            line_ma=self.carried,
            done=self.running.done(),
        )
        self.judge.measured(self.now, seen)

    def _heard(self, request: Any, stream: int) -> None:
        self._see()
        self.judge.asked(request, stream, self.now)

    def _answers(self, response: Any, stream: int) -> None:
        if not self.running.done():
            self._see()
            self.judge.answered(response, stream, self.now)

    def _signs(self, payload: bytes) -> None:
        content = signed_content(payload)
        if isinstance(content, DischargeCommand):
            ahead_s = (content.valid_until_ms - self.clock.utc_ms()) / 1000
            self.judge.signed(content.power_w, self.now + ahead_s)

    def _duty(self) -> None:
        duty = self.pilot.duty
        phases = self.config.on_board_charger.phases
        line_a = duty.max_current_a if duty.meaning == "current" else 0.0
        self.judge.allowed(line_a * phases * MAINS_MV / 1000 if line_a else None, self.now, line_a)

    # -- steps

    async def do(self, step: Step) -> None:
        """Do a step; one that has no meaning here does nothing."""
        verb, *rest = step
        await getattr(self, f"do_{verb}")(*rest)
        goes_on(self.looking)
        assert not self.judge.wrong, self.judge.wrong

    async def do_wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def do_to(self, state: str) -> None:
        """Wait for the request of this state, and bring about what leads to it."""
        if state in _ANEW:
            await self._loops()
            self.station.notices.append(EvseNotification.ScheduleRenegotiation)
        elif state.startswith(("PowerDeliveryReq Stop", "DC_Welding", "ACDP_Disconnect", "SessionStopReq T")):
            await self._loops()
            await self.do_driver("stop")
        elif state == "SessionStopReq Pause":
            await self._loops()
            await self.do_driver("pause")
        elif state in ("SessionStopReq ServiceRenegotiation", "ServiceDiscoveryReq anew"):
            await self._loops()
            await self.do_driver("reselect")
        if self.station.label != state:
            await self._reached(state)

    async def _reached(self, state: str) -> None:
        self.station.awaited = state, (reached := self.loop.create_future())
        await asyncio.wait((reached, self.running), timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        self.station.awaited = None

    async def _loops(self) -> None:
        await self._reached(self.loops[self.kind])

    async def do_charge(self) -> None:
        """Be in the loop, in another session where this one is over."""
        if self.running.done():
            await self.do_again()
        if self.kind != "basic":
            await self._loops()

    async def do_answer(self, state: str, how: str, times: int = 1) -> None:
        """Answer the request of that state so, so often (-1: always)."""
        self.station.wrongs[state] = how, times

    async def do_notice(self, name: str) -> None:
        self.station.notices.append(EvseNotification[name])

    async def do_say(self, how: str) -> None:
        """Say something that nobody has asked for."""
        for answer, _ in self.wrongs[how](self.closing):
            self.station.say(answer)

    async def do_force(self, above_v: float, amperes: float) -> None:
        """Drive so much more than the battery's voltage, and this current, whatever is asked for."""
        mv = self.channel.battery.voltage_mv + round(above_v * 1000)
        self.station.force = max(0, mv), round(amperes * 1000)
        self.station.act()
        self._see()  # what a contactor closes on may be gone at the next look, by the current that then flows

    async def do_in_turns(self, above_v: float, amperes: float, on_s: float, off_s: float, times: int) -> None:
        """Drive whatever is asked for, and what is asked for, in turns."""
        for _ in range(times):
            await self.do_force(above_v, amperes)
            await asyncio.sleep(on_s)
            self.station.force = None
            self.station.act()
            await asyncio.sleep(off_s)

    async def do_deaf(self) -> None:
        """Go on with what is driven now, whatever is asked for."""
        self.station.force = self.station.driven
        self.station.act()

    async def do_obey(self) -> None:
        self.station.force = None
        self.station.act()

    async def do_driver(self, wish: str) -> None:
        if not self.running.done():
            if wish != "reselect":
                self.judge.stop(self.now)
            self.tell(ports.StopRequested(wish, pause=wish == "pause", reselect=wish == "reselect"))

    async def do_needs(self, target_soc: float) -> None:
        self.tell(ports.NeedsChanged(target_soc=target_soc))

    async def do_fault(self, name: str, active: bool = True) -> None:
        if active is (name in self.faults):
            return
        self._see()
        (self.faults.add if active else self.faults.discard)(name)  # type: ignore[arg-type]
        self._see()
        now = self.now
        match name:
            case "battery_silent" | "inlet_silent":
                self.judge.silent(name.removesuffix("_silent"), now if active else None)
            case "battery_insulation":
                self.judge.fault(now if active else None)
            case "stuck_closed" if active and not (self.joined or "no_close" in self.faults or self._closes_soon):
                self.judge.parts("the contactor closes by itself", now)
            case "drop" if active and self.joined and not (self.faults & {"weld", "stuck_closed"} or self._opens_soon):
                self.judge.parts("the contactor opens by itself", now)
        if active and name in ("stuck_closed", "drop"):
            await asyncio.sleep(1.5 * REPORTS_S)  # until it has moved

    @property
    def _closes_soon(self) -> bool:
        return self.station.label.startswith(("DC_PreCharge", "PreCharge"))

    @property
    def _opens_soon(self) -> bool:
        return self.station.label.startswith(("PowerDeliveryReq Renegotiate", "ChargeParameterDiscoveryReq anew"))

    async def do_unplug(self) -> None:
        """Pull the plug, and the pilot is what shows it to the vehicle, and its data link; or lift the device off the
        rails, and the pilot alone shows it."""
        self._see()
        if self.station.responses.pantograph is not None:
            self.station.responses.pantograph.move(connected=False)
            self.station.act()
        elif isinstance(self.pilot, SimulatedVehiclePilot) and self.pilot.plugged:
            self.judge.parts("the plug is out", self.now)
            self.tell(ports.PlugState(connected=False))
            await asyncio.sleep(0)
            self.pilot.unplug()

    async def do_bounce(self) -> None:
        """Lose the contacts with the rails for a moment."""
        device = self.station.responses.pantograph
        if device is not None and device.connected:
            await self.do_unplug()
            self._see()
            await asyncio.sleep(0.3)
            device.move(connected=True)
            self.station.act()

    async def do_abort(self) -> None:
        """The link is lost."""
        self.judge.parts("the link is lost", self.now)
        self.runner.abort("link_lost")

    async def do_arrives(self, share: float) -> None:
        """Let this share of what the coil sends arrive: the vehicle stands so well, or so badly."""
        if self.station.responses.coil is not None:
            self.station.responses.coil.efficiency = share
            self.station.act()

    async def do_duty(self, percent: float | None) -> None:
        self._see()
        self.station.pilot.set_duty(percent)

    async def do_phases(self, phases: int) -> None:
        """The first step only: the phases of the vehicle, with which it is made."""

    async def do_outlet(self, lines: int) -> None:
        """So many conductors have voltage."""
        self.station.lines = lines
        self.station.act()

    async def do_wires(self, how: str) -> None:
        """Let another current flow than the vehicle draws."""
        if self.wires is not None:
            self._see()
            self.wires.cross(CROSSINGS[how](self.wires.carried))

    async def do_line(self, amperes: float | None) -> None:
        """Let each conductor carry so much from now on; None: what it may."""
        if self.kind == "basic":
            await self.do_duty(
                53.0 if amperes is None else 10.0 if amperes == 6 else amperes / 0.6 if amperes else None
            )
        else:
            self.station.line_a = amperes

    async def do_swing(self, low_a: float, high_s: float, low_s: float, times: int, wires: str = "") -> None:
        """Let what each conductor may carry go up and down again and again, and what flows follow, or not."""
        await self.do_charge()
        await asyncio.sleep(1.0)
        await self.do_wires(wires)
        for amperes, seconds in ((16.0, high_s), (low_a, low_s)) * times:
            await self.do_line(amperes)
            await asyncio.sleep(seconds)
        await self.do_wires("")
        await self.do_line(None)

    async def do_beside(self, how: str) -> None:
        """Plan again on the side stream, where the charger says what nobody has asked it for."""
        self.station.beside = how
        await self.do_notice("ScheduleRenegotiation")

    async def do_again(self) -> None:
        """Another session, when the last one is over, and at once where it lives on."""
        if not self.running.done():
            await self.do_abort()
        await asyncio.wait((self.running,), timeout=10)
        await asyncio.sleep(0.5)
        if isinstance(self.pilot, SimulatedVehiclePilot) and not self.pilot.plugged:
            self.pilot.plug()
        self.station.again()
        self._see()
        self.connect(resume=getattr(self.session, "paused", None))


CROSSINGS: Final[Mapping[str, Callable[[Currents], Crossing]]] = {
    "": lambda _: lambda drawn: drawn,
    "crowded": lambda _: lambda drawn: Currents(drawn.total_ma),
    "strays": lambda _: lambda drawn: Currents(drawn.l1, drawn.l2 + 20_000, drawn.l3),
    "leaks": lambda _: lambda drawn: Currents(drawn.l1 - 900, drawn.l2 + 500, drawn.l3),
    "reversed": lambda _: lambda drawn: Currents(drawn.l1, drawn.l2, -drawn.l3),
    "stuck": lambda carried: lambda _: carried,
}
"""What flows, by what flows when that begins and by what is drawn. A leak within the margins is none."""


def _identities() -> Identities:
    if not _MADE:
        _MADE.append(Identities())
    return _MADE[0]


_MADE: Final[list[Identities]] = []

FAULTS: Final = ("weld", "stuck_closed", "no_close", "drop", "battery_silent", "battery_insulation", "inlet_silent")
FORCES: Final = ((0, 0), (0, 70), (5, 300), (60, 5), (150, 120), (-250, 0), (0, -10), (0, -45), (0, -200))
"""Volts above the battery's, and amperes, that a charger drives whatever it is asked for."""

DONE: Final[tuple[Step, ...]] = (
    *(("fault", name) for name in FAULTS),
    *(("force", *each) for each in FORCES),
    *(("in_turns", *each, *dips, 5) for each in ((0, 300), (25, 5), (0, -200)) for dips in ((0.5, 0.5), (0.3, 0.1))),
    ("deaf",),
    *(("wires", how) for how in ("crowded", "strays", "reversed", "leaks")),
    *(("outlet", lines) for lines in (1, 2, 3)),
    *(("line", amperes) for amperes in (0, 6, 13)),
    ("beside", "more"),
    *(("driver", wish) for wish in ("stop", "pause", "reselect")),
    ("needs", 95),
    ("unplug",),
    ("bounce",),
    ("abort",),
    ("duty", None),
    ("arrives", 0.2),
    *(("notice", each.name) for each in EvseNotification),
    *(("say", how) for how in ("twice", "garbage", "half", "end", "another")),
)
"""Whatever can happen beside an answer."""


_MILD: Final[tuple[Step, ...]] = (
    ("obey",),
    ("obey",),
    *(("fault", name, False) for name in FAULTS),
    ("needs", 90),
    ("needs", 95),
    *(("notice", name) for name in ("ScheduleRenegotiation", "MeteringConfirmation", "ExitStandby")),
)
"""What a session outlives."""


def _answers_of(kind: Kind, chance: random.Random) -> Sequence[Step]:
    """Return a wrong answer to something that is about to be asked."""
    late = STATES[kind][-18:]
    times = chance.choice((1, 1, 3, -1))
    return [("answer", chance.choice(late), chance.choice(tuple(WRONGS)), times), ("wait", 0.3)]


def _chances(kind: Kind) -> Chances:
    return {
        "wait": (30, lambda chance: [("wait", chance.choice((0.02, 0.05, 0.1, 0.2, 0.4)))]),
        "long": (2, lambda chance: [("wait", chance.choice((1.2, 2.5, 5.5)))]),
        "charge": (8, lambda _: [("charge",), ("wait", 0.2)]),
        "again": (1, lambda _: [("again",)]),
        "to": (2, lambda chance: [("charge",), ("to", chance.choice(STATES[kind][8:]))]),
        "answer": (8, lambda chance: _answers_of(kind, chance)),
        "mild": (20, lambda chance: [chance.choice(_MILD)]),
        "done": (4, lambda chance: [chance.choice(DONE)]),
        "both": (2, lambda chance: [chance.choice(DONE), chance.choice(DONE)]),
        **CONDUCTORS,
        "beside": (1, lambda chance: [("charge",), ("beside", chance.choice(("", "more", "less"))), ("wait", 1.0)]),
    }


_STUCK: Final = ("", "", "", "stuck", "crowded")
CONDUCTORS: Final[Chances] = {
    "lines": (
        6,
        lambda chance: [
            ("line", chance.choice((None, None, 6, 10, 13))),
            ("outlet", chance.choice((3, 3, 1, 2))),
            ("wait", 0.4),
        ],
    ),
    "wires": (2, lambda chance: [("wires", chance.choice(tuple(CROSSINGS))), ("wait", 4.0), ("wires", "")]),
    "swings": (1, lambda chance: [("swing", *_swing(chance), chance.choice(_STUCK))]),
}
"""What conductors may carry and what they carry, and bounds that oscillate with every duty cycle, in a walk."""


def _swing(chance: random.Random) -> tuple[int, float, float, int]:
    """Return the lower one of two bounds, A, for how many s each is in force, and how often."""
    _, high_s, low_s, times = swing(chance)
    return chance.choice((0, 6, 10)), high_s, low_s, times


def wander(kind: Kind, mode: Mode, seed: int, count: int) -> list[Step]:
    """Return random steps, of which most let power flow; with alternating current of a vehicle on one, two or three
    phases."""
    chance = random.Random(f"{kind} {mode} {seed}")
    first: list[Step] = [("phases", chance.choice((1, 2, 3, 3)))] if kind in ("ac", "basic") else []
    chances = _chances(kind) if kind != "basic" else {**_PILOT, **CONDUCTORS}
    return walk(chance, count, chances, first=[*first, ("charge",)])


_SICK: Final[tuple[Step, ...]] = tuple(
    ("fault", name) for name in ("battery_silent", "battery_insulation", "inlet_silent")
)
_OUTLIVED: Final[tuple[Step, ...]] = (
    ("obey",),
    *(("fault", name, False) for name in FAULTS),
    ("duty", 53.0),
    ("line", 10),
)
_PILOT: Final[Chances] = {
    "wait": (20, lambda chance: [("wait", chance.choice((0.05, 0.2, 0.4, 1.0)))]),
    "charge": (8, lambda _: [("line", None), ("charge",), ("wait", 1.0)]),
    "again": (1, lambda _: [("again",)]),
    "mild": (10, lambda chance: [chance.choice(_OUTLIVED)]),
    "done": (2, lambda chance: [chance.choice([*_SICK, ("driver", "stop"), ("unplug",), ("duty", None)])]),
}
"""What may happen to a vehicle that obeys the pilot alone."""


def on_phases(phases: int) -> OnBoardChargerConfig:
    """Return an on-board charger of 16 A on so many phases, and no least power."""
    most_w = 3_680 * phases
    return OnBoardChargerConfig(phases=phases, max_charge_w=most_w, max_discharge_w=most_w, min_charge_w=0)  # type: ignore[arg-type]


def settings(kind: Kind, mode: Mode) -> SessionConfig:
    """Return a vehicle that charges, rests in standby, gives energy back, waits and charges for long."""
    energy: Any = {"ac": ("AC_BPT",), "wpt": ("WPT",), "acdp": ("DC_ACDP_BPT",)}.get(kind, ("DC_BPT",))
    signed = mode == "signed"
    return SessionConfig(
        program=PROGRAMS.get(kind, PROGRAM),
        services=ServiceConfig(
            energy=energy, signed_discharge=signed, control_mode=("scheduled",) if mode == "scheduled" else ("dynamic",)
        ),
        authorization=AuthorizationConfig(allow_eim=True, prefer_eim=True),
        needs=NeedsConfig(target_soc=95),
        timing=TimingConfig(loop_pause_s=0.2),
        discharge=DischargeConfig(require_signed=signed),
    )


async def perform(
    kind: Kind,
    mode: Mode,
    steps: Sequence[Step],
    *,
    guarded: bool = True,
    made: "type[Play]" = Play,
    charger: type[Charger] = Charger,
    config: SessionConfig | None = None,
) -> list[str]:
    """Play steps to a new vehicle, and return what was wrong. `guarded` False: one without a safety monitor."""
    config = config or settings(kind, mode)
    if steps and steps[0][0] == "phases":
        config = replace(config, on_board_charger=on_phases(steps[0][1]))
    if any(step[0] == "beside" for step in steps):
        config = replace(config, services=replace(config.services, renegotiate_beside=True))
    async with vehicle_rig(
        kind, config=config, battery=BATTERY, made=made, charger=charger, guarded=guarded, step_s=REPORTS_S
    ) as found:
        assert isinstance(found, Play)
        found.watch()
        try:
            for step in steps:
                await found.do(step)
        except AssertionError as error:
            if not found.judge.wrong:
                return [f"{type(error).__name__}: {error}"]
        finally:
            found.looking.cancel()
        return found.judge.wrong


def play(kind: Kind, mode: Mode, steps: Sequence[Step], **how: Any) -> list[str]:
    """See `perform`; in simulated time."""
    return in_simulated_time(perform(kind, mode, steps, **how))


def command(kind: Kind, mode: Mode, steps: Sequence[Step]) -> str:
    """Return a command that plays the steps again."""
    return script("tests.safety.judged.vehicle_play", (kind, mode), steps)


def main(arguments: Sequence[str]) -> int:
    """Play the steps that are given, and print what was wrong."""
    kind, mode, text = arguments
    patient.install()  # programs read the time of the loop
    return reported(play(kind, mode, json.loads(text)))  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
