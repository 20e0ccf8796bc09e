"""A charger that lies in one field of one response: ISO 15118-2 with alternating and direct current, and DIN 70121.

Each row of the table is a message, what is wrong in it, the cause of the session's end and the DC_EVErrorCode of the
stop. From the charge parameters to the end of the loop the vehicle ends each session by that name, and asks for no
current from the next request on.
"""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from evcc.session.ports import SAFE, CloseContactor, OpenContactor, SetAcPower, SetPowerLimits
from tests.evcc.session.d2.charger import AC, DC, Bench2
from tests.evcc.session.din.charger import DinBench
from tests.evcc.session.message_bench import MessageBench
from tests.evcc.session.v2g_message.lies import Lie, field, limit, status
from tests.together import together
from v2g.iso15118.engine.dc_status import is_sound
from v2g.iso15118.engine.physical_values import Rounding, milliamperes, millivolts

pytestmark = pytest.mark.requirement("R15")

BENCHES: Final[dict[str, Callable[[], MessageBench]]] = {
    "din": DinBench,
    "2-dc": lambda: Bench2(DC),
    "2-ac": lambda: Bench2(AC),
}
DIRECT: Final = ("din", "2-dc")


PARAMETERS, PRE_CHARGE, START = "ChargeParameterDiscoveryReq", "PreChargeReq", "PowerDeliveryReq"
DEMAND, STATUS = "CurrentDemandReq", "ChargingStatusReq"
INCOMPATIBLE, OUT_OF_RANGE = "FAILED_ChargingSystemIncompatibility", "FAILED_ChargingVoltageOutOfRange"
DIFFERENTIAL, NO_ERROR = "FAILED_ChargingCurrentdifferential", "NO_ERROR"


DC_LIES: Final[list[tuple[str, Lie, str, str]]] = [
    # the insulation
    (PARAMETERS, status(evse_isolation_status="Fault"), "insulation_fault", NO_ERROR),
    ("CableCheckReq", status(evse_isolation_status="Fault"), "insulation_fault", NO_ERROR),
    *(
        (message, status(evse_isolation_status=level), "insulation_fault", NO_ERROR)
        for message in (PRE_CHARGE, START, DEMAND)
        for level in ("Fault", "Invalid")
    ),
    # the status
    (DEMAND, status(evse_status_code="EVSE_NotReady"), "evse_not_ready", NO_ERROR),  # elsewhere a quirk
    *(
        (message, status(evse_status_code="Reserved_8"), "evse_status_unknown", INCOMPATIBLE)
        for message in (PARAMETERS, PRE_CHARGE, START, DEMAND)
    ),
    *(
        (message, status(evse_status_code="EVSE_Malfunction"), "evse_malfunction", NO_ERROR)
        for message in (PARAMETERS, "CableCheckReq", PRE_CHARGE, START, DEMAND)
    ),
    # limits that are negative, 0, contradictory or of another unit
    (PARAMETERS, limit("evse_maximum_current_limit", -1_000), "evse_limit_negative", INCOMPATIBLE),
    (PARAMETERS, limit("evse_maximum_voltage_limit", -400_000), "evse_limit_negative", INCOMPATIBLE),
    (PARAMETERS, limit("evse_maximum_power_limit", -1_000), "evse_limit_negative", INCOMPATIBLE),
    (PARAMETERS, limit("evse_minimum_voltage_limit", -1_000), "evse_limit_negative", INCOMPATIBLE),
    (PARAMETERS, limit("evse_maximum_voltage_limit", 0), "evse_limits_contradict", OUT_OF_RANGE),
    (PARAMETERS, limit("evse_maximum_voltage_limit", 100_000), "evse_limits_contradict", INCOMPATIBLE),
    (PARAMETERS, limit("evse_maximum_current_limit", 100_000, "voltage"), "invalid_value", INCOMPATIBLE),
    (DEMAND, limit("evse_maximum_current_limit", -1_000), "evse_limit_negative", INCOMPATIBLE),
    (DEMAND, limit("evse_maximum_power_limit", -1_000), "evse_limit_negative", INCOMPATIBLE),
    (DEMAND, limit("evse_maximum_voltage_limit", 149_000), "evse_limits_contradict", INCOMPATIBLE),
    (DEMAND, limit("evse_maximum_power_limit", 10_000, "energy"), "invalid_value", INCOMPATIBLE),
    # what it measures
    (PRE_CHARGE, limit("evse_present_voltage", -10_000), "evse_voltage_out_of_range", OUT_OF_RANGE),
    (PRE_CHARGE, limit("evse_present_voltage", 400_000, "current"), "invalid_value", INCOMPATIBLE),
    (DEMAND, limit("evse_present_voltage", -10_000), "evse_voltage_out_of_range", OUT_OF_RANGE),
    (DEMAND, limit("evse_present_current", -10_000), "evse_current_out_of_range", DIFFERENTIAL),
    (DEMAND, limit("evse_present_current", 10_000, "voltage"), "invalid_value", INCOMPATIBLE),
]

LOOP_LIES_2: Final[list[tuple[Lie, str]]] = [
    (field("evse_id", "DE*ABC*E2"), "evse_id_changed"),
    (field("sa_schedule_tuple_id", 2), "schedule_changed"),
]

AC_LIES: Final[list[tuple[str, Lie, str]]] = [
    (PARAMETERS, limit("evse_max_current", -1_000), "evse_limit_negative"),
    (PARAMETERS, limit("evse_nominal_voltage", -230_000), "evse_limit_negative"),
    (PARAMETERS, limit("evse_nominal_voltage", 0), "evse_limits_contradict"),
    (PARAMETERS, limit("evse_max_current", 16_000, "power"), "invalid_value"),
    (STATUS, limit("evse_max_current", -1_000), "evse_limit_negative"),
    (STATUS, limit("evse_max_current", 16_000, "voltage"), "invalid_value"),
    *((STATUS, lie, cause) for lie, cause in LOOP_LIES_2),
]

TABLE: Final = [
    *((edition, *row) for edition in DIRECT for row in DC_LIES),
    *(("2-dc", DEMAND, lie, cause, INCOMPATIBLE) for lie, cause in LOOP_LIES_2),
    *(("2-ac", *row, "") for row in AC_LIES),
    ("2-dc", DEMAND, status(evse_isolation_status="No_IMD"), "insulation_fault", NO_ERROR),
]


@together(("edition", "message", "lie", "cause", "error"), TABLE)
def test_a_lie_ends_the_session_without_current(edition: str, message: str, lie: Lie, cause: str, error: str) -> None:
    bench = BENCHES[edition]()
    bench.run_to(message)
    if message in (DEMAND, STATUS):  # energy flows
        while not bench.charger.current:
            bench.step()
        bench.run_to(message)
    before = len(bench.requests)
    response = lie(bench.answered(), bench)
    bench.reply(response)
    assert_no_current(bench, before)
    bench.run()
    assert bench.closed == cause
    assert_no_current(bench, before)
    stops = [each for each in bench.requests[before:] if type(each).__name__ == "PowerDeliveryReq"]
    if message in (PRE_CHARGE, START, DEMAND, STATUS):  # before that the session simply stops
        (stop,) = stops
        parameter = stop.ev_power_delivery_parameter
        assert (parameter.dc_ev_status.ev_error_code.value if parameter else "") == error
    assert not bench.contactor_closed
    if cause != "evse_malfunction":
        (event,) = bench.seen("session", "implausible_response")
        assert (event["message"], event["cause"]) == (type(response).__name__, cause)


def assert_no_current(bench: MessageBench, before: int) -> None:
    """The vehicle has asked for nothing since that many requests, and its last limit is 0."""
    for request in bench.requests[before:]:
        current = getattr(request, "ev_target_current", None)
        assert current is None or milliamperes(current) == 0
    limits = [each for each in bench.commands if isinstance(each, SetPowerLimits)]
    assert not limits or limits[-1] == SetPowerLimits(0, 0)
    drawn = [each.power_w for each in bench.commands if isinstance(each, SetAcPower)]
    assert not drawn or drawn[-1] == 0


@pytest.mark.some(1)
@pytest.mark.parametrize("edition", DIRECT)
@pytest.mark.parametrize("message", [PRE_CHARGE, START])
def test_not_ready_before_the_loop_is_a_quirk(edition: str, message: str) -> None:
    """Recorded: a charger that is never ready before its first current (pyPLC with an Ioniq)."""
    bench = BENCHES[edition]()
    bench.run_to(message)
    bench.reply(status(evse_status_code="EVSE_NotReady")(bench.answered(), bench))
    bench.run()
    assert bench.closed == "finished"
    assert [each["quirk"] for each in bench.seen("session", "quirk_tolerated")] == ["not_ready_after_check"]


@pytest.mark.some(1)
@pytest.mark.parametrize("kind", ["2-dc", "2-ac"])
@pytest.mark.parametrize(
    ("evse_id", "quirks"), [("ZZ00000", ["evseid_not_repeated"]), ("deABCe1", []), ("DE*ABC*E1", [])]
)
def test_an_unknown_evse_id_is_a_quirk_and_its_form_is_free(kind: str, evse_id: str, quirks: list[str]) -> None:
    bench = BENCHES[kind]()
    bench.run_to(DEMAND if kind == "2-dc" else STATUS)
    bench.altered(evse_id=evse_id)
    bench.run()
    assert bench.closed == "finished"
    assert [each["quirk"] for each in bench.seen("session", "quirk_tolerated")] == quirks


@pytest.mark.parametrize("edition", DIRECT)
def test_a_maximum_of_nothing_is_a_pause(edition: str) -> None:
    bench = BENCHES[edition]()
    bench.run_to(DEMAND)
    bench.altered(evse_maximum_current_limit=bench.charger.values.current(0, Rounding.DOWN))
    assert not bench.seen("session", "implausible_response")
    bench.pass_time(0.001)
    assert bench.commands[-1] == SetPowerLimits(0, 0)
    assert milliamperes(bench.unanswered[0].ev_target_current) == 0
    bench.altered(evse_maximum_current_limit=bench.charger.values.current(40_000, Rounding.DOWN))
    bench.run()
    assert bench.closed == "finished"


@pytest.mark.parametrize("edition", DIRECT)
def test_a_maximum_voltage_below_the_batterys_is_a_pause(edition: str) -> None:
    """EVTargetVoltage may not exceed it, and below the battery's voltage no current can flow: none is requested."""
    bench = BENCHES[edition]()
    bench.run_to(DEMAND)
    bench.altered(evse_maximum_voltage_limit=bench.charger.values.voltage(210_000, Rounding.DOWN))
    bench.pass_time(0.001)
    assert bench.commands[-1] == SetPowerLimits(0, 0)
    assert milliamperes(bench.unanswered[0].ev_target_current) == 0
    assert millivolts(bench.unanswered[0].ev_target_voltage) == 210_000
    bench.altered(evse_maximum_voltage_limit=bench.charger.values.voltage(500_000, Rounding.DOWN))
    bench.run()
    assert bench.closed == "finished"


@pytest.mark.parametrize("edition", DIRECT)
def test_a_lower_maximum_of_current_is_followed_without_the_pause(edition: str) -> None:
    bench = BENCHES[edition]()
    bench.run_to(DEMAND)
    bench.altered(evse_maximum_current_limit=bench.charger.values.current(10_000, Rounding.DOWN))
    bench.pass_time(0.001)
    assert milliamperes(bench.unanswered[0].ev_target_current) == 10_000


@pytest.mark.parametrize("edition", DIRECT)
def test_what_is_reported_above_the_request_ends_the_session(edition: str) -> None:
    """The inlet shows what was asked for, the charger reports 30 A more."""
    bench = BENCHES[edition]()
    bench.run_to(DEMAND)
    while not bench.closed:
        if bench.unanswered and type(bench.unanswered[0]).__name__ == DEMAND and bench.charger.current:
            said = bench.charger.values.current(round(bench.charger.current * 1000) + 30_000, Rounding.NEAREST)
            response = bench.answered()
            bench.drive()
            bench.battery()
            bench.reply(replace(response, evse_present_current=said))
        else:
            bench.step()
    assert bench.closed == "power_not_obeyed"
    assert bench.commands[-len(SAFE) :] == list(SAFE)


@pytest.mark.parametrize("edition", DIRECT)
def test_far_too_much_voltage_in_a_report_is_cut_off_at_once(edition: str) -> None:
    bench = BENCHES[edition]()
    bench.run_to(DEMAND)
    bench.reply(limit("evse_present_voltage", 900_000)(bench.answered(), bench))
    bench.battery()
    bench.assert_safe("over_voltage")


@pytest.mark.parametrize("edition", DIRECT)
def test_a_faulty_charger_is_never_connected(edition: str) -> None:
    bench = BENCHES[edition]()
    bench.run_to(PRE_CHARGE)
    response = bench.answered()
    assert is_sound(response.dc_evse_status)
    bench.battery()
    bench.reply(status(evse_isolation_status="Fault")(response, bench))
    bench.run()
    assert CloseContactor() not in bench.commands
    assert OpenContactor() in bench.commands
