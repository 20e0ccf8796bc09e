"""Cases of AC DER (ISO 15118-20 Amendment 1, by IEC) for chargers and vehicles, and what its messages may say.

The amendment's text is not public: what only implementations say is left open in the cases, where it could fail a
device. A device without AC DER is not judged.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from msgspec.structs import asdict, replace

from v2g.energy.grid_support import FrequencySupport, Function, GridSupport, ReactiveSetpoint, SupportCurve
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.der import control, cos_phi_setpoint, number, real, setpoints, support_of
from v2g.iso15118.d20.messages import ac
from v2g.iso15118.d20.messages import ac_der_iec as iso
from v2g.iso15118.d20.messages.common_messages import ServiceDetailRes
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.services import DER_PARAMETER, der_functions, der_mask
from v2g.iso15118.engine.sequence import State
from v2g.typed_json import Fields
from v2g_testkit.cases.case import WRONG, Ask, Case, ChargerScript, Expect, Script

LoopAnswer: TypeAlias = iso.DER_Dynamic_AC_CLResControlMode | iso.DER_Scheduled_AC_CLResControlMode
_TEXT: Final = "the amendment's text is not public"
_PARAMETERS: Final = "AC_ChargeParameterDiscoveryReq"
_LOOP: Final = "AC_ChargeLoopReq"

# -- requests of a vehicle -------------------------------------------------------------------------------------------


def parameters(plain: Element, *, ongoing: bool) -> iso.DER_AC_CPDReqEnergyTransferMode:
    """Return the limits of a vehicle, given as BPT's, as those of AC DER."""
    processing = Processing.Ongoing if ongoing else Processing.Finished
    return iso.DER_AC_CPDReqEnergyTransferMode(**asdict(plain), ev_processing=processing)


def loop_mode(plain: Element) -> Element:
    """Return the control mode of a loop request, given as BPT's, as that of AC DER."""
    fields = asdict(plain)
    if isinstance(plain, ac.BPT_Dynamic_AC_CLReqControlMode):
        return iso.DER_Dynamic_AC_CLReqControlMode(**fields, grid_event_condition=0)
    discharge = dict.fromkeys(("ev_maximum_discharge_power", "ev_minimum_discharge_power"), number(0))
    given = {name: value for name, value in fields.items() if value is not None}
    return iso.DER_Scheduled_AC_CLReqControlMode(**discharge | given, grid_event_condition=0)


def secc_cases(family: Family) -> Iterator[Case]:
    """Return the cases for chargers."""
    if family is not Family.AC:
        return

    def case(
        name: str, title: str, required: str, goal: State, ids: tuple[str, ...] = (), why: str = "", **script: object
    ) -> Case:
        made = Script(goal=goal, der=True, bidirectional=True, **script)  # type: ignore[arg-type]
        return Case(
            id=f"SECC-DER-AC-{name}", title=f"AC DER: {title}", required=required, requirements=ids, open=why,
            family=family, quick=False, scripts=(made,),
        )  # fmt: skip

    def asks(name: str, title: str, goal: State, request: str, change: str, *codes: str, **more: object) -> Case:
        fails = codes[0].startswith("FAILED")
        ends = ", then the end of the session" if fails else ""
        do, expect = Ask(request, change), Expect(codes=codes, closes=True if fails else None)
        required = f"{' or '.join(codes)}{ends}"
        return case(name, title, required, goal, do=do, expect=expect, **more)  # type: ignore[arg-type]

    first, applying = State.AC_CHARGE_PARAMETER_DISCOVERY, State.AC_CHARGE_PARAMETER_DISCOVERY_ONGOING
    wrong = "FAILED_WrongChargeParameter"
    for scheduled in (False, True):
        mode = "scheduled" if scheduled else "dynamic"
        yield case(
            f"run-{mode}", f"a {mode} session up to the loop", "demands and limits that an inverter can follow",
            State.SESSION_STOP, scheduled=scheduled, expect=Expect(reaches=True, no_facts=(f"{WRONG}*",)),
        )  # fmt: skip
        yield asks(f"loop-{mode}", "a loop of BPT", State.AC_CHARGE_LOOP, _LOOP, "loop of BPT", "FAILED*",
                   scheduled=scheduled, why=_TEXT)  # fmt: skip
    yield asks("applying", "the vehicle finishes after Ongoing", applying, _PARAMETERS, "", "OK*",
               ids=("V2G20-3150", "V2G20-3151"))  # fmt: skip
    yield asks("applying-other", "ScheduleExchangeReq while the vehicle sends Ongoing", applying,
               "ScheduleExchangeReq", "", "FAILED_SequenceError", ids=("V2G20-3354",))  # fmt: skip
    yield asks("services-anew", "ServiceDiscoveryReq after the demands", State.SCHEDULE_EXCHANGE,
               "ServiceDiscoveryReq", "", "OK*", ids=("V2G20-3154", "V2G20-3348"), why=_TEXT)  # fmt: skip
    yield asks("plain", "limits of plain AC", first, _PARAMETERS, "parameters of AC", wrong, why=_TEXT)
    yield asks("bpt", "limits of BPT", first, _PARAMETERS, "parameters of BPT", wrong, why=_TEXT)
    yield asks("payload", "limits with the payload type of AC", first, _PARAMETERS, "payload type of AC", "FAILED*",
               why=_TEXT)  # fmt: skip
    yield asks("sign", "negative limits of discharge", first, _PARAMETERS, "negative discharge", "OK*",
               why="which sign the limits have differs between implementations")  # fmt: skip
    yield asks("grid-event", "a GridEventCondition", State.AC_CHARGE_LOOP, _LOOP, "grid event", "OK*", "WARNING*",
               why="the codes of GridEventCondition are not public")  # fmt: skip


def demanded_by(detail: ServiceDetailRes | None, parameter_set: int) -> frozenset[Function]:
    """Return the functions that a parameter set demands."""
    for each in () if detail is None else detail.service_parameter_list.parameter_set:
        if each.parameter_set_id == parameter_set:
            masks = [value.int_value or 0 for value in each.parameter if value.name == DER_PARAMETER]
            return der_functions(masks[0])[0] if masks else frozenset()
    return frozenset()


def demand_faults(mode: iso.DER_AC_CPDResEnergyTransferMode, functions: frozenset[Function]) -> Iterator[str]:
    """Yield what is wrong with a charger's demands, given what was negotiated."""
    try:
        support = support_of(mode.der_control)
    except ValueError as error:
        yield f"demands that no inverter can follow: {error}"
        return
    if why := support.wrong_at(real(mode.evse_nominal_frequency)):
        yield why
    if unasked := support.functions - functions:
        yield f"values of {', '.join(sorted(unasked))}, which its parameter set does not demand"
    for way in ("charge", "discharge"):
        nominal, most = (getattr(mode, f"evse_{kind}_{way}_power") for kind in ("nominal", "maximum"))
        if abs(real(nominal)) > abs(real(most)):
            yield f"a nominal {way} power above the maximum"


def loop_faults(mode: LoopAnswer, functions: frozenset[Function]) -> Iterator[str]:
    """Yield what is wrong with the set-points of a loop response."""
    if mode.dso_q_setpoint is not None and "q_setpoint" not in functions:
        yield "a reactive power, which its parameter set does not demand"
    if mode.dso_cos_phi_setpoint is not None:
        if "cos_phi_setpoint" not in functions:
            yield "a power factor, which its parameter set does not demand"
        try:
            cos_phi_setpoint(mode.dso_cos_phi_setpoint)
        except ValueError as error:
            yield str(error)


# -- responses of a charger ------------------------------------------------------------------------------------------

_CURVE: Final = SupportCurve(points=((207, 2_000), (219, 0), (241, 0), (253, -2_000)))
SUPPORT: Final = GridSupport(
    over_frequency_watt=FrequencySupport(start_hz=50.2, stop_hz=51.5),
    volt_var=_CURVE,
    q_setpoint=ReactiveSetpoint(var=300),
)
UNKNOWN: Final = "unknown function"


def _bent(**changes: object) -> iso.DERControl:
    reactive = control(SUPPORT, ["volt_var"]).reactive_power_support
    assert reactive is not None
    assert reactive.volt_var is not None
    return iso.DERControl(
        reactive_power_support=iso.ReactivePowerSupport(volt_var=replace(reactive.volt_var, **changes))
    )


_FALLING: Final = iso.CurveDataPointsList(
    curve_data_point=tuple(
        iso.DataTuple(x_value=number(volts), y_value=iso.SetpointExcitation(setpoint_value=number(0)))
        for volts in (250, 210)
    )
)
_DEMANDS: Final[Mapping[str, iso.DERControl]] = {
    "good": control(SUPPORT, SUPPORT.functions),
    "falling curve": _bent(curve_data_points=_FALLING),
    "curve of other units": _bent(x_unit=iso.CurveDataPointsUnit.Hz),
    "negative time": _bent(step_response_time_constant_reactive_power=number(-1)),
    "power factor above 1": _bent(min_cos_phi=number(3.45)),
}


def mask(demands: str) -> int:
    """Return DERControlFunctions of these demands."""
    return der_mask(SUPPORT.functions) | (1 << 30 if demands == UNKNOWN else 0)


def rating(plain: ac.BPT_AC_CPDResEnergyTransferMode, demands: str) -> iso.DER_AC_CPDResEnergyTransferMode:
    """Return a charger's rating, given as BPT's, with its demands."""
    fields = {name: value for name, value in asdict(plain).items() if "minimum_discharge" not in name}
    most = {name: value for name, value in fields.items() if name.startswith("evse_maximum")}
    return iso.DER_AC_CPDResEnergyTransferMode(
        **fields,
        **{name.replace("maximum", "nominal"): value for name, value in most.items()},
        ev_operating_mode=iso.EvOperatingMode.GridFollowing,
        grid_connection_mode=iso.GridConnectionMode.GridConnected,
        der_control=_DEMANDS.get(demands, _DEMANDS["good"]),
    )


def loop_answer(asked: Element, watts: Fields) -> Element:
    """Return the control mode that answers a vehicle's, with a set-point that was negotiated."""
    limits: Fields = {
        f"evse_maximum_{way}_power{phase}": number(3_600)
        for way in ("charge", "discharge")
        for phase in ("", "_l2", "_l3")
    }
    given = setpoints(SUPPORT, SUPPORT.functions, 3)
    if isinstance(asked, iso.DER_Dynamic_AC_CLReqControlMode):
        return iso.DER_Dynamic_AC_CLResControlMode(**watts, **limits, **given)
    return iso.DER_Scheduled_AC_CLResControlMode(**limits, **given)


FEEDS: Final = "feeds back in spite of demands that no inverter can follow"
TAKES: Final = "takes AC DER"


def evcc_cases(family: Family) -> Iterator[Case]:
    """Return the cases for vehicles."""
    if family is not Family.AC:
        return

    def case(name: str, title: str, required: str, script: ChargerScript, why: str = "") -> Case:
        return Case(
            id=f"EVCC-DER-AC-{name}", title=f"AC DER: {title}", required=required, open=why, family=family,
            quick=False, charger_scripts=(script,),
        )  # fmt: skip

    faults = ("out of order*", "selects *", "states *", "sends *", f"{WRONG}*")
    yield case(
        "run", "a complete session", "requests in order, of the selected service",
        ChargerScript(der="good", expect=Expect(reaches=True, no_facts=faults)),
    )  # fmt: skip
    for demands in (*(each for each in _DEMANDS if each != "good"), UNKNOWN):
        yield case(
            demands.replace(" ", "-"), f"demands with {demands}", "the vehicle does not feed back",
            ChargerScript(der=demands, expect=Expect(no_facts=(*faults, FEEDS))),
        )  # fmt: skip
    yield case(
        "mode-of-bpt", "the control mode of BPT in the loop", "the vehicle ends the session",
        ChargerScript(at=_LOOP, twist="mode of BPT", der="good", expect=Expect(closes=True, no_facts=faults)), _TEXT,
    )  # fmt: skip
