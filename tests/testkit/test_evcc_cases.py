"""Our vehicle passes every case for vehicles; vehicles with one thing wrong fail in that, and in nothing else."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, groupby, islice
from typing import Any, Final

import msgspec
import pytest
from msgspec.structs import replace

from evcc.session.d20 import der, stop
from evcc.session.d20.session import VehicleSession
from evcc.session.d20.stages import PreCharging, Step
from evcc.session.ports import PresentVoltage, SetCpState
from evcc.session.settings import AuthorizationConfig, DischargeConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from tests.testkit.evcc_rig import BOTH, EvccRig, settings
from tests.testkit.rig import counter
from v2g import exi
from v2g.energy.grid_support import NO_SUPPORT
from v2g.exi.declare import schema_of
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import CHARTS, Family
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.messages.ac import AC_ChargeLoopReq, Scheduled_AC_CLReqControlMode
from v2g.iso15118.d20.messages.certificates import ContractCertificateChain, SubCertificates
from v2g.iso15118.d20.messages.common_messages import AuthorizationSetupRes, MeteringConfirmationReq
from v2g.iso15118.d20.messages.common_types import DisplayParameters, MessageHeader
from v2g.iso15118.d20.messages.dc import (
    BPT_Scheduled_DC_CLReqControlMode,
    DC_ChargeLoopReq,
    DC_ChargeLoopRes,
    Scheduled_DC_CLReqControlMode,
)
from v2g.iso15118.d20.quantities import PHASES
from v2g.iso15118.d20.schemas import AC, AC_DER_IEC, DC
from v2g.iso15118.d20.services import ServiceId
from v2g.iso15118.d20.timing import MESSAGES
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_testkit.cases.case import CLOSING_S, Case, Verdict, complaint, judge
from v2g_testkit.cases.charger import ReferenceCharger
from v2g_testkit.cases.evcc_cases import FAMILIES, evcc_cases, requests_of
from v2g_testkit.cases.known import number
from v2g_testkit.cases.report import chosen
from v2g_testkit.cases.responses import Responses, with_code
from v2g_testkit.cases.scripted_charger import LONGEST_S


def _kind(case: Case) -> str:
    words = case.id.split("-")
    return "-".join(words[1:4] if words[1] == "COD" else words[1:3])


def _groups() -> list[tuple[str, list[Case]]]:
    scripted = (case for family in FAMILIES for case in evcc_cases(family) if case.charger_scripts)
    cases = sorted((case for case in scripted if case.group != "DER"), key=_kind)  # those below have their vehicles
    return [(key, list(some)) for key, some in groupby(cases, _kind)]


ALL: Final = _groups()


@pytest.mark.some(13)
@pytest.mark.parametrize("cases", [cases for _, cases in ALL], ids=[name for name, _ in ALL])
def test_our_vehicle_passes(pki: PkiTree, cases: list[Case]) -> None:
    assert cases[0].family is not None
    rig = EvccRig(pki, cases[0].family)
    for case in cases:
        result = rig.run(case)
        unjudged = not all(script.expect.judges for script in case.charger_scripts)
        assert result.verdict is (Verdict.OPEN if case.open and unjudged else Verdict.PASS), result
        for script, seen in zip(case.charger_scripts, rig.seen, strict=True):
            assert not complaint(script.expect, seen), result


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.value)
def test_ids_are_unique_and_every_request_of_the_chart_is_answered_wrongly(family: Family) -> None:
    cases = evcc_cases(family)
    assert len({case.id for case in cases}) == len(cases)
    aside = {"VehicleCheckInReq", "VehicleCheckOutReq", "CertificateInstallationReq", "MeteringConfirmationReq"}
    asked = {name for edges in CHARTS[family].values() for name in edges} - aside
    assert asked == set(requests_of(family))
    assert {script.at for case in cases if case.group == "COD" for script in case.charger_scripts} == asked


QUICK: Final = [case for case in chosen(evcc_cases(Family.DC), quick=True) if case.charger_scripts]


def about(*words: str) -> set[str]:
    """Return the ids of cases that fail a vehicle, and are about this."""
    return {case.id for case in chosen((case for case in QUICK if not case.open), words)}


def failed(rig: EvccRig) -> set[str]:
    """Return the ids of the cases that the vehicle fails."""
    return {case.id for case in QUICK if rig.run(case).verdict is Verdict.FAIL}


class TakesFailures(VehicleSession):
    """Takes FAILED for OK."""

    def _on_message(self, message: Any, payload_type: int) -> None:
        if message.response_code.name.startswith("FAILED"):
            message = with_code(message, "OK")
        super()._on_message(message, payload_type)


class AnySession(VehicleSession):
    """Does not look at the SessionID."""

    def _on_message(self, message: Any, payload_type: int) -> None:
        if type(message).__name__ not in ("SupportedAppProtocolRes", "SessionSetupRes"):
            header = msgspec.structs.replace(message.header, session_id=self.session_id)
            message = msgspec.structs.replace(message, header=header)
        super()._on_message(message, payload_type)


class WaitsForEver(VehicleSession):
    """Waits for an answer as long as it takes."""

    def _arm(self, name: str, seconds: float) -> None:
        if name not in ("message", "communication_setup"):
            super()._arm(name, seconds)


class PollsForEver(VehicleSession):
    """Asks again as long as the charger wants."""

    def _arm(self, name: str, seconds: float) -> None:
        if name not in ("authorization", "schedule", "cable_check", "pre_charge"):
            super()._arm(name, seconds)


class ImpatientVehicle(VehicleSession):
    """Gives an answer one second."""

    def _arm(self, name: str, seconds: float) -> None:
        super()._arm(name, min(seconds, 1.0) if name == "message" else seconds)


class TakesWarnings(VehicleSession):
    """Takes a refused authorization for one."""

    def _on_message(self, message: Any, payload_type: int) -> None:
        if message.response_code.name.startswith("WARNING"):
            message = with_code(message, "OK")
        super()._on_message(message, payload_type)


class StaysInC(VehicleSession):
    """Does not let go of the pilot."""

    def _command(self, *commands: Command) -> None:
        super()._command(*(each for each in commands if each != SetCpState(PilotState.B)))


class SlowLoop(VehicleSession):
    """Lets too much time pass between two requests of its loop."""

    def _arm(self, name: str, seconds: float) -> None:
        super()._arm(name, seconds + 0.4 if name == "pace" else seconds)


class OwnChallenge(VehicleSession):
    """Signs what it likes."""

    def _on_message(self, message: Any, payload_type: int) -> None:
        if isinstance(message, AuthorizationSetupRes) and message.pnc_as_res_authorization_mode is not None:
            mode = msgspec.structs.replace(message.pnc_as_res_authorization_mode, gen_challenge=b"0123456789abcdef")
            message = msgspec.structs.replace(message, pnc_as_res_authorization_mode=mode)
        super()._on_message(message, payload_type)


class DoesNotListen(VehicleSession):
    """Passes over what the charger wants."""

    def _on_message(self, message: Any, payload_type: int) -> None:
        if getattr(message, "evse_status", None) is not None:
            message = msgspec.structs.replace(message, evse_status=None)
        super()._on_message(message, payload_type)


class OtherReadings(VehicleSession):
    """Confirms more energy than it was sent."""

    def _on_message(self, message: Any, payload_type: int) -> None:
        if getattr(message, "meter_info", None) is not None:
            meter = msgspec.structs.replace(message.meter_info, charged_energy_reading_wh=10**6)
            message = msgspec.structs.replace(message, meter_info=meter)
        super()._on_message(message, payload_type)


class NoReceipt(VehicleSession):
    """Leaves the receipt out of what it confirms."""

    def _on_message(self, message: Any, payload_type: int) -> None:
        if getattr(message, "receipt", None) is not None:
            message = msgspec.structs.replace(message, receipt=None)
        super()._on_message(message, payload_type)


class SignsOther(VehicleSession):
    """Changes what it confirms after it has signed it."""

    def _send(self, message: Any, payload_type: int | None = None, *, encoded: bytes = b"") -> None:
        if isinstance(message, MeteringConfirmationReq):
            data = msgspec.structs.replace(message.signed_metering_data, session_id=b"somebody")
            message = msgspec.structs.replace(message, signed_metering_data=data)
        super()._send(message, payload_type, encoded=encoded)


class WaitsForSchedules(VehicleSession):
    """Waits for a new schedule as long as the charger wants."""

    def _arm(self, name: str, seconds: float) -> None:
        if name != "schedule" or getattr(self.stage, "looping", None) is None:
            super()._arm(name, seconds)


class TakesAnyVoltage(VehicleSession):
    """Takes a pre-charge for done that is not."""

    def _on_fact(self, fact: Fact) -> None:
        if isinstance(fact, PresentVoltage) and isinstance(self.stage, PreCharging) and fact.voltage_mv:
            fact = PresentVoltage(self._watch.battery.voltage_mv)
        super()._on_fact(fact)


class EarlyInC(VehicleSession):
    """Shows state C before it asks for energy."""

    def _apply(self, step: Step) -> None:
        super()._apply(msgspec.structs.replace(step, commands=(*step.commands, *step.then), then=()))


class BelievesAnything(VehicleSession):
    """Goes on whatever the charger says that it gives."""

    def _on_message(self, message: Any, payload_type: int) -> None:
        if isinstance(message, DC_ChargeLoopRes):
            fields = {"evse_present_voltage": number(400), "evse_present_current": number(1)}
            message = msgspec.structs.replace(message, **fields)
        super()._on_message(message, payload_type)


ENERGY: Final = (
    "*DC_CableCheck*",
    "*DC_PreCharge*",
    "*PowerDelivery*",
    "*DC_ChargeLoop*",
    "*DC_Welding*",
    "*SessionStop*",
)
ENDING: Final = about("COD", "SID", "TYP", "SIL")

KINDS: Final[tuple[tuple[type[VehicleSession], set[str]], ...]] = (
    (TakesFailures, about("COD") - about("*SupportedAppProtocolRes*", "*SessionSetupRes*", "*SessionStopRes*")),
    (AnySession, about("SID") - about("*SessionStopRes*")),
    (WaitsForEver, about("SIL") - about("*DC_PreChargeReq")),  # whose ten seconds run on
    (PollsForEver, about("ONG", "SAF")),
    (WaitsForSchedules, {"EVCC-SAF-DC-renegotiation-ongoing"}),
    (TakesAnyVoltage, {"EVCC-SAF-DC-pre-charge-other"}),
    (ImpatientVehicle, about("SIL") - about("*DC_ChargeLoopReq")),  # which has half a second
    (TakesWarnings, about("WRN")),
    (StaysInC, ENDING & about(*ENERGY)),
    (SlowLoop, {"EVCC-TIM-DC-ChargeLoop"}),
    (OwnChallenge, {"EVCC-RUN-DC-PnC"}),
    (DoesNotListen, about("RUN", "NOT")),
)


BRIEF: Final = {TakesFailures, PollsForEver, SlowLoop}
"""Tried in every run: a response, a time-out, and a pace that are wrong."""


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        pytest.param(kind, wrong, id=kind.__name__, marks=() if kind in BRIEF else pytest.mark.long)
        for kind, wrong in KINDS
    ],
)
@pytest.mark.long
def test_a_vehicle_with_one_thing_wrong_fails_in_it_alone(
    pki: PkiTree, kind: type[VehicleSession], wrong: set[str]
) -> None:
    assert wrong
    assert failed(EvccRig(pki, Family.DC, kind=kind)) == wrong


@pytest.mark.long
def test_a_vehicle_that_is_ready_too_early_fails_in_that_alone(pki: PkiTree) -> None:
    rig = EvccRig(pki, Family.AC, kind=EarlyInC)
    cases = [case for case in chosen(evcc_cases(Family.AC), ["RUN", "END", "ONG", "SAF", "NOT"]) if not case.open]
    assert {case.id for case in cases if rig.run(case).verdict is Verdict.FAIL} == {"EVCC-SAF-AC-state-c"}


@pytest.mark.parametrize("name", ["over-voltage", "over-current"])
def test_a_vehicle_that_bears_what_it_does_not_is_noticed(pki: PkiTree, name: str) -> None:
    (case,) = chosen(evcc_cases(Family.DC), [f"SAF-DC-{name}"])
    rig = EvccRig(pki, Family.DC, kind=BelievesAnything)
    assert rig.run(case).verdict is Verdict.OPEN  # what it has to do is not public
    assert "does not close" in complaint(case.charger_scripts[0].expect, rig.seen[0])


def test_a_pilot_that_nobody_measures_is_not_judged(pki: PkiTree) -> None:
    (case,) = chosen(evcc_cases(Family.AC), ["SAF-AC-state-c"])
    rig = EvccRig(pki, Family.AC, measures_pilot=False)
    result = rig.run(case)
    assert result.verdict is Verdict.NOT_APPLICABLE
    assert result.found == "the control pilot is not measured"


@pytest.mark.requirement("R16")
def test_a_vehicle_may_leave_out_the_welding_detection(pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "ask_welding", lambda stage, context: stop.leave(context, stage.ending))
    rig = EvccRig(pki, Family.DC)
    for case in chosen(evcc_cases(Family.DC), ["*DC_WeldingDetection*", "RUN-DC-EIM", "END"]):
        result = rig.run(case)
        if case.group in ("RUN", "END"):
            assert result.verdict is Verdict.PASS, result
        else:
            assert result.found == "the vehicle sends no DC_WeldingDetectionReq", result


def inside(part: str, **changes: Any) -> Callable[[Any], Any]:
    """Change fields of a part of a request, where it is there."""

    def changed(request: Any) -> Any:
        found = getattr(request, part)
        return request if found is None else msgspec.structs.replace(request, **{part: replace(found, **changes)})

    return changed


def of_profile(watts: float, duration: int = 3600) -> Callable[[Any], Any]:
    entry = sched.PowerScheduleEntry(duration=duration, power=number(watts))
    entries = sched.EVPowerProfileEntryList(ev_power_profile_entry=(entry,))
    return inside("ev_power_profile", ev_power_profile_entries=entries)


def feeding(watts: float) -> Callable[[Any], Any]:
    return inside(MODE, ev_present_active_power=number(watts))


START: Final = "PowerDeliveryReq"
NEEDS: Final = "dynamic_se_req_control_mode"
MODE: Final = "cl_req_control_mode"
LIMITS: Final = "dc_cpd_req_energy_transfer_mode"
OTHER_PROFILE: Final = {
    "scheduled_evppt_control_mode": sched.Scheduled_EVPPTControlMode(selected_schedule_tuple_id=77),
    "dynamic_evppt_control_mode": None,
}
OTHER_MODE: Final = Scheduled_DC_CLReqControlMode(ev_target_current=number(5), ev_target_voltage=number(350))
BEYOND: Final = cm.SelectedServiceList(selected_service=(cm.SelectedService(service_id=65, parameter_set_id=3),))
BPT: Final = cm.SelectedService(service_id=6, parameter_set_id=2)
TWICE: Final = tuple(
    app.AppProtocol(protocol_namespace=uri, version_number_major=1, version_number_minor=0, schema_id=1, priority=rank)
    for rank, uri in enumerate((DC.uri, AC.uri), 1)
)
of = partial(partial, replace)


@pytest.mark.requirement("R16")
@pytest.mark.some(8)
@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("SupportedAppProtocolReq", of(app_protocol=TWICE), "states SchemaID 1 for several protocols"),
        ("SessionSetupReq", of(evcc_id=""), "states an empty EVCCID"),
        ("AuthorizationSetupReq", inside("header", time_stamp=round(time.time() * 1000)), "states a TimeStamp of 1"),
        ("ServiceSelectionReq", of(selected_energy_transfer_service=BPT), "selects service 6 before its details"),
        ("ServiceSelectionReq", of(selected_vas_list=BEYOND), "selects additional services"),
        ("ScheduleExchangeReq", inside(NEEDS, minimum_soc=90, target_soc=10), "states MinimumSOC 90, its TargetSOC is"),
        ("ScheduleExchangeReq", inside(NEEDS, ev_maximum_energy_request=number(0)), "its EVMaximumEnergyRequest is 0"),
        ("ScheduleExchangeReq", inside(NEEDS, departure_time=int(time.time())), "which is the time since 1970"),
        ("DC_ChargeParameterDiscoveryReq", inside(LIMITS, ev_minimum_voltage=number(990)), "990 above its maximum"),
        ("DC_ChargeParameterDiscoveryReq", inside(LIMITS, ev_minimum_voltage=number(-280)), "EVMinimumVoltage -280"),
        ("DC_ChargeParameterDiscoveryReq", inside(LIMITS, ev_maximum_voltage=number(0)), "states EVMaximumVoltage 0"),
        ("DC_PreChargeReq", of(ev_present_voltage=number(-380)), "states EVPresentVoltage -380"),
        (START, inside("ev_power_profile", **OTHER_PROFILE), "states its power profile in another control mode"),
        (START, of_profile(-2_000), "states a power profile of -2000 W, but cannot feed back"),
        (START, of_profile(2_000, 0), "states a power profile with an entry of 0 s"),
        (START, of(bpt_channel_selection=cm.ChannelSelection.Charge), "selects a BPT channel in a service without"),
        ("DC_ChargeLoopReq", of(cl_req_control_mode=OTHER_MODE), "states Scheduled_DC_CLReqControlMode in its loop"),
        ("DC_ChargeLoopReq", of(ev_present_voltage=number(2_000)), "states EVPresentVoltage 2000, its EVMax"),
        ("DC_ChargeLoopReq", of(display_parameters=DisplayParameters(target_soc=9, maximum_soc=5)), "TargetSOC 9, its"),
        ("DC_ChargeLoopReq", of(display_parameters=DisplayParameters(battery_energy_capacity=number(0))), "Capacity 0"),
        ("DC_ChargeLoopReq", inside(MODE, ev_maximum_charge_power=number(-5)), "states EVMaximumChargePower -5"),
        ("DC_ChargeLoopReq", inside(MODE, ev_minimum_voltage=number(990)), "states EVMinimumVoltage 990 above its"),
        ("DC_ChargeLoopReq", inside(MODE, ev_maximum_voltage=number(0)), "states EVMaximumVoltage 0"),
        ("DC_ChargeLoopReq", inside(MODE, ev_maximum_energy_request=number(0)), "its EVMaximumEnergyRequest is 0"),
        ("scheduled DC_ChargeLoopReq", inside(MODE, ev_target_voltage=number(0)), "states EVTargetVoltage 0 for"),
        ("scheduled DC_ChargeLoopReq", inside(MODE, ev_target_current=number(-5)), "states EVTargetCurrent -5"),
        ("scheduled PowerDeliveryReq", of(ev_power_profile=None), "states no power profile"),
        ("scheduled PowerDeliveryReq", of_profile(20_000), "states a power profile of 20000 W, its schedule has 11000"),
        ("AC_ChargeLoopReq", feeding(90_000), "states that 90000 W flow"),
        ("AC_ChargeLoopReq", feeding(-2_000), "states that -2000 W flow, at most 0 W can"),
    ],
    ids=[
        "protocols", "evcc-id", "ms", "details", "services", "soc", "energies", "departure", "limits", "voltage",
        "no-voltage", "pre-charge", "profile", "profile-back", "profile-of-0-s", "channel", "loop", "loop-present",
        "loop-soc", "loop-capacity", "loop-power", "loop-limits", "loop-voltage", "loop-energies", "target",
        "target-back", "no-profile", "above-schedule", "above-power", "power-back",
    ],
)  # fmt: skip
def test_a_vehicle_that_contradicts_itself_is_noticed(
    pki: PkiTree, name: str, change: Callable[[Any], Any], found: str
) -> None:
    mode, name = name.split() if " " in name else ("dynamic", name)

    class Changed(VehicleSession):
        def _send(self, message: Any, *more: Any, **options: Any) -> None:
            super()._send(change(message) if type(message).__name__ == name else message, *more, **options)

    family = Family.AC if name.startswith("AC_") else Family.DC
    services = ServiceConfig(energy=(family.value,), control_mode=(mode,), signed_discharge=False)  # type: ignore[arg-type]
    (case,) = chosen(evcc_cases(family), [f"RUN-{family.value}-EIM"])
    result = EvccRig(pki, family, kind=Changed, config=replace(settings(family), services=services)).run(case)
    assert result.verdict is Verdict.FAIL, result
    assert found in result.found


@pytest.mark.parametrize(
    ("loops", "found"),
    [
        ([((11_000,), (3_700, 3_700, 3_700))], []),  # in sum
        ([((13_000,), (3_700, 3_700, 3_700))], ["states that 13000 W flow, at most 11100 W can"]),
        ([((3_700, 3_700, 3_700), (11_000,))], []),
        ([((5_000, 5_000, 5_000), (11_000,))], ["states that 15000 W flow, at most 11000 W can"]),
        ([((3_700, 5_000, 0), (3_700, 3_700, 3_700))], ["states that 5000 W flow in phase 2, at most 3700 W can"]),
        ([((1_000,), ())], []),
        ([((1_000,), (2_000,)), ((1_000,), (0,))], []),  # it takes a moment
        ([((1_000,), (2_000,)), *[((1_000,), (0,))] * 2], ["states that 1000 W flow, at most 0 W can"]),
    ],
)
def test_what_flows_is_within_what_a_vehicle_can_take(
    loops: list[tuple[tuple[int, ...], tuple[int, ...]]], found: list[str]
) -> None:
    facts: list[str] = []
    charger = Responses(Family.AC, facts, pays=BOTH)
    charger.service, charger.scheduled = ServiceId.AC, True
    for watts, most in loops:
        named = (("ev_present_active_power", watts), ("ev_maximum_charge_power", most))
        fields: dict[str, Any] = {
            name + phase: number(each) for name, some in named for phase, each in zip(PHASES, some, strict=False)
        }
        charger.make(
            AC_ChargeLoopReq(
                header=MessageHeader(session_id=bytes(8), time_stamp=int(time.time())),
                meter_info_requested=False,
                cl_req_control_mode=Scheduled_AC_CLReqControlMode(**fields),
            )
        )
    assert facts == found


@pytest.mark.parametrize(
    ("amperes", "found"), [(-15, []), (-40, ["states EVTargetCurrent -40, its EVMaximumDischargeCurrent is 20"])]
)
def test_a_vehicle_that_feeds_back_asks_for_a_negative_current(amperes: int, found: list[str]) -> None:
    """Up to the maximum that it states for discharging, whatever its sign."""
    facts: list[str] = []
    charger = Responses(Family.DC, facts, pays=BOTH)
    charger.service, charger.scheduled = ServiceId.DC_BPT, True
    targets = {"ev_target_voltage": number(400), "ev_target_current": number(amperes)}
    mode = BPT_Scheduled_DC_CLReqControlMode(**targets, ev_maximum_discharge_current=number(-20))
    charger.make(
        DC_ChargeLoopReq(
            header=MessageHeader(session_id=bytes(8), time_stamp=1),
            meter_info_requested=False,
            ev_present_voltage=number(400),
            cl_req_control_mode=mode,
        )
    )
    assert facts == found


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (OtherReadings, "confirms readings other than those it received"),
        (NoReceipt, "confirms readings other than those it received"),
        (SignsOther, "its signature is wrong"),
        (DoesNotListen, "not seen: asks MeteringConfirmationReq"),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_readings_that_are_confirmed_wrongly_are_noticed(pki: PkiTree, kind: type[VehicleSession], found: str) -> None:
    (case,) = chosen(evcc_cases(Family.DC), ["NOT-DC-MeteringConfirmation"])
    rig = EvccRig(pki, Family.DC, kind=kind)
    assert rig.run(case).verdict is Verdict.OPEN  # who signs them is not public
    assert found in complaint(case.charger_scripts[0].expect, rig.seen[0])
    assert ("confirms readings of another session" in rig.seen[0].facts) == (kind is SignsOther)


def test_the_time_that_is_waited_for_an_answer_is_that_of_the_message() -> None:
    for case in chosen(evcc_cases(Family.DC), ["SIL"]):
        (script,) = case.charger_scripts
        assert script.expect.within is not None
        least, most = script.expect.within
        timing = MESSAGES[script.at]
        assert (least, most) == (timing.performance, timing.timeout + CLOSING_S)


# -- vehicles that attack -------------------------------------------------------------------------------------------

RUN: Final = next(case for case in QUICK if case.id == "EVCC-RUN-DC-EIM")


def attacked(requests: Iterable[Any], pause_s: float, family: Family = Family.DC) -> tuple[Verdict, str, float]:
    """Send requests to the reference charger, one each `pause_s`; return verdict, reason, and seconds to the end."""
    charger = ReferenceCharger(RUN.charger_scripts[0], family, entropy=counter(1), pays=BOTH)
    charger.start(0.0, 0)
    now = 0.0
    for request in requests:
        payload_type = schema_of(type(request)).payload_type
        assert payload_type is not None
        charger.receive(frame(payload_type, exi.encode(request)), now, 0)
        end = now + pause_s
        while not charger.closed and (at := charger.deadline()) is not None and at <= end:
            now = max(now, at)
            charger.tick(now, 0)
        if charger.closed:
            return *judge(RUN, [charger.seen]), now
        now = end
    charger.receive_eof(now, 0)
    return *judge(RUN, [charger.seen]), now


def opening(*following: Any) -> Iterator[Any]:
    """Yield the requests of a vehicle that begins, and those that follow."""
    own = app.AppProtocol(
        protocol_namespace=DC.uri, version_number_major=1, version_number_minor=0, schema_id=1, priority=1
    )
    header = MessageHeader(session_id=bytes(8), time_stamp=1)
    yield app.SupportedAppProtocolReq(app_protocol=(own,))
    yield cm.SessionSetupReq(header=header, evcc_id="X")
    yield cm.AuthorizationSetupReq(header=msgspec.structs.replace(header, session_id=counter(1)(8)))
    yield from following


def authorization(pnc: cm.PnC_AReqAuthorizationMode | None = None) -> cm.AuthorizationReq:
    """Return a request, by a contract if there is one."""
    return cm.AuthorizationReq(
        header=MessageHeader(session_id=counter(1)(8), time_stamp=1),
        selected_authorization_service=cm.Authorization.EIM if pnc is None else cm.Authorization.PnC,
        eim_a_req_authorization_mode=cm.EIM_AReqAuthorizationMode() if pnc is None else None,
        pnc_a_req_authorization_mode=pnc,
    )


def test_a_vehicle_that_does_not_wait_for_a_response_fails() -> None:
    verdict, found, _ = attacked(opening(), 0.001)
    assert (verdict, found) == (Verdict.FAIL, "sends SessionSetupReq before the response to its last request")


def test_a_vehicle_that_begins_again_fails() -> None:
    verdict, found, _ = attacked(chain(opening(), opening()), 0.1)
    assert (verdict, found) == (Verdict.FAIL, "sends SupportedAppProtocolReq in authorization")


@pytest.mark.parametrize(("pause_s", "most_s"), [(0.05, 300.0), (59.0, LONGEST_S)])
def test_a_vehicle_that_asks_without_end_fails_after_a_time(pause_s: float, most_s: float) -> None:
    verdict, _, seconds = attacked(opening(*[authorization()] * 10_000), pause_s)
    assert verdict is Verdict.FAIL
    assert seconds <= most_s


@pytest.mark.parametrize("sent", range(5))
@pytest.mark.parametrize("stays", [True, False])
def test_a_vehicle_that_drops_or_falls_silent_fails(sent: int, stays: bool) -> None:
    verdict, found, seconds = attacked(islice(opening(authorization()), sent), 100.0 if stays else 1.0)
    assert verdict is Verdict.FAIL, found
    assert seconds <= LONGEST_S


def test_a_certificate_that_is_none_fails_a_vehicle() -> None:
    none = ContractCertificateChain(
        certificate=b"\x30\x03\x02\x01\x01", sub_certificates=SubCertificates(certificate=(b"x",))
    )
    mode = cm.PnC_AReqAuthorizationMode(gen_challenge=bytes(16), contract_certificate_chain=none, id="id1")
    verdict, found, _ = attacked(opening(authorization(mode)), 0.1)
    assert verdict is Verdict.FAIL
    assert found.startswith("its AuthorizationReq has no meaning: not a certificate")


# -- AC DER ----------------------------------------------------------------------------------------------------------

WITH_DER: Final = [case for case in evcc_cases(Family.AC) if case.group == "DER"]


def feeds(mode: str = "dynamic", **services: Any) -> SessionConfig:
    """Return a vehicle with AC DER that feeds back."""
    return SessionConfig(
        program=(ProgramStep(do="discharge", energy_wh=100), ProgramStep(do="charge", for_s=3600)),
        services=ServiceConfig(
            energy=("AC",), der="iec", control_mode=(mode,), signed_discharge=False, **services  # type: ignore[arg-type]
        ),
        authorization=AuthorizationConfig(allow_eim=True),
        discharge=DischargeConfig(require_signed=False),
    )  # fmt: skip


@pytest.mark.requirement("R221")
@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_our_vehicle_passes_the_cases_of_ac_der(pki: PkiTree, mode: str) -> None:
    rig = EvccRig(pki, Family.AC, config=feeds(mode))
    for case in WITH_DER:
        result = rig.run(case)
        assert result.verdict is Verdict.PASS, result


def test_a_vehicle_without_ac_der_is_not_judged_by_its_cases(pki: PkiTree) -> None:
    rig = EvccRig(pki, Family.AC)
    found = {rig.run(case).verdict for case in WITH_DER if not case.id.endswith("unknown-function")}
    assert found == {Verdict.NOT_APPLICABLE}


def test_a_vehicle_that_feeds_back_against_reason_fails(pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(der, "demanded", lambda stage, mode, context: der.Outcome(NO_SUPPORT, ""))

    def feeding(data: bytes) -> bytes:
        if int.from_bytes(data[2:4], "big") != PayloadType.AC_DER_IEC:
            return data
        message: Any = exi.decode(data[8:], AC_DER_IEC)
        if not hasattr(message, "cl_req_control_mode"):
            return data
        mode = msgspec.structs.replace(message.cl_req_control_mode, ev_maximum_discharge_power=number(3_000))
        return frame(PayloadType.AC_DER_IEC, exi.encode(msgspec.structs.replace(message, cl_req_control_mode=mode)))

    rig = EvccRig(pki, Family.AC, config=feeds())
    rig.garble = feeding
    failed = {case.id.removeprefix("EVCC-DER-AC-") for case in WITH_DER if rig.run(case).verdict is Verdict.FAIL}
    assert failed == {"falling-curve", "curve-of-other-units", "negative-time", "power-factor-above-1"}
